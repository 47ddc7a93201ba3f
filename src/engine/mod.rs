//! The container engine as the rest of kerek sees it: a few calls on containers and their networks.
//!
//! [`Engine`] is implemented by [`api::Api`] (the Engine API over a unix socket), by [`patient::Patient`] (deadlines and
//! retries around any engine) and by `fake::Fake` (in memory, can fail at any call; for tests). The types
//! here hold what the deployment needs to know and nothing of any engine's wire format. What an engine says is
//! untrusted: values are kept as they came and escaped where they are shown.

pub mod access;
pub mod api;
pub mod endpoint;
#[cfg(test)]
pub(crate) mod fake;
pub mod notes;
pub mod patient;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use futures_util::stream::LocalBoxStream;

use crate::error::{Failure, Kind};
use crate::names::{ContainerId, ImageId, NetworkName, ProjectName, ServiceName, VolumeName};

/// The calls a deployment makes. Each is one round trip or a few parallel ones.
///
/// Futures need not be `Send`: kerek runs on a single thread and gets its concurrency from joining futures.
#[expect(async_fn_in_trait, reason = "single-threaded by design, see above")]
pub trait Engine {
    /// All containers of a project in any state, in no particular order, one-off ones (`compose run`) included.
    async fn containers(&self, project: &ProjectName) -> Result<Vec<Container>>;

    /// One container, or `None` if there is none with this ID (any more).
    async fn container(&self, id: &ContainerId) -> Result<Option<Container>>;

    /// Starts a container; fine if it runs already.
    async fn start(&self, id: &ContainerId) -> Result<()>;

    /// Asks a container to end, kills it after `timeout` (whole seconds; the container's own stop timeout if `None`)
    /// and returns when it has ended. Fine if it does not run or is gone.
    async fn stop(&self, id: &ContainerId, timeout: Option<Duration>) -> Result<()>;

    /// Removes a container, killing it if it runs, with its anonymous volumes if `volumes`. Fine if it is gone.
    async fn remove(&self, id: &ContainerId, volumes: bool) -> Result<()>;

    /// Gives a container another name, running or not. Fails if another container has it, or it has it already.
    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()>;

    /// Creates a container like one that was never started, apart from the variation. The original stays as it is.
    async fn copy(&self, id: &ContainerId, variation: &Variation) -> Result<ContainerId>;

    /// Attaches a container (running or not) to a network.
    async fn connect(&self, id: &ContainerId, network: &NetworkName, attachment: &Attachment) -> Result<()>;

    /// Detaches a container from a network; fine if it is not attached.
    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<()>;

    /// Takes all addresses of a network that are free and that the engine would give away before this one, which is in use. So a
    /// container that is disconnected and connected gets its own again. Ends by itself after some seconds. Returns what is
    /// to be given to [`Engine::release`].
    async fn hold_below(&self, network: &NetworkName, address: &str) -> Result<Vec<ContainerId>>;

    /// Ends [`Engine::hold_below`].
    async fn release(&self, holders: &[ContainerId]) -> Result<()>;

    /// The networks and volumes that Compose has made for a project, with the hashes that it has labelled them with.
    async fn definitions(&self, project: &ProjectName) -> Result<Definitions>;

    /// The image that a name (with tag or digest) stands for on this engine, if there is one.
    async fn image(&self, reference: &str) -> Result<Option<Image>>;

    /// Bytes a running container has received so far on all its network interfaces together, or `None` where the
    /// engine cannot tell.
    async fn received(&self, id: &ContainerId) -> Result<Option<u64>>;

    /// The last `lines` lines of a container's output (stdout and stderr as they came, raw: may hold anything).
    async fn logs(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>>;

    /// Runs a command inside a running container and returns when it has ended, however long that takes.
    async fn exec(&self, id: &ContainerId, exec: &Exec) -> Result<ExecOutcome>;

    /// Puts a file into a container, running or not, in place of what is there; folders above it are made as needed.
    async fn write_file(&self, id: &ContainerId, file: &File) -> Result<()>;

    /// The file at an absolute path in a container, running or not; `None` if there is neither. Content of more than
    /// `limit` bytes is left out; with a limit of 0 nothing is transferred.
    ///
    /// In place of something mounted from the host, this is what is on the host now, which need not be what the
    /// container was started with.
    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Result<Option<Found>>;

    /// Which of these absolute paths are not there on the engine's host. Those of which that cannot be told count as there.
    async fn lacking(&self, paths: &BTreeSet<String>) -> Result<BTreeSet<String>>;

    /// What happens to a project's containers from now on. The subscription is established when this returns, so that
    /// nothing after it is missed; what happened in the second before may be repeated. The stream ends, or yields an
    /// error, when the engine ends it.
    async fn events(&self, project: &ProjectName) -> Result<LocalBoxStream<'static, Result<Event>>>;
}

/// Results of engine calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failed engine call.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{call}: {message}")]
pub struct Error {
    /// What a caller can decide on.
    pub kind: ErrorKind,
    /// The call in words, such as "start container 1f3a…".
    pub call: String,
    /// What the engine or the transport said.
    pub message: String,
}

/// What it means to the user, as long as nothing has changed.
impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error.kind {
            ErrorKind::Unreachable => Kind::Unreachable,
            ErrorKind::Refused | ErrorKind::Garbled => Kind::Unchanged,
        };
        Self::new(kind, error)
    }
}

