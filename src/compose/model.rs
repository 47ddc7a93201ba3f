//! From Compose's own rendering of a project (`compose config`, YAML, everything resolved) to kerek's types.
//!
//! Compose has validated what it printed, so only kerek's own `x-kerek` can be wrong by the user's doing; anything else
//! that does not fit is reported as Compose's output. Nothing here does I/O.

mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::Value;

use super::files::{Files, Kind};
use super::hooks::Hooks;
use super::images::{Policy, Source};
use super::order::{Condition, Dependency};
use super::policy::{Drain, FailureAction, UpdatePolicy};
use super::ports::PortRange;
use super::pre_start::PreStart;
use super::{Bind, Exclusive, Order, Project, Service, Signals, definitions, duration, unescape};
use crate::names::{NetworkName, ProjectName, ServiceName, VolumeName};

/// The condition that another service has done its work.
const COMPLETED: &str = "service_completed_successfully";

/// Each release takes some kilobytes on the engine.
const MOST_RELEASES: usize = 100;

/// The two blocks of a policy.
const UPDATE: &str = "update_config";
const ROLLBACK: &str = "rollback_config";

/// What is wrong with a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not what Compose prints; tells where.
    #[error("Compose printed a model that kerek does not understand: {0}")]
    Unexpected(String),
    /// A mistake in the user's files.
    #[error("services.{service}.{key}: {problem}")]
    Invalid {
        /// The service.
        service: ServiceName,
        /// The key within the service, such as `x-kerek.drain`.
        key: String,
        /// What is wrong with its value and what would be right.
        problem: String,
    },
    /// A mistake in what the user's files say of the project as a whole.
    #[error("{key}: {problem}")]
    InvalidProject {
        /// The key, such as `x-kerek.releases`.
        key: String,
        /// What is wrong with its value and what would be right.
        problem: String,
    },
}

/// Parses the YAML of `compose config`.
pub fn parse(yaml: &str) -> Result<Project, Error> {
    let model: wire::Model = from_yaml(yaml)?;
    let networks =
        model.networks.iter().map(|(key, network)| (key.clone(), network_name(key, network.as_ref()))).collect();
    let name = ProjectName::new(model.name);
    let awaited = awaited(&model.services);
    let services = model
        .services
        .into_iter()
        .map(|(key, mut wire)| {
            let key = ServiceName::new(key);
            let mut files = Files::default();
            let (configs, secrets) = (std::mem::take(&mut wire.configs), std::mem::take(&mut wire.secrets));
            files
                .add(Kind::Config, configs, &model.configs)
                .and_then(|()| files.add(Kind::Secret, secrets, &model.secrets))
                .map_err(|(part, problem)| Error::Invalid { service: key.clone(), key: part, problem })?;
            let has_pre_start = !wire.pre_start.is_empty();
            let mut service = service(&key, wire, &name, &networks)?;
            if has_pre_start {
                service.hooks.pre_start = PreStart::all(&from_yaml(yaml)?, key.as_str(), &service.image)
                    .map_err(|(part, problem)| Error::Invalid { service: key.clone(), key: part, problem })?;
            }
            service.files = files;
            service.must_complete = awaited.contains(&key);
            service.may_complete |= service.must_complete;
            Ok((key, service))
        })
        .collect::<Result<_, Error>>()?;
    let network = |(key, network): (&String, &Option<definitions::Network>)| {
        Some((network_name(key, network.as_ref()), network.as_ref()?.hash()?))
    };
    let volume = |(key, volume): (String, Option<definitions::Volume>)| {
        let volume = volume?;
        Some((VolumeName::new(volume.name.clone().unwrap_or(key)), volume.hash()?))
    };
    Ok(Project {
        name,
        services,
        networks: model.networks.iter().filter_map(network).collect(),
        volumes: model.volumes.into_iter().filter_map(volume).collect(),
        releases: releases(model.x_kerek)?,
    })
}

/// What a network is called on the engine.
fn network_name(key: &str, network: Option<&definitions::Network>) -> NetworkName {
    NetworkName::new(network.and_then(|network| network.name.as_deref()).unwrap_or(key))
}

/// Services that others wait for to complete.
fn awaited(services: &BTreeMap<String, wire::Service>) -> BTreeSet<ServiceName> {
    services
        .values()
        .flat_map(|service| &service.depends_on)
        .filter(|(_, dependency)| dependency.condition.as_deref() == Some(COMPLETED))
        .map(|(name, _)| ServiceName::new(name))
        .collect()
}

