//! `kerek completions`: prints what a shell needs to complete kerek's words.

use crate::cli::CompletionsOptions;
use crate::completion;
use crate::error::Failure;
use crate::report::console;

/// Runs the command.
pub(super) fn run(options: CompletionsOptions) -> Result<(), Failure> {
    console::out(&completion::script(options.shell)?).map_err(console::cannot_write)
}
