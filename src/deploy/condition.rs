//! What a container is to its service at the moment it is observed: serving or not, published or not, as wanted or not.
//!
//! Pure functions of one observation; the planner and the executor share them so that they never disagree.

use std::collections::BTreeSet;

use super::plan::{Options, Reason};
use crate::compose::{Project, Service};
use crate::engine::{Container, Health, State};

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
    /// Sorts the containers of a service. If it `steers`, none is in the service's DNS names before it is proven.
    pub(super) fn sort(service: &Service, containers: &[&'a Container], options: &Options, steers: bool) -> Self {
        let mut sorted = Self { good: Vec::new(), unfinished: Vec::new(), discarded: Vec::new(), outdated: Vec::new() };
        let mut starting = Vec::new();
        let mut unproven = Vec::new();
        let is_current =
            |container: &Container| !options.replaces(&container.id) && container.config_hash == service.config_hash;
        // A stopped container may look like one that has done its work. Where a service has any other container that was
        // ever started, it is taken to be a stopped one: better done twice than not running.
        let all_done = service.may_complete
            && containers
                .iter()
                .filter(|container| container.state != State::Created)
                .all(|container| is_current(container) && has_completed(container));
        for &container in containers {
            let current = is_current(container);
            match container.state {
                // One that was cut off its networks cannot be told how to be connected again.
                State::Created if current && is_attached(service, container) => sorted.unfinished.push(container),
                State::Created => sorted.discarded.push(container),
                State::Exited { .. } if all_done => sorted.good.push(container),
                State::Running if current && !is_sick(container) && is_attached(service, container) => {
                    if !is_published(service, container) {
                        sorted.unfinished.push(container);
                    } else if container.health == Some(Health::Starting) {
                        starting.push(container);
                    } else if container.health.is_none() && !(steers && can_be_steered(container)) {
                        unproven.push(container);
                    } else {
                        sorted.good.push(container);
                    }
                }
                _ => sorted.outdated.push(container),
            }
        }
        // One that was made to replace a container that is gone, or stays, may have volumes of the wrong one.
        let replaceable: BTreeSet<_> = sorted.outdated.iter().map(|container| &container.id).collect();
        let is_misfit = |container: &Container| {
            let replaced = container.replaces.as_ref();
            let misfit = replaced.is_some_and(|old| options.renew_volumes || !replaceable.contains(old));
            container.state == State::Created && misfit
        };
        let (misfits, unfinished) = sorted.unfinished.into_iter().partition(|container| is_misfit(container));
        sorted.unfinished = unfinished;
        sorted.discarded.extend::<Vec<_>>(misfits);
        // A container that is still starting is as good as Compose would take it to be, unless it is to replace others. The
        // same goes for one that may just have been started for all we know.
        let replaces = !sorted.outdated.is_empty();
        let proves = replaces || !sorted.unfinished.is_empty();
        (if proves { &mut sorted.unfinished } else { &mut sorted.good }).extend(starting);
        (if replaces { &mut sorted.unfinished } else { &mut sorted.good }).extend(unproven);
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

    pub(super) fn reasons(&self, service: &Service, options: &Options) -> Vec<Reason> {
        let mut reasons: BTreeSet<_> = self
            .outdated
            .iter()
            .map(|container| {
                if options.forced.contains(&container.id) {
                    Reason::Forced
                } else if let Some(service) = options.bereft.get(&container.id) {
                    Reason::ParentReplaced { service: service.clone() }
                } else if container.config_hash != service.config_hash {
                    Reason::ConfigChanged { old: container.config_hash.clone(), new: service.config_hash.clone() }
                } else if let Some(image) = options.changed_images.get(&container.id).filter(|image| image.wanted) {
                    Reason::ImageChanged { name: image.name.clone(), old: image.old.clone(), new: image.new.clone() }
                } else if let Some(path) = options.changed_files.get(&container.id).and_then(BTreeSet::first) {
                    Reason::FileChanged { path: path.clone() }
                } else if let Some(service) = options.disturbed.get(&container.id) {
                    Reason::DependencyReplaced { service: service.clone() }
                } else {
                    match container.state {
                        _ if is_sick(container) => Reason::Unhealthy,
                        State::Running => Reason::Unfinished,
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

/// Whether it has proven to be bad: it is unhealthy, or was restarted by the engine and has not become healthy since.
fn is_sick(container: &Container) -> bool {
    match (container.state, container.health) {
        (State::Restarting, _) | (State::Running, Some(Health::Unhealthy)) => true,
        (State::Running, Some(Health::Starting)) => container.restarts > 0,
        _ => false,
    }
}

/// Whether it is at work, however unwell it is said to be: a healthcheck may be wrong.
pub(super) fn is_running(container: &Container) -> bool {
    matches!(container.state, State::Running | State::Restarting)
}

/// Whether it does the service's work, as far as anyone can tell.
pub(crate) fn is_serving(container: &Container) -> bool {
    container.state == State::Running && !is_sick(container)
}

/// Whether it has done its work, provided that it is of a service whose containers do so: what has a healthcheck or
/// publishes ports was not meant to end, whatever the files say.
pub(super) fn has_completed(container: &Container) -> bool {
    matches!(container.state, State::Exited { code: 0, .. })
        && container.restart_policy.can_complete()
        && container.healthcheck.is_none()
        && !container.publishes_ports
}

/// Takes the health from containers whose work others wait for: they often have the healthcheck of an image that serves
/// elsewhere, and none is ever healthy that way.
pub(super) fn disregard_health(project: &Project, containers: &mut [Container]) {
    let works = |container: &Container| project.services.get(&container.service).is_some_and(|it| it.must_complete);
    for container in containers.iter_mut().filter(|container| works(container)) {
        (container.health, container.healthcheck) = (None, None);
    }
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
