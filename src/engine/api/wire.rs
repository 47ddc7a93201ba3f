//! The engine's JSON, as far as kerek reads it, and its translation into the types of [`crate::engine`].
//!
//! Only fields that are used are listed, so nothing else in an answer can fail. Enumerations are read as plain words:
//! an unknown one is taken for what is safest, or named in an error where no meaning is safe. Missing fields, nulls
//! (Go's empty collections) and absurd numbers are survived; nothing here panics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use super::http::garbled;
use crate::engine::{self, Attachment, Container, Exec, Health, Healthcheck, RestartPolicy, Result, State, Volume};
use crate::names::{ContainerId, ImageId, NetworkName, ServiceName};

/// `com.docker.compose.project`, the label all of Compose's containers carry.
pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";
/// `com.docker.compose.service`, which tells a service's containers from others.
pub(super) const SERVICE_LABEL: &str = "com.docker.compose.service";
const NUMBER_LABEL: &str = "com.docker.compose.container-number";
const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";
const HOOK_LABEL: &str = "com.docker.compose.hook";
pub(super) const CONFIG_HASH_LABEL: &str = "com.docker.compose.config-hash";
/// Where the project's files are.
const PROJECT_LABELS: &str = "com.docker.compose.project.";
/// Kerek's own: the ID of the container in whose place this one was made.
pub(super) const REPLACES_LABEL: &str = "kerek.replaces";

/// Stands for "never kill" (a negative stop timeout): 68 years, the most that engines take as a number of seconds.
pub(super) const MAX_STOP_TIMEOUT: Duration = Duration::from_secs(i32::MAX as u64);

/// An element of `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
}

/// An element of `GET /networks`, or of `Volumes` in the answer of `GET /volumes`, or that of `POST /volumes/create`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Labelled {
    pub(super) name: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

impl Labelled {
    /// Its name and the hash of its definition, if it has one.
    pub(super) fn definition(self) -> Option<(String, String)> {
        let hash = self.labels?.remove(CONFIG_HASH_LABEL)?;
        Some((self.name, hash))
    }
}

/// The answer of `GET /volumes`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volumes {
    pub(super) volumes: Option<Vec<Labelled>>,
}

/// The answer of `GET /images/{name}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    id: String,
    metadata: Option<ImageMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageMetadata {
    last_tag_time: Option<String>,
}

impl From<Image> for engine::Image {
    fn from(image: Image) -> Self {
        let tagged = image.metadata.and_then(|metadata| time(&metadata.last_tag_time?));
        // A time before there were computers stands for none.
        Self { id: ImageId::new(image.id), tagged: tagged.filter(|tagged| *tagged > SystemTime::UNIX_EPOCH) }
    }
}

/// The answer of `POST /containers/{id}/exec`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) id: String,
}

/// The answer of `GET /exec/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ended {
    running: Option<bool>,
    exit_code: Option<i64>,
}

impl Ended {
    /// The exit code of a command that has ended.
    pub(super) fn code(&self) -> Option<i64> {
        self.exit_code.filter(|_| self.running != Some(true))
    }
}

/// The body of `POST /containers/{id}/exec`.
pub(super) fn exec(exec: &Exec) -> serde_json::Value {
    serde_json::json!({
        "AttachStdout": true,
        "AttachStderr": true,
        "Cmd": exec.command,
        "User": exec.user,
        "Privileged": exec.privileged,
        "WorkingDir": exec.working_dir,
        "Env": exec.environment,
    })
}

/// The answer of `GET /containers/{id}/stats`.
#[derive(Deserialize)]
pub(super) struct Stats {
    networks: Option<BTreeMap<String, Interface>>,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default, deserialize_with = "whole_number")]
    rx_bytes: i64,
}

impl Stats {
    /// Bytes received on all interfaces; `None` if the engine lists no interface.
    pub(super) fn received(&self) -> Option<u64> {
        let interfaces = self.networks.as_ref().filter(|networks| !networks.is_empty())?;
        Some(
            interfaces
                .values()
                .fold(0, |sum, interface| sum.saturating_add(u64::try_from(interface.rx_bytes).unwrap_or(0))),
        )
    }
}

/// The answer of `GET /containers/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Inspection {
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

