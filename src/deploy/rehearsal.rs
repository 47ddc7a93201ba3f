//! Second thoughts: before anything is changed, Compose is asked what it would do itself.
//!
//! There are settings (`label_file`, for one) which Compose takes into account when it labels a container but not when it
//! is asked for a hash. A service that uses one would look changed forever: so a container that Compose would keep has
//! not changed. And when Compose creates containers it replaces, without being asked, networks whose definition has
//! changed: that has to be known beforehand.

use std::collections::BTreeSet;

use super::followers;
use super::plan::{Options, Plan, Reason, ServicePlan};
use crate::compose::{Compose, Project, Rehearsal};
use crate::engine::Container;
use crate::error::Failure;
use crate::names::ServiceName;

/// Plans, with changes that are none left out of account: their services get the hash that their containers have.
/// Also returns what Compose would do.
pub(super) async fn plan<C: Compose>(
    compose: &C,
    project: &mut Project,
    containers: &[Container],
    options: &mut Options,
) -> Result<(Plan, Rehearsal), Failure> {
    let mut tentative = options.clone();
    let plan = followers::plan(project, containers, &mut tentative)?;
    let rehearsed = worth_asking(&plan, containers, &tentative);
    if rehearsed.is_empty() {
        *options = tentative;
        return Ok((plan, Rehearsal::default()));
    }
    let rehearsal = compose.rehearse(&rehearsed).await?;
    let doubtful = plan.services.iter().filter(|service| is_doubtful(service, project, containers));
    let doubtful: Vec<_> = doubtful.map(|service| &service.service).collect();
    let mut mistaken = false;
    for name in doubtful {
        if let Some(label) = common_label(name, containers, &rehearsal.kept)
            && let Some(service) = project.services.get_mut(name)
        {
            tracing::debug!("Compose would keep the containers of {name}: its hash is {label}");
            label.clone_into(&mut service.config_hash);
            mistaken = true;
        }
    }
    if mistaken {
        return Ok((followers::plan(project, containers, options)?, rehearsal));
    }
    *options = tentative;
    Ok((plan, rehearsal))
}

/// The services that Compose will touch, if there is anything that could go wrong.
fn worth_asking(plan: &Plan, containers: &[Container], options: &Options) -> BTreeSet<ServiceName> {
    // Compose may know another definition of a network than is known here, whatever has differed before.
    let creates = |service: &&ServicePlan| options.definitions_differ || service.creations() > 0;
    if containers.is_empty() {
        return BTreeSet::new();
    }
    plan.services.iter().filter(creates).map(|service| service.service.clone()).collect()
}

/// Whether a service is about to be changed for its hash, and no container proves that the hash is right.
fn is_doubtful(plan: &ServicePlan, project: &Project, containers: &[Container]) -> bool {
    let hash = project.services.get(&plan.service).map(|service| &service.config_hash);
    plan.reasons.iter().any(|reason| matches!(reason, Reason::ConfigChanged { .. }))
        && !of(&plan.service, containers).any(|container| Some(&container.config_hash) == hash)
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
