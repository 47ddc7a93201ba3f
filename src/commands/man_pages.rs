//! `kerek man-pages`: writes the manual, of what the help says.

use std::fs;

use anyhow::anyhow;

use crate::cli::{self, ManPagesOptions};
use crate::error::{Failure, Kind};
use crate::text::escape;

/// Runs the command.
pub(super) fn run(options: &ManPagesOptions) -> Result<(), Failure> {
    let folder = &options.folder;
    let written = fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(cli::definition(), folder));
    written.map_err(|error| {
        let problem = anyhow!("cannot write manual pages to {}: {error}", escape(&folder.display().to_string()));
        Failure::new(Kind::Unchanged, problem).hint("Choose another folder.")
    })
}
