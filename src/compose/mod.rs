//! What the user wants: a Compose project as kerek understands it.
//!
//! [`cli::ComposeCli`] asks Compose itself to read the files (kerek never interprets a Compose file on its own) and
//! [`model::parse`] picks from its answer what a deployment depends on. All types here are plain data.

pub mod cli;
mod definitions;
pub mod delivered;
pub mod duration;
pub mod files;
mod hashing;
pub mod hooks;
pub mod images;
pub mod model;
pub mod order;
pub mod policy;
pub mod ports;
pub mod pre_start;
mod rehearsal;
pub mod released;
mod unnamed;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{NetworkName, ProjectName, ServiceName, VolumeName};
use delivered::Delivered;
use files::Files;
use hooks::Hooks;
use policy::{Drain, UpdatePolicy};

/// A project: its enabled services, resolved (variables, files, defaults) by Compose.
#[derive(Clone, Debug, PartialEq)]
pub struct Project {
    /// The project's name.
    pub name: ProjectName,
    /// The enabled services.
    pub services: BTreeMap<ServiceName, Service>,
    /// The networks that Compose makes for them, with the hash of each one's definition.
    pub networks: BTreeMap<NetworkName, String>,
    /// The volumes that Compose makes for them, with the hash of each one's definition.
    pub volumes: BTreeMap<VolumeName, String>,
    /// How many releases are to be kept, if the files say.
    pub releases: Option<usize>,
}

/// A service, as far as a deployment depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The config hash that Compose would label a new container with; empty until it has been asked.
    pub config_hash: String,
    /// The image name its containers are made of, also if Compose builds it.
    pub image: String,
    /// Where the image comes from.
    pub source: images::Source,
    /// The wanted number of containers; `None` where the files do not say (Compose then makes one).
    pub replicas: Option<u32>,
    /// How updates go.
    pub update: UpdatePolicy,
    /// How taking an update back goes.
    pub rollback: UpdatePolicy,
    /// Services that go first, and what is asked of them. They need not be in the project if they are optional.
    pub depends_on: BTreeMap<ServiceName, order::Dependency>,
    /// The DNS names of the service on each of its networks: its own and the aliases from the files.
    pub aliases: BTreeMap<NetworkName, BTreeSet<String>>,
    /// Settings of which only one container can make use at a time.
    pub exclusive: Vec<Exclusive>,
    /// Ranges of published ports, of each of which a container takes one.
    pub port_ranges: Vec<ports::PortRange>,
    /// Paths of the engine's host that its containers mount.
    pub binds: Vec<Bind>,
    /// Other services whose containers its own cannot outlive, by the key that says so: they share namespaces
    /// (`network_mode`, `ipc` or `pid` of `service:…`) or volumes (`volumes_from`).
    pub joins: BTreeMap<&'static str, BTreeSet<ServiceName>>,
    /// Whether its containers are known to end when their work is done: the files say `restart: "no"`, or another
    /// service waits for its completion.
    pub may_complete: bool,
    /// Whether another service waits until its containers have done their work and ended.
    pub must_complete: bool,
    /// How long a container that is about to stop is left alone after it has left the service's DNS names.
    pub drain: Drain,
    /// Its configs and secrets.
    pub files: Files,
    /// Commands that are run in its containers.
    pub hooks: Hooks,
    /// Whether the root filesystem of its containers is read-only.
    pub read_only: bool,
    /// What tells others how its containers are.
    pub signals: Signals,
}

/// Ways to learn how a container is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Signals {
    /// Whether the files configure a healthcheck; otherwise the image may have one.
    pub healthcheck: bool,
    /// Whether labels have Traefik watch the containers, and send requests to them.
    pub traefik: bool,
}

/// A setting that two containers cannot share, so that old and new cannot overlap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exclusive {
    /// The key in the Compose file, such as `ports`.
    pub key: String,
    /// Its value, for people.
    pub value: String,
}

/// A file or folder of the engine's host in a container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bind {
    /// The key within the service, such as `volumes[0]`.
    pub key: String,
    /// Its absolute path on the host.
    pub source: String,
    /// Its absolute path in the container.
    pub target: String,
}

/// The two ways a replica can be replaced.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// Stop the old container, then start the new one.
    #[default]
    StopFirst,
    /// Start the new container, then stop the old one.
    StartFirst,
}

