//! Which engine is meant, decided as the docker command decides it: by options, environment, contexts and defaults.
//!
//! [`Selection`] holds all inputs but the files; [`Endpoint::resolve`] decides, reading at most the client's
//! configuration and one context. Nothing here connects; that is for [`super::access`].

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use crate::error::{Failure, Kind};
use crate::ssh::destination::Destination;
use crate::text::escape;

/// Docker's socket where nothing else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Where the docker command goes in place of its socket when it is to use TLS.
const DOCKER_TLS_ADDRESS: &str = "tcp://localhost:2376";
/// Podman's socket for root; other users have theirs in their runtime directory.
const PODMAN_SOCKET: &str = "/run/podman/podman.sock";
/// The context that stands for none: `DOCKER_HOST` or the default socket.
const DEFAULT_CONTEXT: &str = "default";

/// Everything outside of files that decides which engine is meant.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Selection {
    /// `--host`. Unlike other inputs it counts when it is empty: it then means the default socket.
    pub host: Option<String>,
    /// `--context`.
    pub context: Option<String>,
    /// `--config`: the directory of the client's configuration.
    pub config: Option<PathBuf>,
    /// The container engine program; one called `podman` has sockets of its own as defaults.
    pub program: OsString,
    /// `DOCKER_HOST`.
    pub docker_host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub docker_context: Option<String>,
    /// `DOCKER_CONFIG`: the directory of the client's configuration, unless an option says otherwise.
    pub docker_config: Option<PathBuf>,
    /// `CONTAINER_HOST`: what podman has for `DOCKER_HOST`.
    pub container_host: Option<String>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_directory: Option<PathBuf>,
    /// The effective user ID.
    pub user_id: u32,
    /// The client's options about TLS, as they are given to it.
    pub tls: Vec<OsString>,
    /// `DOCKER_TLS` or `DOCKER_TLS_VERIFY` is set, to whatever.
    pub docker_tls: bool,
}

impl Selection {
    /// No options, the given container engine program, and the environment of this process.
    pub fn from_env(program: impl Into<OsString>) -> Self {
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let text = |name| path(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            host: None,
            context: None,
            config: None,
            program: program.into(),
            docker_host: text("DOCKER_HOST"),
            docker_context: text("DOCKER_CONTEXT"),
            docker_config: path("DOCKER_CONFIG"),
            container_host: text("CONTAINER_HOST"),
            home: path("HOME"),
            runtime_directory: path("XDG_RUNTIME_DIR"),
            user_id: rustix::process::geteuid().as_raw(),
            tls: Vec::new(),
            docker_tls: ["DOCKER_TLS", "DOCKER_TLS_VERIFY"].iter().any(|name| set(text(name).as_ref()).is_some()),
        }
    }

    /// Whether podman is meant, and not docker.
    #[must_use]
    pub fn is_podman(&self) -> bool {
        Path::new(&self.program).file_name().is_some_and(|name| name == "podman")
    }

    /// Where the engine is if nothing else is said: at its own socket, unless the docker command is to use TLS.
    fn default_endpoint(&self) -> Endpoint {
        let asks = self.tls.iter().any(|option| option == "--tls" || option == "--tlsverify");
        if (asks || self.docker_tls) && !self.is_podman() {
            return Endpoint::Tcp(DOCKER_TLS_ADDRESS.to_owned());
        }
        Endpoint::Unix(self.default_socket())
    }

    /// The engine's own socket.
    fn default_socket(&self) -> PathBuf {
        if !self.is_podman() {
            return DOCKER_SOCKET.into();
        }
        if self.user_id == 0 {
            return PODMAN_SOCKET.into();
        }
        let runtime_directory = set_path(self.runtime_directory.as_ref())
            .map_or_else(|| PathBuf::from(format!("/run/user/{}", self.user_id)), PathBuf::from);
        runtime_directory.join("podman/podman.sock")
    }

    /// The directory of the client's configuration; `None` if there is no home to look in.
    fn config_directory(&self) -> Option<PathBuf> {
        set_path(self.config.as_ref())
            .or(set_path(self.docker_config.as_ref()))
            .map(PathBuf::from)
            .or_else(|| set_path(self.home.as_ref()).map(|home| home.join(".docker")))
    }
}

/// An engine's address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// The path of a unix socket.
    Unix(PathBuf),
    /// A host to reach over SSH.
    Ssh(Destination),
    /// An address beginning with `tcp://`.
    Tcp(String),
    /// Another address that docker knows: `npipe://…`, `fd://…`.
    Other(String),
}

impl Endpoint {
    /// Decides which engine is meant.
    ///
    /// `--host` and `--context` exclude each other and come first, then `DOCKER_HOST`, `DOCKER_CONTEXT`, the
    /// configuration's current context, and at last the default. All as docker has it, save that a configuration that
    /// cannot be read is an error and not a reason to deploy to the default engine.
    ///
    /// For podman, `CONTAINER_HOST` comes after `DOCKER_HOST`, and the current context does not count: it says which
    /// engine the docker command is about.
    pub fn resolve(selection: &Selection) -> Result<Self, Failure> {
        let context = set(selection.context.as_ref());
        if let Some(host) = &selection.host {
            if context.is_some() {
                let error = anyhow!("--host and --context exclude each other");
                return Err(Failure::new(Kind::Usage, error));
            }
            return parse_host(selection, host, "--host").map_err(|error| Failure::new(Kind::Usage, error));
        }
        if let Some(context) = context {
            return in_context(selection, context);
        }
        if let Some(host) = set(selection.docker_host.as_ref()) {
            return Ok(parse_host(selection, host, "DOCKER_HOST")?);
        }
        if let Some(endpoint) = container_host(selection)? {
            return Ok(endpoint);
        }
        if let Some(context) = set(selection.docker_context.as_ref()) {
            return in_context(selection, context);
        }
        if selection.is_podman() {
            return Ok(selection.default_endpoint());
        }
        match current_context(selection)? {
            Some(context) => in_context(selection, &context),
            None => Ok(selection.default_endpoint()),
        }
    }
}

