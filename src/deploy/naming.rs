//! Containers' names: the successor of a container is called as it was, so that links, scripts and habits go on working.
//!
//! Compose calls a new container by a number that no container of the service has had. Once its predecessor is removed,
//! it takes over that one's name. A service's `container_name` it gets before it starts, while the old container, stopped,
//! steps aside under a name that tells what it was called; so whatever was cut off can be put right by looking.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, ServicePlan, Slot, Successor};
use crate::compose::{Project, Service};
use crate::engine::{Container, Engine};
use crate::names::{ContainerId, ServiceName};
use crate::report::{Event, Reporter};

/// The name that the files give to the service's only container.
pub(super) fn fixed(service: &Service) -> Option<&str> {
    service
        .exclusive
        .iter()
        .find(|exclusive| exclusive.key == "container_name")
        .map(|exclusive| exclusive.value.as_str())
}

/// What a container is called while it makes room for another one.
pub(super) fn aside(container: &Container) -> String {
    format!("{}_{}", container.id.short(), container.name)
}

/// What a container is called when it serves.
pub(super) fn proper(container: &Container, fixed: Option<&str>) -> String {
    let prefix = container.id.short();
    let own = container.name.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('_'));
    fixed.or(own).unwrap_or(&container.name).to_owned()
}

/// The names that a service's new containers are to have, where these are not their own.
pub(super) fn assign(
    plan: &ServicePlan,
    fixed: Option<&str>,
    containers: &BTreeMap<&ContainerId, &Container>,
) -> BTreeMap<ContainerId, String> {
    let find = |id: &ContainerId| containers.get(id).copied();
    let pairs: Vec<_> = plan
        .slots
        .iter()
        .filter_map(|slot| match slot {
            Slot::Add(Successor::Adopted(new)) => Some((None, find(new)?)),
            Slot::Replace(old, Successor::Adopted(new)) => Some((find(old), find(new)?)),
            _ => None,
        })
        .collect();
    if let Some(name) = fixed {
        return pairs.iter().map(|(_, new)| (new.id.clone(), name.to_owned())).collect();
    }
    let mut free: Vec<_> = pairs.iter().filter_map(|(old, _)| Some(proper((*old)?, None))).collect();
    let mut take = |wish: &str| {
        let index = free.iter().position(|name| name == wish)?;
        Some(free.swap_remove(index))
    };
    // One that an earlier run has given a name to keeps it.
    let named: BTreeSet<_> =
        pairs.iter().filter(|(_, new)| take(&new.name).is_some()).map(|(_, new)| &new.id).collect();
    let mut given = BTreeMap::new();
    let mut nameless = Vec::new();
    for (old, new) in pairs.iter().filter(|(_, new)| !named.contains(&new.id)) {
        match old.and_then(|old| take(&proper(old, None))) {
            Some(name) => {
                given.insert(new.id.clone(), name);
            }
            None => nameless.push(*new),
        }
    }
    given.extend(nameless.into_iter().map(|new| (new.id.clone(), free.pop().unwrap_or_else(|| proper(new, None)))));
    given.retain(|id, name| {
        find(id).is_some_and(|container| *name != container.name && may_be_called(container, name, &plan.service))
    });
    given
}

/// Whether a container can have a name without being in the way of containers to come: Compose gives the next one a
/// number above those of all there are, so a name with a number above its own would be given twice.
fn may_be_called(container: &Container, name: &str, service: &ServiceName) -> bool {
    let parts = name.rsplit_once(['-', '_']).map(|(rest, number)| (rest, number.parse::<u32>()));
    matches!(parts, Some((rest, Ok(number))) if rest.ends_with(service.as_str()) && number <= container.number)
}

/// Whether a container has another name than the one that Compose has given it, by its number.
pub(super) fn has_been_named(container: &Container) -> bool {
    let number = container.name.rsplit_once(['-', '_']).map(|(_, number)| number);
    number != Some(container.number.to_string().as_str())
}

