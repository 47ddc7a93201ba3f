//! What a service asks of those it depends on (`depends_on`): before anything of it is started, the conditions have to
//! hold, also those on services that this run leaves as they are.
//!
//! [`judge`] is the verdict on one observation, a pure function; [`wait`] observes until there is a final one.

use std::time::Duration;

use futures_util::future;
use tokio::time::{Instant, sleep};

use super::evidence::{self, Culprit};
use super::exchange::{Context, Failed};
use super::ready::{self, SETTLE};
use crate::compose::duration;
use crate::compose::order::{Condition, Dependency};
use crate::engine::{self, Container, Engine, Health, State};
use crate::names::ServiceName;
use crate::report::Event;

/// How often dependencies are looked at.
const LOOK: Duration = Duration::from_millis(500);

/// The verdict on a dependency at one moment.
#[derive(Debug, Eq, PartialEq)]
enum Verdict {
    Holds,
    Waiting,
    Broken(Fault),
}

/// Why a condition does not hold.
#[derive(Debug, Eq, PartialEq)]
struct Fault {
    /// In words, to be read after "depends on".
    reason: String,
    /// The container to blame, if there is one: its name and position.
    container: Option<usize>,
}

/// Why there is nothing to wait for any more.
enum Unmet {
    Fault(Fault, Vec<Container>),
    Cancelled,
    Engine(engine::Error),
}

/// Waits until all that a service depends on is as it asks for. Services it can do without are only warned about.
pub(super) async fn wait<E: Engine>(context: &Context<'_, E>, name: &ServiceName) -> Result<(), Failed> {
    let Some(service) = context.services.get(name) else { return Ok(()) };
    let awaited = service.depends_on.iter().filter(|(other, _)| context.awaited.is_none_or(|all| all.contains(*other)));
    let waits = awaited.map(|(other, dependency)| hold(context, name, other, *dependency));
    future::try_join_all(waits).await?;
    Ok(())
}

async fn hold<E: Engine>(
    context: &Context<'_, E>,
    name: &ServiceName,
    other: &ServiceName,
    dependency: Dependency,
) -> Result<(), Failed> {
    let Some(service) = context.services.get(other) else {
        // Compose has refused the files if it is needed.
        let note = format!("{name} goes on without {other}, which it can do without and which is not enabled");
        context.reporter.report(&Event::Note(&note));
        return Ok(());
    };
    // The order of services sees to it that it was started. As with Compose, nobody waits for a service without replicas.
    if dependency.condition == Condition::Started || service.replicas == Some(0) {
        return Ok(());
    }
    // What serves of it is of an old version, or unfit.
    if dependency.optional && context.failed.borrow().contains(other) {
        return Ok(());
    }
    let (fault, containers) = match until_final(context, other, dependency.condition).await {
        Ok(()) => return Ok(()),
        Err(Unmet::Cancelled) => return Err(Failed::Cancelled),
        Err(Unmet::Engine(error)) => return Err(Failed::Undone(error)),
        Err(Unmet::Fault(fault, containers)) => (fault, containers),
    };
    if dependency.optional {
        let warning = format!("{name} can do without {}", fault.reason);
        context.reporter.report(&Event::Warning(&warning));
        return Ok(());
    }
    if let Some(container) = fault.container.and_then(|index| containers.get(index)) {
        let culprit = Culprit { service: other, id: &container.id, name: &container.name };
        evidence::show(context.engine, context.reporter, culprit, &fault.reason).await;
    }
    Err(Failed::Unmet(format!("it depends on {}", fault.reason)))
}

/// Observes a service until a condition on it holds, or cannot hold any more.
async fn until_final<E: Engine>(
    context: &Context<'_, E>,
    other: &ServiceName,
    condition: Condition,
) -> Result<(), Unmet> {
    let begin = Instant::now();
    loop {
        let mut containers = context.engine.containers(context.project).await.map_err(Unmet::Engine)?;
        containers.retain(|it| !it.one_off && it.service == *other && it.state != State::Created);
        containers.retain(|it| !context.aside.borrow().contains(&it.id));
        containers.sort_by_key(|container| (container.number, container.id.clone()));
        match judge(other, condition, &containers) {
            Verdict::Holds => return Ok(()),
            Verdict::Broken(fault) => return Err(Unmet::Fault(fault, containers)),
            Verdict::Waiting => {}
        }
        if let Some(limit) = deadline(context.wait_timeout, condition, &containers)
            && begin.elapsed() >= limit
        {
            let what = match condition {
                Condition::Completed => "has not done its work",
                Condition::Started | Condition::Healthy => "is not healthy",
            };
            let reason = format!("{other}, which {what} after {}", duration::format(limit));
            return Err(Unmet::Fault(Fault { reason, container: Some(0) }, containers));
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = context.cancel.requested() => return Err(Unmet::Cancelled),
        }
    }
}

