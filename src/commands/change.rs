//! What `deploy` and `rollback` have in common: they work under the project's lock, and record what has become of it.

use crate::compose::Loaded;
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

/// Records how a deployment has ended. What is deployed is deployed: if it cannot be recorded, there is a warning.
pub(super) async fn record(
    book: &Book<'_, Patient<Api>>,
    loaded: &Loaded,
    outcome: &Result<Deployed, Failure>,
    origin: Option<u64>,
    reporter: &dyn Reporter,
) {
    let outcome = match outcome {
        Ok(deployed) => Recorded::Good { loaded, deployed, origin },
        Err(failure) => match failure.kind {
            Kind::RolledBack => Recorded::Failed,
            Kind::Incomplete | Kind::Interrupted | Kind::Terminated => Recorded::Incomplete,
            _ => return,
        },
    };
    match book.record(outcome, loaded.project.releases.unwrap_or(KEPT)).await {
        Ok(Some(number)) => tracing::debug!("this is release {number}"),
        Ok(None) => {}
        Err(error) => reporter.report(&Event::Warning(&format!(
            "this release could not be recorded, so that `kerek rollback` will not know of it: {error:#}"
        ))),
    }
}
