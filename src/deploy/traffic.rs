//! Moving containers in and out of their service's DNS names, and leaving them alone until traffic has ceased.
//!
//! Docker's DNS answers with every running container that carries a service's alias, ready or not, until it has ended.
//! Reconnecting a container's endpoint with or without the aliases changes the answer at once, while the address, and
//! with it every established connection, stays: whatever else the engine would give away is held meanwhile (measured;
//! ARCHITECTURE.md tells more).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::compose::Service;
use crate::compose::policy::Drain;
use crate::engine::{self, Attachment, Container, Engine, State};
use crate::names::{ContainerId, NetworkName, ServiceName};

/// Attachments by network.
pub(super) type Attachments = BTreeMap<NetworkName, Attachment>;

/// Bytes that arrive at a container between two looks without anybody talking to it (address resolution and the like).
/// The smallest HTTP request with its frames is larger.
const NOISE: u64 = 128;

/// How often traffic is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// How long a container is left alone where the engine does not tell what it receives.
const BLIND: Duration = Duration::from_secs(5);

/// A container that is cut off from its network must not stay so: this often is connecting it tried.
const ATTEMPTS: usize = 5;

/// Pause between these attempts.
const PAUSE: Duration = Duration::from_millis(300);

/// The attachments with which the service's names lead to a container.
///
/// What Compose has given it is kept; what is missing (an earlier run was cut off) is added. In one that has yet to begin,
/// the name that it is going to have takes the place of its present one.
pub(super) fn published(
    container: &Container,
    aliases: &BTreeMap<NetworkName, BTreeSet<String>>,
    name: Option<&str>,
) -> Attachments {
    let mut attachments = container.networks.clone();
    for (network, attachment) in &mut attachments {
        if let Some(name) = name.filter(|_| container.state == State::Created) {
            attachment
                .aliases
                .iter_mut()
                .filter(|alias| **alias == container.name)
                .for_each(|alias| *alias = name.into());
        }
        for alias in aliases.get(network).into_iter().flatten() {
            if !attachment.aliases.contains(alias) {
                attachment.aliases.push(alias.clone());
            }
        }
    }
    attachments
}

/// The attachments with which the service's name leads to an old container wherever it is meant to.
///
/// Where it does, all stays: the files may give names by now that the container has never had, and that are another one's.
/// Where it does not, an earlier run was cut off, and nobody knows the names of then any more.
pub(super) fn found(
    container: &Container,
    service: &ServiceName,
    aliases: &BTreeMap<NetworkName, BTreeSet<String>>,
) -> Attachments {
    let leads = |network: &NetworkName| {
        container.networks.get(network).is_some_and(|it| it.aliases.iter().any(|alias| alias == service.as_str()))
    };
    let missing = aliases.iter().filter(|(network, _)| !leads(network));
    let missing = missing.map(|(network, names)| (network.clone(), names.clone())).collect();
    published(container, &missing, None)
}

/// Whether a service's containers are to stay as they are connected: engines give a MAC address that the files have chosen
/// when they create a container, and another one when it is connected anew (measured).
pub(super) fn is_pinned(service: &Service) -> bool {
    service.exclusive.iter().any(|exclusive| exclusive.key.ends_with("mac_address"))
}

/// The attachments with which no name but the container's own leads to it.
pub(super) fn withdrawn(container: &Container) -> Attachments {
    let mut attachments = container.networks.clone();
    for attachment in attachments.values_mut() {
        attachment.aliases.retain(|alias| *alias == container.name);
    }
    attachments
}

/// Reconnects a container wherever its names differ from the wanted ones; if it `is_known`, under the same addresses.
/// Returns whether they did anywhere.
pub(super) async fn reconnect<E: Engine>(
    engine: &E,
    id: &ContainerId,
    current: &Attachments,
    wanted: &Attachments,
    is_known: bool,
) -> engine::Result<bool> {
    let mut changed = false;
    for (network, attachment) in wanted {
        let mut attachment = attachment.clone();
        let Some(now) = current.get(network) else {
            connect(engine, id, network, &attachment).await?;
            changed = true;
            continue;
        };
        if same_names(now, &attachment) {
            continue;
        }
        attachment.address.clone_from(&now.address);
        attachment.hardware_address.clone_from(&now.hardware_address);
        let holders = if is_known { hold(engine, network, &now.address).await } else { Vec::new() };
        let reconnected = async {
            disconnect(engine, id, network).await?;
            connect(engine, id, network, &attachment).await
        };
        let reconnected = reconnected.await;
        if !holders.is_empty()
            && let Err(error) = engine.release(&holders).await
        {
            tracing::debug!("{error}");
        }
        reconnected?;
        changed = true;
    }
    Ok(changed)
}

/// Sees to it that a container gets its address again. If that cannot be, traffic is lost only if the address does change.
async fn hold<E: Engine>(engine: &E, network: &NetworkName, address: &str) -> Vec<ContainerId> {
    if address.is_empty() {
        return Vec::new();
    }
    engine.hold_below(network, address).await.unwrap_or_else(|error| {
        tracing::debug!("{error}");
        Vec::new()
    })
}

fn same_names(one: &Attachment, other: &Attachment) -> bool {
    let names = |attachment: &Attachment| attachment.aliases.iter().cloned().collect::<BTreeSet<_>>();
    names(one) == names(other)
}

