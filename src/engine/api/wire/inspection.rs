//! The answer of `GET /containers/{id}/json`: all that is known of a container.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::endpoint::Endpoint;
use super::{
    CONFIG_HASH_LABEL, HOOK_LABEL, MAX_STOP_TIMEOUT, NUMBER_LABEL, ONE_OFF_LABEL, PROJECT_LABELS, REPLACES_LABEL,
    SERVICE_LABEL, non_empty, optional_whole_number, time, whole_number,
};
use crate::engine::api::http::garbled;
use crate::engine::{Container, Health, Healthcheck, RestartPolicy, Result, State, Volume};
use crate::names::{ContainerId, ImageId, NetworkName, ServiceName};

/// The answer of `GET /containers/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::engine::api) struct Inspection {
    id: String,
    name: String,
    image: String,
    #[serde(default, deserialize_with = "whole_number")]
    restart_count: i64,
    state: WireState,
    #[serde(default)]
    config: Option<Config>,
    #[serde(default)]
    host_config: Option<HostConfig>,
    #[serde(default)]
    network_settings: Option<NetworkSettings>,
    #[serde(default)]
    mounts: Option<Vec<Mount>>,
    created: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireState {
    status: Option<String>,
    running: Option<bool>,
    started_at: Option<String>,
    #[serde(default, deserialize_with = "whole_number")]
    exit_code: i64,
    #[serde(rename = "OOMKilled")]
    oom_killed: Option<bool>,
    health: Option<WireHealth>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireHealth {
    status: Option<String>,
    log: Option<Vec<Probe>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Probe {
    output: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    labels: Option<BTreeMap<String, Option<String>>>,
    healthcheck: Option<WireHealthcheck>,
    #[serde(default, deserialize_with = "optional_whole_number")]
    stop_timeout: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireHealthcheck {
    test: Option<Vec<String>>,
    #[serde(default, deserialize_with = "whole_number")]
    interval: i64,
    #[serde(default, deserialize_with = "whole_number")]
    timeout: i64,
    #[serde(default, deserialize_with = "whole_number")]
    retries: i64,
    #[serde(default, deserialize_with = "whole_number")]
    start_period: i64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: Option<String>,
    restart_policy: Option<WireRestartPolicy>,
    port_bindings: Option<serde_json::Map<String, serde_json::Value>>,
    publish_all_ports: Option<bool>,
    binds: Option<Vec<String>>,
    mounts: Option<Vec<WishedMount>>,
}

/// Something mounted into a container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(rename = "Type")]
    kind: Option<String>,
    name: Option<String>,
    destination: Option<String>,
}

/// Something that was to be mounted into a container.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WishedMount {
    source: Option<String>,
    target: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WireRestartPolicy {
    name: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkSettings {
    networks: Option<BTreeMap<String, Option<Endpoint>>>,
}

impl Inspection {
    /// The container it describes. `call` names the call in errors.
    pub(in crate::engine::api) fn into_container(self, call: &str) -> Result<Container> {
        let Config { labels, healthcheck, stop_timeout } = self.config.unwrap_or_default();
        let labels = labels.unwrap_or_default();
        let label = |name: &str| labels.get(name).and_then(Option::as_deref).unwrap_or_default();
        let runs_hook = !label(HOOK_LABEL).is_empty();
        let host = self.host_config.unwrap_or_default();
        let networks = self.network_settings.unwrap_or_default().networks.unwrap_or_default();
        let healthcheck = healthcheck.and_then(WireHealthcheck::into_healthcheck);
        let id = ContainerId::new(self.id);
        let volumes = volumes(self.mounts.unwrap_or_default(), &host);
        let project_labels = labels.iter().filter(|(label, _)| label.starts_with(PROJECT_LABELS));

        Ok(Container {
            name: self.name.strip_prefix('/').unwrap_or(&self.name).to_owned(),
            service: ServiceName::new(label(SERVICE_LABEL)),
            number: label(NUMBER_LABEL).parse().unwrap_or(0),
            one_off: runs_hook || label(ONE_OFF_LABEL).eq_ignore_ascii_case("true"),
            runs_hook,
            created: self.created.as_deref().and_then(time),
            config_hash: label(CONFIG_HASH_LABEL).to_owned(),
            project_labels: project_labels
                .map(|(name, value)| (name.clone(), value.clone().unwrap_or_default()))
                .collect(),
            replaces: non_empty(Some(label(REPLACES_LABEL).to_owned())).map(ContainerId::new),
            volumes,
            image: ImageId::new(self.image),
            state: self.state.state(call)?,
            started: self.state.started(),
            health: healthcheck.map(|_| self.state.health()),
            healthcheck,
            last_probe: self.state.into_last_probe(),
            restarts: u64::try_from(self.restart_count).unwrap_or(0),
            restart_policy: restart_policy(host.restart_policy.unwrap_or_default().name.as_deref()),
            stop_timeout: stop_timeout.map(seconds),
            networks: networks
                .into_iter()
                .map(|(name, endpoint)| (NetworkName::new(name), endpoint.unwrap_or_default().into_attachment(&id)))
                .collect(),
            network_mode: host.network_mode.unwrap_or_default(),
            publishes_ports: host.publish_all_ports.unwrap_or(false)
                || host.port_bindings.is_some_and(|ports| ports.values().any(is_bound)),
            id,
        })
    }
}

impl WireState {
    fn state(&self, call: &str) -> Result<State> {
        let status = self.status.as_deref().unwrap_or_default();
        match status {
            // Podman has a state between created and started.
            "created" | "configured" | "initialized" => Ok(State::Created),
            "running" | "stopping" => Ok(State::Running),
            "paused" => Ok(State::Paused),
            "restarting" => Ok(State::Restarting),
            "exited" | "stopped" => {
                Ok(State::Exited { code: self.exit_code, out_of_memory: self.oom_killed.unwrap_or(false) })
            }
            "removing" | "dead" => Ok(State::Dead),
            _ if self.running == Some(true) => Ok(State::Running),
            _ => Err(garbled(call, &format_args!("unknown container state {status:?}"))),
        }
    }

    /// Engines fill in a year long ago for "never".
    fn started(&self) -> Option<SystemTime> {
        time(self.started_at.as_deref()?).filter(|&time| time > SystemTime::UNIX_EPOCH)
    }

    /// The verdict of a healthcheck that exists; any word but the two verdicts is none yet.
    fn health(&self) -> Health {
        let status = self.health.as_ref().and_then(|health| health.status.as_deref());
        status.and_then(verdict).unwrap_or(Health::Starting)
    }

    /// The output of the latest probe; engines list the latest last.
    fn into_last_probe(self) -> String {
        let probes = self.health.unwrap_or_default().log.unwrap_or_default();
        probes.into_iter().next_back().and_then(|probe| probe.output).unwrap_or_default()
    }
}

/// Reads a health status; `None` for those that are no verdict and for unknown ones.
pub(in crate::engine::api) fn verdict(status: &str) -> Option<Health> {
    match status {
        "healthy" => Some(Health::Healthy),
        "unhealthy" => Some(Health::Unhealthy),
        "starting" => Some(Health::Starting),
        _ => None,
    }
}

impl WireHealthcheck {
    /// Fills in the engine's defaults; `None` if the check is disabled.
    fn into_healthcheck(self) -> Option<Healthcheck> {
        let test = self.test.unwrap_or_default();
        if test.first().is_none_or(|kind| kind == "NONE") {
            return None;
        }
        Some(Healthcheck {
            interval: nanoseconds(self.interval).unwrap_or(Duration::from_secs(30)),
            timeout: nanoseconds(self.timeout).unwrap_or(Duration::from_secs(30)),
            retries: match self.retries {
                ..=0 => 3,
                retries => u32::try_from(retries).unwrap_or(u32::MAX),
            },
            start_period: nanoseconds(self.start_period).unwrap_or_default(),
        })
    }
}

/// Whether a port is published. Podman 4 lists those that an image merely exposes, too, bound to nothing.
fn is_bound(bindings: &serde_json::Value) -> bool {
    bindings.as_array().is_some_and(|bindings| !bindings.is_empty())
}

/// The volumes among what is mounted, by destination.
fn volumes(mounts: Vec<Mount>, host: &HostConfig) -> BTreeMap<String, Volume> {
    let binds = host.binds.iter().flatten().filter_map(|bind| bind.split_once(':').map(|(source, _)| source));
    let sources = host.mounts.iter().flatten().filter(|mount| mount.target.is_some());
    let wished: BTreeSet<&str> = binds.chain(sources.filter_map(|mount| mount.source.as_deref())).collect();
    let volumes = mounts.into_iter().filter(|mount| mount.kind.as_deref() == Some("volume"));
    volumes
        .filter_map(|mount| {
            let name = non_empty(mount.name)?;
            let volume = Volume { anonymous: is_made_up(&name), wished: wished.contains(name.as_str()), name };
            Some((mount.destination?, volume))
        })
        .collect()
}

/// Whether a volume's name is one that engines make up.
fn is_made_up(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// An unknown policy is taken for one that restarts: then an exit is never mistaken for a job well done.
fn restart_policy(name: Option<&str>) -> RestartPolicy {
    match name.unwrap_or_default() {
        "" | "no" => RestartPolicy::No,
        "on-failure" => RestartPolicy::OnFailure,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        _ => RestartPolicy::Always,
    }
}

/// `None` for zero, which asks for the default, and for nonsense below it.
fn nanoseconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|&number| number > 0).map(Duration::from_nanos)
}

/// A stop timeout; a negative one stands for "never kill".
fn seconds(number: i64) -> Duration {
    u64::try_from(number).map_or(MAX_STOP_TIMEOUT, Duration::from_secs)
}

#[cfg(test)]
mod tests;
