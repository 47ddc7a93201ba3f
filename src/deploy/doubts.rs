//! Second thoughts on config hashes that differ.
//!
//! There are settings (`label_file`, for one) which Compose takes into account when it labels a container but not when it
//! is asked for a hash. A service that uses one would look changed forever. So before anything is called a change of
//! configuration, Compose is asked what it would do itself: a container that it would keep has not changed.

use std::collections::BTreeSet;

use super::followers;
use super::plan::{Options, Plan, Reason, ServicePlan};
use crate::compose::{Compose, Project};
use crate::engine::Container;
use crate::error::Failure;
use crate::names::ServiceName;

/// Plans, with changes that are none left out of account: their services get the hash that their containers have.
pub(super) async fn plan<C: Compose>(
    compose: &C,
    project: &mut Project,
    containers: &[Container],
    options: &mut Options,
) -> Result<Plan, Failure> {
    let mut tentative = options.clone();
    let plan = followers::plan(project, containers, &mut tentative)?;
    let doubtful: BTreeSet<_> = plan
        .services
        .iter()
        .filter(|service| is_doubtful(service, project, containers))
        .map(|service| service.service.clone())
        .collect();
    let mut mistaken = false;
    if !doubtful.is_empty() {
        let kept = compose.kept(&doubtful).await?;
        for name in &doubtful {
            let Some(label) = common_label(name, containers, &kept) else { continue };
            tracing::debug!("Compose would keep the containers of {name}: its hash is {label}");
            if let Some(service) = project.services.get_mut(name) {
                label.clone_into(&mut service.config_hash);
                mistaken = true;
            }
        }
    }
    if !mistaken {
        *options = tentative;
        return Ok(plan);
    }
    followers::plan(project, containers, options)
}

/// Whether a service is about to be changed for its hash, and no container proves that the hash is right.
fn is_doubtful(plan: &ServicePlan, project: &Project, containers: &[Container]) -> bool {
    plan.reasons.iter().any(|reason| matches!(reason, Reason::ConfigChanged { .. }))
        && !of(&plan.service, containers).any(|container| {
            Some(&container.config_hash) == project.services.get(&plan.service).map(|it| &it.config_hash)
        })
}

/// The hash that all containers of a service have, if all of them would be kept.
fn common_label<'a>(name: &ServiceName, containers: &'a [Container], kept: &BTreeSet<String>) -> Option<&'a str> {
    let first = of(name, containers).next()?;
    of(name, containers)
        .all(|container| kept.contains(&container.name) && container.config_hash == first.config_hash)
        .then_some(&first.config_hash)
}

fn of<'a>(name: &ServiceName, containers: &'a [Container]) -> impl Iterator<Item = &'a Container> {
    containers.iter().filter(move |container| !container.one_off && container.service == *name)
}
