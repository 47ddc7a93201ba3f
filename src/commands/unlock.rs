//! `kerek unlock`: removes the lock of a project after showing whose it is.

use anyhow::{Context, anyhow};

use super::{heeding_signals, selection, suggestion};
use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, UnlockOptions};
use crate::deploy::lock;
use crate::engine::access::Access;
use crate::engine::patient::Patient;
use crate::error::{Failure, Kind};
use crate::names::ProjectName;
use crate::report::{ask, console};

/// Runs the command.
pub(super) async fn run(global: &GlobalOptions, options: &UnlockOptions) -> Result<(), Failure> {
    let selection = selection(global, &options.engine.container_engine);
    let project = ProjectName::new(&options.project);
    let cancel = Cancel::new();
    let work = async {
        let access = Access::prepare(&selection, options.engine.ssh_config.as_deref()).await?;
        let (api, link) = access.connect(&cancel).await?;
        let engine = Patient::new(api).until(link.lost().clone());
        let result = async {
            let Some(holder) = lock::holder(&engine, &project).await? else {
                // Parts of a lock may be left all the same.
                if !global.dry_run {
                    lock::remove(&engine, &project).await?;
                }
                return say(&format!("{} is not locked.", options.project));
            };
            let held = format!("{} is locked by {}.", options.project, holder.phrase());
            if global.dry_run {
                return say(&held);
            }
            console::err(&format!("{held}\n"));
            agree(global, options).await?;
            lock::remove(&engine, &project).await?;
            say(&format!("{} is not locked any more.", options.project))
        };
        link.end(result.await).await
    };
    heeding_signals(&cancel, work, |cancel| Failure::new(cancel.kind(), anyhow!("stopped at once"))).await
}

async fn agree(global: &GlobalOptions, options: &UnlockOptions) -> Result<(), Failure> {
    if options.force {
        return Ok(());
    }
    let refused = |why: &str| {
        let command = suggestion(global, &options.engine, None).on_engine("unlock", &["--force", &options.project]);
        let hint = format!("The lock is still there. Remove it without a question: {command}");
        Failure::new(Kind::Unconfirmed, anyhow!("{why}")).hint(hint)
    };
    if !ask::is_possible() {
        return Err(refused("there is no terminal to ask on whether to remove the lock"));
    }
    match ask::confirm("Remove the lock? If that run is still at work, it stops.".to_owned()).await {
        Some(true) => Ok(()),
        _ => Err(refused("the lock was not to be removed")),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(console::out(&format!("{}\n", crate::text::escape(text))).context("cannot write what has been done")?)
}
