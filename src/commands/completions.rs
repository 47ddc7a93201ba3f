//! `kerek completions`: prints what a shell needs to complete kerek's words.

use crate::cli::{self, CompletionsOptions};
use crate::error::Failure;
use crate::report::console;

/// Runs the command.
pub(super) fn run(options: CompletionsOptions) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut cli::definition(), "kerek", &mut script);
    console::out(&String::from_utf8_lossy(&script)).map_err(console::cannot_write)
}
