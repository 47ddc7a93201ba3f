//! Networks and volumes whose definition has changed since they were made. Engines cannot change them, only replace
//! them: that stops everything on a network, and loses what a volume holds. So a deploy refuses it; networks it lets
//! Compose replace if the user says so.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;

use super::replicas;
use crate::compose::{Compose, Project, Rehearsal, delivered};
use crate::engine::{Container, Definitions};
use crate::error::{Failure, Kind};
use crate::names::{NetworkName, ServiceName};
use crate::report::{Event, Reporter};
use crate::text::escape;

/// Whether any network or volume is labelled with another hash than its definition has now.
pub(super) fn differ(project: &Project, found: &Definitions) -> bool {
    fn any<K: Ord>(wanted: &BTreeMap<K, String>, found: &BTreeMap<K, String>) -> bool {
        wanted.iter().any(|(name, hash)| found.get(name).is_some_and(|found| found != hash))
    }
    any(&project.networks, &found.networks) || any(&project.volumes, &found.volumes)
}

/// What replacing networks would interrupt: containers' names, by network. Fails if the user has not asked for that, and
/// always if a volume would have to be replaced.
pub(super) fn check(
    rehearsal: &Rehearsal,
    containers: &[Container],
    recreate: bool,
) -> Result<BTreeMap<NetworkName, BTreeSet<String>>, Failure> {
    if let Some(volume) = rehearsal.volumes.first() {
        let name = escape(volume.as_str());
        return Err(Failure::from(anyhow!(
            "the definition of the volume {name} has changed, which only a new volume can follow: nothing was changed"
        ))
        .hint("Take the change back, or give the volume another name under `volumes:` to begin with an empty one.")
        .hint(format!("Or save what it holds, remove it with `docker volume rm {name}`, and deploy again.")));
    }
    let interrupted: BTreeMap<_, _> =
        rehearsal.networks.iter().map(|network| (network.clone(), on(network, containers))).collect();
    match interrupted.iter().next() {
        Some((network, names)) if !recreate => {
            let network = escape(network.as_str());
            let names = listed(names);
            Err(Failure::from(anyhow!("the definition of the network {network} has changed, which only a new network can follow: nothing was changed"))
                .hint(format!("Let it be replaced with `--recreate-networks`; this stops for a while: {names}."))
                .hint("Or take the change back; or add a network of another name and move services to it, which needs no interruption."))
        }
        _ => Ok(interrupted),
    }
}

/// Has Compose replace networks, and with them all containers on them, those of services that would be left alone
/// otherwise included.
pub(super) async fn replace<C: Compose>(
    compose: &C,
    project: &Project,
    containers: &[Container],
    networks: &BTreeMap<NetworkName, BTreeSet<String>>,
    reporter: &dyn Reporter,
) -> Result<(), Failure> {
    for (network, names) in networks {
        let (network, names) = (escape(network.as_str()), listed(names));
        reporter.report(&Event::Warning(&format!("replacing the network {network}; this stops for a while: {names}")));
    }
    let attached = |name: &&ServiceName| {
        let known = project.services.get(*name).map(|service| &service.aliases);
        let there =
            containers.iter().filter(|container| container.service == **name).map(|container| &container.networks);
        known.is_some_and(|known| networks.keys().any(|network| known.contains_key(network)))
            || there.flatten().any(|(network, _)| networks.contains_key(network))
    };
    let count = |name: &ServiceName| {
        let there = containers.iter().filter(|container| !container.one_off && container.service == *name);
        let wanted = replicas::wanted(&project.services[name], &there.collect::<Vec<_>>());
        u32::try_from(wanted).unwrap_or(u32::MAX)
    };
    let scale = project.services.keys().filter(attached).map(|name| (name.clone(), count(name))).collect();
    compose.up(&scale, &delivered::of(project)).await.map_err(|failure| {
        let kind = if failure.kind == Kind::Unchanged { Kind::Incomplete } else { failure.kind };
        Failure { kind, ..failure }
            .hint("The network may be gone, and containers on it may be stopped. Run the same command again.")
    })
}

fn on(network: &NetworkName, containers: &[Container]) -> BTreeSet<String> {
    let attached = containers.iter().filter(|container| container.networks.contains_key(network));
    attached.map(|container| container.name.clone()).collect()
}

fn listed(names: &BTreeSet<String>) -> String {
    let names: Vec<_> = names.iter().map(|name| escape(name)).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
