//! How many replicas a service is to have, from what is there: a pure function, [`wanted`].

use std::collections::BTreeMap;

use super::condition::{has_completed, is_published, is_running};
use super::naming;
use crate::compose::Service;
use crate::engine::{Container, State};

/// The number of replicas wanted. Where the files do not say, a number that was chosen by hand (`compose up --scale`)
/// stays, also where an update was given up half-way, or where a replica is not well at the moment.
pub(super) fn wanted(service: &Service, containers: &[&Container]) -> usize {
    if let Some(replicas) = service.replicas {
        return usize::try_from(replicas).unwrap_or(usize::MAX);
    }
    if naming::fixed(service).is_some() {
        return 1;
    }
    let there: Vec<_> = containers.iter().copied().filter(|container| container.state != State::Dead).collect();
    let (substitutes, others): (Vec<_>, Vec<_>) = there.iter().copied().partition(|it| is_substitute(it, &there));
    let counts = |container: &Container| match container.state {
        State::Created => false,
        // Where nothing is half-way, one that was stopped is not missed.
        _ => container.config_hash != service.config_hash || !substitutes.is_empty() || works(service, container),
    };
    let counted = others.iter().filter(|container| counts(container)).count();
    counted.max(most_frequent(service, &there)).max(1)
}

/// Whether a container stands for another one that is counted. Old ones, stopped or not, are there until their update is
/// through; a new one is then given the name of an old one.
fn is_substitute(container: &Container, others: &[&Container]) -> bool {
    let is_older = |other: &Container| other.config_hash != container.config_hash && other.number < container.number;
    !naming::has_been_named(container) && others.iter().any(|other| is_older(other))
}

/// How many there are at work of the version that most are of.
fn most_frequent(service: &Service, containers: &[&Container]) -> usize {
    let mut counts = BTreeMap::<_, usize>::new();
    for container in containers.iter().filter(|container| works(service, container)) {
        *counts.entry((&container.config_hash, &container.image)).or_default() += 1;
    }
    counts.into_values().max().unwrap_or(0)
}

/// Whether a container is at work where the service is looked for, or has done its work.
fn works(service: &Service, container: &Container) -> bool {
    is_running(container) && is_published(service, container) || service.may_complete && has_completed(container)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts containers of a service whose files do not say how many, wanted at v3: version, number, number in the name,
    /// and state.
    fn counted(containers: &[(&str, u32, u32, State)]) -> usize {
        let service = Service { config_hash: "v3".into(), replicas: None, ..Service::example() };
        let containers: Vec<_> = containers
            .iter()
            .map(|&(version, number, named, state)| Container {
                name: format!("shop-web-{named}"),
                number,
                config_hash: version.into(),
                state,
                ..Container::example()
            })
            .collect();
        wanted(&service, &containers.iter().collect::<Vec<_>>())
    }

    const STOPPED: State = State::Exited { code: 0, out_of_memory: false };
    const RUNNING: State = State::Running;

    #[test]
    fn what_is_there_stays() {
        assert_eq!(counted(&[]), 1);
        assert_eq!(counted(&[("v2", 1, 1, RUNNING), ("v2", 2, 2, RUNNING), ("v2", 3, 3, RUNNING)]), 3);
        assert_eq!(counted(&[("v3", 1, 1, RUNNING), ("v3", 2, 2, RUNNING), ("v3", 3, 3, STOPPED)]), 2);
        assert_eq!(counted(&[("v2", 1, 1, RUNNING), ("v2", 2, 2, State::Restarting), ("v2", 3, 3, STOPPED)]), 3);
    }

    #[test]
    fn updates_that_were_given_up_are_counted_together() {
        let old = [("v1", 3, 3, RUNNING), ("v1", 4, 4, RUNNING)];
        let new = [("v2", 5, 1, RUNNING), ("v2", 6, 2, RUNNING)];
        assert_eq!(counted(&[old, new].concat()), 4);
        let third = [("v3", 7, 7, RUNNING), ("v3", 8, 8, State::Created)];
        assert_eq!(counted(&[&old[..], &new[..], &third[..]].concat()), 4);
    }

    #[test]
    fn updates_that_were_cut_off_are_counted_once() {
        let old = [("v2", 1, 1, STOPPED), ("v2", 2, 2, RUNNING)];
        for new in [State::Created, RUNNING, STOPPED] {
            assert_eq!(counted(&[&old[..], &[("v3", 3, 3, new), ("v3", 4, 4, State::Created)]].concat()), 2, "{new:?}");
        }
        // And the way back.
        let back = [("v3", 1, 1, STOPPED), ("v3", 2, 2, RUNNING), ("v4", 3, 3, RUNNING), ("v4", 4, 4, State::Created)];
        assert_eq!(counted(&back), 2);
    }
}
