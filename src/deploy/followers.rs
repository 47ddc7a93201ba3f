//! Services whose containers live in the namespaces of another service's container (`network_mode`, `ipc` or `pid` of
//! `service:…`). When that container goes, what lives in it is cut off, running or not: it has to be replaced as well,
//! and can be created only once its new host is there.

use std::collections::BTreeSet;

use super::make_plan;
use super::plan::{Options, Plan};
use crate::compose::Project;
use crate::engine::Container;
use crate::error::Failure;
use crate::names::ServiceName;

/// Plans with followers of changing services taken into account: they change, too, whether they were to be considered or
/// not. `options` are completed accordingly.
pub(super) fn plan(project: &Project, containers: &[Container], options: &mut Options) -> Result<Plan, Failure> {
    loop {
        let plan = make_plan(project, containers, options)?;
        let known = options.bereft.len();
        for (follower, host) in pairs(project).filter(|(_, host)| plan.changes(host)) {
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

/// The services of a plan that have to wait until others of it are through, since they follow them, directly or not.
pub(super) fn later(project: &Project, plan: &Plan) -> BTreeSet<ServiceName> {
    let changing = |name: &ServiceName| plan.changes(name);
    pairs(project)
        .filter(|(follower, host)| changing(follower) && changing(host))
        .map(|(follower, _)| follower.clone())
        .collect()
}

/// Each service that follows another, with that other one.
fn pairs(project: &Project) -> impl Iterator<Item = (&ServiceName, &ServiceName)> {
    project.services.iter().flat_map(|(name, service)| service.joins.values().flatten().map(move |host| (name, host)))
}
