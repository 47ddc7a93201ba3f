//! How kerek fails: a [`Failure`] has a [`Kind`] that decides the exit code, an error chain and hints for the user.
//!
//! The library never prints and never exits; [`crate::run`] turns a failure into words and a code, here in one table.

use std::fmt;

/// What a failure means to the caller of the command, each with an exit code of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Refused or failed before anything was changed.
    Unchanged,
    /// The command line itself is wrong.
    Usage,
    /// The host or engine cannot be reached (any more).
    Unreachable,
    /// The new version is bad; the old version serves.
    RolledBack,
    /// Stopped half-way; the same command run again goes on from there.
    Incomplete,
    /// Somebody else is changing the project.
    Locked,
    /// What is to be changed has to be agreed to, and was not.
    Unconfirmed,
    /// The host is not one that this can be done on.
    Unfit,
    /// A program that the user gave could not be run.
    NotExecutable,
    /// A program that the user gave was not found.
    NotFound,
    /// Ended by the user's interrupt (SIGINT).
    Interrupted,
    /// Ended by a termination signal (SIGTERM).
    Terminated,
}

impl Kind {
    /// The exit code, as documented in docs/output.md.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unchanged => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::RolledBack => 4,
            Self::Incomplete => 5,
            Self::Locked => 6,
            Self::Unconfirmed => 7,
            Self::Unfit => 8,
            // What shells exit with for the same reasons.
            Self::NotExecutable => 126,
            Self::NotFound => 127,
            Self::Interrupted => 130,
            Self::Terminated => 143,
        }
    }

    /// The kind of failure that another kerek has ended with.
    #[must_use]
    pub fn of_exit_code(code: i32) -> Option<Self> {
        let all = [
            Self::Unchanged,
            Self::Usage,
            Self::Unreachable,
            Self::RolledBack,
            Self::Incomplete,
            Self::Locked,
            Self::Unconfirmed,
            Self::Unfit,
            Self::NotExecutable,
            Self::NotFound,
            Self::Interrupted,
            Self::Terminated,
        ];
        all.into_iter().find(|kind| i32::from(kind.exit_code()) == code)
    }
}

/// A failed command: what kind, why, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What happened, outermost context first.
    pub error: anyhow::Error,
    /// Ways out, each a sentence for the user.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of the given kind.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self { kind, error: error.into(), hints: Vec::new() }
    }

    /// A failure that another kerek has put into words already: nothing is left to say.
    #[must_use]
    pub fn told(kind: Kind) -> Self {
        Self::new(kind, anyhow::Error::msg(""))
    }

    /// Adds a way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    /// The whole chain in one line, as `anyhow` writes it with `{:#}`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#}", self.error)
    }
}

/// Errors without a kind of their own happened before anything was changed.
impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Kind::Unchanged, error)
    }
}
