//! Services that depend on others by `restart: true`, or live in their namespaces: when a dependency's containers are
//! replaced or restarted, they get a new beginning as well.
//!
//! Where old and new container may run side by side, the containers are replaced, which loses no request; elsewhere
//! they are restarted, as Compose does. A run may have been cut off between the dependency and its dependents:
//! containers that were started before all of the dependency's were even created show that there is something to make
//! up for, and so do those that were started before the container whose namespaces they live in.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::is_serving;
use super::followers;
use super::plan::{Plan, Reason, ServicePlan, Slot, Successor};
use crate::compose::{Order, Service};
use crate::engine::{Container, State};
use crate::names::{ContainerId, ServiceName};

/// The running containers of a service that need a new beginning, and the dependency for whose sake. `renewed` are
/// the services whose containers are about to be replaced or restarted, `going` the containers that are about to go.
pub(super) fn disturbed(
    service: &Service,
    containers: &[&Container],
    observed: &[Container],
    renewed: &BTreeSet<&ServiceName>,
    going: &BTreeSet<ContainerId>,
) -> BTreeMap<ContainerId, ServiceName> {
    let mut disturbed = BTreeMap::new();
    let hosts: BTreeSet<_> = followers::hosts(service).collect();
    let by_wish = service.depends_on.iter().filter(|(_, dependency)| dependency.restart).map(|(name, _)| name);
    for name in by_wish.chain(hosts.iter().copied()).collect::<BTreeSet<_>>() {
        let host = hosts.get(name).and_then(|name| followers::representative(name, observed));
        let host = host.filter(|host| is_serving(host) && !going.contains(&host.id));
        // What was added later, by scaling up, has disturbed nobody.
        let staying = observed.iter().filter(|it| !it.one_off && it.service == *name && !going.contains(&it.id));
        // A job's containers have done their work.
        let is_done = |container: &Container| matches!(container.state, State::Exited { code: 0, .. });
        let at_work = staying.filter(|container| is_serving(container) || is_done(container));
        let oldest = at_work.map(|container| container.created).min().flatten();
        for container in containers.iter().filter(|container| is_serving(container)) {
            let missed_it = matches!((container.started, oldest), (Some(started), Some(created)) if started < created);
            let is_outlived = host.is_some_and(|host| followers::is_outlived(container, host));
            if missed_it || is_outlived || renewed.contains(name) {
                disturbed.entry(container.id.clone()).or_insert_with(|| name.clone());
            }
        }
    }
    disturbed
}

/// Whether a service's containers are replaced rather than restarted.
pub(super) fn replaces(service: &Service) -> bool {
    service.update.order == Order::StartFirst && service.exclusive.is_empty()
}

/// Has containers that a service's plan keeps restarted where they need it. What changes for another reason gets its
/// new beginning anyway.
pub(super) fn restart(plan: &mut ServicePlan, disturbed: &BTreeMap<ContainerId, ServiceName>) {
    let (restarted, kept): (Vec<_>, Vec<_>) =
        std::mem::take(&mut plan.kept).into_iter().partition(|id| disturbed.contains_key(id));
    plan.kept = kept;
    for id in restarted {
        let reason = Reason::DependencyReplaced { service: disturbed[&id].clone() };
        if !plan.reasons.contains(&reason) {
            plan.reasons.push(reason);
        }
        plan.slots.push(Slot::Restart(id));
    }
}

impl Plan {
    /// Whether nothing but restarts happens to a service, or nothing at all.
    pub(super) fn keeps_containers_of(&self, name: &ServiceName) -> bool {
        let slots = self.services.iter().filter(|service| service.service == *name).flat_map(|service| &service.slots);
        slots.into_iter().all(|slot| matches!(slot, Slot::Restart(_)))
    }
}

/// Containers that need a new beginning and have none yet, but were not through anyway: they are to be replaced.
pub(super) fn unfinished(
    plan: &ServicePlan,
    disturbed: &BTreeMap<ContainerId, ServiceName>,
) -> BTreeMap<ContainerId, ServiceName> {
    let adopted = plan.slots.iter().filter_map(|slot| match slot.successor() {
        Some(Successor::Adopted(id)) => disturbed.get_key_value(id),
        Some(Successor::Created) | None => None,
    });
    adopted.map(|(id, dependency)| (id.clone(), dependency.clone())).collect()
}

/// Whether containers of a service are replaced or restarted, or it gets none but new ones; to make more or less of them
/// disturbs nobody.
pub(super) fn is_renewed(plan: &ServicePlan) -> bool {
    plan.slots.iter().any(|slot| match slot {
        Slot::Replace(..) | Slot::Restart(_) => true,
        Slot::Add(_) => plan.kept.is_empty(),
        Slot::Remove(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::compose::order::Dependency;

    fn container(id: &str, service: &str, created: u64, started: u64) -> Container {
        let time = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        Container {
            id: ContainerId::new(id),
            service: ServiceName::new(service),
            created: time(created),
            started: time(started),
            ..Container::example()
        }
    }

    fn disturbed_ids(observed: &[Container], renewed: &[&ServiceName]) -> Vec<String> {
        let dependency = Dependency { restart: true, ..Dependency::default() };
        let depends_on = [(ServiceName::new("db"), dependency)].into();
        let service = Service { depends_on, ..Service::example() };
        let ours: Vec<_> = observed.iter().filter(|container| container.service.as_str() == "web").collect();
        let renewed = renewed.iter().copied().collect();
        let going = BTreeSet::from([ContainerId::new("gone")]);
        disturbed(&service, &ours, observed, &renewed, &going).keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_runs_is_disturbed_by_a_new_dependency() {
        let observed = [container("db", "db", 1, 2), container("web", "web", 1, 3)];
        assert!(disturbed_ids(&observed, &[]).is_empty());
        assert_eq!(disturbed_ids(&observed, &[&ServiceName::new("db")]), ["web"]);
    }

    #[test]
    fn a_run_that_was_cut_off_is_made_up_for() {
        let observed = [
            container("gone", "db", 1, 1),
            container("db", "db", 5, 6),
            container("a", "web", 1, 3),
            container("b", "web", 1, 7),
        ];
        assert_eq!(disturbed_ids(&observed, &[]), ["a"]);
    }

    #[test]
    fn scaling_up_disturbs_nobody() {
        let observed = [container("db1", "db", 1, 9), container("db2", "db", 5, 6), container("web", "web", 1, 3)];
        assert!(disturbed_ids(&observed, &[]).is_empty());
    }
}