impl fmt::Display for Endpoint {
    /// The address as docker takes it, escaped.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", escape(&path.to_string_lossy())),
            Self::Ssh(destination) => destination.fmt(formatter),
            Self::Tcp(address) | Self::Other(address) => formatter.write_str(&escape(address)),
        }
    }
}

/// Reads an address as docker does. `source` says where it comes from.
fn parse_host(selection: &Selection, host: &str, source: &str) -> anyhow::Result<Endpoint> {
    let host = host.trim();
    match host.split_once("://") {
        None if host.is_empty() => Ok(selection.default_endpoint()),
        None => Ok(Endpoint::Tcp(format!("tcp://{host}"))),
        Some(("unix", "")) => Ok(Endpoint::Unix(selection.default_socket())),
        Some(("unix", path)) => Ok(Endpoint::Unix(path.into())),
        // The address is not repeated: it may hold a password.
        Some(("ssh", _)) => match host.parse() {
            Ok(destination) => Ok(Endpoint::Ssh(destination)),
            Err(error) => Err(anyhow!("{source} is no address for SSH: {error}")),
        },
        Some(("tcp", _)) => Ok(Endpoint::Tcp(host.to_owned())),
        Some(("npipe" | "fd", _)) => Ok(Endpoint::Other(host.to_owned())),
        Some((scheme, _)) => Err(anyhow!("{source}: unknown scheme `{}` in `{}`", escape(scheme), escape(host))),
    }
}

/// What podman is told by a variable of its own.
fn container_host(selection: &Selection) -> anyhow::Result<Option<Endpoint>> {
    let host = set(selection.container_host.as_ref()).filter(|_| selection.is_podman());
    host.map(|host| parse_host(selection, host, "CONTAINER_HOST")).transpose()
}

/// The names of the contexts there are. Those that cannot be read are left out.
#[must_use]
pub fn contexts(selection: &Selection) -> Vec<String> {
    let folders = selection.config_directory().and_then(|directory| fs::read_dir(directory.join("contexts/meta")).ok());
    let files = folders.into_iter().flatten().filter_map(|folder| Some(folder.ok()?.path().join("meta.json")));
    let names = files.filter_map(|file| Some(read_json::<Context>(&file).ok()??.name));
    let names: BTreeSet<_> = names.filter(|name| !name.is_empty()).collect();
    std::iter::once(DEFAULT_CONTEXT.to_owned()).chain(names).collect()
}

/// The endpoint of a context. The one called "default" is not stored but made of the environment.
fn in_context(selection: &Selection, name: &str) -> Result<Endpoint, Failure> {
    if name == DEFAULT_CONTEXT {
        return Ok(match set(selection.docker_host.as_ref()) {
            Some(host) => parse_host(selection, host, "DOCKER_HOST")?,
            None => container_host(selection)?.unwrap_or_else(|| selection.default_endpoint()),
        });
    }
    let source = format!("context `{}`", escape(name));
    let not_found = || {
        Failure::from(anyhow!("{source} does not exist")).hint("List the contexts there are with `docker context ls`.")
    };
    let directory = selection.config_directory().ok_or_else(not_found)?;
    let path = directory.join("contexts/meta").join(hash(name)).join("meta.json");
    let context =
        read_json::<Context>(&path).with_context(|| format!("cannot read {source}"))?.ok_or_else(not_found)?;
    let docker = context.endpoints.docker.ok_or_else(|| anyhow!("{source} has no docker endpoint"))?;
    Ok(parse_host(selection, &docker.host, &source)?)
}

/// The current context of the client's configuration.
fn current_context(selection: &Selection) -> anyhow::Result<Option<String>> {
    let Some(directory) = selection.config_directory() else {
        return Ok(None);
    };
    let config: Option<Config> = read_json(&directory.join("config.json"))
        .context("cannot tell the current context from the client's configuration")?;
    Ok(config.and_then(|config| config.current_context).filter(|context| !context.is_empty()))
}

/// The client's `config.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    current_context: Option<String>,
}

/// A context's `meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    #[serde(default)]
    name: String,
    endpoints: ContextEndpoints,
}

#[derive(Deserialize)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContextEndpoint {
    #[serde(default)]
    host: String,
}

/// Reads a file; `None` if there is none.
fn read_json<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Option<T>> {
    let shown = || escape(&path.to_string_lossy());
    match fs::read(path) {
        Ok(content) => Ok(Some(serde_json::from_slice(&content).with_context(shown)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(shown),
    }
}

/// The name of a context's directory.
fn hash(name: &str) -> String {
    Sha256::digest(name).iter().fold(String::new(), |hash, byte| format!("{hash}{byte:02x}"))
}

/// Variables and options that are empty count as unset.
fn set(text: Option<&String>) -> Option<&str> {
    text.map(String::as_str).filter(|text| !text.is_empty())
}

fn set_path(path: Option<&PathBuf>) -> Option<&Path> {
    path.map(PathBuf::as_path).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests;
