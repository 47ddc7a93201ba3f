//! What is true after a deployment: waiting for it to be good, and saying how things stand when it is not.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep};

use super::condition::{has_completed, is_running, is_serving};
use super::exchange::Failed;
use super::plan::{Plan, ServicePlan};
use super::roll::Broken;
use super::{Request, followers, ready, verb};
use crate::cancel::Cancel;
use crate::compose::{Project, Service, duration};
use crate::engine::{Container, Engine, ErrorKind, Health, State};
use crate::error::{Failure, Kind};
use crate::names::{ProjectName, ServiceName};

/// How often services are looked at while waiting for them.
const LOOK: Duration = Duration::from_millis(500);

/// What helps where something was begun and is not through.
pub(super) const GO_ON: &str = "Running the same command again goes on from there.";

/// The number of services of which it is said what serves them.
const MOST_STANDS: usize = 4;

impl Broken {
    /// Whether the engine has stopped answering.
    pub(super) fn is_unreachable(&self) -> bool {
        matches!(&self.failed, Failed::Undone(error) | Failed::Unfinished(error) if error.kind == ErrorKind::Unreachable)
    }
}

/// Waits until all containers of the plan's services are running or healthy, or have completed.
pub(super) async fn wait<E: Engine>(
    engine: &E,
    project: &Project,
    plan: &Plan,
    Request { wait_timeout, suggestion, .. }: &Request,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let begin = Instant::now();
    loop {
        let containers = super::containers(engine, project).await?;
        let is_planned = |name: &ServiceName| plan.services.iter().any(|service| service.service == *name);
        let waiting: Vec<_> = containers
            .iter()
            .filter(|container| !container.one_off && is_planned(&container.service) && !is_settled(container))
            .collect();
        if waiting.is_empty() {
            return Ok(());
        }
        if let Some((late, limit)) = overdue(&waiting, *wait_timeout, begin.elapsed()) {
            let name = &late.name;
            let limit = duration::format(limit);
            return Err(Failure::new(Kind::Incomplete, anyhow!("{name} is not running or healthy after {limit}"))
                .hint(format!("Look at what it says: {}", suggestion.of_engine(&["logs", name]))));
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = cancel.requested() => {
                let reason = cancel.reason().unwrap_or(crate::cancel::Reason::Interrupt);
                return Err(Failure::new(reason.kind(), anyhow!("{} while waiting; all is deployed", verb(reason))));
            }
        }
    }
}

/// A container that has been waited for as long as it may take: as asked for, else as its healthcheck allows for.
fn overdue<'a>(
    waiting: &[&'a Container],
    asked: Option<Duration>,
    waited: Duration,
) -> Option<(&'a Container, Duration)> {
    let mut limits = waiting.iter().map(|container| (*container, ready::deadline(container, asked, Duration::ZERO)));
    limits.find(|(_, limit)| waited >= *limit)
}

fn is_settled(container: &Container) -> bool {
    match container.state {
        State::Running => matches!(container.health, None | Some(Health::Healthy)),
        _ => has_completed(container),
    }
}

