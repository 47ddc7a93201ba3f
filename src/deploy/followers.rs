//! Services whose containers live in the namespaces of another service's container (`network_mode`, `ipc` or `pid` of
//! `service:…`), or share its volumes (`volumes_from`). When that container goes, what lives in it is cut off, running
//! or not: it has to be replaced as well, and can be created only once its new host is there. When that container is
//! started again, its namespaces are others than before: what lives in them has to be restarted.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::{is_running, is_serving};
use super::make_plan;
use super::plan::{Options, Plan, Slot};
use crate::compose::{Project, Service, order};
use crate::engine::Container;
use crate::error::Failure;
use crate::names::{ContainerId, ServiceName};

/// Plans with followers of services taken into account whose containers go: they change, too, whether they were to be
/// considered or not. `options` are completed accordingly.
pub(super) fn plan(project: &Project, containers: &[Container], options: &mut Options) -> Result<Plan, Failure> {
    loop {
        let plan = make_plan(project, containers, options)?;
        let known = options.bereft.len();
        for (follower, host) in pairs(project).filter(|(_, host)| loses_host(&plan, containers, host)) {
            let living = containers.iter().filter(|container| !container.one_off && container.service == *follower);
            for container in living {
                options.bereft.entry(container.id.clone()).or_insert_with(|| host.clone());
                options.considered.insert(follower.clone());
            }
        }
        // Followers may have followers of their own.
        if options.bereft.len() == known {
            return Ok(plan);
        }
    }
}

/// Whether the container of a service goes that others live in. More or less of the others make no difference to them.
fn loses_host(plan: &Plan, containers: &[Container], host: &ServiceName) -> bool {
    let Some(container) = representative(host, containers) else { return false };
    let parts = plan.services.iter().filter(|part| part.service == *host);
    let going = parts.flat_map(|part| part.slots.iter().filter_map(Slot::old).chain(&part.discarded));
    going.into_iter().any(|id| *id == container.id)
}

/// The services of a plan that have to wait until others of it are through: those that follow them, directly or not,
/// and those that depend on such, directly or not.
pub(super) fn later(project: &Project, plan: &Plan) -> BTreeSet<ServiceName> {
    let changing = |name: &ServiceName| plan.changes(name);
    let followers: BTreeSet<_> = pairs(project)
        .filter(|(follower, host)| changing(follower) && changing(host))
        .map(|(follower, _)| follower.clone())
        .collect();
    if followers.is_empty() {
        return followers;
    }
    let busy: BTreeSet<_> =
        plan.services.iter().filter(|part| !part.slots.is_empty()).map(|part| &part.service).collect();
    let waits = |name: &ServiceName| {
        let reached = order::closure(&project.services, &BTreeSet::from([name.clone()]));
        !reached.is_disjoint(&followers)
    };
    let waiting = busy.iter().filter(|name| waits(name)).map(|name| (*name).clone()).collect();
    // Compose refuses cycles; should there be one all the same, somebody has to begin.
    let begins = |later: &BTreeSet<ServiceName>| busy.iter().any(|name| !later.contains(*name));
    [waiting, followers].into_iter().find(begins).unwrap_or_default()
}

/// Those of the `later` services that cannot be created as long as nothing may be stopped: followers of containers that
/// go, and what depends on such of which there is no container yet.
pub(super) fn uncreatable(
    project: &Project,
    plan: &Plan,
    containers: &[Container],
    later: &BTreeSet<ServiceName>,
) -> BTreeSet<ServiceName> {
    let mut without: BTreeSet<ServiceName> = BTreeSet::new();
    loop {
        let is_without = |host: &ServiceName| loses_host(plan, containers, host) || without.contains(host);
        let more: Vec<_> = pairs(project)
            .filter(|(follower, host)| later.contains(*follower) && !without.contains(*follower) && is_without(host))
            .map(|(follower, _)| follower.clone())
            .collect();
        if more.is_empty() {
            break;
        }
        without.extend(more);
    }
    let missing: BTreeSet<_> =
        without.iter().filter(|name| representative(name, containers).is_none()).cloned().collect();
    let depends =
        |name: &ServiceName| !order::closure(&project.services, &BTreeSet::from([name.clone()])).is_disjoint(&missing);
    without.extend(later.iter().filter(|name| depends(name)).cloned());
    without
}