/// Disconnects. An attempt that fails may have been carried out all the same, and then it is time to connect.
async fn disconnect<E: Engine>(engine: &E, id: &ContainerId, network: &NetworkName) -> engine::Result<()> {
    let Err(error) = engine.disconnect(id, network).await else {
        return Ok(());
    };
    match engine.container(id).await? {
        Some(container) if container.networks.contains_key(network) => Err(error),
        _ => Ok(()),
    }
}

/// Connects, and makes as sure as can be that the container does not stay cut off: when an attempt fails, the engine is
/// asked whether it has done it all the same, and else tried again.
async fn connect<E: Engine>(
    engine: &E,
    id: &ContainerId,
    network: &NetworkName,
    attachment: &Attachment,
) -> engine::Result<()> {
    let mut attempt = 1;
    loop {
        let Err(error) = engine.connect(id, network, attachment).await else {
            return Ok(());
        };
        let container = engine.container(id).await?;
        let Some(container) = container else {
            // Nothing left to connect.
            return Ok(());
        };
        match container.networks.get(network) {
            Some(now) if same_names(now, attachment) => return Ok(()),
            Some(_) => engine.disconnect(id, network).await?,
            None => {}
        }
        if attempt == ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        sleep(PAUSE).await;
    }
}

/// Leaves a container alone until traffic has ceased. Returns whether something was still arriving at the end.
pub(super) async fn drain<E: Engine>(engine: &E, id: &ContainerId, drain: Drain) -> bool {
    let begin = Instant::now();
    let end = begin + drain.maximum;
    // A drain of a fixed length needs no looking.
    if drain.minimum >= drain.maximum {
        sleep(drain.maximum).await;
        return false;
    }
    let mut last = engine.received(id).await.ok().flatten();
    let mut quiet_since = Instant::now();
    loop {
        let now = Instant::now();
        if now >= end {
            return true;
        }
        if last.is_some() && now >= begin + drain.minimum && now >= quiet_since + drain.quiet {
            return false;
        }
        if last.is_none() && now >= begin + drain.minimum.max(BLIND.min(drain.maximum)) {
            return false;
        }
        sleep(LOOK.min(end - now)).await;
        let received = engine.received(id).await.ok().flatten();
        if received.zip(last).is_none_or(|(received, last)| received > last.saturating_add(NOISE)) {
            quiet_since = Instant::now();
        }
        last = received;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(aliases: &[&str]) -> Container {
        let attachment = Attachment {
            aliases: aliases.iter().map(ToString::to_string).collect(),
            ipv4_address: Some("10.0.0.9".into()),
            gateway_priority: 3,
            ..Attachment::default()
        };
        let mut container = Container::example();
        container.name = "shop-web-1".into();
        container.networks = BTreeMap::from([(NetworkName::new("shop_default"), attachment)]);
        container
    }

    fn names(attachments: &Attachments) -> Vec<&str> {
        attachments.values().flat_map(|attachment| &attachment.aliases).map(String::as_str).collect()
    }

    #[test]
    fn withdrawn_keeps_all_but_the_services_names() {
        let container = container(&["shop-web-1", "web", "www"]);
        let attachments = withdrawn(&container);
        assert_eq!(names(&attachments), ["shop-web-1"]);
        let attachment = &attachments[&NetworkName::new("shop_default")];
        assert_eq!(attachment.ipv4_address.as_deref(), Some("10.0.0.9"));
        assert_eq!(attachment.gateway_priority, 3);
    }

    #[test]
    fn published_adds_what_is_missing() {
        let aliases =
            BTreeMap::from([(NetworkName::new("shop_default"), BTreeSet::from(["web".to_owned(), "www".to_owned()]))]);
        assert_eq!(names(&published(&container(&["shop-web-1"]), &aliases, None)), ["shop-web-1", "web", "www"]);
        assert_eq!(names(&published(&container(&["www", "web"]), &aliases, None)), ["www", "web"]);
    }

    #[test]
    fn an_old_container_gets_names_only_where_its_service_does_not_lead_to_it() {
        let names_now = BTreeSet::from(["web".to_owned(), "new".to_owned()]);
        let (front, back) = (NetworkName::new("shop_front"), NetworkName::new("shop_back"));
        let aliases = BTreeMap::from([(front.clone(), names_now.clone()), (back.clone(), names_now)]);
        let mut container = container(&[]);
        let attachment = |aliases: &[&str]| Attachment {
            aliases: aliases.iter().map(|&alias| alias.into()).collect(),
            ..Attachment::default()
        };
        container.networks = BTreeMap::from([
            (front.clone(), attachment(&["shop-web-1", "web", "www"])),
            (back.clone(), attachment(&["shop-web-1"])),
        ]);
        let found = found(&container, &ServiceName::new("web"), &aliases);
        assert_eq!(found[&front].aliases, ["shop-web-1", "web", "www"]);
        assert_eq!(found[&back].aliases, ["shop-web-1", "new", "web"]);
    }

    #[test]
    fn a_new_container_is_published_under_the_name_it_is_going_to_have() {
        let mut container = container(&["shop-web-1", "web"]);
        container.state = State::Created;
        assert_eq!(names(&published(&container, &BTreeMap::new(), Some("shop-web-0"))), ["shop-web-0", "web"]);
    }
}
