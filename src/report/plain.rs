//! The renderer for pipes and continuous integration: one line an event, without colours or cursor movements, each with
//! the time since the start of the run.
//!
//! Lines are made to be searched: after the time comes who it is about (a service, or one of `plan`, `compose`, `probe`,
//! `note`, `warning`), then a colon. Quotations, such as a container's output, are indented and have a gutter, so that they can
//! never pass for a line of kerek's own.

use std::cell::Cell;
use std::time::{Duration, Instant};

use super::plan::{self, PlanStyle};
use super::transfer::{self, Transfer};
use super::{Event, Reporter, console, probe, words};
use crate::compose::duration;

/// Columns that quotations are indented by, as wide as the time before other lines.
const INDENT: &str = "         ";

/// Time between two lines about the progress of the same image.
const PROGRESS: Duration = Duration::from_secs(5);

/// Writes lines to standard error.
#[derive(Debug)]
pub struct Plain {
    begin: Instant,
    /// When progress was told last.
    progress: Cell<Option<Instant>>,
}

impl Plain {
    /// The run begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { begin: Instant::now(), progress: Cell::new(None) }
    }
}

impl Default for Plain {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Plain {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Transfer(Transfer::Begun { .. }) => self.progress.set(Some(Instant::now())),
            Event::Transfer(Transfer::Progress { .. }) => {
                if self.progress.get().is_some_and(|told| told.elapsed() < PROGRESS) {
                    return;
                }
                self.progress.set(Some(Instant::now()));
            }
            _ => {}
        }
        console::err(&render(&stamp(self.begin.elapsed()), INDENT, event));
    }
}

/// The renderer for those who want to hear of nothing but trouble: warnings, and the evidence against containers, on
/// standard error.
#[derive(Debug)]
pub struct Quiet;

impl Quiet {
    fn tells(event: &Event<'_>) -> bool {
        matches!(event, Event::Warning(_) | Event::Evidence { .. })
    }
}

impl Reporter for Quiet {
    fn report(&self, event: &Event<'_>) {
        if Self::tells(event) {
            console::err(&render("", "", event));
        }
    }
}

/// The time since the start of the run, nine columns wide for the first hundred hours: `[  3.2s] `, `[ 16m40s] `.
fn stamp(elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    if seconds < 1000 {
        format!("[{seconds:>3}.{}s] ", elapsed.subsec_millis() / 100)
    } else if minutes < 100 {
        format!("[{minutes:>2}m{:02}s] ", seconds % 60)
    } else {
        format!("[{hours:>2}h{:02}m] ", minutes % 60)
    }
}

/// The lines of an event, each ended: `stamp` comes before the event's own, `indent` before quoted ones.
pub(super) fn render(stamp: &str, indent: &str, event: &Event<'_>) -> String {
    let mut block = Block { text: String::new(), stamp, indent };
    match event {
        Event::Planned { plan, containers } => {
            let style = PlanStyle { colour: false, width: None, pictures: false };
            for line in plan::render(plan, containers, &style).lines().filter(|line| !line.is_empty()) {
                block.line(&format!("plan: {line}"));
            }
        }
        Event::ComposeSaid(line) => block.line(&format!("compose: {}", words::safe(line.trim()))),
        Event::Creating { containers } => {
            block.line(&format!("compose: creating {}", words::count(*containers, "container")));
        }
        Event::ServiceBegun { service, slots, order } => {
            let order = words::order(*order);
            block.about(service.as_str(), &format!("updating {}, {order}", words::count(*slots, "replica")));
        }
        Event::Step { service, container, step } => {
            let step = words::step(step);
            block.about(service.as_str(), &format!("{} {step}", words::safe(container)));
        }
        Event::ServiceDone { service, took } => {
            block.about(service.as_str(), &format!("done in {}", duration::format(*took)));
        }
        Event::RollingBack { service, slots } => {
            block.about(service.as_str(), &format!("rolling back {}", words::count(*slots, "replica")));
        }
        Event::Evidence { service, container, logs, probe } => {
            for (heading, lines) in words::evidence(logs, probe) {
                block.about(service.as_str(), &format!("{} {heading}", words::safe(container)));
                block.quote(&lines);
            }
        }
        Event::OrphanRemoved { container, took } => {
            block.about("orphans", &format!("{} removed after {}", words::safe(container), duration::format(*took)));
        }
        Event::Transfer(event) => match transfer::line(event) {
            (Some(image), what) => block.line(&format!("{image}: {what}")),
            (None, what) => block.line(&what),
        },
        Event::Probing { url, rate } => block.line(&format!("probe: {}", probe::begun(url, *rate))),
        Event::Probed(report) => {
            for (_, line) in probe::lines(report) {
                block.line(&format!("probe: {line}"));
            }
        }
        Event::Note(message) => block.message("note", message),
        Event::Warning(message) => block.message("warning", message),
        Event::Prepared { services, took } => block.line(&words::prepared(*services, *took)),
        Event::Finished { updated, unchanged, took } => {
            block.line(&words::finished(*updated, *unchanged, *took));
        }
    }
    block.text
}