/// Why an engine call failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ErrorKind {
    /// No answer: the engine cannot be reached, hung up, or took too long. Whether the call took effect is unknown.
    Unreachable,
    /// The engine said no.
    Refused,
    /// The engine's answer could not be understood.
    Garbled,
}

/// An image, as observed under one of its names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Image {
    /// Its ID.
    pub id: ImageId,
    /// When this engine last gave it a name, by a build or a tag; `None` where the engine does not tell, as of an image
    /// that it has only pulled.
    pub tagged: Option<SystemTime>,
}

/// What networks and volumes were like when they were made: hashes of their definitions. Those that carry none (Compose
/// before 2.31) are left out.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Definitions {
    /// By network.
    pub networks: BTreeMap<NetworkName, String>,
    /// By volume.
    pub volumes: BTreeMap<VolumeName, String>,
}

/// A container, as observed at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Container {
    /// The full ID.
    pub id: ContainerId,
    /// The name without a leading slash, such as `shop-web-1`.
    pub name: String,
    /// From the label `com.docker.compose.service`.
    pub service: ServiceName,
    /// From the label `com.docker.compose.container-number`; 0 if missing.
    pub number: u32,
    /// From `com.docker.compose.oneoff`: made by `compose run`, never ours to touch.
    pub one_off: bool,
    /// From `com.docker.compose.config-hash`; empty if missing.
    pub config_hash: String,
    /// The labels that tell where its project's files are (`com.docker.compose.project.…`).
    pub project_labels: BTreeMap<String, String>,
    /// The container in whose place it was made, where it is a [`Engine::copy`].
    pub replaces: Option<ContainerId>,
    /// The image it was made of.
    pub image: ImageId,
    /// What it is doing.
    pub state: State,
    /// Made by Compose or kerek to run one of the service's `pre_start` hooks; counts as a one-off container, too.
    pub runs_hook: bool,
    /// When it was created; `None` where the engine does not tell.
    pub created: Option<SystemTime>,
    /// When it was last started, by hand or by its restart policy; `None` if never.
    pub started: Option<SystemTime>,
    /// What its healthcheck says; `None` without a healthcheck.
    pub health: Option<Health>,
    /// Its healthcheck's settings; `None` without (or with a disabled) healthcheck.
    pub healthcheck: Option<Healthcheck>,
    /// Output of the last health probe, raw; empty if there was none.
    pub last_probe: String,
    /// How often the engine has restarted it by its restart policy since it was last started by hand.
    pub restarts: u64,
    /// `no`, `on-failure`, `always` or `unless-stopped`.
    pub restart_policy: RestartPolicy,
    /// The grace period between asking to end and killing; `None` for the engine's default of 10 s.
    pub stop_timeout: Option<Duration>,
    /// Networks it is attached to, by name.
    pub networks: BTreeMap<NetworkName, Attachment>,
    /// The engine's network mode, such as `shop_default`, `host`, `none`, `container:…`.
    pub network_mode: String,
    /// Whether ports are published on the host (fixed or ephemeral).
    pub publishes_ports: bool,
    /// The volumes that it mounts, by the absolute path in the container.
    pub volumes: BTreeMap<String, Volume>,
}

/// A volume in a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Volume {
    /// Its name on the engine.
    pub name: String,
    /// Whether it is an anonymous one, which got its name from the engine.
    pub anonymous: bool,
    /// Whether the container was created with the wish for this very volume; otherwise it came with the container.
    pub wished: bool,
}

/// In what a copy of a container differs from the original.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Variation {
    /// The copy's name.
    pub name: String,
    /// The container that the copy is to replace.
    pub replaces: Option<ContainerId>,
    /// The copy's config hash (its label).
    pub config_hash: String,
    /// Labels to set, see [`Container::project_labels`].
    pub project_labels: BTreeMap<String, String>,
    /// Volumes to mount, by the absolute path in the container, in place of what the original has there.
    pub volumes: BTreeMap<String, String>,
    /// Aliases to rename wherever the original has them, on any network: the old name and the new one.
    pub aliases: BTreeMap<String, String>,
}

/// What a container is doing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Created, never started.
    Created,
    /// Running, healthy or not.
    Running,
    /// Suspended.
    Paused,
    /// Between two attempts of its restart policy.
    Restarting,
    /// Ended.
    Exited {
        /// The exit code of its process.
        code: i64,
        /// Killed for using too much memory.
        out_of_memory: bool,
    },
    /// Being removed, or removal failed half-way.
    Dead,
}

