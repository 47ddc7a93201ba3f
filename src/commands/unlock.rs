//! `kerek unlock`: removes the lock of a project after showing whose it is, and no other.

use anyhow::{Context, anyhow};

use super::{heeding_signals, selection, suggestion};
use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, UnlockOptions};
use crate::deploy::lock::{self, Owner};
use crate::engine::access::Access;
use crate::engine::api::Api;
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
        let result = unlock(global, options, &engine, &project, &cancel);
        link.end(result.await).await
    };
    heeding_signals(&cancel, work, |cancel| Failure::new(cancel.kind(), anyhow!("stopped at once"))).await
}

async fn unlock(
    global: &GlobalOptions,
    options: &UnlockOptions,
    engine: &Patient<Api>,
    project: &ProjectName,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let mut agreed_before = false;
    loop {
        let holders = lock::holders(engine, project).await?;
        if holders.is_empty() {
            // Parts of a lock may be left all the same.
            if !global.dry_run {
                lock::clear_up(engine, project).await?;
            }
            return say(&format!("{project} is not locked."));
        }
        let held = words(project, &holders);
        if global.dry_run {
            return say(&held);
        }
        // Whoever has taken the lock over while the question was asked is another matter.
        if agreed_before && options.force {
            let hint = format!("If that run is to be stopped, too: {}", by_force(global, options));
            return Err(Failure::new(Kind::Unconfirmed, anyhow!("the lock has changed hands: {held}")).hint(hint));
        }
        if agreed_before {
            console::err("The lock has changed hands, and was not removed.\n");
        }
        console::err(&format!("{held}\n"));
        agree(global, options, cancel).await?;
        if lock::remove(engine, project, &holders).await? {
            return say(&format!("{project} is not locked any more."));
        }
        agreed_before = true;
    }
}

/// Who has to do with a lock that is held.
fn words(project: &ProjectName, holders: &[Owner]) -> String {
    let phrases: Vec<_> = holders.iter().map(Owner::phrase).collect();
    format!("{project} is locked by {}.", phrases.join(", to be replaced by "))
}

fn by_force(global: &GlobalOptions, options: &UnlockOptions) -> String {
    suggestion(global, &options.engine, None).on_engine("unlock", &["--force", &options.project])
}

async fn agree(global: &GlobalOptions, options: &UnlockOptions, cancel: &Cancel) -> Result<(), Failure> {
    if options.force {
        return Ok(());
    }
    let refused = |why: &str| {
        let hint = format!("The lock is still there. Remove it without a question: {}", by_force(global, options));
        Failure::new(Kind::Unconfirmed, anyhow!("{why}")).hint(hint)
    };
    if !ask::is_possible() {
        return Err(refused("there is no terminal to ask on whether to remove the lock"));
    }
    let question = "Remove the lock? If that run is still at work, it stops.".to_owned();
    match ask::confirm(question, cancel).await {
        Ok(Some(true)) => Ok(()),
        Err(ask::Interrupted) => Err(Failure::new(cancel.kind(), anyhow!("interrupted: the lock is still there"))),
        Ok(_) => Err(refused("the lock was not to be removed")),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(console::out(&format!("{}\n", crate::text::escape(text))).context("cannot write what has been done")?)
}