/// Where kerek gets its project from. Implemented by [`cli::ComposeCli`] and, for tests, in memory.
#[expect(async_fn_in_trait, reason = "single-threaded by design, see `engine::Engine`")]
pub trait Compose {
    /// Reads the project; the services named in `services` are part of it even if their profiles are not enabled.
    /// Config hashes are left empty.
    async fn load(&self, services: &[ServiceName]) -> Result<Loaded, crate::error::Failure>;

    /// Compose's config hash of each service of a loaded project. `containers` tells today's container of each service
    /// that another one joins.
    async fn hashes(
        &self,
        loaded: &Loaded,
        containers: &BTreeMap<ServiceName, crate::names::ContainerId>,
    ) -> Result<BTreeMap<ServiceName, String>, crate::error::Failure>;

    /// What Compose would do if it were to update services now. Empty if it cannot tell.
    async fn rehearse(&self, services: &BTreeSet<ServiceName>) -> Result<Rehearsal, crate::error::Failure>;

    /// Has Compose itself bring services up to date, in its own way: it stops what it replaces. `scale` is the number
    /// of containers each is to have.
    async fn up(&self, scale: &BTreeMap<ServiceName, u32>, delivered: &Delivered) -> Result<(), crate::error::Failure>;

    /// Names of all services in the files, also of those whose profiles are not enabled.
    async fn all_services(&self) -> Result<BTreeSet<ServiceName>, crate::error::Failure>;

    /// Values of environment variables as the project has them: the caller's own, else those of env files. Those that are
    /// not set are missing.
    async fn variables(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>, crate::error::Failure>;

    /// Builds and pulls images. Containers are left alone.
    async fn refresh(&self, refresh: &images::Refresh) -> Result<(), crate::error::Failure>;

    /// Creates (but does not start) containers until each service has as many as asked for, in whatever state; builds
    /// and pulls images as needed. Existing containers are left alone.
    async fn create(&self, creation: &Creation) -> Result<(), crate::error::Failure>;

    /// Makes and starts the container of a `pre_start` hook, labelled as such ([`crate::engine::Container::runs_hook`]).
    /// Does not wait for its end.
    async fn run_hook(&self, run: &HookRun<'_>) -> Result<crate::names::ContainerId, crate::error::Failure>;
}

/// A project with Compose's own rendering of it, which can be given back to Compose.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// The resolved model in YAML as Compose printed it. It may hold secrets: never show it.
    pub model: String,
}

/// What Compose would do to what is there.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rehearsal {
    /// Names of containers that it would leave as they are.
    pub kept: BTreeSet<String>,
    /// Networks that it would replace, which interrupts everything on them.
    pub networks: BTreeSet<NetworkName>,
    /// Volumes that it would offer to replace, with the loss of what they hold.
    pub volumes: BTreeSet<VolumeName>,
}

/// What [`Compose::create`] is to make.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes")]
pub struct Creation {
    /// The services to create containers of.
    pub services: BTreeSet<ServiceName>,
    /// The number of containers that each service shall have afterwards, counting those in any state. Services that
    /// are not named in `services` but depended on are in here with the number they have.
    pub scale: BTreeMap<ServiceName, u32>,
    /// Leave out services that the named ones depend on.
    pub no_dependencies: bool,
    /// Take no heed of the `container_name` of the services, which can be of one container only.
    pub unnamed: bool,
    /// When to pull images, whatever the files say.
    pub pull: Option<images::Policy>,
    /// Whether pulling is kept quiet.
    pub quiet_pull: bool,
    /// Whether to fail rather than to build an image.
    pub no_build: bool,
    /// Files that Compose is not to mount.
    pub delivered: Delivered,
}

/// A `pre_start` hook to run.
#[derive(Clone, Copy, Debug)]
pub struct HookRun<'a> {
    /// Its service.
    pub service: &'a ServiceName,
    /// The hook.
    pub hook: &'a pre_start::PreStart,
    /// What its container is called.
    pub name: &'a str,
    /// The container whose volumes it sees.
    pub volumes_of: &'a crate::names::ContainerId,
    /// Files that Compose is to copy, and not to mount.
    pub delivered: &'a Delivered,
}

/// A value as it is meant: Compose prints each `$` twice, so that its output can be read as a Compose file again.
fn unescape(value: &str) -> String {
    value.replace("$$", "$")
}
