//! `kerek man-pages`: writes the manual, of what the help says.

use std::fs;

use anyhow::anyhow;

use crate::cli::{self, GlobalOptions, ManPagesOptions};
use crate::error::{Failure, Kind};
use crate::report::console;
use crate::text::escape;

/// Runs the command.
pub(super) fn run(global: &GlobalOptions, options: &ManPagesOptions) -> Result<(), Failure> {
    let folder = &options.folder;
    let shown = escape(&folder.display().to_string());
    if global.dry_run {
        return console::out(&format!("would write manual pages to {shown}\n")).map_err(console::cannot_write);
    }
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(cli::definition(), folder));
    written.map_err(|error| {
        let problem = anyhow!("cannot write manual pages to {shown}: {error}");
        Failure::new(Kind::Unchanged, problem).hint("Choose another folder.")
    })
}