/// Containers that run in namespaces which are not there any more. What has ended, or was stopped, lacks nothing.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CutOff {
    /// Their hosts were started again: the containers, by service.
    pub(super) restarted: BTreeMap<ServiceName, BTreeSet<ContainerId>>,
    /// Their hosts were replaced: the services, and whom they follow.
    pub(super) replaced: BTreeMap<ServiceName, ServiceName>,
}

/// Finds containers that were cut off by what has been done since the containers were as they were `before`.
pub(super) fn cut_off(project: &Project, before: &[Container], now: &[Container]) -> CutOff {
    let mut cut_off = CutOff::default();
    for (follower, service) in &project.services {
        for host in hosts(service) {
            let (Some(then), Some(today)) = (representative(host, before), representative(host, now)) else { continue };
            if !is_serving(today) || (&then.id, then.started) == (&today.id, today.started) {
                continue;
            }
            let left = running(follower, now).filter(|it| is_outlived(it, today)).map(|it| it.id.clone());
            let left: BTreeSet<_> = left.collect();
            if left.is_empty() {
                continue;
            }
            if then.id == today.id {
                cut_off.restarted.entry(follower.clone()).or_default().extend(left);
            } else {
                cut_off.replaced.insert(follower.clone(), host.clone());
            }
        }
    }
    let CutOff { restarted, replaced } = &mut cut_off;
    restarted.retain(|follower, _| !replaced.contains_key(follower));
    // Followers may have followers of their own, which are cut off when these are restarted.
    loop {
        let joins = |service: &Service| hosts(service).any(|host| restarted.contains_key(host));
        let is_known = |name: &ServiceName| restarted.contains_key(name) || replaced.contains_key(name);
        let mut next = project.services.iter().filter(|(name, service)| joins(service) && !is_known(name));
        let Some((follower, _)) = next.find(|(name, _)| running(name, now).next().is_some()) else { return cut_off };
        restarted.insert(follower.clone(), running(follower, now).map(|it| it.id.clone()).collect());
    }
}

/// The containers of a service that are at work.
fn running<'a>(name: &'a ServiceName, containers: &'a [Container]) -> impl Iterator<Item = &'a Container> {
    containers.iter().filter(move |it| !it.one_off && it.service == *name && is_running(it))
}

/// Whether a container lives in namespaces which are gone, going by when it and its host were started.
pub(super) fn is_cut_off(services: &BTreeMap<ServiceName, Service>, it: &Container, containers: &[Container]) -> bool {
    let hosts = services.get(&it.service).into_iter().flat_map(hosts);
    hosts.filter_map(|host| representative(host, containers)).any(|host| is_serving(host) && is_outlived(it, host))
}

/// Whether a container was started before its host last was, so that it lives in namespaces which are gone.
pub(super) fn is_outlived(follower: &Container, host: &Container) -> bool {
    matches!((follower.started, host.started), (Some(follower), Some(host)) if follower < host)
}

/// The services in whose namespaces a service's containers live.
pub(super) fn hosts(service: &Service) -> impl Iterator<Item = &ServiceName> {
    service.joins.iter().filter(|(key, _)| **key != "volumes_from").flat_map(|(_, hosts)| hosts)
}

/// The container that a service stands for where another service joins it: the one that Compose chooses, too.
pub(super) fn representative<'a>(name: &ServiceName, containers: &'a [Container]) -> Option<&'a Container> {
    let own = containers.iter().filter(|container| !container.one_off && container.service == *name);
    own.min_by_key(|container| (!is_serving(container), &container.name))
}

/// Each service that follows another, with that other one.
fn pairs(project: &Project) -> impl Iterator<Item = (&ServiceName, &ServiceName)> {
    project.services.iter().flat_map(|(name, service)| service.joins.values().flatten().map(move |host| (name, host)))
}