/// Lines in the making.
struct Block<'a> {
    text: String,
    stamp: &'a str,
    indent: &'a str,
}

impl Block<'_> {
    fn line(&mut self, line: &str) {
        self.push(self.stamp, line);
    }

    fn about(&mut self, service: &str, line: &str) {
        self.line(&format!("{}: {line}", words::safe(service)));
    }

    fn message(&mut self, prefix: &str, message: &str) {
        let (first, rest) = words::paragraph(message);
        self.line(&format!("{prefix}: {first}"));
        self.quote(&rest);
    }

    fn quote(&mut self, lines: &[String]) {
        for line in lines {
            self.push(self.indent, &format!("  | {line}"));
        }
    }

    fn push(&mut self, before: &str, line: &str) {
        self.text.push_str(before);
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recorded::{self, Tell, is_harmful};

    /// What is written of a story in which every event takes a tenth of a second.
    fn written(story: fn(&mut Tell<'_>)) -> String {
        let mut text = String::new();
        let mut elapsed = Duration::ZERO;
        story(&mut |event| {
            elapsed += Duration::from_millis(100);
            text.push_str(&render(&stamp(elapsed), INDENT, event));
        });
        text
    }

    #[test]
    fn time_has_a_column_of_its_own() {
        for (milliseconds, text) in [
            (0, "[  0.0s] "),
            (3_249, "[  3.2s] "),
            (999_999, "[999.9s] "),
            (1_000_000, "[16m40s] "),
            (5_999_000, "[99m59s] "),
            (6_000_000, "[ 1h40m] "),
        ] {
            let stamp = stamp(Duration::from_millis(milliseconds));
            assert_eq!(stamp, text);
            assert_eq!(stamp.len(), INDENT.len());
        }
    }

    #[test]
    fn a_good_end() {
        insta::assert_snapshot!(written(recorded::good_end), @"
        [  0.1s] plan: web (start-first, 2 at a time, 10s apart)
        [  0.1s] plan:   config changed 1f3a1f3a1f3a → 9bc09bc09bc0
        [  0.1s] plan:   a container is unhealthy
        [  0.1s] plan:   replace  shop-web-1
        [  0.1s] plan:   replace  shop-web-2
        [  0.1s] plan:   replace  shop-web-3
        [  0.1s] plan: worker (stop-first)
        [  0.1s] plan:   number of replicas changed 2 → 1
        [  0.1s] plan:   remove   shop-worker-2
        [  0.1s] plan:   keep     shop-worker-1
        [  0.1s] plan: unchanged: cache, db
        [  0.1s] plan: 2 services to update, 2 unchanged: 3 replicas to replace, 1 to remove.
        [  0.2s] compose: creating 3 containers
        [  0.3s] compose: Container shop-web-4  Creating
        [  0.4s] web: updating 3 replicas, start-first
        [  0.5s] web: shop-web-4 starting
        [  0.6s] web: shop-web-5 starting
        [  0.7s] web: shop-web-4 waiting for its healthcheck, 1m at most
        [  0.8s] web: shop-web-5 waiting for its healthcheck, 1m at most
        [  0.9s] web: shop-web-4 ready after 2.1s
        [  1.0s] web: shop-web-5 ready after 2.1s
        [  1.1s] web: shop-web-4 published
        [  1.2s] web: shop-web-5 published
        [  1.3s] web: shop-web-1 withdrawn
        [  1.4s] web: shop-web-2 withdrawn
        [  1.5s] web: shop-web-1 draining
        [  1.6s] web: shop-web-2 draining
        [  1.7s] web: shop-web-1 drained after 2s
        [  1.8s] web: shop-web-2 drained after 2s
        [  1.9s] web: shop-web-1 stopping
        [  2.0s] web: shop-web-2 stopping
        [  2.1s] web: shop-web-1 stopped after 340ms
        [  2.2s] web: shop-web-2 stopped after 340ms
        [  2.3s] web: shop-web-6 starting
        [  2.4s] web: shop-web-6 waiting for its healthcheck, 1m at most
        [  2.5s] web: shop-web-6 ready after 2.1s
        [  2.6s] web: shop-web-6 published
        [  2.7s] web: shop-web-3 withdrawn
        [  2.8s] web: shop-web-3 draining
        [  2.9s] web: shop-web-3 drained after 2s
        [  3.0s] web: shop-web-3 stopping
        [  3.1s] web: shop-web-3 stopped after 340ms
        [  3.2s] web: shop-web-1 removed
        [  3.3s] web: shop-web-2 removed
        [  3.4s] web: shop-web-3 removed
        [  3.5s] web: done in 7.2s
        [  3.6s] worker: updating 1 replica, stop-first
        [  3.7s] worker: shop-worker-2 stopping
        [  3.8s] worker: shop-worker-2 stopped after 10s
        [  3.9s] worker: shop-worker-2 removed
        [  4.0s] worker: done in 10.1s
        [  4.1s] 2 services updated, 2 unchanged in 18s
        ");
    }

    #[test]
    fn a_bad_end() {
        insta::assert_snapshot!(written(recorded::bad_end), @"
        [  0.1s] web: updating 2 replicas, start-first
        [  0.2s] web: shop-web-3 starting
        [  0.3s] web: shop-web-3 running, watched for a while as it has no healthcheck
        [  0.4s] web: shop-web-3 ready after 5s
        [  0.5s] web: shop-web-1 drained after 10s, still busy
        [  0.6s] web: shop-web-1 address changed 172.18.0.2 → 172.18.0.9, its connections are cut
        [  0.7s] web: shop-web-4 starting
        [  0.8s] web: shop-web-4 failed: exited with code 1
        [  0.9s] web: shop-web-4 last output:
                   | Starting
                   | panic: no such table
        [  0.9s] web: shop-web-4 last health probe:
                   | curl: (7) Failed to connect
        [  1.0s] web: shop-web-4 removed
        [  1.1s] web: rolling back 1 replica
        [  1.2s] web: shop-web-1 restored
        [  1.3s] note: add a healthcheck to web
                   | to update faster
        [  1.4s] warning: stop container 1f3a: timed out; it is left behind
        ");
    }

    #[test]
    fn hostile_text_stays_in_its_line() {
        let mut forged = 0;
        recorded::hostile(&mut |event| {
            let text = render("[  0.0s] ", INDENT, event);
            assert!(!text.contains(is_harmful), "{text:?}");
            assert!(text.ends_with('\n'), "{text:?}");
            forged += text.lines().filter(|line| line.starts_with("[  0.0s] web: ")).count();
        });
        assert_eq!(forged, 0);
    }

    #[test]
    fn quiet_is_about_trouble_only() {
        let mut text = String::new();
        recorded::bad_end(&mut |event| {
            if Quiet::tells(event) {
                text.push_str(&render("", "", event));
            }
        });
        insta::assert_snapshot!(text, @"
        web: shop-web-4 last output:
          | Starting
          | panic: no such table
        web: shop-web-4 last health probe:
          | curl: (7) Failed to connect
        warning: stop container 1f3a: timed out; it is left behind
        ");
    }
}
