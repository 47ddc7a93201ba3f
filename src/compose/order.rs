//! What services ask of those they depend on, and the order that follows from it: by name, except that no service goes
//! before one it depends on.

use std::collections::{BTreeMap, BTreeSet};

use super::Service;
use crate::names::ServiceName;

/// What a service asks of another one that it depends on.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Dependency {
    /// What has to be true of the other one before a container of the service is started.
    pub condition: Condition,
    /// Whether the service is restarted when the other one's containers are replaced.
    pub restart: bool,
    /// Whether the service can do without the other one, which is worth no more than a warning then.
    pub optional: bool,
}

/// What has to be true of a service before those that depend on it are started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Condition {
    /// It was started.
    #[default]
    Started,
    /// Its healthcheck says that it is fine.
    Healthy,
    /// It has done its work and ended with code 0.
    Completed,
}

/// All services in order. Dependencies on services that are not in the map do not count. Compose refuses cyclic
/// dependencies; should there be a cycle all the same, its services follow by name.
#[must_use]
pub fn sequence(services: &BTreeMap<ServiceName, Service>) -> Vec<&ServiceName> {
    let mut waiting: BTreeSet<&ServiceName> = services.keys().collect();
    let mut ordered = Vec::with_capacity(services.len());
    while let Some(&first) = waiting.first() {
        let free = waiting
            .iter()
            .copied()
            .find(|name| services[*name].depends_on.keys().all(|dependency| !waiting.contains(dependency)))
            .unwrap_or(first);
        waiting.remove(free);
        ordered.push(free);
    }
    ordered
}

/// The named services and all they depend on, directly or not.
#[must_use]
pub fn closure(services: &BTreeMap<ServiceName, Service>, names: &BTreeSet<ServiceName>) -> BTreeSet<ServiceName> {
    let mut reached = BTreeSet::new();
    let mut pending: Vec<_> = names.iter().collect();
    while let Some(name) = pending.pop() {
        if let Some(service) = services.get(name)
            && reached.insert(name.clone())
        {
            pending.extend(service.depends_on.keys());
        }
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    fn services(edges: &[(&str, &[&str])]) -> BTreeMap<ServiceName, Service> {
        edges
            .iter()
            .map(|(name, dependencies)| {
                let depends_on =
                    dependencies.iter().map(|name| (ServiceName::new(*name), Dependency::default())).collect();
                (ServiceName::new(*name), Service { depends_on, ..Service::example() })
            })
            .collect()
    }

    fn names(services: &BTreeMap<ServiceName, Service>) -> Vec<&str> {
        sequence(services).into_iter().map(ServiceName::as_str).collect()
    }

    #[test]
    fn goes_by_code_point() {
        assert_eq!(names(&services(&[("b", &[]), ("a", &[]), ("B", &[])])), ["B", "a", "b"]);
    }

    #[test]
    fn dependencies_go_first() {
        let services = services(&[("a", &["z"]), ("b", &[]), ("z", &["y"]), ("y", &["gone"])]);
        assert_eq!(names(&services), ["b", "y", "z", "a"]);
    }

    #[test]
    fn survives_a_cycle() {
        assert_eq!(names(&services(&[("a", &["b"]), ("b", &["a"]), ("c", &["a"])])), ["a", "b", "c"]);
    }

    #[test]
    fn closure_follows_dependencies() {
        let services = services(&[("a", &["b"]), ("b", &["c"]), ("c", &[]), ("d", &["a"])]);
        let reached = closure(&services, &BTreeSet::from([ServiceName::new("a")]));
        assert_eq!(reached.iter().map(ServiceName::as_str).collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
