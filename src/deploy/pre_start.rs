//! `pre_start` hooks: before the first new container of a service starts, each runs to its end in a container of its own.
//!
//! They run once for all replicas, and not at all where a container of the wanted configuration is at work already: then
//! they have run for it. Compose makes and starts the containers, kerek waits for their end and removes them, whatever
//! becomes of them. Output is shown of those that fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{self, LocalBoxFuture};
use tokio::time::sleep;

use super::condition::is_serving;
use super::evidence::{self, Culprit};
use super::exchange::{Context, Failed};
use super::plan::{ServicePlan, Successor};
use crate::compose::delivered::Delivered;
use crate::compose::pre_start::PreStart;
use crate::compose::{Compose, HookRun};
use crate::engine::{self, Container, Engine, ErrorKind, State};
use crate::error::Failure;
use crate::names::{ContainerId, ServiceName};
use crate::report::{Event, Step};

/// How often a hook is looked at even if no event came.
const LOOK: Duration = Duration::from_millis(500);

/// Starts containers of hooks.
pub(super) trait Launch: fmt::Debug {
    /// Has a hook's container made and started, under a name of its own, with the volumes of a container of the service.
    fn launch<'a>(
        &'a self,
        service: &'a ServiceName,
        hook: &'a PreStart,
        name: String,
        volumes_of: &'a ContainerId,
    ) -> LocalBoxFuture<'a, Result<ContainerId, Failure>>;
}

/// Has Compose start them.
pub(super) struct Launcher<'a, C> {
    pub(super) compose: &'a C,
    pub(super) delivered: &'a Delivered,
}

impl<C> fmt::Debug for Launcher<'_, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Launcher")
    }
}

impl<C: Compose> Launch for Launcher<'_, C> {
    fn launch<'a>(
        &'a self,
        service: &'a ServiceName,
        hook: &'a PreStart,
        name: String,
        volumes_of: &'a ContainerId,
    ) -> LocalBoxFuture<'a, Result<ContainerId, Failure>> {
        let Self { compose, delivered } = self;
        async move { compose.run_hook(&HookRun { service, hook, name: &name, volumes_of, delivered }).await }
            .boxed_local()
    }
}

/// Removes the hooks' containers that Compose has made with others, for a start of its own.
pub(super) async fn sweep<E: Engine>(engine: &E, before: &[Container], after: &[Container]) -> engine::Result<()> {
    let known: BTreeSet<_> = before.iter().map(|container| &container.id).collect();
    let new = after
        .iter()
        .filter(|it| it.runs_hook && it.state == State::Created && !known.contains(&it.id))
        .map(|container| engine.remove(&container.id, true));
    future::try_join_all(new).await?;
    Ok(())
}

/// Runs a service's hooks, if this is the time.
pub(super) async fn run<E: Engine>(
    context: &Context<'_, E>,
    plan: &ServicePlan,
    containers: &BTreeMap<&ContainerId, &Container>,
) -> Result<(), Failed> {
    let Some(service) = context.services.get(&plan.service) else { return Ok(()) };
    let hooks = &service.hooks.pre_start;
    if hooks.is_empty() {
        return Ok(());
    }
    // What a run has left behind that was cut off, or Compose.
    let present = context.engine.containers(context.project).await.map_err(Failed::Undone)?;
    let left = present.iter().filter(|it| it.runs_hook && it.service == plan.service);
    let removals = left.map(|container| context.engine.remove(&container.id, true));
    future::try_join_all(removals).await.map_err(Failed::Undone)?;
    let Some(first) = first_to_start(plan, containers) else { return Ok(()) };
    for (index, hook) in hooks.iter().enumerate() {
        let key = format!("pre_start[{index}]");
        // As Compose calls them.
        let name = format!("{}-{}-pre_start-{index}", context.project, plan.service);
        let run = Run { context, service: &plan.service, key: &key, name: &name };
        run.run(hook, first).await?;
    }
    Ok(())
}

