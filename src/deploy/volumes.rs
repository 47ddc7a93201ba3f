//! Anonymous volumes: a new container goes on with those of the container that it replaces, as when Compose replaces it.
//!
//! Pure functions of what is observed. Volumes with a name need no care: the Compose files say who mounts them.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{ServicePlan, Slot, Successor};
use crate::engine::{Container, State};
use crate::names::ContainerId;

/// The volumes that a new container, which was never started, takes over, by path: wherever it got an empty anonymous
/// volume of its own and its predecessor has a volume, as with Compose. `all` are the project's containers.
pub(super) fn inherited(old: &Container, new: &Container, all: &[Container]) -> BTreeMap<String, String> {
    // What others mount as well is not the container's own (`volumes_from`).
    let others = all.iter().filter(|container| container.id != new.id);
    let shared: BTreeSet<_> =
        others.flat_map(|container| container.volumes.values()).map(|volume| &volume.name).collect();
    let fresh =
        new.volumes.iter().filter(|(_, volume)| volume.anonymous && !volume.wished && !shared.contains(&volume.name));
    fresh.filter_map(|(path, _)| Some((path.clone(), old.volumes.get(path)?.name.clone()))).collect()
}

/// Who can still leave its volumes to a successor: nothing is left to two, and nothing is left to nobody as long as there
/// is a successor without. A run that was cut off may have given the volumes of a container away already.
pub(super) struct Estate<'a> {
    /// Volumes that belong to a container that stays or comes.
    given: BTreeSet<&'a str>,
    /// Containers that go without a successor of their own.
    childless: Vec<&'a Container>,
}

impl<'a> Estate<'a> {
    pub(super) fn of(plan: &ServicePlan, by_id: &BTreeMap<&ContainerId, &'a Container>) -> Self {
        let find = |id: &ContainerId| by_id.get(id).copied();
        let adopted = plan.slots.iter().filter_map(|slot| match slot.successor() {
            Some(Successor::Adopted(id)) => find(id),
            Some(Successor::Created) | None => None,
        });
        let heirs = adopted.filter(|new| new.state != State::Created || new.replaces.is_some());
        let staying = plan.kept.iter().filter_map(find).chain(heirs);
        let given = staying.flat_map(|container| container.volumes.values()).map(|volume| volume.name.as_str());
        let childless = plan.slots.iter().filter_map(|slot| match slot {
            Slot::Remove(id) => find(id),
            _ => None,
        });
        Self { given: given.collect(), childless: childless.collect() }
    }

    /// The container whose volumes go to the successor of `old`: `old` itself, unless it has given them away.
    pub(super) fn testator(&mut self, old: &'a Container) -> Option<&'a Container> {
        let anonymous = |container: &'a Container| container.volumes.values().filter(|volume| volume.anonymous);
        let given = &self.given;
        let has_given =
            |container: &'a Container| anonymous(container).any(|volume| given.contains(volume.name.as_str()));
        let testator = if has_given(old) {
            let index = self.childless.iter().position(|container| !has_given(container))?;
            self.childless.remove(index)
        } else {
            old
        };
        self.given.extend(anonymous(testator).map(|volume| volume.name.as_str()));
        Some(testator)
    }
}

/// The paths at which a container and its successor have the same volume as long as both run.
pub(super) fn passed_on(old: &Container) -> impl Iterator<Item = &String> {
    old.volumes.iter().filter(|(_, volume)| volume.anonymous).map(|(path, _)| path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Volume;

    fn container(id: &str, volumes: &[(&str, &str, bool, bool)]) -> Container {
        let volume = |name: &str, anonymous, wished| Volume { name: name.to_owned(), anonymous, wished };
        let volumes = volumes
            .iter()
            .map(|(path, name, anonymous, wished)| ((*path).to_owned(), volume(name, *anonymous, *wished)))
            .collect();
        Container { id: ContainerId::new(id), volumes, ..Container::example() }
    }

    #[test]
    fn only_what_is_empty_and_its_own_makes_room() {
        let old = container(
            "old",
            &[("/a", "a1", true, true), ("/b", "b", false, true), ("/c", "c1", true, false), ("/d", "d1", true, false)],
        );
        let new = container(
            "new",
            &[
                ("/a", "a2", true, false),
                // Was a named one; Compose, too, goes on with it.
                ("/b", "b2", true, false),
                ("/c", "c2", true, true),
                ("/d", "d2", true, false),
                ("/e", "e2", true, false),
            ],
        );
        let other = container("other", &[("/x", "d2", true, false)]);
        let all = [old.clone(), new.clone(), other];
        let inherited: Vec<_> = inherited(&old, &new, &all).into_iter().collect();
        let pair = |path: &str, name: &str| (path.to_owned(), name.to_owned());
        assert_eq!(inherited, [pair("/a", "a1"), pair("/b", "b")]);
        assert_eq!(passed_on(&old).collect::<Vec<_>>(), ["/a", "/c", "/d"]);
    }
}
