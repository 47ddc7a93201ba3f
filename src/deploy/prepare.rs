//! Everything that can be done, and can fail, before any running container is touched.
//!
//! Compose creates the new containers; kerek hides those whose service has other containers to serve meanwhile. If
//! anything fails, what was created is removed again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future;
use tokio::time::sleep;

use super::condition::can_be_steered;
use super::plan::Plan;
use super::{Request, images, naming, traffic};
use crate::compose::{Creation, Project, delivered, order};
use crate::engine::{self, Container, Engine, State};
use crate::names::{ProjectName, ServiceName};
use crate::report::{Event, Reporter};

/// How long an engine may take to make a container that nobody waits for any more.
const LATE: Duration = Duration::from_secs(1);
/// How often is looked for such containers, at most.
const LOOKS: usize = 10;

/// Removes containers that never served.
pub(super) async fn discard<E: Engine>(engine: &E, plan: &Plan) -> engine::Result<()> {
    let ids = plan.services.iter().flat_map(|service| &service.discarded);
    future::try_join_all(ids.map(|id| engine.remove(id, true))).await?;
    Ok(())
}

/// What Compose has to create for a plan, given the containers that are there.
///
/// Of services with a fixed name that have a container already, Compose would create no second one: these are created
/// without the name, by themselves.
pub(super) fn creations(project: &Project, plan: &Plan, existing: &[Container], request: &Request) -> Vec<Creation> {
    let additions: BTreeMap<&ServiceName, usize> = plan
        .services
        .iter()
        .map(|service| (&service.service, service.creations()))
        .filter(|&(_, number)| number > 0)
        .collect();
    let discarded: BTreeSet<_> = plan.services.iter().flat_map(|service| &service.discarded).collect();
    let mut counts: BTreeMap<&ServiceName, usize> = BTreeMap::new();
    for container in existing {
        if !container.one_off && !discarded.contains(&container.id) {
            *counts.entry(&container.service).or_default() += 1;
        }
    }
    let is_fixed = |name: &ServiceName| {
        counts.contains_key(name) && project.services.get(name).is_some_and(|service| naming::fixed(service).is_some())
    };
    let (unnamed, named): (BTreeSet<_>, BTreeSet<_>) = additions.keys().map(|name| (*name).clone()).partition(is_fixed);
    let creation = |services: BTreeSet<ServiceName>, unnamed| {
        let no_dependencies = request.no_dependencies || unnamed;
        // Compose scales every service that it comes across, dependencies included, and would remove containers of those
        // it believes to have too many: so each is given the number it has. Others it refuses to hear of.
        let reached = if no_dependencies { services.clone() } else { order::closure(&project.services, &services) };
        let pull = images::policy_of_creation(project, &reached, &request.images);
        let scale = reached
            .into_iter()
            .filter_map(|name| {
                let there = counts.get(&name).copied().unwrap_or_default();
                let more = additions.get(&name).filter(|_| services.contains(&name)).copied().unwrap_or_default();
                (there + more > 0).then(|| (name, u32::try_from(there + more).unwrap_or(u32::MAX)))
            })
            .collect();
        Creation {
            services,
            scale,
            no_dependencies,
            unnamed,
            pull,
            quiet_pull: request.images.quiet_pull,
            no_build: request.images.no_build,
            delivered: delivered::of(project),
        }
    };
    let creations = [(named, false), (unnamed, true)].into_iter().filter(|(services, _)| !services.is_empty());
    creations.map(|(services, unnamed)| creation(services, unnamed)).collect()
}

/// Removes the containers that were not there before, as far as they never ran. Looks until there are no more of them: an
/// engine goes on to make those that a Compose which is gone has asked it for.
pub(super) async fn remove_new<E: Engine>(
    engine: &E,
    project: &ProjectName,
    before: &[Container],
    reporter: &dyn Reporter,
) {
    let mut known: BTreeSet<_> = before.iter().map(|container| container.id.clone()).collect();
    for look in 0..LOOKS {
        if look > 0 {
            sleep(LATE).await;
        }
        let after = match engine.containers(project).await {
            Ok(after) => after,
            Err(error) => {
                let message = format!("{error}; if there are new containers, the next deploy removes them");
                return reporter.report(&Event::Warning(&message));
            }
        };
        let is_new = |container: &&Container| container.state == State::Created && !known.contains(&container.id);
        let ours = after.iter().filter(|container| !container.one_off || container.runs_hook);
        let new: Vec<_> = ours.filter(is_new).map(|container| container.id.clone()).collect();
        if look > 0 && new.is_empty() {
            return;
        }
        for result in future::join_all(new.iter().map(|id| engine.remove(id, true))).await {
            if let Err(error) = result {
                reporter.report(&Event::Warning(&format!("{error}; the next deploy removes it")));
            }
        }
        known.extend(new);
    }
}

/// Keeps containers that are to come in from being found under their service's names before they are ready.
pub(super) async fn hide<E: Engine>(engine: &E, plan: &Plan, containers: &[Container]) -> engine::Result<()> {
    let steering: BTreeSet<_> =
        plan.services.iter().filter(|service| service.steers).map(|service| &service.service).collect();
    let incoming: BTreeSet<_> = plan.adopted().collect();
    let hidden = containers.iter().filter(|container| {
        incoming.contains(&container.id)
            && steering.contains(&container.service)
            && container.state == State::Created
            && can_be_steered(container)
    });
    future::try_join_all(hidden.map(|container| async {
        traffic::reconnect(engine, &container.id, &container.networks, &traffic::withdrawn(container), false).await
    }))
    .await?;
    Ok(())
}