/// The container that is the first to start, by number, if none that the plan leaves or finds at work is like it.
fn first_to_start<'a>(
    plan: &ServicePlan,
    containers: &BTreeMap<&ContainerId, &'a Container>,
) -> Option<&'a ContainerId> {
    if !plan.kept.is_empty() {
        return None;
    }
    let successors = plan.slots.iter().filter_map(|slot| match slot.successor() {
        Some(Successor::Adopted(id)) => containers.get(id).copied(),
        Some(Successor::Created) | None => None,
    });
    let mut successors: Vec<_> = successors.collect();
    if successors.iter().any(|container| is_serving(container)) {
        return None;
    }
    successors.sort_by_key(|container| (container.number, &container.id));
    successors.first().map(|container| &container.id)
}

/// One hook.
struct Run<'a, E> {
    context: &'a Context<'a, E>,
    service: &'a ServiceName,
    /// Which, such as `pre_start[0]`.
    key: &'a str,
    /// Its container's name.
    name: &'a str,
}

impl<E: Engine> Run<'_, E> {
    async fn run(&self, hook: &PreStart, volumes_of: &ContainerId) -> Result<(), Failed> {
        let engine = self.context.engine;
        self.step(Step::Hook { hook: self.key });
        let launched = self.context.launcher.launch(self.service, hook, self.name.to_owned(), volumes_of).await;
        let id = match launched {
            Ok(id) => id,
            Err(failure) => {
                self.remove_by_name().await;
                return Err(match self.context.cancel.reason() {
                    Some(_) => Failed::Cancelled,
                    None => Failed::Unfit(format!("could not run its hook {}: {failure}", self.key)),
                });
            }
        };
        let ended = self.end(&id).await;
        if let Ok(code) = ended
            && code != 0
        {
            self.step(Step::HookFailed { hook: self.key, code });
            let culprit = Culprit { service: self.service, id: &id, name: self.name };
            evidence::show(engine, self.context.reporter, culprit, "").await;
        }
        if let Err(error) = engine.remove(&id, true).await {
            self.context.reporter.report(&Event::Warning(&error.to_string()));
        }
        match ended? {
            0 => Ok(()),
            code => Err(Failed::Unfit(format!("failed in its hook {} with code {code}", self.key))),
        }
    }

    /// Waits until a hook's container has ended. Returns its exit code.
    async fn end(&self, id: &ContainerId) -> Result<i64, Failed> {
        let mut events = self.context.hub.subscribe(id);
        loop {
            match self.context.engine.container(id).await {
                Ok(Some(container)) => match container.state {
                    State::Exited { code, .. } => return Ok(code),
                    State::Dead => return Err(self.vanished()),
                    _ => {}
                },
                Ok(None) => return Err(self.vanished()),
                Err(error) if error.kind == ErrorKind::Refused => return Err(Failed::Unfit(error.to_string())),
                Err(error) => return Err(Failed::Undone(error)),
            }
            tokio::select! {
                () = events.changed() => {}
                () = sleep(LOOK) => {}
                () = self.context.cancel.requested() => return Err(Failed::Cancelled),
            }
        }
    }

    fn vanished(&self) -> Failed {
        Failed::Unfit(format!("lost its hook {}: somebody removed its container", self.key))
    }

    /// Compose may have made a container before it failed, or was interrupted.
    async fn remove_by_name(&self) {
        let Ok(present) = self.context.engine.containers(self.context.project).await else { return };
        for container in present.iter().filter(|container| container.runs_hook && container.name == self.name) {
            if let Err(error) = self.context.engine.remove(&container.id, true).await {
                self.context.reporter.report(&Event::Warning(&error.to_string()));
            }
        }
    }

    fn step(&self, step: Step<'_>) {
        self.context.reporter.report(&Event::Step { service: self.service, container: self.name, step });
    }
}
