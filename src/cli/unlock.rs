//! The options of `unlock`.

use clap::Args;

use super::common::EngineOptions;
use super::values;

pub(super) const LONG_ABOUT: &str = "\
Remove the lock of a project.

Kerek takes over the lock of a run that has died by itself, at once on the same machine and after some 20 seconds from \
another one. This is for the rare rest, and for those who do not want to wait. A run that is still at work stops in the \
middle of things when its lock is removed. Should the lock change hands meanwhile, it stays, and the question is asked \
again; with --force, unlock then fails.";

pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("kerek unlock shop", "Show who holds the lock of the project `shop`, and remove it after a yes"),
    ("kerek --context production unlock --force shop", "Without a question, on the engine of a context"),
];

/// Whose lock to remove.
#[derive(Args, Clone, Debug)]
pub struct UnlockOptions {
    /// The project's name
    #[arg(value_name = "PROJECT", value_parser = values::operand)]
    pub project: String,

    /// Skip the question whether to proceed
    #[arg(long)]
    pub force: bool,

    /// The engine.
    #[command(flatten)]
    pub engine: EngineOptions,
}