/// The verdict of a healthcheck.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// No verdict yet.
    Starting,
    /// Good.
    Healthy,
    /// Bad.
    Unhealthy,
}

/// A healthcheck's timing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Healthcheck {
    /// Time between probes.
    pub interval: Duration,
    /// Time a probe may take.
    pub timeout: Duration,
    /// Failures in a row that make a container unhealthy.
    pub retries: u32,
    /// Time after the start in which failures do not count.
    pub start_period: Duration,
}

/// A container's restart policy.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RestartPolicy {
    /// Never restarted.
    No,
    /// Restarted when it exits with a code other than 0.
    OnFailure,
    /// Restarted whenever it exits.
    Always,
    /// As `Always`, unless it was stopped by hand.
    UnlessStopped,
}

impl RestartPolicy {
    /// Whether a container with this policy may end well: an exit code of 0 then means "done".
    #[must_use]
    pub fn can_complete(self) -> bool {
        matches!(self, Self::No | Self::OnFailure)
    }
}

/// A container's endpoint on a network: all settings that are needed to make the same one again.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Attachment {
    /// Names it is known by on this network, besides its own name and short ID.
    pub aliases: Vec<String>,
    /// Legacy links (`container:alias`).
    pub links: Vec<String>,
    /// Static IPv4 address asked for.
    pub ipv4_address: Option<String>,
    /// Static IPv6 address asked for.
    pub ipv6_address: Option<String>,
    /// Link-local addresses asked for.
    pub link_local_addresses: Vec<String>,
    /// Options for the network driver.
    pub driver_options: BTreeMap<String, String>,
    /// Priority as the default gateway.
    pub gateway_priority: i64,
    /// The address in use, empty while not running.
    pub address: String,
    /// The hardware address (MAC) in use, empty while not running.
    pub hardware_address: String,
}

/// A command to run inside a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Exec {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// User and group (`user[:group]`, names or numbers); the container's own if empty.
    pub user: String,
    /// Whether it has all the host's capabilities.
    pub privileged: bool,
    /// The folder it starts in; the container's own if empty.
    pub working_dir: String,
    /// Variables besides the container's own: `NAME=value`, or `NAME` for one to leave out.
    pub environment: Vec<String>,
}

/// How a command inside a container ended.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ExecOutcome {
    /// Its exit code; engines use 126 and 127 where it could not be started.
    pub code: i64,
    /// The last lines of its output (stdout and stderr as they came, raw: may hold anything).
    pub output: Vec<String>,
}

/// A file to put into a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct File {
    /// Its absolute path in the container.
    pub path: String,
    /// What it holds.
    pub content: Content,
    /// Its permissions, such as `0o444`.
    pub mode: u32,
    /// The owner, if one is asked for; else root.
    ///
    /// As with Compose, engines give a file to the container's user instead, where there is one, as soon as an owner
    /// or a group is asked for.
    pub uid: Option<u32>,
    /// The group, in the same way.
    pub gid: Option<u32>,
}

/// A file that was found in a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Found {
    /// When it was last written to, by the engine's clock.
    pub modified: SystemTime,
    /// What that clock said when this was found, or up to a second more, as engines tell whole seconds.
    pub now: SystemTime,
    /// What it holds, unless it is too much or it is no regular file.
    pub content: Option<Content>,
}

/// A file's bytes, which may be secret: never shown, not even for debugging.
#[derive(Clone, Eq, PartialEq)]
pub struct Content(pub Vec<u8>);

impl fmt::Debug for Content {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Content({} bytes)", self.0.len())
    }
}

/// Something that happened to a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Whose.
    pub container: ContainerId,
    /// What.
    pub action: Action,
}

/// The kinds of events a deployment reacts to; the engine is asked for more detail by an inspection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Its process runs.
    Started,
    /// Its process ended.
    Died,
    /// Its healthcheck has a verdict.
    Health(Health),
    /// It is gone.
    Destroyed,
    /// Anything else.
    Other,
}

#[cfg(test)]
impl Container {
    /// A running, healthy container with nothing special about it.
    pub(crate) fn example() -> Self {
        Self {
            id: ContainerId::new("1f3a"),
            name: "shop-web-1".into(),
            service: ServiceName::new("web"),
            number: 1,
            one_off: false,
            config_hash: "hash-1".into(),
            project_labels: BTreeMap::new(),
            replaces: None,
            image: ImageId::new("sha256:1"),
            state: State::Running,
            runs_hook: false,
            created: None,
            started: Some(SystemTime::UNIX_EPOCH),
            health: Some(Health::Healthy),
            healthcheck: Some(Healthcheck {
                interval: Duration::from_secs(30),
                timeout: Duration::from_secs(30),
                retries: 3,
                start_period: Duration::ZERO,
            }),
            last_probe: String::new(),
            restarts: 0,
            restart_policy: RestartPolicy::No,
            stop_timeout: None,
            networks: BTreeMap::new(),
            network_mode: "shop_default".into(),
            publishes_ports: false,
            volumes: BTreeMap::new(),
        }
    }
}
