//! Which engine is meant, decided as the docker command decides it: by options, environment, contexts and defaults.
//!
//! [`Selection`] holds all inputs but the files; [`Endpoint::resolve`] decides, reading at most the client's
//! configuration and one context. This release reaches engines over unix sockets, and [`Endpoint::socket`] says so for
//! all others. Nothing here connects but [`explain`], which finds out why connecting has failed.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream;

use super::{Error, ErrorKind};
use crate::error::{Failure, Kind};
use crate::text::escape;

/// Docker's socket where nothing else is said.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
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
        }
    }

    fn is_podman(&self) -> bool {
        Path::new(&self.program).file_name().is_some_and(|name| name == "podman")
    }

    /// The engine's own socket, where nothing else is said.
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
    /// An address beginning with `ssh://`.
    Ssh(String),
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
        if let Some(context) = set(selection.docker_context.as_ref()) {
            return in_context(selection, context);
        }
        match current_context(selection)? {
            Some(context) => in_context(selection, &context),
            None => Ok(default(selection)?),
        }
    }

    /// The path of the unix socket; for other endpoints a failure that tells the way round.
    pub fn socket(&self) -> Result<&Path, Failure> {
        let address = match self {
            Self::Unix(path) => return Ok(path),
            Self::Ssh(address) | Self::Tcp(address) | Self::Other(address) => address,
        };
        let error = anyhow!("cannot use {}: this version reaches engines over unix sockets only", escape(address));
        let failure = Failure::new(Kind::Unchanged, error);
        Err(match address.strip_prefix("tcp://") {
            // Docker, too, takes what has no scheme for a TCP address.
            Some(path) if path.starts_with('/') => failure.hint(format!("Say unix://{} to mean a socket.", escape(path))),
            _ => failure.hint(
                "Forward the engine's socket by hand with `ssh -nNT -L /tmp/engine.sock:/var/run/docker.sock USER@HOST` \
                 and use `--host unix:///tmp/engine.sock`.",
            ),
        })
    }
}

impl fmt::Display for Endpoint {
    /// The address as docker takes it, escaped.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix://{}", escape(&path.to_string_lossy())),
            Self::Ssh(address) | Self::Tcp(address) | Self::Other(address) => formatter.write_str(&escape(address)),
        }
    }
}

/// Reads an address as docker does. `source` says where it comes from.
fn parse_host(selection: &Selection, host: &str, source: &str) -> anyhow::Result<Endpoint> {
    let host = host.trim();
    match host.split_once("://") {
        None if host.is_empty() => Ok(Endpoint::Unix(selection.default_socket())),
        None => Ok(Endpoint::Tcp(format!("tcp://{host}"))),
        Some(("unix", "")) => Ok(Endpoint::Unix(selection.default_socket())),
        Some(("unix", path)) => Ok(Endpoint::Unix(path.into())),
        Some(("ssh", _)) => Ok(Endpoint::Ssh(host.to_owned())),
        Some(("tcp", _)) => Ok(Endpoint::Tcp(host.to_owned())),
        Some(("npipe" | "fd", _)) => Ok(Endpoint::Other(host.to_owned())),
        Some((scheme, _)) => Err(anyhow!("{source}: unknown scheme `{}` in `{}`", escape(scheme), escape(host))),
    }
}

/// The endpoint where neither host nor context is chosen.
fn default(selection: &Selection) -> anyhow::Result<Endpoint> {
    match set(selection.container_host.as_ref()) {
        Some(host) if selection.is_podman() => parse_host(selection, host, "CONTAINER_HOST"),
        _ => Ok(Endpoint::Unix(selection.default_socket())),
    }
}

