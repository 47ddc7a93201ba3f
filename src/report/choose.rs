//! Which renderer is right: what the user asks for, else what suits where standard error leads.
//!
//! The environment is read here and nowhere else: `NO_COLOR`, `TERM`, `CI`, and what the standard streams are.

use std::io::{self, IsTerminal};

use anyhow::anyhow;

use super::Reporter;
use super::compose_log::ComposeLog;
use super::json::Json;
use super::plain::{Plain, Quiet};
use super::plan::PlanStyle;
use super::terminal::Terminal;
use crate::cli::{Ansi, Progress};
use crate::error::{Failure, Kind};

/// Chooses the renderer. `Progress::Auto` is the live view where standard error is a terminal that understands escape
/// sequences and nobody but a human looks at it (not in continuous integration), plain lines elsewhere. `Ansi::Always`
/// takes standard error for such a terminal, whatever it is. Fails for combinations that contradict each other.
pub fn choose(progress: Progress, ansi: Ansi) -> Result<Box<dyn Reporter>, Failure> {
    let surroundings = Surroundings::read(io::stderr().is_terminal());
    Ok(match decide(progress, ansi, surroundings)? {
        Choice::Terminal { colour } => Box::new(ComposeLog::before(Terminal::new(colour))),
        Choice::Plain => Box::new(ComposeLog::before(Plain::new())),
        Choice::Json => Box::new(ComposeLog::before(Json::new())),
        Choice::Quiet => Box::new(ComposeLog::before(Quiet)),
    })
}

/// Whether standard error is fit for lines that are updated in place, and if so, whether they may have colours.
#[must_use]
pub(super) fn live_colour() -> Option<bool> {
    let surroundings = Surroundings::read(io::stderr().is_terminal());
    is_lively(Ansi::Auto, surroundings).then(|| colour(Ansi::Auto, surroundings))
}

/// How a plan that is not carried out looks on standard output.
#[must_use]
pub fn plan_style(ansi: Ansi) -> PlanStyle {
    let surroundings = Surroundings::read(io::stdout().is_terminal());
    let size = ::console::Term::stdout().size_checked();
    PlanStyle {
        colour: colour(ansi, surroundings),
        width: size.filter(|_| surroundings.is_terminal).map(|(_, columns)| columns.into()),
        pictures: true,
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Choice {
    Terminal { colour: bool },
    Plain,
    Json,
    Quiet,
}

/// What there is to know about where a stream leads.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Surroundings {
    is_terminal: bool,
    /// Whether the terminal says that it knows no escape sequences.
    is_dumb: bool,
    /// Whether the user wants no colours anywhere (<https://no-color.org>).
    no_color: bool,
    /// Whether this is a job of continuous integration.
    is_job: bool,
}

impl Surroundings {
    fn read(is_terminal: bool) -> Self {
        let variable = |name| std::env::var_os(name).unwrap_or_default();
        let job = variable("CI");
        Self {
            is_terminal,
            is_dumb: variable("TERM") == "dumb",
            no_color: !variable("NO_COLOR").is_empty(),
            is_job: !(job.is_empty() || job == "false" || job == "0"),
        }
    }
}

fn decide(progress: Progress, ansi: Ansi, surroundings: Surroundings) -> Result<Choice, Failure> {
    let terminal = Choice::Terminal { colour: colour(ansi, surroundings) };
    match progress {
        Progress::Quiet => Ok(Choice::Quiet),
        Progress::Auto if is_lively(ansi, surroundings) => Ok(terminal),
        Progress::Auto | Progress::Plain => Ok(Choice::Plain),
        Progress::Tty if ansi == Ansi::Never => {
            let error = anyhow!("`--progress tty` needs what `--ansi never` rules out: moving the cursor");
            Err(Failure::new(Kind::Usage, error).hint("Leave one of the two out, or use `--progress plain`."))
        }
        Progress::Tty => Ok(terminal),
        Progress::Json => Ok(Choice::Json),
    }
}

/// Whether lines may be updated in place.
fn is_lively(ansi: Ansi, surroundings: Surroundings) -> bool {
    match ansi {
        Ansi::Always => true,
        Ansi::Never => false,
        Ansi::Auto => surroundings.is_terminal && !surroundings.is_dumb && !surroundings.is_job,
    }
}

/// Whether there are colours. What the user says on the command line goes before the environment.
fn colour(ansi: Ansi, surroundings: Surroundings) -> bool {
    match ansi {
        Ansi::Always => true,
        Ansi::Never => false,
        Ansi::Auto => surroundings.is_terminal && !surroundings.is_dumb && !surroundings.no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMINAL: Surroundings = Surroundings { is_terminal: true, is_dumb: false, no_color: false, is_job: false };

    const COLOURED: Choice = Choice::Terminal { colour: true };
    const COLOURLESS: Choice = Choice::Terminal { colour: false };

    fn auto(ansi: Ansi, surroundings: Surroundings) -> Choice {
        decide(Progress::Auto, ansi, surroundings).expect("auto always works")
    }

    #[test]
    fn auto_suits_the_surroundings() {
        let pipe = Surroundings { is_terminal: false, ..TERMINAL };
        let dumb = Surroundings { is_dumb: true, ..TERMINAL };
        let no_color = Surroundings { no_color: true, ..TERMINAL };
        let job = Surroundings { is_job: true, ..TERMINAL };
        for (surroundings, expected) in [
            (TERMINAL, COLOURED),
            (no_color, COLOURLESS),
            (pipe, Choice::Plain),
            (dumb, Choice::Plain),
            (job, Choice::Plain),
        ] {
            assert_eq!(auto(Ansi::Auto, surroundings), expected, "{surroundings:?}");
            assert_eq!(auto(Ansi::Never, surroundings), Choice::Plain, "{surroundings:?}");
            assert_eq!(auto(Ansi::Always, surroundings), COLOURED, "{surroundings:?}");
        }
    }

    #[test]
    fn what_is_asked_for_is_done() {
        let pipe = Surroundings { is_terminal: false, ..TERMINAL };
        let chosen = |progress, ansi| decide(progress, ansi, pipe).ok();
        assert_eq!(chosen(Progress::Tty, Ansi::Auto), Some(COLOURLESS));
        assert_eq!(chosen(Progress::Tty, Ansi::Always), Some(COLOURED));
        assert_eq!(chosen(Progress::Plain, Ansi::Always), Some(Choice::Plain));
        assert_eq!(chosen(Progress::Quiet, Ansi::Always), Some(Choice::Quiet));
        assert_eq!(chosen(Progress::Json, Ansi::Always), Some(Choice::Json));
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let contradiction = decide(Progress::Tty, Ansi::Never, TERMINAL).expect_err("no cursor, no live view");
        assert_eq!(contradiction.kind, Kind::Usage);
    }
}