/// The longest to wait: as asked for, else what healthchecks allow for. Work takes the time it takes.
fn deadline(asked: Option<Duration>, condition: Condition, containers: &[Container]) -> Option<Duration> {
    match condition {
        Condition::Completed => asked,
        Condition::Started | Condition::Healthy => {
            containers.iter().map(|container| ready::deadline(container, asked, SETTLE)).max()
        }
    }
}

/// Judges a service by its containers that were ever started.
fn judge(other: &ServiceName, condition: Condition, containers: &[Container]) -> Verdict {
    if containers.is_empty() {
        return Verdict::Broken(Fault { reason: format!("{other}, which has no container"), container: None });
    }
    let mut verdict = Verdict::Holds;
    for (index, container) in containers.iter().enumerate() {
        let holds = match condition {
            Condition::Started => Ok(true),
            Condition::Healthy => is_healthy(container),
            Condition::Completed => has_completed(container),
        };
        match holds {
            Ok(true) => {}
            Ok(false) => verdict = Verdict::Waiting,
            Err(state) => {
                let reason = format!("{other}, whose container {} {state}", container.name);
                return Verdict::Broken(Fault { reason, container: Some(index) });
            }
        }
    }
    verdict
}

/// Whether a container is healthy, or why it will not be.
fn is_healthy(container: &Container) -> Result<bool, String> {
    match (container.state, container.health) {
        (State::Exited { code, .. }, _) => Err(format!("exited with code {code}")),
        (State::Dead, _) => Err("is being removed".to_owned()),
        (_, Some(Health::Unhealthy)) => Err("is unhealthy".to_owned()),
        (State::Running, Some(Health::Healthy)) => Ok(true),
        (State::Running, None) => Err("has no healthcheck".to_owned()),
        _ => Ok(false),
    }
}

/// Whether a container has done its work, or why it will not.
fn has_completed(container: &Container) -> Result<bool, String> {
    match container.state {
        State::Exited { code: 0, .. } => Ok(true),
        State::Exited { code, .. } => Err(format!("did not complete but exited with code {code}")),
        State::Dead => Err("is being removed".to_owned()),
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(condition: Condition, states: &[(State, Option<Health>)]) -> Result<bool, String> {
        let containers: Vec<_> = states
            .iter()
            .map(|&(state, health)| Container { state, health, name: "shop-db-1".into(), ..Container::example() })
            .collect();
        match judge(&ServiceName::new("db"), condition, &containers) {
            Verdict::Holds => Ok(true),
            Verdict::Waiting => Ok(false),
            Verdict::Broken(fault) => Err(fault.reason),
        }
    }

    const fn exited(code: i64) -> (State, Option<Health>) {
        (State::Exited { code, out_of_memory: false }, None)
    }

    #[test]
    fn health_is_asked_of_all_containers() {
        let running = |health| (State::Running, health);
        let healthy = running(Some(Health::Healthy));
        let verdict = |states: &[_]| verdict(Condition::Healthy, states);
        assert_eq!(verdict(&[healthy, healthy]), Ok(true));
        assert_eq!(verdict(&[healthy, running(Some(Health::Starting))]), Ok(false));
        let fault = |state: &str| Err(format!("db, whose container shop-db-1 {state}"));
        assert_eq!(
            verdict(&[running(Some(Health::Starting)), running(Some(Health::Unhealthy))]),
            fault("is unhealthy")
        );
        assert_eq!(verdict(&[running(None)]), fault("has no healthcheck"));
        assert_eq!(verdict(&[exited(3)]), fault("exited with code 3"));
        assert_eq!(verdict(&[]), Err("db, which has no container".to_owned()));
    }

    #[test]
    fn work_is_done_when_all_have_ended_well() {
        let verdict = |states: &[_]| verdict(Condition::Completed, states);
        assert_eq!(verdict(&[exited(0), exited(0)]), Ok(true));
        assert_eq!(verdict(&[exited(0), (State::Running, None)]), Ok(false));
        let fault = "db, whose container shop-db-1 did not complete but exited with code 7";
        assert_eq!(verdict(&[exited(0), exited(7)]), Err(fault.to_owned()));
    }

    #[test]
    fn work_has_no_limit_but_the_one_asked_for() {
        let containers = [Container::example()];
        assert_eq!(deadline(None, Condition::Completed, &containers), None);
        assert_eq!(deadline(Some(LOOK), Condition::Completed, &containers), Some(LOOK));
        let implied = ready::deadline(&containers[0], None, SETTLE);
        assert_eq!(deadline(None, Condition::Healthy, &containers), Some(implied));
    }
}
