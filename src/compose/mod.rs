//! What the user wants: a Compose project as kerek understands it.
//!
//! [`cli::ComposeCli`] asks Compose itself to read the files (kerek never interprets a Compose file on its own) and
//! [`model::parse`] picks from its answer what a deployment depends on. All types here are plain data.

pub mod cli;
pub mod duration;
pub mod files;
mod hashing;
pub mod hooks;
pub mod model;
pub mod order;
pub mod policy;
mod variables;

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{NetworkName, ProjectName, ServiceName};
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
}

/// A service, as far as a deployment depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Service {
    /// The config hash that Compose would label a new container with; empty until it has been asked.
    pub config_hash: String,
    /// The image name its containers are made of, also if Compose builds it.
    pub image: String,
    /// The wanted number of containers; `None` where the files do not say (Compose then makes one).
    pub replicas: Option<u32>,
    /// How updates go.
    pub update: UpdatePolicy,
    /// How taking an update back goes.
    pub rollback: UpdatePolicy,
    /// Services that go first.
    pub depends_on: BTreeSet<ServiceName>,
    /// The DNS names of the service on each of its networks: its own and the aliases from the files.
    pub aliases: BTreeMap<NetworkName, BTreeSet<String>>,
    /// Settings of which only one container can make use at a time.
    pub exclusive: Vec<Exclusive>,
    /// Other services whose containers its own cannot outlive, by the key that says so: they share namespaces
    /// (`network_mode`, `ipc` or `pid` of `service:…`) or volumes (`volumes_from`).
    pub joins: BTreeMap<&'static str, BTreeSet<ServiceName>>,
    /// Whether its containers are known to end when their work is done: the files say `restart: "no"`, or another
    /// service waits for its completion.
    pub may_complete: bool,
    /// How long a container that is about to stop is left alone after it has left the service's DNS names.
    pub drain: Drain,
    /// Its configs and secrets.
    pub files: Files,
    /// Commands that are run in its containers.
    pub hooks: Hooks,
    /// Whether the root filesystem of its containers is read-only.
    pub read_only: bool,
}

/// A setting that two containers cannot share, so that old and new cannot overlap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Exclusive {
    /// The key in the Compose file, such as `ports`.
    pub key: String,
    /// Its value, for people.
    pub value: String,
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

    /// Names of the existing containers of services that Compose, were it to update them now, would leave as they are.
    /// Empty if it cannot tell.
    async fn kept(&self, services: &BTreeSet<ServiceName>) -> Result<BTreeSet<String>, crate::error::Failure>;

    /// Names of all services in the files, also of those whose profiles are not enabled.
    async fn all_services(&self) -> Result<BTreeSet<ServiceName>, crate::error::Failure>;

    /// Creates (but does not start) containers until each service has as many as asked for, in whatever state; builds
    /// and pulls images as needed. Existing containers are left alone.
    async fn create(&self, creation: &Creation) -> Result<(), crate::error::Failure>;
}

/// A project with Compose's own rendering of it, which can be given back to Compose.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The project.
    pub project: Project,
    /// The resolved model in YAML as Compose printed it. It may hold secrets: never show it.
    pub model: String,
}

/// What [`Compose::create`] is to make.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Creation {
    /// The services to create containers of.
    pub services: BTreeSet<ServiceName>,
    /// The number of containers that each service shall have afterwards, counting those in any state. Services that
    /// are not named in `services` but depended on are in here with the number they have.
    pub scale: BTreeMap<ServiceName, u32>,
    /// Leave out services that the named ones depend on.
    pub no_dependencies: bool,
}

/// A value as it is meant: Compose prints each `$` twice, so that its output can be read as a Compose file again.
fn unescape(value: &str) -> String {
    value.replace("$$", "$")
}
