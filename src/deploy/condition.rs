//! What a container is to its service at the moment it is observed: serving or not, published or not, as wanted or not.
//!
//! Pure functions of one observation; the planner and the executor share them so that they never disagree.

use std::collections::BTreeSet;

use super::plan::Reason;
use crate::compose::Service;
use crate::engine::{Container, Health, State};
use crate::names::ContainerId;

/// A service's containers by what can be made of them, each group in order of number.
pub(super) struct Sorted<'a> {
    /// As wanted and at work.
    pub(super) good: Vec<&'a Container>,
    /// As wanted, but not proven or not published yet.
    pub(super) unfinished: Vec<&'a Container>,
    /// Created from another configuration and never started.
    pub(super) discarded: Vec<&'a Container>,
    /// Everything else.
    pub(super) outdated: Vec<&'a Container>,
}

impl<'a> Sorted<'a> {
    pub(super) fn sort(service: &Service, containers: &[&'a Container], forced: &BTreeSet<ContainerId>) -> Self {
        let mut sorted = Self { good: Vec::new(), unfinished: Vec::new(), discarded: Vec::new(), outdated: Vec::new() };
        let mut starting = Vec::new();
        let is_current =
            |container: &Container| !forced.contains(&container.id) && container.config_hash == service.config_hash;
        // A stopped container may look like one that has done its work. Where a service has any other container, it is
        // taken to be a stopped one: better done twice than not running.
        let all_done = containers.iter().all(|container| is_current(container) && has_completed(service, container));
        for &container in containers {
            let current = is_current(container);
            match container.state {
                // One that was cut off its networks cannot be told how to be connected again.
                State::Created if current && is_attached(service, container) => sorted.unfinished.push(container),
                State::Created => sorted.discarded.push(container),
                State::Exited { .. } if all_done => sorted.good.push(container),
                State::Running
                    if current && container.health != Some(Health::Unhealthy) && is_attached(service, container) =>
                {
                    if !is_published(service, container) {
                        sorted.unfinished.push(container);
                    } else if container.health == Some(Health::Starting) {
                        starting.push(container);
                    } else {
                        sorted.good.push(container);
                    }
                }
                _ => sorted.outdated.push(container),
            }
        }
        // A container that is still starting is as good as Compose would take it to be, unless it is to replace others.
        if sorted.outdated.is_empty() && sorted.unfinished.is_empty() {
            sorted.good.extend(starting);
        } else {
            sorted.unfinished.extend(starting);
        }
        // If some are too many, these are not the healthy ones.
        sorted
            .good
            .sort_by_key(|container| (container.health == Some(Health::Starting), container.number, &container.id));
        // The further a container has got, the better.
        sorted.unfinished.sort_by_key(|container| {
            (
                container.state == State::Created,
                container.health != Some(Health::Healthy),
                container.number,
                &container.id,
            )
        });
        sorted
    }

    pub(super) fn reasons(&self, service: &Service, forced: &BTreeSet<ContainerId>) -> Vec<Reason> {
        let mut reasons: BTreeSet<_> = self
            .outdated
            .iter()
            .map(|container| {
                if forced.contains(&container.id) {
                    Reason::Forced
                } else if container.config_hash != service.config_hash {
                    Reason::ConfigChanged { old: container.config_hash.clone(), new: service.config_hash.clone() }
                } else {
                    match (container.state, container.health) {
                        (State::Restarting, _) | (State::Running, Some(Health::Unhealthy)) => Reason::Unhealthy,
                        (State::Running, _) => Reason::Unfinished,
                        _ => Reason::Stopped,
                    }
                }
            })
            .collect();
        if !self.unfinished.is_empty() {
            reasons.insert(Reason::Unfinished);
        }
        reasons.into_iter().collect()
    }
}

/// Whether it does the service's work, as far as anyone can tell.
pub(super) fn is_serving(container: &Container) -> bool {
    container.state == State::Running && container.health != Some(Health::Unhealthy)
}

/// Whether it has done its work, as far as anyone can tell: what has a healthcheck or publishes ports was not meant to
/// end, whatever the files say.
fn has_completed(service: &Service, container: &Container) -> bool {
    matches!(container.state, State::Exited { code: 0, .. })
        && service.may_complete
        && container.restart_policy.can_complete()
        && container.healthcheck.is_none()
        && !container.publishes_ports
}

/// Whether it is on all networks of the service that matter for its DNS names.
fn is_attached(service: &Service, container: &Container) -> bool {
    !can_be_steered(container) || service.aliases.keys().all(|network| container.networks.contains_key(network))
}

/// Whether the service's DNS names lead to it.
pub(super) fn is_published(service: &Service, container: &Container) -> bool {
    !can_be_steered(container)
        || service.aliases.iter().all(|(network, names)| {
            container
                .networks
                .get(network)
                .is_some_and(|attachment| names.iter().all(|name| attachment.aliases.contains(name)))
        })
}

/// Whether a container can leave and join DNS names without harm: connections through published ports would be cut, and
/// on the host's, another container's, no or the default network there are no DNS names.
pub(super) fn can_be_steered(container: &Container) -> bool {
    let mode = container.network_mode.as_str();
    !container.publishes_ports
        && !matches!(mode, "host" | "none" | "bridge" | "default" | "")
        && !mode.starts_with("container:")
}