/// An endpoint as `inspect` shows it.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(rename = "IPAMConfig")]
    ipam_config: Option<IpamConfig>,
    links: Option<Vec<String>>,
    aliases: Option<Vec<String>>,
    driver_opts: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "whole_number")]
    gw_priority: i64,
    #[serde(rename = "IPAddress")]
    ip_address: Option<String>,
    #[serde(rename = "GlobalIPv6Address")]
    global_ipv6_address: Option<String>,
}

/// Addresses that were asked for, in both directions.
#[derive(Debug, Default, Deserialize, PartialEq, Serialize)]
struct IpamConfig {
    #[serde(rename = "IPv4Address", skip_serializing_if = "Option::is_none")]
    ipv4_address: Option<String>,
    #[serde(rename = "IPv6Address", skip_serializing_if = "Option::is_none")]
    ipv6_address: Option<String>,
    #[serde(rename = "LinkLocalIPs", skip_serializing_if = "Option::is_none")]
    link_local_ips: Option<Vec<String>>,
}

/// The body of `POST /networks/{name}/connect`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Connect<'a> {
    container: &'a str,
    endpoint_config: EndpointConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct EndpointConfig<'a> {
    aliases: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    links: &'a [String],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    driver_opts: &'a BTreeMap<String, String>,
    gw_priority: i64,
    #[serde(rename = "IPAMConfig", skip_serializing_if = "Option::is_none")]
    ipam_config: Option<IpamConfig>,
}

/// The body of `POST /networks/{name}/disconnect`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Disconnect<'a> {
    pub(super) container: &'a str,
}

impl<'a> Connect<'a> {
    /// Asks for an endpoint with the settings of `attachment`. With `keep_address`, the address it had is asked for
    /// too where none is configured: podman hands out another one else, while Docker hands out the same one again but
    /// refuses to be asked for it on networks without a subnet of the user's own.
    pub(super) fn new(id: &'a ContainerId, attachment: &'a Attachment, keep_address: bool) -> Self {
        let mut ipam_config = IpamConfig {
            ipv4_address: attachment.ipv4_address.clone(),
            ipv6_address: attachment.ipv6_address.clone(),
            link_local_ips: some_unless_empty(&attachment.link_local_addresses),
        };
        if keep_address && ipam_config == IpamConfig::default() {
            let address = Some(attachment.address.clone());
            match attachment.address.parse() {
                Ok(std::net::IpAddr::V4(_)) => ipam_config.ipv4_address = address,
                Ok(std::net::IpAddr::V6(_)) => ipam_config.ipv6_address = address,
                Err(_) => {}
            }
        }
        Self {
            container: id.as_str(),
            endpoint_config: EndpointConfig {
                aliases: &attachment.aliases,
                links: &attachment.links,
                driver_opts: &attachment.driver_options,
                gw_priority: attachment.gateway_priority,
                ipam_config: (ipam_config != IpamConfig::default()).then_some(ipam_config),
            },
        }
    }
}

