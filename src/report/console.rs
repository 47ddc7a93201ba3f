//! The one place that writes to standard output and standard error: data to the former, words for people to the latter.
//!
//! A reader that has gone away (`kerek … | head`) is no failure: what it would have got is dropped. What is written
//! here is expected to be escaped already, but for the failures that [`tell`] puts into words.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;

use crate::error::{Failure, Kind};
use crate::text;

/// A line of a usage error that is longer (in characters) is cut in the middle: somebody passed a file as a name.
const LONGEST_LINE: usize = 400;

/// Writes text to standard output as it is, and flushes it. Fails if it cannot be written, as to a full disk.
pub fn out(text: &str) -> io::Result<()> {
    forgive(write(io::stdout().lock(), text))
}

/// Writes text to standard error as it is. There is nowhere to tell that this failed, so it does not.
pub fn err(text: &str) {
    drop(write(io::stderr().lock(), text));
}

fn write(mut stream: impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn forgive(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Prints what clap says instead of a command line: help and version as asked for, or what is wrong with it.
#[must_use]
pub fn answer(answer: &clap::Error) -> ExitCode {
    let kind = match answer.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return match forgive(answer.print()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&cannot_write(error)),
            };
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            drop(answer.print());
            Kind::Usage
        }
        _ => {
            err(&usage(&answer.render().to_string()));
            Kind::Usage
        }
    };
    ExitCode::from(kind.exit_code())
}

/// A usage error as clap words it, made safe and short: it quotes what was typed.
fn usage(message: &str) -> String {
    let message = message.strip_prefix("error: ").unwrap_or(message);
    let mut lines = String::from("Error: ");
    for line in message.lines() {
        lines.push_str(&shorten(&text::escape(line)));
        lines.push('\n');
    }
    lines
}

fn shorten(line: &str) -> String {
    let length = line.chars().count();
    if length <= LONGEST_LINE {
        return line.to_owned();
    }
    let head: String = line.chars().take(LONGEST_LINE / 2).collect();
    let tail: String = line.chars().skip(length - LONGEST_LINE / 2).collect();
    format!("{head}…{tail}")
}

/// Prints a failure.
pub fn tell(failure: &Failure) {
    err(&describe(failure));
}

/// Prints a failure and gives its exit code.
#[must_use]
pub fn fail(failure: &Failure) -> ExitCode {
    tell(failure);
    ExitCode::from(failure.kind.exit_code())
}

/// The failure that standard output cannot be written to.
#[must_use]
pub fn cannot_write(error: io::Error) -> Failure {
    anyhow::Error::new(error).context("cannot write to standard output").into()
}

/// A failure in words: the error with its causes, further lines of it indented, then a line for each hint. Each line is
/// escaped.
fn describe(failure: &Failure) -> String {
    let error = failure.to_string();
    let mut words = String::new();
    let mut prefix = "Error: ";
    for line in error.lines() {
        push_line(&mut words, prefix, line);
        prefix = "  ";
    }
    for hint in &failure.hints {
        push_line(&mut words, "Hint: ", hint);
    }
    words
}

fn push_line(words: &mut String, prefix: &str, line: &str) {
    words.push_str(format!("{prefix}{}", text::escape(line)).trim_end());
    words.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_their_chain_and_hints() {
        let error = anyhow::anyhow!("no such file").context("cannot read compose.yaml");
        let failure = Failure::from(error).hint("Name the file with --file.").hint("Or change directory.");
        assert_eq!(
            describe(&failure),
            "Error: cannot read compose.yaml: no such file\n\
             Hint: Name the file with --file.\n\
             Hint: Or change directory.\n"
        );
    }

    #[test]
    fn what_was_told_is_not_told_again() {
        assert_eq!(describe(&Failure::told(Kind::Usage)), "");
    }

    #[test]
    fn failures_stay_in_their_lines_and_cannot_steer_the_terminal() {
        let failure = Failure::from(anyhow::anyhow!("docker said:\r\n\u{1b}[2Jline 2\n\nline 4")).hint("a\nHint: b");
        assert_eq!(describe(&failure), "Error: docker said:\n  \\x1b[2Jline 2\n\n  line 4\nHint: a\\x0aHint: b\n");
    }

    #[test]
    fn usage_errors_are_short_and_cannot_steer_the_terminal() {
        let message = format!("error: invalid value '\u{1b}]0;{}' for X: why\n\nUsage: …\n", "a".repeat(65536));
        let lines = usage(&message);
        assert!(lines.starts_with("Error: invalid value '\\x1b]0;aaa"), "{lines}");
        assert!(lines.ends_with("aaa' for X: why\n\nUsage: …\n"), "{lines}");
        assert!(lines.chars().count() < LONGEST_LINE + 50);
    }

    #[test]
    fn a_reader_that_is_gone_is_no_failure() {
        assert!(forgive(Err(io::ErrorKind::BrokenPipe.into())).is_ok());
        assert!(forgive(Err(io::ErrorKind::StorageFull.into())).is_err());
    }
}