pub(super) fn from_yaml<T: serde::de::DeserializeOwned>(yaml: &str) -> Result<T, Error> {
    serde_saphyr::from_str(yaml).map_err(|error| {
        // The rest of the message quotes the model, which may hold secrets.
        let message = error.without_snippet().to_string();
        Error::Unexpected(message.lines().next().unwrap_or_default().to_owned())
    })
}

/// The services whose namespaces or volumes a service's containers share, by the key that says so.
fn joins(wire: &wire::Service) -> BTreeMap<&'static str, BTreeSet<ServiceName>> {
    let namespaces = [("network_mode", &wire.network_mode), ("ipc", &wire.ipc), ("pid", &wire.pid)]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_deref()?.strip_prefix("service:")?)));
    let volumes = wire.volumes_from.iter().filter(|from| !from.starts_with("container:")).map(|from| {
        let name = from.split_once(':').map_or(from.as_str(), |(name, _mode)| name);
        ("volumes_from", name)
    });
    let mut joins: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (key, name) in namespaces.chain(volumes) {
        joins.entry(key).or_default().insert(ServiceName::new(name));
    }
    joins
}

fn service(
    name: &ServiceName,
    wire: wire::Service,
    project: &ProjectName,
    networks: &BTreeMap<String, NetworkName>,
) -> Result<Service, Error> {
    let exclusive = exclusive(&wire);
    let ranges = wire.ports.iter().filter_map(|port| PortRange::parse(port.published.as_deref()?, port.target));
    let port_ranges = ranges.collect();
    let binds = binds(&wire.volumes);
    let joins = joins(&wire);
    let deploy = wire.deploy.unwrap_or_default();
    let update = policy(name, UPDATE, deploy.update_config)?;
    // Not the default of the specification: what overlaps on the way there overlaps on the way back.
    let same_order = deploy.rollback_config.as_ref().is_none_or(|rollback| rollback.order.is_none());
    let mut rollback = policy(name, ROLLBACK, deploy.rollback_config)?;
    if same_order {
        rollback.order = update.order;
    }
    Ok(Service {
        config_hash: String::new(),
        image: wire.image.unwrap_or_else(|| format!("{project}-{name}")),
        source: Source {
            builds: wire.build.is_some(),
            // Compose has refused what it does not know.
            policy: wire.pull_policy.as_deref().and_then(Policy::parse).unwrap_or_default(),
        },
        replicas: wire.scale.or(deploy.replicas),
        update,
        rollback,
        depends_on: wire
            .depends_on
            .into_iter()
            .map(|(other, wire)| Ok((ServiceName::new(&*other), dependency(name, &other, &wire)?)))
            .collect::<Result<_, Error>>()?,
        aliases: aliases(name, wire.networks, networks),
        exclusive,
        port_ranges,
        binds,
        joins,
        may_complete: wire.restart.as_deref() == Some("no"),
        must_complete: false,
        drain: drain(name, wire.x_kerek)?,
        files: Files::default(),
        hooks: Hooks {
            pre_start: Vec::new(),
            post_start: wire.post_start.into_iter().map(Into::into).collect(),
            pre_stop: wire.pre_stop.into_iter().map(Into::into).collect(),
        },
        read_only: wire.read_only,
        signals: Signals {
            healthcheck: wire.healthcheck.is_some_and(|healthcheck| !healthcheck.disable),
            traefik: is_for_traefik(&wire.labels),
        },
    })
}

fn is_for_traefik(labels: &BTreeMap<String, Value>) -> bool {
    let disabled = labels.get("traefik.enable").and_then(Value::as_str) == Some("false");
    !disabled && labels.keys().any(|label| label.starts_with("traefik."))
}

fn aliases(
    name: &ServiceName,
    attachments: BTreeMap<String, Option<wire::Attachment>>,
    networks: &BTreeMap<String, NetworkName>,
) -> BTreeMap<NetworkName, BTreeSet<String>> {
    attachments
        .into_iter()
        .map(|(key, attachment)| {
            let network = networks.get(&key).cloned().unwrap_or_else(|| NetworkName::new(key));
            let mut names: BTreeSet<_> = attachment.unwrap_or_default().aliases.into_iter().collect();
            names.insert(name.to_string());
            (network, names)
        })
        .collect()
}

