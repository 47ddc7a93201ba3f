//! Compose logs warnings among its progress, and repeats them in every call. [`ComposeLog`] stands before a renderer and
//! makes real warnings of them, each told once; everything else passes through. Without it an unset variable would be
//! one line of hundreds, or gone with the next.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::{Event, Reporter};

/// Takes events for the given renderer.
#[derive(Debug)]
pub(super) struct ComposeLog<R> {
    renderer: R,
    told: RefCell<BTreeSet<String>>,
}

impl<R: Reporter> ComposeLog<R> {
    pub(super) fn before(renderer: R) -> Self {
        Self { renderer, told: RefCell::default() }
    }
}

impl<R: Reporter> Reporter for ComposeLog<R> {
    fn report(&self, event: &Event<'_>) {
        let Event::ComposeSaid(line) = event else { return self.renderer.report(event) };
        let Some(message) = warning(line) else { return self.renderer.report(event) };
        if self.told.borrow_mut().insert(message.clone()) {
            self.renderer.report(&Event::Warning(&format!("Compose says: {message}")));
        }
    }
}

/// The message of a line that Compose logs as a warning or an error. The form is that of the library it logs with
/// (logrus, without a terminal): `time="…" level=warning msg="…"`.
fn warning(line: &str) -> Option<String> {
    let (time, rest) = line.strip_prefix("time=\"")?.split_once("\" level=")?;
    let (level, message) = rest.split_once(" msg=")?;
    let is_log = !time.contains('"') && matches!(level, "warning" | "error");
    is_log.then(|| unquote(message.trim_end()))
}

/// Undoes the quotation of Go, which is only there if it is needed. Escapes of control characters stay as they are.
fn unquote(text: &str) -> String {
    let Some(quoted) = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) else { return text.to_owned() };
    let mut unquoted = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            unquoted.push(character);
            continue;
        }
        match characters.next() {
            Some(plain @ ('"' | '\\')) => unquoted.push(plain),
            Some('n') => unquoted.push('\n'),
            Some('t') => unquoted.push(' '),
            Some(other) => unquoted.extend(['\\', other]),
            None => unquoted.push('\\'),
        }
    }
    unquoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Record(RefCell<Vec<String>>);

    impl Reporter for Record {
        fn report(&self, event: &Event<'_>) {
            self.0.borrow_mut().push(format!("{event:?}"));
        }
    }

    #[test]
    fn warnings_of_compose_are_warnings_once() {
        let log = ComposeLog::before(Record::default());
        let unset = r#"time="2025-01-02T03:04:05Z" level=warning msg="The \"TAG\" variable is not set.""#;
        for line in [unset, " Container shop-web-1  Creating ", unset, unset] {
            log.report(&Event::ComposeSaid(line));
        }
        log.report(&Event::Note("a note"));
        let record = log.renderer.0.take();
        assert_eq!(
            record,
            [
                r#"Warning("Compose says: The \"TAG\" variable is not set.")"#,
                r#"ComposeSaid(" Container shop-web-1  Creating ")"#,
                r#"Note("a note")"#,
            ]
        );
    }

    #[test]
    fn only_what_compose_logs_is_taken_for_a_warning() {
        for (line, message) in [
            (r#"time="now" level=error msg="a\\b\tc\nd\x1b""#, Some("a\\b c\nd\\x1b")),
            (r#"time="now" level=warning msg=word"#, Some("word")),
            (r#"time="now" level=warning msg="open\"#, Some(r#""open\"#)),
            (r#"time="now" level=warning msg="""#, Some("")),
            (r#"time="now" level=info msg="fine""#, None),
            (r#"time="now" level=warning"#, None),
            (r#"#5 0.3 time="now" level=warning msg="from a build""#, None),
            (r#"time="a" b="c" level=warning msg="x""#, None),
            ("level=warning", None),
            ("", None),
        ] {
            assert_eq!(warning(line).as_deref(), message, "{line}");
        }
    }
}