/// Turns a roll that did not get through into a failure that says what serves now and what to do.
pub(super) async fn explain<E: Engine>(
    engine: &E,
    project: &ProjectName,
    services: &BTreeMap<ServiceName, Service>,
    plan: &Plan,
    broken: Broken,
    cancel: &Cancel,
) -> Failure {
    let unreachable = broken.is_unreachable();
    let Broken { service, failed, rolled_back, untouched } = broken;
    let unchanged_or = |kind| if rolled_back { Kind::RolledBack } else { kind };
    let (kind, error) = match failed {
        Failed::Unfit(reason) => {
            let error = anyhow!("the new version of {service} is not fit: it {}", crate::text::escape(&reason));
            (unchanged_or(Kind::Incomplete), error)
        }
        Failed::Unmet(reason) => {
            (unchanged_or(Kind::Incomplete), anyhow!("{service} was not touched: {}", crate::text::escape(&reason)))
        }
        Failed::Stranded(reason) => {
            let error = anyhow!("{service} could not be put back: {}", crate::text::escape(&reason));
            (Kind::Incomplete, error)
        }
        Failed::Cancelled => {
            let reason = cancel.reason().unwrap_or(crate::cancel::Reason::Interrupt);
            (reason.kind(), anyhow!("{} while updating {service}", verb(reason)))
        }
        Failed::Undone(error) if !unreachable => (unchanged_or(Kind::Incomplete), anyhow::Error::new(error)),
        Failed::Unfinished(error) if !unreachable => (Kind::Incomplete, anyhow::Error::new(error)),
        Failed::Undone(error) | Failed::Unfinished(error) => (Kind::Unreachable, anyhow::Error::new(error)),
    };
    let mut failure = Failure::new(kind, error);
    if unreachable {
        return failure
            .hint("What serves now is unknown. Running the same command again goes on from whatever is there.");
    }
    if let Ok(containers) = engine.containers(project).await {
        let names = std::iter::once(&service).chain(&untouched).take(MOST_STANDS);
        let parts = names.filter_map(|name| plan.services.iter().find(|part| part.service == *name));
        failure = parts.fold(failure, |failure, part| failure.hint(stand(services, part, &containers)));
    }
    if !untouched.is_empty() {
        let names: Vec<_> = untouched.iter().map(ServiceName::as_str).collect();
        failure = failure.hint(format!("Not touched: {}.", names.join(", ")));
    }
    failure.hint(match kind {
        Kind::RolledBack | Kind::Incomplete => {
            format!("Mend {service} and run the same command again; `--dry-run` shows what it would do.")
        }
        _ => GO_ON.to_owned(),
    })
}

/// What serves now, in a sentence.
fn stand(services: &BTreeMap<ServiceName, Service>, part: &ServicePlan, containers: &[Container]) -> String {
    let ours = containers.iter().filter(|container| !container.one_off && container.service == part.service);
    let mut ours: Vec<_> = ours.collect();
    ours.sort_by_key(|container| (container.number, &container.name));
    let is_cut_off = |container: &Container| followers::is_cut_off(services, container, containers);
    let serving = ours.iter().copied().filter(|container| is_serving(container) && !is_cut_off(container));
    let (new, old): (Vec<_>, Vec<_>) = serving.partition(|container| is_new(part, container));
    let service = &part.service;
    if new.is_empty() && old.is_empty() {
        let unwell: Vec<_> = ours.iter().filter(|it| is_running(it)).map(|it| it.name.as_str()).collect();
        if !unwell.is_empty() {
            return format!("Nothing healthy serves {service} now; there is {}.", unwell.join(", "));
        }
        return format!("Nothing serves {service} now.");
    }
    let mut sentence = format!("Now {service} is served by ");
    for (index, (group, version)) in
        [(old, "old"), (new, "new")].into_iter().filter(|(group, _)| !group.is_empty()).enumerate()
    {
        if index > 0 {
            sentence.push_str(" and ");
        }
        let names: Vec<_> = group.iter().map(|container| container.name.as_str()).collect();
        let plural = if names.len() == 1 { "container" } else { "containers" };
        // Writing to a string cannot fail.
        let _ = write!(sentence, "{} {plural} of the {version} version ({})", names.len(), names.join(", "));
    }
    sentence.push('.');
    sentence
}

/// Whether a container is one that the plan brings in or keeps.
fn is_new(part: &ServicePlan, container: &Container) -> bool {
    !part.slots.iter().any(|slot| slot.old() == Some(&container.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Healthcheck;

    #[test]
    fn slow_healthchecks_are_waited_for() {
        let [second, minute] = [Duration::from_secs(1), Duration::from_secs(60)];
        let check = |start_period, retries| {
            let healthcheck = Some(Healthcheck { interval: second, timeout: second, retries, start_period });
            Container { healthcheck, health: Some(Health::Starting), ..Container::example() }
        };
        let (quick, slow) = (check(Duration::ZERO, 3), check(5 * minute, 30));
        let waited = |waiting: &[&Container], asked, waited| overdue(waiting, asked, waited).map(|(_, limit)| limit);
        assert_eq!(waited(&[&slow], None, 5 * minute), None);
        assert_eq!(waited(&[&slow], None, 6 * minute), Some(6 * minute));
        assert_eq!(waited(&[&slow, &quick], None, 59 * second), None);
        assert_eq!(waited(&[&slow, &quick], None, minute), Some(minute));
        assert_eq!(waited(&[&slow], Some(second), second), Some(second));
    }
}