/// What a service asks of another one.
fn dependency(name: &ServiceName, other: &str, wire: &wire::Dependency) -> Result<Dependency, Error> {
    let condition = match wire.condition.as_deref() {
        None | Some("" | "service_started") => Condition::Started,
        Some("service_healthy") => Condition::Healthy,
        Some(COMPLETED) => Condition::Completed,
        // To pass over it would be to start too early.
        Some(unknown) => {
            let problem = format!(
                "`{unknown}` is none of `service_started`, `service_healthy`, `service_completed_successfully`"
            );
            let key = format!("depends_on.{other}.condition");
            return Err(Error::Invalid { service: name.clone(), key, problem });
        }
    };
    Ok(Dependency { condition, restart: wire.restart, optional: wire.required == Some(false) })
}

/// Paths of the host that are mounted.
fn binds(volumes: &[wire::Mount]) -> Vec<Bind> {
    let binds = volumes.iter().enumerate().filter(|(_, mount)| mount.kind == "bind");
    binds
        .filter_map(|(index, mount)| {
            let source = unescape(mount.source.as_deref()?);
            Some(Bind { key: format!("volumes[{index}]"), source, target: unescape(&mount.target) })
        })
        .collect()
}

/// Settings that old and new container cannot both have.
fn exclusive(wire: &wire::Service) -> Vec<Exclusive> {
    let mut found = Vec::new();
    let mut add = |key: &str, value: &str| {
        found.push(Exclusive { key: key.to_owned(), value: value.to_owned() });
    };
    if let Some(name) = &wire.container_name {
        add("container_name", name);
    }
    for port in &wire.ports {
        if let Some(published) = &port.published
            && !published.contains('-')
            && !matches!(published.as_str(), "" | "0")
        {
            add("ports", &format!("{published}:{}", port.target));
        }
    }
    if let Some(mode) = &wire.network_mode
        && (mode == "host" || mode.starts_with("service:") || mode.starts_with("container:"))
    {
        add("network_mode", mode);
    }
    if let Some(address) = &wire.mac_address {
        add("mac_address", address);
    }
    for (network, attachment) in &wire.networks {
        let Some(attachment) = attachment else { continue };
        for (key, value) in [
            ("ipv4_address", &attachment.ipv4_address),
            ("ipv6_address", &attachment.ipv6_address),
            ("mac_address", &attachment.mac_address),
        ] {
            if let Some(value) = value {
                add(&format!("networks.{network}.{key}"), value);
            }
        }
    }
    if !wire.devices.is_empty() {
        add("devices", &format!("{} of the host's", wire.devices.len()));
    }
    found
}

fn policy(service: &ServiceName, block: &str, wire: Option<wire::UpdatePolicy>) -> Result<UpdatePolicy, Error> {
    let wire = wire.unwrap_or_default();
    let invalid = |key: &str, problem: String| Error::Invalid {
        service: service.clone(),
        key: format!("deploy.{block}.{key}"),
        problem,
    };
    let time = |key: &str, value: Option<String>| {
        value
            .map(|text| {
                duration::parse(&text).ok_or_else(|| invalid(key, format!("`{text}` is not a duration such as `10s`")))
            })
            .transpose()
    };
    let order = match wire.order.as_deref() {
        None | Some("" | "stop-first") => Order::StopFirst,
        Some("start-first") => Order::StartFirst,
        Some(other) => {
            return Err(invalid("order", format!("`{other}` is neither `stop-first` nor `start-first`")));
        }
    };
    let failure_action = match wire.failure_action.as_deref() {
        None | Some("" | "pause") => FailureAction::Pause,
        Some("continue") => FailureAction::Continue,
        Some("rollback") if block == UPDATE => FailureAction::Rollback,
        Some(other) if block == UPDATE => {
            let problem = format!("`{other}` is none of `pause`, `continue`, `rollback`");
            return Err(invalid("failure_action", problem));
        }
        Some(other) => {
            return Err(invalid("failure_action", format!("`{other}` is neither `pause` nor `continue`")));
        }
    };
    let max_failure_ratio = wire.max_failure_ratio.unwrap_or_default();
    if !(0.0..=1.0).contains(&max_failure_ratio) {
        let problem = format!("`{max_failure_ratio}` is not a share between 0 and 1, such as `0.3`");
        return Err(invalid("max_failure_ratio", problem));
    }
    Ok(UpdatePolicy {
        order,
        parallelism: match wire.parallelism {
            None => Some(1),
            Some(0) => None,
            Some(number) => Some(usize::try_from(number).unwrap_or(usize::MAX)),
        },
        delay: time("delay", wire.delay)?.unwrap_or_default(),
        monitor: time("monitor", wire.monitor)?,
        failure_action,
        max_failure_ratio,
    })
}