/// Takes containers for what they are about to be: Compose has created them without the fixed name of their service,
/// which another container has, and so with another config hash.
pub(super) fn claim(project: &Project, before: &[Container], containers: &mut [Container]) {
    let known: BTreeSet<_> = before.iter().map(|container| &container.id).collect();
    for container in containers.iter_mut().filter(|container| !container.one_off && !known.contains(&container.id)) {
        if let Some(service) = project.services.get(&container.service)
            && fixed(service).is_some_and(|name| name != container.name)
        {
            container.config_hash.clone_from(&service.config_hash);
        }
    }
}

/// Gives containers that stay the names that the files give them, should they have stepped aside in a run that was cut
/// off.
pub(super) async fn mend<E: Engine>(
    engine: &E,
    project: &Project,
    plan: &Plan,
    containers: &[Container],
    reporter: &dyn Reporter,
) {
    for service in &plan.services {
        let Some(name) = project.services.get(&service.service).and_then(fixed) else { continue };
        for container in containers.iter().filter(|it| service.kept.contains(&it.id) && it.name != name) {
            give(engine, container, name, reporter).await;
        }
    }
}

/// Renames a container. It can do without.
pub(super) async fn give<E: Engine>(engine: &E, container: &Container, name: &str, reporter: &dyn Reporter) {
    let renamed = async {
        match engine.container(&container.id).await? {
            Some(now) if now.name != name => engine.rename(&now.id, name).await,
            _ => Ok(()),
        }
    };
    if let Err(error) = renamed.await {
        reporter.report(&Event::Warning(&format!("{error}; it goes on under its present name")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(name: &str, number: u32) -> Container {
        let id = ContainerId::new(format!("{name:0<12}-and-more"));
        Container { id, name: format!("shop-web-{name}"), number, ..Container::example() }
    }

    fn assigned(slots: Vec<Slot>, containers: &[Container]) -> Vec<(String, String)> {
        let by_id: BTreeMap<_, _> = containers.iter().map(|container| (&container.id, container)).collect();
        let plan = ServicePlan { slots, ..ServicePlan::example() };
        let names = assign(&plan, None, &by_id);
        names.into_iter().map(|(id, name)| (by_id[&id].name.clone(), name)).collect()
    }

    fn replace(old: &Container, new: &Container) -> Slot {
        Slot::Replace(old.id.clone(), Successor::Adopted(new.id.clone()))
    }

    fn names(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(one, other)| ((*one).to_owned(), (*other).to_owned())).collect()
    }

    #[test]
    fn a_container_aside_tells_its_name() {
        let mut one = container("1", 1);
        assert_eq!(proper(&one, None), "shop-web-1");
        one.name = aside(&one);
        assert_eq!(one.name, "100000000000_shop-web-1");
        assert_eq!(proper(&one, None), "shop-web-1");
        assert_eq!(proper(&one, Some("the-web")), "the-web");
    }

    #[test]
    fn successors_take_over_names() {
        let [one, two, three, four] = [1, 2, 3, 4].map(|number| container(&number.to_string(), number));
        let slots = vec![replace(&one, &three), replace(&two, &four)];
        let all = [one, two, three, four];
        assert_eq!(assigned(slots, &all), names(&[("shop-web-3", "shop-web-1"), ("shop-web-4", "shop-web-2")]));
    }

    #[test]
    fn who_has_a_name_already_keeps_it() {
        let [mut one, two, mut three, four] = [1, 2, 3, 4].map(|number| container(&number.to_string(), number));
        // An earlier run has exchanged the first one, and now the pairs are others.
        one.name = aside(&one);
        three.name = "shop-web-1".to_owned();
        let slots = vec![replace(&two, &three), replace(&one, &four)];
        assert_eq!(assigned(slots, &[one, two, three, four]), names(&[("shop-web-4", "shop-web-2")]));
    }

    #[test]
    fn no_name_is_in_the_way_of_containers_to_come() {
        let (old, new) = (container("3", 3), container("2", 2));
        assert_eq!(assigned(vec![replace(&old, &new)], &[old, new]), []);
        // Nor is one kept that the files do not give any more.
        let (mut old, new) = (container("1", 1), container("2", 2));
        old.name = "the-web".to_owned();
        assert_eq!(assigned(vec![replace(&old, &new)], &[old, new]), []);
    }
}
