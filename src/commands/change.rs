//! What `deploy` and `rollback` have in common: they work under the project's lock, and record what has become of it.

use crate::deploy::Deployed;
use crate::deploy::lock::{self, Lock, Owner, Terms};
use crate::deploy::releases::{Book, KEPT, Recorded};

use crate::engine::api::Api;
use crate::engine::patient::Patient;
use crate::error::{Failure, Kind};
use crate::names::ProjectName;
use crate::report::{Event, Reporter};

/// Holds a project's lock while `work` is done. Should somebody else get it meanwhile, the work is dropped.
pub(super) async fn locked(
    engine: &Patient<Api>,
    project: &ProjectName,
    owner: Owner,
    terms: Terms<'_>,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let lock = Lock::acquire(engine, project, owner, terms).await?;
    let outcome = lock.during(work).await.unwrap_or_else(|other| Err(lock::lost(project, other.as_ref())));
    lock.release().await;
    outcome
}

/// What a deployment was for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Purpose {
    /// To have what the files tell, of which so many good releases are kept.
    New {
        /// As the files tell, if they do.
        keep: Option<usize>,
    },
    /// To go back to the release of this number. It forgets none, whatever the old files have said.
    Back(u64),
}

/// Records how a deployment has ended. What is deployed is deployed: if it cannot be recorded, there is a warning.
pub(super) async fn record(
    book: &Book<'_, Patient<Api>>,
    outcome: &Result<Deployed, Failure>,
    purpose: Purpose,
    reporter: &dyn Reporter,
) {
    let (origin, keep) = match purpose {
        Purpose::New { keep } => (None, keep.unwrap_or(KEPT)),
        Purpose::Back(origin) => (Some(origin), usize::MAX),
    };
    let outcome = match outcome {
        Ok(deployed) => Recorded::Good { deployed, origin },
        Err(failure) => match failure.kind {
            Kind::RolledBack => Recorded::Failed,
            Kind::Incomplete => Recorded::Incomplete,
            Kind::Interrupted | Kind::Terminated => Recorded::Interrupted,
            _ => return,
        },
    };
    let known = if keep == 0 { book.all().await } else { book.record(outcome).await };
    let known = match known {
        Ok(known) => known,
        Err(error) => {
            return reporter.report(&Event::Warning(&format!(
                "this release could not be recorded, so that `kerek rollback` will not know of it: {error:#}"
            )));
        }
    };
    if let Err(error) = book.forget(&known, keep).await {
        reporter.report(&Event::Warning(&format!("releases that are too old could not be removed: {error:#}")));
    }
}
