//! `kerek history`: shows the releases of a project.

use anyhow::Context;

use super::{heeding_signals, insisted, project, selection};
use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, HistoryOptions, ListFormat};
use crate::deploy::releases;
use crate::engine::Engine;
use crate::engine::access::Access;
use crate::engine::patient::Patient;
use crate::error::Failure;
use crate::report::plain::Plain;
use crate::report::{console, history};

/// Runs the command.
pub(super) async fn run(global: &GlobalOptions, options: &HistoryOptions) -> Result<(), Failure> {
    let selection = selection(global, &options.engine.container_engine);
    let cancel = Cancel::new();
    let reporter = Plain::new();
    let work = async {
        let access = Access::prepare(&selection, options.engine.ssh_config.as_deref()).await?;
        let name = project::name(global, &options.project, &access, &cancel, &reporter);
        let ((api, link), name) = tokio::try_join!(access.connect(&cancel), name)?;
        let engine = Patient::new(api).until(link.lost().clone());
        let looks =
            async { tokio::try_join!(releases::all(&engine, &name), engine.containers(&name)).map_err(Failure::from) };
        let (releases, containers) = link.end(looks.await).await?;
        match options.format {
            ListFormat::Json => console::out(&history::json(&releases, &containers)),
            ListFormat::Table if releases.is_empty() => {
                console::err(&format!("No release of {name} is known on this engine.\n"));
                Ok(())
            }
            ListFormat::Table => console::out(&history::table(&releases, &containers)),
        }
        .context("cannot write the releases")?;
        Ok(())
    };
    heeding_signals(&cancel, Box::pin(work), insisted).await
}