/// Reads `x-kerek` of the project as a whole, whose only key is `releases`.
fn releases(extension: Option<Value>) -> Result<Option<usize>, Error> {
    let invalid = |key: &str, problem: &str| Error::InvalidProject { key: key.to_owned(), problem: problem.to_owned() };
    let fields = match extension {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(invalid("x-kerek", "must be a mapping, such as `releases: 20`")),
    };
    if let Some(unknown) = fields.keys().find(|key| *key != "releases") {
        let problem = "unknown key; there is `releases` here, and `drain` in services";
        return Err(invalid(&format!("x-kerek.{unknown}"), problem));
    }
    let Some(number) = fields.get("releases").filter(|number| !number.is_null()) else { return Ok(None) };
    let number = number.as_u64().and_then(|number| usize::try_from(number).ok());
    match number.filter(|number| *number <= MOST_RELEASES) {
        Some(number) => Ok(Some(number)),
        None => Err(invalid("x-kerek.releases", "must be a number from 0 (none is kept) to 100")),
    }
}

/// Reads `x-kerek` of a service, whose only key so far is `drain`: a duration, or a mapping with `minimum`, `quiet`, `maximum`.
fn drain(service: &ServiceName, extension: Option<Value>) -> Result<Drain, Error> {
    let invalid =
        |key: &str, problem: String| Error::Invalid { service: service.clone(), key: key.to_owned(), problem };
    let time = |key: &str, value: &Value| {
        let duration = match value {
            Value::String(text) => duration::parse(text),
            other => (other.as_u64() == Some(0)).then_some(Duration::ZERO),
        };
        duration.ok_or_else(|| invalid(key, format!("`{value}` is not a duration such as `10s`")))
    };
    let fields = match extension {
        None | Some(Value::Null) => return Ok(Drain::default()),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(invalid("x-kerek", "must be a mapping, such as `drain: 5s`".into())),
    };
    if let Some(unknown) = fields.keys().find(|key| *key != "drain") {
        return Err(invalid(&format!("x-kerek.{unknown}"), "unknown key; there is `drain`".into()));
    }
    match fields.get("drain") {
        None | Some(Value::Null) => Ok(Drain::default()),
        Some(Value::Object(parts)) => {
            let mut drain = Drain::default();
            for (key, value) in parts {
                let path = format!("x-kerek.drain.{key}");
                match key.as_str() {
                    "minimum" => drain.minimum = time(&path, value)?,
                    "quiet" => drain.quiet = time(&path, value)?,
                    "maximum" => drain.maximum = time(&path, value)?,
                    _ => {
                        let problem = "unknown key; there are `minimum`, `quiet` and `maximum`";
                        return Err(invalid(&path, problem.into()));
                    }
                }
            }
            if !parts.contains_key("maximum") {
                drain.maximum = drain.maximum.max(drain.minimum);
            }
            if drain.minimum > drain.maximum {
                let problem = "`minimum` must not be longer than `maximum`";
                return Err(invalid("x-kerek.drain", problem.into()));
            }
            Ok(drain)
        }
        Some(value) => time("x-kerek.drain", value).map(Drain::fixed),
    }
}

#[cfg(test)]
impl Service {
    /// A service with nothing special about it.
    pub(crate) fn example() -> Self {
        Self {
            config_hash: "hash-1".into(),
            image: "example:1".into(),
            source: Source::default(),
            replicas: None,
            update: UpdatePolicy::default(),
            rollback: UpdatePolicy::default(),
            depends_on: BTreeMap::new(),
            aliases: BTreeMap::new(),
            exclusive: Vec::new(),
            port_ranges: Vec::new(),
            binds: Vec::new(),
            joins: BTreeMap::new(),
            may_complete: false,
            must_complete: false,
            drain: Drain::default(),
            files: Files::default(),
            hooks: Hooks::default(),
            read_only: false,
            signals: Signals::default(),
        }
    }
}

#[cfg(test)]
mod tests;
