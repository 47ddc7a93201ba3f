//! New containers become true successors before their first start: those that Compose could not create as they are to be
//! are copied with what they lack (the volumes of their predecessors, the labels that go with a fixed name), and the
//! copies take their places.

use std::collections::BTreeMap;

use futures_util::future;

use super::condition::disregard_health;
use super::plan::{Options, Plan, Slot, Successor};
use super::{naming, volumes};
use crate::compose::Project;
use crate::engine::{self, Container, Engine, State, Variation};
use crate::names::ContainerId;

/// Copies containers as needed. Plan and containers then speak of the copies.
pub(super) async fn settle<E: Engine>(
    engine: &E,
    project: &Project,
    plan: &mut Plan,
    containers: &mut Vec<Container>,
    options: &Options,
) -> engine::Result<()> {
    let variations = variations(project, plan, containers, options);
    let copies = variations.iter().map(|(new, variation)| put_copy(engine, new, variation));
    let copies: BTreeMap<_, _> = future::try_join_all(copies).await?.into_iter().collect();
    for slot in plan.services.iter_mut().flat_map(|service| &mut service.slots) {
        if let Slot::Add(Successor::Adopted(id)) | Slot::Replace(_, Successor::Adopted(id)) = slot
            && let Some(copy) = copies.get(id)
        {
            id.clone_from(&copy.id);
        }
    }
    containers.retain(|container| !copies.contains_key(&container.id));
    containers.extend(copies.into_values());
    disregard_health(project, containers);
    Ok(())
}

/// What the new containers lack.
fn variations(
    project: &Project,
    plan: &Plan,
    containers: &[Container],
    options: &Options,
) -> Vec<(Container, Variation)> {
    let by_id: BTreeMap<_, _> = containers.iter().map(|container| (&container.id, container)).collect();
    let mut variations = Vec::new();
    for part in &plan.services {
        let Some(service) = project.services.get(&part.service) else { continue };
        let fixed = naming::fixed(service);
        let names = naming::assign(part, fixed, &by_id);
        let mut estate = volumes::Estate::of(part, &by_id);
        for slot in &part.slots {
            let (Slot::Add(Successor::Adopted(new)) | Slot::Replace(_, Successor::Adopted(new))) = slot else {
                continue;
            };
            let Some(&new) = by_id.get(new).filter(|new| new.state == State::Created && new.replaces.is_none()) else {
                continue;
            };
            let old = slot.old().and_then(|old| by_id.get(old).copied());
            let testator = old.filter(|_| !options.renew_volumes).and_then(|old| estate.testator(old));
            let heirlooms = testator.map(|old| volumes::inherited(old, new, containers)).unwrap_or_default();
            let misnamed = fixed.is_some_and(|name| name != new.name);
            if heirlooms.is_empty() && !misnamed {
                continue;
            }
            let name = names.get(&new.id).unwrap_or(&new.name);
            // Compose was not given the user's files then.
            let origin = old.filter(|_| misnamed).map(|old| old.project_labels.clone());
            variations.push((
                new.clone(),
                Variation {
                    name: unused(naming::aside(new), containers),
                    replaces: old.map(|old| old.id.clone()),
                    config_hash: service.config_hash.clone(),
                    project_labels: origin.unwrap_or_default(),
                    volumes: heirlooms,
                    aliases: BTreeMap::from([(new.name.clone(), name.clone())]),
                },
            ));
        }
    }
    variations
}

/// A name like the given one that no container has: an earlier run may have been cut off between copying and renaming.
fn unused(name: String, containers: &[Container]) -> String {
    let is_free = |name: &String| containers.iter().all(|container| container.name != *name);
    // One more than there are containers is enough to find a free one.
    let others = (2..=containers.len() + 2).map(|number| format!("{name}_{number}"));
    std::iter::once(name.clone()).chain(others).find(is_free).unwrap_or(name)
}

/// Puts a copy in the place of a container. Returns the container's ID with the copy.
async fn put_copy<E: Engine>(
    engine: &E,
    original: &Container,
    variation: &Variation,
) -> engine::Result<(ContainerId, Container)> {
    let id = engine.copy(&original.id, variation).await?;
    engine.remove(&original.id, true).await?;
    engine.rename(&id, &original.name).await?;
    match engine.container(&id).await? {
        Some(copy) => Ok((original.id.clone(), copy)),
        None => Err(engine::Error {
            kind: engine::ErrorKind::Refused,
            call: format!("copy container {}", original.id.short()),
            message: "the copy has vanished".to_owned(),
        }),
    }
}