impl Inspection {
    /// The container it describes. `call` names the call in errors.
    pub(super) fn into_container(self, call: &str) -> Result<Container> {
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
pub(super) fn verdict(status: &str) -> Option<Health> {
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

impl Endpoint {
    fn into_attachment(self, id: &ContainerId) -> Attachment {
        let ipam_config = self.ipam_config.unwrap_or_default();
        // Docker before API 1.45, and podman, list the short ID, which they add by themselves.
        let aliases = self.aliases.unwrap_or_default();
        let aliases = aliases.into_iter().filter(|alias| alias != id.short()).collect();
        Attachment {
            aliases,
            links: self.links.unwrap_or_default(),
            ipv4_address: non_empty(ipam_config.ipv4_address),
            ipv6_address: non_empty(ipam_config.ipv6_address),
            link_local_addresses: ipam_config.link_local_ips.unwrap_or_default(),
            driver_options: self.driver_opts.unwrap_or_default(),
            gateway_priority: self.gw_priority,
            address: non_empty(self.ip_address).or(self.global_ipv6_address).unwrap_or_default(),
        }
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

/// Reads a moment as engines write it (RFC 3339).
pub(super) fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn some_unless_empty(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

/// `None` for zero, which asks for the default, and for nonsense below it.
fn nanoseconds(number: i64) -> Option<Duration> {
    u64::try_from(number).ok().filter(|&number| number > 0).map(Duration::from_nanos)
}

/// A stop timeout; a negative one stands for "never kill".
fn seconds(number: i64) -> Duration {
    u64::try_from(number).map_or(MAX_STOP_TIMEOUT, Duration::from_secs)
}

/// Reads null as 0 and clamps numbers that do not fit.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    optional_whole_number(deserializer).map(Option::unwrap_or_default)
}

fn optional_whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.map(|number| number.as_i64().unwrap_or_else(|| clamp(number.as_f64().unwrap_or_default()))))
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, which is what is wanted")]
fn clamp(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::ErrorKind;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// The smallest inspection that is one, changed by what `change` does to it.
    fn inspect(change: impl FnOnce(&mut Value)) -> Result<Container> {
        let mut inspection = json!({
            "Id": ID,
            "Name": "/shop-web-1",
            "Image": "sha256:abc",
            "State": {"Status": "running"},
        });
        change(&mut inspection);
        read(&inspection)
    }

    fn read(inspection: &Value) -> Result<Container> {
        serde_json::from_value::<Inspection>(inspection.clone())
            .map_err(|error| garbled("inspect", &error))?
            .into_container("inspect")
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "an inspection has many fields")]
    fn reads_all_there_is() {
        let container = read(&json!({
            "Id": ID,
            "Name": "/shop-web-1",
            "Created": "1970-01-01T00:00:01Z",
            "Image": "sha256:abc",
            "RestartCount": 3,
            "State": {"Status": "exited", "Running": false, "ExitCode": 137, "OOMKilled": true,
                "StartedAt": "1970-01-01T01:00:01.5+01:00", "Health": {
                "Status": "unhealthy", "FailingStreak": 2, "Log": [{"Output": "first"}, {"Output": "second"}],
            }},
            "Config": {
                "Labels": {
                    "com.docker.compose.project": "shop",
                    "com.docker.compose.service": "web",
                    "com.docker.compose.container-number": "7",
                    "com.docker.compose.oneoff": "False",
                    "com.docker.compose.config-hash": "beef",
                    "com.docker.compose.project.working_dir": "/shop",
                    "kerek.replaces": "feed",
                },
                "Healthcheck": {
                    "Test": ["CMD", "true"], "Interval": 2_000_000_000_i64, "Timeout": 500_000_000, "Retries": 5,
                    "StartPeriod": 1_000_000_000,
                },
                "StopTimeout": 42,
            },
            "HostConfig": {
                "NetworkMode": "shop_default",
                "RestartPolicy": {"Name": "unless-stopped", "MaximumRetryCount": 0},
                "PortBindings": {"80/tcp": [{"HostIp": "", "HostPort": "8080"}]},
                "Binds": ["shop_shared:/shared:rw", "/host:/bound:ro"],
                "Mounts": [
                    {"Type": "volume", "Target": "/data", "VolumeOptions": {}},
                    {"Type": "volume", "Source": "e0".repeat(32), "Target": "/kept"},
                ],
            },
            "Mounts": [
                {"Type": "volume", "Name": "d0".repeat(32), "Destination": "/data"},
                {"Type": "volume", "Name": "e0".repeat(32), "Destination": "/kept"},
                {"Type": "volume", "Name": "shop_shared", "Destination": "/shared"},
                {"Type": "bind", "Source": "/host", "Destination": "/bound"},
            ],
            "NetworkSettings": {"Networks": {"shop_default": {
                "IPAMConfig": {"IPv4Address": "10.0.0.5", "IPv6Address": "", "LinkLocalIPs": ["169.254.1.1"]},
                "Links": ["db:database"],
                "Aliases": ["shop-web-1", "web", "0123456789ab"],
                "DriverOpts": {"com.docker.network.endpoint.sysctls": "net.x=1"},
                "GwPriority": 9,
                "IPAddress": "10.0.0.5",
                "GlobalIPv6Address": "fd00::5",
            }}},
        }));
        let attachment = Attachment {
            aliases: vec!["shop-web-1".to_owned(), "web".to_owned()],
            links: vec!["db:database".to_owned()],
            ipv4_address: Some("10.0.0.5".to_owned()),
            ipv6_address: None,
            link_local_addresses: vec!["169.254.1.1".to_owned()],
            driver_options: BTreeMap::from([("com.docker.network.endpoint.sysctls".to_owned(), "net.x=1".to_owned())]),
            gateway_priority: 9,
            address: "10.0.0.5".to_owned(),
        };
        assert_eq!(
            container.expect("a container"),
            Container {
                id: ContainerId::new(ID),
                name: "shop-web-1".to_owned(),
                service: ServiceName::new("web"),
                number: 7,
                one_off: false,
                config_hash: "beef".to_owned(),
                image: ImageId::new("sha256:abc"),
                state: State::Exited { code: 137, out_of_memory: true },
                runs_hook: false,
                created: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)),
                started: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1_500)),
                health: Some(Health::Unhealthy),
                healthcheck: Some(Healthcheck {
                    interval: Duration::from_secs(2),
                    timeout: Duration::from_millis(500),
                    retries: 5,
                    start_period: Duration::from_secs(1),
                }),
                last_probe: "second".to_owned(),
                restarts: 3,
                restart_policy: RestartPolicy::UnlessStopped,
                stop_timeout: Some(Duration::from_secs(42)),
                networks: BTreeMap::from([(NetworkName::new("shop_default"), attachment)]),
                network_mode: "shop_default".to_owned(),
                publishes_ports: true,
                project_labels: BTreeMap::from([(
                    "com.docker.compose.project.working_dir".to_owned(),
                    "/shop".to_owned()
                )]),
                replaces: Some(ContainerId::new("feed")),
                volumes: BTreeMap::from([
                    ("/data".to_owned(), Volume { name: "d0".repeat(32), anonymous: true, wished: false }),
                    ("/kept".to_owned(), Volume { name: "e0".repeat(32), anonymous: true, wished: true }),
                    ("/shared".to_owned(), Volume { name: "shop_shared".to_owned(), anonymous: false, wished: true }),
                ]),
            }
        );
    }

    #[test]
    fn survives_missing_and_null_fields() {
        let bare = inspect(|_| ()).expect("a container");
        assert_eq!(bare.started, None);
        for never in ["0001-01-01T00:00:00Z", "", "soon"] {
            let container = inspect(|inspection| inspection["State"]["StartedAt"] = json!(never)).expect("a container");
            assert_eq!(container.started, None, "{never}");
        }
        assert_eq!((bare.service.as_str(), bare.number, bare.one_off, bare.config_hash.as_str()), ("", 0, false, ""));
        assert_eq!((bare.health, bare.healthcheck, bare.stop_timeout), (None, None, None));
        assert_eq!(bare.restart_policy, RestartPolicy::No);
        assert!(bare.networks.is_empty() && !bare.publishes_ports);

        let nulls = inspect(|inspection| {
            inspection["RestartCount"] = Value::Null;
            inspection["State"]["Health"] = Value::Null;
            inspection["Config"] = json!({"Labels": null, "Healthcheck": null, "StopTimeout": null});
            inspection["HostConfig"] = json!({"RestartPolicy": null, "PortBindings": null, "PublishAllPorts": null});
            inspection["NetworkSettings"] = json!({"Networks": {}});
        });
        assert_eq!(nulls.expect("a container"), bare);

        let networks = inspect(|inspection| {
            inspection["NetworkSettings"] =
                json!({"Networks": {"a": null, "b": {"Aliases": null, "IPAMConfig": null}}});
        });
        assert!(networks.expect("a container").networks.values().all(|network| *network == Attachment::default()));
    }

    #[test]
    fn names_the_call_where_the_meaning_is_lost() {
        for field in ["Id", "Name", "Image", "State"] {
            let error = inspect(|inspection| {
                inspection.as_object_mut().expect("an object").remove(field);
            })
            .expect_err("an error");
            assert_eq!(error.kind, ErrorKind::Garbled);
            assert_eq!(error.to_string(), format!("inspect: unexpected answer: missing field `{field}`"));
        }
        let error = inspect(|inspection| inspection["State"] = json!({"Status": "levitating"})).expect_err("an error");
        assert_eq!(error.to_string(), "inspect: unexpected answer: unknown container state \"levitating\"");
    }

    #[test]
    fn knows_states_by_all_their_names() {
        for (state, expected) in [
            (json!({"Status": "created"}), State::Created),
            (json!({"Status": "initialized"}), State::Created),
            (json!({"Status": "running"}), State::Running),
            (json!({"Status": "paused", "Running": true}), State::Paused),
            (json!({"Status": "restarting", "Running": true}), State::Restarting),
            (json!({"Status": "removing"}), State::Dead),
            (json!({"Status": "dead"}), State::Dead),
            (json!({"Status": "stopped", "ExitCode": -1}), State::Exited { code: -1, out_of_memory: false }),
            (json!({"Status": "levitating", "Running": true}), State::Running),
            (json!({"Running": true}), State::Running),
        ] {
            let container = inspect(|inspection| inspection["State"] = state.clone());
            assert_eq!(container.expect("a container").state, expected, "{state}");
        }
    }

    #[test]
    fn health_needs_a_healthcheck() {
        let health = |test: Value, status: Value| {
            let container = inspect(|inspection| {
                inspection["Config"] = json!({"Healthcheck": {"Test": test}});
                inspection["State"]["Health"] = json!({"Status": status});
            });
            container.expect("a container").health
        };
        let test = || json!(["CMD-SHELL", "true"]);
        assert_eq!(health(test(), json!("healthy")), Some(Health::Healthy));
        assert_eq!(health(test(), json!("unhealthy")), Some(Health::Unhealthy));
        for status in [json!("starting"), json!(""), json!("none"), json!("great"), Value::Null] {
            assert_eq!(health(test(), status), Some(Health::Starting));
        }
        for test in [json!(["NONE"]), json!([]), Value::Null] {
            assert_eq!(health(test, json!("healthy")), None);
        }
    }

    #[test]
    fn a_healthcheck_has_the_engines_defaults() {
        let defaults = Healthcheck {
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            retries: 3,
            start_period: Duration::ZERO,
        };
        for timing in [
            json!({}),
            json!({"Interval": 0, "Timeout": 0, "Retries": 0, "StartPeriod": 0}),
            json!({"Interval": -1, "Timeout": i64::MIN, "Retries": -5, "StartPeriod": -1}),
            json!({"Interval": null, "Timeout": null, "Retries": null, "StartPeriod": null}),
        ] {
            let container = inspect(|inspection| {
                inspection["Config"] = json!({"Healthcheck": timing});
                inspection["Config"]["Healthcheck"]["Test"] = json!(["CMD", "true"]);
            });
            assert_eq!(container.expect("a container").healthcheck, Some(defaults), "{timing}");
        }
    }

    #[test]
    fn clamps_absurd_numbers() {
        let huge: Value = serde_json::from_str("123456789012345678901234567890").expect("a number");
        let container = inspect(|inspection| {
            inspection["RestartCount"] = json!(-4);
            inspection["State"] = json!({"Status": "exited", "ExitCode": u64::MAX});
            inspection["Config"] = json!({
                "StopTimeout": -1,
                "Labels": {"com.docker.compose.container-number": "99999999999999999999"},
                "Healthcheck": {"Test": ["CMD"], "Interval": huge, "Timeout": u64::MAX, "Retries": i64::MAX},
            });
        })
        .expect("a container");
        assert_eq!(container.restarts, 0);
        assert_eq!(container.number, 0);
        assert_eq!(container.state, State::Exited { code: i64::MAX, out_of_memory: false });
        assert_eq!(container.stop_timeout, Some(MAX_STOP_TIMEOUT));
        let healthcheck = container.healthcheck.expect("a healthcheck");
        assert_eq!(healthcheck.retries, u32::MAX);
        assert_eq!(healthcheck.interval, Duration::from_nanos(i64::MAX.unsigned_abs()));
    }

    #[test]
    fn an_unknown_restart_policy_never_completes() {
        let policy = |name: Value| {
            let container = inspect(|inspection| inspection["HostConfig"] = json!({"RestartPolicy": {"Name": name}}));
            container.expect("a container").restart_policy
        };
        assert_eq!(policy(json!("")), RestartPolicy::No);
        assert_eq!(policy(json!("on-failure")), RestartPolicy::OnFailure);
        assert!(!policy(json!("when-in-the-mood")).can_complete());
    }

    #[test]
    fn ports_are_published_one_by_one_or_all() {
        for (host, expected) in [
            (json!({"PortBindings": {"80/tcp": [{"HostPort": ""}]}}), true),
            (json!({"PublishAllPorts": true}), true),
            (json!({"PortBindings": {}, "PublishAllPorts": false}), false),
            (json!({"PortBindings": {"80/tcp": null, "81/tcp": []}}), false),
        ] {
            let container = inspect(|inspection| inspection["HostConfig"] = host.clone());
            assert_eq!(container.expect("a container").publishes_ports, expected, "{host}");
        }
    }

    #[test]
    fn sums_what_was_received() {
        let received = |stats: Value| serde_json::from_value::<Stats>(stats).expect("statistics").received();
        let networks = json!({"eth0": {"rx_bytes": 5, "tx_bytes": 9}, "eth1": {"rx_bytes": 7}, "eth2": {}});
        assert_eq!(received(json!({"networks": networks})), Some(12));
        let huge = json!({"a": {"rx_bytes": u64::MAX}, "b": {"rx_bytes": u64::MAX}, "c": {"rx_bytes": u64::MAX}});
        assert_eq!(received(json!({"networks": huge})), Some(u64::MAX));
        for none in [json!({}), json!({"networks": null}), json!({"networks": {}})] {
            assert_eq!(received(none), None);
        }
        // What podman answers for a stopped container, with status 200.
        assert_eq!(received(json!({"cause": "container is stopped", "message": "…", "response": 500})), None);
    }

    #[test]
    fn asks_for_an_endpoint_like_the_one_there_was() {
        let id = ContainerId::new("c1");
        let body = |attachment: &Attachment, keep_address| {
            serde_json::to_value(Connect::new(&id, attachment, keep_address)).expect("JSON")
        };
        let mut attachment = Attachment {
            aliases: vec!["web".to_owned()],
            links: vec!["db:database".to_owned()],
            driver_options: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            gateway_priority: -3,
            address: "10.0.0.5".to_owned(),
            ..Attachment::default()
        };
        let mut expected = json!({"Container": "c1", "EndpointConfig": {
            "Aliases": ["web"], "Links": ["db:database"], "DriverOpts": {"a": "b"}, "GwPriority": -3,
        }});
        assert_eq!(body(&attachment, false), expected);

        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv4Address": "10.0.0.5"});
        assert_eq!(body(&attachment, true), expected);
        attachment.address = "fd00::5".to_owned();
        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv6Address": "fd00::5"});
        assert_eq!(body(&attachment, true), expected);

        attachment.ipv4_address = Some("10.0.0.9".to_owned());
        attachment.link_local_addresses = vec!["169.254.1.1".to_owned()];
        expected["EndpointConfig"]["IPAMConfig"] = json!({"IPv4Address": "10.0.0.9", "LinkLocalIPs": ["169.254.1.1"]});
        assert_eq!(body(&attachment, false), expected);
        assert_eq!(body(&attachment, true), expected);
    }

    /// Any JSON value, with the keys that inspections have.
    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(
                    proptest::sample::select(vec![
                        "Id",
                        "Status",
                        "Health",
                        "Log",
                        "Output",
                        "Labels",
                        "Healthcheck",
                        "Test",
                        "Interval",
                        "StopTimeout",
                        "Networks",
                        "Aliases",
                        "IPAMConfig",
                        "PortBindings",
                        "RestartPolicy",
                        "Name",
                    ]),
                    inner,
                    0..6
                )
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(
            state in any_json(), config in any_json(), host in any_json(), networks in any_json(), count in any_json(),
        ) {
            let result = inspect(|inspection| {
                inspection["State"]["Health"] = state;
                inspection["Config"] = config;
                inspection["HostConfig"] = host;
                inspection["NetworkSettings"]["Networks"] = networks;
                inspection["RestartCount"] = count;
            });
            if let Err(error) = result {
                prop_assert_eq!(error.kind, ErrorKind::Garbled);
            }
        }
    }
}
