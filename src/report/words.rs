//! What all renderers say alike: events in words, numbers with their nouns, and the evidence against a container cut to
//! a bearable size. Whatever came from outside leaves this module escaped.

use std::time::Duration;

use super::Step;
use crate::compose::{Order, duration};
use crate::text;

/// Characters of one text from outside that are shown.
const LONGEST: usize = 500;

/// Lines of evidence that are shown from each source.
const MOST_LINES: usize = 20;

/// A text from outside, escaped, on one line, and cut if it is long.
pub(super) fn safe(raw: &str) -> String {
    // What is escaped only gets longer: no more than this is needed.
    let head: String = raw.chars().take(LONGEST + 1).collect();
    let mut escaped = text::escape(&head);
    if let Some((end, _)) = escaped.char_indices().nth(LONGEST) {
        escaped.truncate(end);
        escaped.push('…');
    }
    escaped
}

/// A message as its first line and the lines after that, each escaped: engines explain themselves at length.
pub(super) fn paragraph(raw: &str) -> (String, Vec<String>) {
    let mut lines = raw.lines().map(safe);
    (lines.next().unwrap_or_default(), lines.collect())
}

/// A number and a noun, such as `1 replica` and `2 replicas`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

/// The order of an update as Compose files write it.
pub(super) const fn order(order: Order) -> &'static str {
    match order {
        Order::StartFirst => "start-first",
        Order::StopFirst => "stop-first",
    }
}

/// What happened to a container, to be read after its name.
pub(super) fn step(step: &Step<'_>) -> String {
    match step {
        Step::Starting => "starting".to_owned(),
        Step::Waiting { healthcheck: true, deadline } => {
            format!("waiting for its healthcheck, {} at most", duration::format(*deadline))
        }
        Step::Waiting { healthcheck: false, .. } => "running, watched for a while as it has no healthcheck".to_owned(),
        Step::Working => "running, watched until its work is done".to_owned(),
        Step::Hook { hook } => format!("running {}", safe(hook)),
        Step::HookFailed { hook, code } => format!("{} ended with code {code}", safe(hook)),
        Step::Ready { took } => format!("ready after {}", duration::format(*took)),
        Step::Completed => "completed".to_owned(),
        Step::Watched { remaining } => format!("watched for another {}", duration::format(*remaining)),
        Step::Published => "published".to_owned(),
        Step::Withdrawn => "withdrawn".to_owned(),
        Step::Draining => "draining".to_owned(),
        Step::Drained { took, busy } => {
            let busy = if *busy { ", still busy" } else { "" };
            format!("drained after {}{busy}", duration::format(*took))
        }
        Step::Stopping => "stopping".to_owned(),
        Step::Stopped { took } => format!("stopped after {}", duration::format(*took)),
        Step::Removed => "removed".to_owned(),
        Step::Failed { reason } => format!("failed: {}", safe(reason)),
        Step::Restored => "restored".to_owned(),
        Step::AddressChanged { from, to } => {
            format!("address changed {} → {}, its connections are cut", safe(from), safe(to))
        }
    }
}

/// A deploy's good end.
pub(super) fn finished(updated: usize, unchanged: usize, took: Duration) -> String {
    let took = duration::format(took);
    format!("{} updated, {unchanged} unchanged in {took}", count(updated, "service"))
}

/// The end of a deploy that starts nothing.
pub(super) fn prepared(services: usize, took: Duration) -> String {
    let services = count(services, "service");
    let took = duration::format(took);
    format!("{services} prepared in {took}, nothing started: the same command without --no-start goes on from here")
}

/// What speaks against a container: headings with escaped lines under them.
pub(super) fn evidence(logs: &[String], probe: &str) -> Vec<(&'static str, Vec<String>)> {
    let logs: Vec<&str> = logs.iter().flat_map(|entry| entry.split('\n')).collect();
    let probe: Vec<&str> = probe.trim_end().split('\n').collect();
    let mut parts = vec![("last output:", excerpt(&logs)), ("last health probe:", excerpt(&probe))];
    parts.retain(|(_, lines)| !lines.is_empty());
    if parts.is_empty() {
        parts.push(("no output", Vec::new()));
    }
    parts
}

/// The last lines, without empty ones around them.
fn excerpt(lines: &[&str]) -> Vec<String> {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
    let Some(last) = lines.iter().rposition(|line| !line.is_empty()) else { return Vec::new() };
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let lines = &lines[first..=last];
    let skipped = lines.len().saturating_sub(MOST_LINES);
    let mut excerpt = Vec::new();
    if skipped > 0 {
        excerpt.push(format!("… {} before this", count(skipped, "line")));
    }
    excerpt.extend(lines[skipped..].iter().map(|line| safe(line)));
    excerpt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_from_outside_are_escaped_and_cut() {
        assert_eq!(safe("a\u{1b}[2J\nb"), "a\\x1b[2J\\x0ab");
        let exact = "é".repeat(LONGEST);
        assert_eq!(safe(&exact), exact);
        assert_eq!(safe(&"é".repeat(LONGEST + 1)), format!("{exact}…"));
        // Escaping makes longer; the limit holds for the result.
        assert_eq!(safe(&"\u{1b}".repeat(65_536)).chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_last_lines_are_the_evidence() {
        let logs: Vec<String> = (1..=30).map(|number| format!("line {number}\r")).collect();
        let parts = evidence(&logs, "");
        let [("last output:", lines)] = parts.as_slice() else { panic!("{parts:?}") };
        assert_eq!(lines.len(), MOST_LINES + 1);
        assert_eq!(lines[0], "… 10 lines before this");
        assert_eq!(lines[1], "line 11");
        assert_eq!(lines[20], "line 30");
    }

    #[test]
    fn evidence_may_be_missing() {
        assert_eq!(evidence(&[], " \n"), [("no output", vec![])]);
        assert_eq!(
            evidence(&["\n".to_owned()], "\n\nno\n\nroute\n"),
            [("last health probe:", vec!["no".to_owned(), String::new(), "route".to_owned()])]
        );
    }
}