/// The endpoint of a context. The one called "default" is not stored but made of the environment.
fn in_context(selection: &Selection, name: &str) -> Result<Endpoint, Failure> {
    if name == DEFAULT_CONTEXT {
        return Ok(match set(selection.docker_host.as_ref()) {
            Some(host) => parse_host(selection, host, "DOCKER_HOST")?,
            None => default(selection)?,
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

/// Makes a failed connection to an engine a failure with hints, by trying the socket once more.
pub async fn explain(error: Error, socket: &Path) -> Failure {
    if error.kind != ErrorKind::Unreachable {
        return Failure::new(Kind::Unchanged, error);
    }
    let failure = Failure::new(Kind::Unreachable, error);
    let shown = escape(&socket.to_string_lossy());
    let unit = if shown.contains("podman") { "podman.socket" } else { "docker" };
    let probe = tokio::time::timeout(Duration::from_secs(1), UnixStream::connect(socket)).await;
    match probe {
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::NotFound => failure
                .hint(format!(
                    "There is no socket {shown}. Is the engine installed and running? Try `systemctl status {unit}`."
                ))
                .hint("Choose another engine with --host or --context."),
            io::ErrorKind::PermissionDenied if unit == "docker" => failure.hint(format!(
                "You may not use {shown}. Join the group `docker` (`sudo usermod -aG docker $USER`, then log in again)."
            )),
            io::ErrorKind::PermissionDenied => {
                failure.hint(format!("You may not use {shown}. A user's own engine has a socket in $XDG_RUNTIME_DIR."))
            }
            io::ErrorKind::ConnectionRefused => failure
                .hint(format!("Nobody listens at {shown}. Is the engine running? Try `systemctl status {unit}`.")),
            _ => failure,
        },
        Ok(Ok(_)) | Err(_) => failure.hint(format!(
            "Something listens at {shown} but does not answer as an engine. Try `journalctl -u {unit}`."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A configuration directory with the contexts `one`, `two` (current), `bare`, `blank` and `garbled`.
    fn config() -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("temporary directory");
        let write = |path: &str, content: &str| {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, content).expect("file");
        };
        write("config.json", r#"{"auths": {}, "currentContext": "two"}"#);
        // Written by `docker context create one --docker host=unix:///tmp/one.sock`, the name of the directory included.
        write(
            "contexts/meta/7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed/meta.json",
            r#"{"Name":"one","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///tmp/one.sock","SkipTLSVerify":false}}}"#,
        );
        for (name, content) in [
            ("two", r#"{"Name":"two","Endpoints":{"docker":{"Host":"ssh://u@h:22"}}}"#),
            ("bare", r#"{"Name":"bare","Endpoints":{}}"#),
            ("blank", r#"{"Name":"blank","Endpoints":{"docker":{"Host":""}}}"#),
            ("garbled", "{garbled"),
        ] {
            write(&format!("contexts/meta/{}/meta.json", hash(name)), content);
        }
        directory
    }

    fn docker() -> Selection {
        Selection { program: "docker".into(), user_id: 1000, ..Selection::default() }
    }

    fn resolve(selection: &Selection) -> String {
        match Endpoint::resolve(selection) {
            Ok(endpoint) => endpoint.to_string(),
            Err(failure) => format!("{:?}: {failure}", failure.kind),
        }
    }

    #[test]
    fn chooses_as_docker_does() {
        let config = config();
        // --host, --context, DOCKER_HOST, DOCKER_CONTEXT: what `docker context inspect` says (Docker 28.2).
        let cases: [([Option<&str>; 4], &str); 21] = [
            ([None, None, None, None], "ssh://u@h:22"),
            ([None, None, None, Some("one")], "unix:///tmp/one.sock"),
            ([None, None, None, Some("default")], "unix:///var/run/docker.sock"),
            ([None, None, None, Some("")], "ssh://u@h:22"),
            ([None, None, Some(""), None], "ssh://u@h:22"),
            ([None, None, Some("  "), None], "unix:///var/run/docker.sock"),
            ([None, None, Some("tcp://9.9.9.9:1"), None], "tcp://9.9.9.9:1"),
            ([None, None, Some("tcp://9.9.9.9:1"), Some("one")], "tcp://9.9.9.9:1"),
            ([None, Some(""), None, None], "ssh://u@h:22"),
            ([None, Some("one"), Some("tcp://9.9.9.9:1"), None], "unix:///tmp/one.sock"),
            ([None, Some("one"), None, Some("two")], "unix:///tmp/one.sock"),
            ([None, Some("default"), None, Some("one")], "unix:///var/run/docker.sock"),
            ([None, Some("default"), Some("tcp://9.9.9.9:1"), None], "tcp://9.9.9.9:1"),
            ([None, Some("blank"), None, None], "unix:///var/run/docker.sock"),
            ([Some("unix:///x"), None, Some("unix:///y"), Some("one")], "unix:///x"),
            ([Some("unix:///x"), Some(""), None, None], "unix:///x"),
            ([Some(""), None, Some("unix:///y"), None], "unix:///var/run/docker.sock"),
            ([Some("unix:///x"), Some("one"), None, None], "Usage: --host and --context exclude each other"),
            ([Some("unix:///x"), Some("default"), None, None], "Usage: --host and --context exclude each other"),
            ([None, Some("nope"), None, None], "Unchanged: context `nope` does not exist"),
            ([None, Some("bare"), None, None], "Unchanged: context `bare` has no docker endpoint"),
        ];
        for (inputs, expected) in cases {
            let [host, context, docker_host, docker_context] = inputs.map(|input| input.map(str::to_owned));
            let selection = Selection {
                host,
                context,
                docker_host,
                docker_context,
                config: Some(config.path().into()),
                ..docker()
            };
            assert_eq!(resolve(&selection), expected, "{inputs:?}");
        }
    }

    #[test]
    fn reads_addresses_as_docker_does() {
        for (host, expected) in [
            ("unix:///x y?z", "unix:///x y?z"),
            ("unix://relative/x", "unix://relative/x"),
            (" unix:///y ", "unix:///y"),
            ("unix://", "unix:///var/run/docker.sock"),
            ("ssh://a", "ssh://a"),
            ("tcp://a:1", "tcp://a:1"),
            ("localhost:99", "tcp://localhost:99"),
            ("/var/run/docker.sock", "tcp:///var/run/docker.sock"),
            ("npipe:////./x", "npipe:////./x"),
            ("fd://1", "fd://1"),
            ("http://x:1", "Usage: --host: unknown scheme `http` in `http://x:1`"),
            ("UNIX:///x", "Usage: --host: unknown scheme `UNIX` in `UNIX:///x`"),
            ("a\u{1b}[m://x", "Usage: --host: unknown scheme `a\\x1b[m` in `a\\x1b[m://x`"),
        ] {
            let selection = Selection { host: Some(host.to_owned()), ..docker() };
            assert_eq!(resolve(&selection), expected, "{host:?}");
        }
    }

    #[test]
    fn looks_for_the_configuration_where_docker_does() {
        let config = config();
        let directory = || Some(config.path().to_owned());
        let home = tempfile::tempdir().expect("temporary directory");
        std::os::unix::fs::symlink(config.path(), home.path().join(".docker")).expect("link");
        let nowhere = || Some(PathBuf::from("/nonexistent"));
        let resolve = |config, docker_config, home| resolve(&Selection { config, docker_config, home, ..docker() });
        let (current, default) = ("ssh://u@h:22", "unix:///var/run/docker.sock");
        assert_eq!(resolve(directory(), nowhere(), nowhere()), current);
        assert_eq!(resolve(nowhere(), directory(), None), default);
        assert_eq!(resolve(None, directory(), nowhere()), current);
        assert_eq!(resolve(None, None, Some(home.path().into())), current);
        assert_eq!(resolve(None, Some(PathBuf::new()), Some(home.path().into())), current);
        assert_eq!(resolve(None, None, nowhere()), default);
        assert_eq!(resolve(None, None, None), default);
    }

    #[test]
    fn does_not_guess_where_a_file_is_garbled() {
        let config = config();
        let mut selection =
            Selection { config: Some(config.path().into()), context: Some("garbled".to_owned()), ..docker() };
        let failure = resolve(&selection);
        assert!(failure.starts_with("Unchanged: cannot read context `garbled`: /"), "{failure}");

        for content in ["{\"currentContext\": 5}", "{\"currentContext\": \"one\"", ""] {
            fs::write(config.path().join("config.json"), content).expect("file");
            selection.context = None;
            let failure = resolve(&selection);
            assert!(failure.starts_with("Unchanged: cannot tell the current context"), "{failure}");
            // Not needed, not read.
            selection.context = Some("one".to_owned());
            assert_eq!(resolve(&selection), "unix:///tmp/one.sock");
        }
    }

    #[test]
    fn podman_has_its_own_defaults() {
        let podman = || Selection { program: "/usr/bin/podman".into(), ..docker() };
        assert_eq!(resolve(&podman()), "unix:///run/user/1000/podman/podman.sock");
        let runtime_directory = Some("/run/me".into());
        let selection = Selection { runtime_directory, ..podman() };
        assert_eq!(resolve(&selection), "unix:///run/me/podman/podman.sock");
        let selection = Selection { user_id: 0, ..selection };
        assert_eq!(resolve(&selection), "unix:///run/podman/podman.sock");
        let container_host = Some("ssh://core@vm/run/podman.sock".to_owned());
        let selection = Selection { container_host, ..selection };
        assert_eq!(resolve(&selection), "ssh://core@vm/run/podman.sock");
        // Docker does not know that variable; more particular choices come first for both.
        assert_eq!(
            resolve(&Selection { program: "docker".into(), ..selection.clone() }),
            "unix:///var/run/docker.sock"
        );
        let docker_host = Some("unix:///x".to_owned());
        assert_eq!(resolve(&Selection { docker_host, ..selection }), "unix:///x");
    }

    #[test]
    fn says_what_to_do_about_endpoints_it_cannot_use() {
        let unix = Endpoint::Unix("/x".into());
        assert_eq!(unix.socket().expect("a unix socket"), Path::new("/x"));
        for (endpoint, hint) in [
            (Endpoint::Ssh("ssh://u@h".to_owned()), "ssh -nNT -L"),
            (Endpoint::Tcp("tcp://h:1".to_owned()), "ssh -nNT -L"),
            (Endpoint::Other("fd://1".to_owned()), "ssh -nNT -L"),
            (Endpoint::Tcp("tcp:///run/x.sock".to_owned()), "Say unix:///run/x.sock"),
        ] {
            let failure = endpoint.socket().expect_err("not a unix socket");
            assert_eq!(failure.kind, Kind::Unchanged);
            assert!(failure.to_string().contains(&endpoint.to_string()), "{failure}");
            assert!(failure.hints[0].contains(hint), "{:?}", failure.hints);
        }
    }

    #[tokio::test]
    async fn explains_why_there_is_no_connection() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = directory.path().join("missing.sock");
        let stale = directory.path().join("stale.sock");
        drop(std::os::unix::net::UnixListener::bind(&stale).expect("socket"));
        let mute = directory.path().join("mute.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&mute).expect("socket");
        let error = |kind| Error { kind, call: "connect".to_owned(), message: "failed".to_owned() };
        for (socket, hint) in
            [(&missing, "There is no socket"), (&stale, "Nobody listens"), (&mute, "Something listens")]
        {
            let failure = explain(error(ErrorKind::Unreachable), socket).await;
            assert_eq!(failure.kind, Kind::Unreachable);
            assert!(failure.hints[0].starts_with(hint), "{:?}", failure.hints);
        }
        let failure = explain(error(ErrorKind::Refused), &mute).await;
        assert_eq!((failure.kind, failure.hints.len()), (Kind::Unchanged, 0));
    }
}
