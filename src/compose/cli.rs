//! Compose as a child process: it reads the files, computes config hashes and creates containers.
//!
//! Every child gets the user's project options as they are, and the engine as a socket in `DOCKER_HOST`, so that it
//! talks to the very engine kerek talks to.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Compose, Creation, Loaded, Project, hashing, model, variables};
use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::names::{ContainerId, ServiceName};
use crate::process::{self, Command};
use crate::report::{Event, Reporter};

/// The oldest Compose with all that kerek needs (`config --hash` from a resolved model, `create --scale`, …).
const OLDEST: (u32, u32) = (2, 26);

/// The user's options that say which project is meant and how Compose reads it.
#[derive(Clone, Debug, Default)]
pub struct ProjectOptions {
    /// Compose files; `-` for stdin.
    pub files: Vec<OsString>,
    /// What `-` among the files stands for.
    pub stdin: Option<Vec<u8>>,
    /// The project's name.
    pub name: Option<OsString>,
    /// The directory that relative paths are relative to.
    pub directory: Option<OsString>,
    /// Files with variables.
    pub environment_files: Vec<OsString>,
    /// Enabled profiles.
    pub profiles: Vec<OsString>,
    /// Names as the first Compose made them.
    pub compatibility: bool,
    /// How much Compose does at a time; -1 for no limit.
    pub parallel: Option<i64>,
}

impl ProjectOptions {
    /// Arguments for options besides the files.
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Vec::new();
        let mut add = |name: &str, value: &OsString| {
            // Joined by `=`, a value that begins with a dash stays a value.
            let mut argument = OsString::from(format!("--{name}="));
            argument.push(value);
            arguments.push(argument);
        };
        for (name, value) in [("project-name", &self.name), ("project-directory", &self.directory)] {
            if let Some(value) = value {
                add(name, value);
            }
        }
        for file in &self.environment_files {
            add("env-file", file);
        }
        for profile in &self.profiles {
            add("profile", profile);
        }
        if let Some(parallel) = self.parallel {
            add("parallel", &parallel.to_string().into());
        }
        if self.compatibility {
            arguments.push("--compatibility".into());
        }
        arguments
    }
}

/// The Compose executable and how it is called.
#[derive(Clone, Debug)]
pub struct ComposeCli<'a> {
    program: Program,
    options: &'a ProjectOptions,
    socket: &'a Path,
    /// The user's client configuration (`--config`), if not the default one.
    config: Option<&'a Path>,
    cancel: &'a Cancel,
    reporter: &'a dyn Reporter,
}

/// Where Compose is found.
#[derive(Clone, Debug)]
enum Program {
    /// As the plugin of the Docker CLI.
    Plugin,
    /// As an executable of its own.
    Standalone(PathBuf),
}

impl<'a> ComposeCli<'a> {
    /// Finds Compose: `docker compose`, else `docker-compose` in `PATH` or where the Docker CLI keeps its plugins.
    pub fn find(
        options: &'a ProjectOptions,
        socket: &'a Path,
        config: Option<&'a Path>,
        cancel: &'a Cancel,
        reporter: &'a dyn Reporter,
    ) -> Result<Self, Failure> {
        let directories = plugin_directories(config);
        let plugin = in_directories(&directories, "docker-compose");
        let path: Vec<_> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        let program = match plugin {
            Some(_) if in_directories(&path, "docker").is_some() => Program::Plugin,
            Some(plugin) => Program::Standalone(plugin),
            None => match in_directories(&path, "docker-compose") {
                Some(standalone) => Program::Standalone(standalone),
                // The CLI may know more directories.
                None if in_directories(&path, "docker").is_some() => Program::Plugin,
                None => {
                    return Err(Failure::from(anyhow!("found no Docker Compose on this machine")).hint(INSTALL_HINT));
                }
            },
        };
        Ok(Self { program, options, socket, config, cancel, reporter })
    }

    /// A call of Compose with the user's project options, on the user's files.
    fn command(&self) -> Command {
        let mut command = self.bare_command().args(self.options.arguments());
        for file in &self.options.files {
            let mut argument = OsString::from("--file=");
            argument.push(file);
            command = command.arg(argument);
        }
        match &self.options.stdin {
            Some(stdin) => command.input(stdin.clone()),
            None => command,
        }
    }

    fn bare_command(&self) -> Command {
        let command = match &self.program {
            Program::Plugin => Command::new("docker").arg("compose"),
            Program::Standalone(path) => Command::new(path),
        };
        let mut host = OsString::from("unix://");
        host.push(self.socket);
        let command = ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"]
            .into_iter()
            .fold(command, Command::env_remove)
            .env("DOCKER_HOST", host);
        match self.config {
            Some(config) => command.env("DOCKER_CONFIG", config),
            None => command,
        }
    }

    async fn run(&self, command: Command, on_line: impl FnMut(&str)) -> Result<Vec<u8>, Failure> {
        match command.run(self.cancel.token(), on_line).await {
            Ok(output) => Ok(output.stdout),
            Err(error) => Err(self.explain(error).await),
        }
    }

    /// Turns a failed child into a failure with a way out.
    async fn explain(&self, error: process::Error) -> Failure {
        match &error {
            process::Error::Cancelled { .. } => {
                let kind = self.cancel.reason().map_or(Kind::Interrupted, crate::cancel::Reason::kind);
                Failure::new(kind, error)
            }
            process::Error::Spawn { .. } => Failure::from(anyhow::Error::new(error)).hint(INSTALL_HINT),
            process::Error::Failed { .. } => {
                let failure = Failure::from(anyhow::Error::new(error));
                match self.check_version().await {
                    Err(version) => version,
                    Ok(()) => failure,
                }
            }
        }
    }

    /// Fails if Compose is missing or too old.
    pub async fn check_version(&self) -> Result<(), Failure> {
        let command = self.bare_command().args(["version", "--short"]);
        let line = command.to_string();
        let output = match command.run(self.cancel.token(), |_| {}).await {
            Ok(output) => output.stdout,
            Err(error @ process::Error::Cancelled { .. }) => {
                let kind = self.cancel.reason().map_or(Kind::Interrupted, crate::cancel::Reason::kind);
                return Err(Failure::new(kind, error));
            }
            Err(error) => {
                let error = anyhow::Error::new(error).context("found no working Docker Compose");
                return Err(Failure::from(error).hint(INSTALL_HINT));
            }
        };
        let text = String::from_utf8_lossy(&output);
        let version = text.trim().trim_start_matches('v');
        let known = parse_version(version);
        if known.is_none_or(|known| known < OLDEST) {
            let version = crate::text::escape(version);
            let (major, minor) = OLDEST;
            return Err(Failure::from(anyhow!(
                "Docker Compose is too old: `{line}` says {version}, needed is {major}.{minor} or later"
            ))
            .hint(INSTALL_HINT));
        }
        Ok(())
    }

    /// Looks up the environment variables that hold contents of configs and secrets. Those that are not set stay
    /// unknown: this matters only once a service is to get them.
    async fn fill_variables(&self, project: &mut Project) -> Result<(), Failure> {
        let mut wanted = variables::wanted(project);
        let mut values = variables::own(&mut wanted, |name| std::env::var_os(name));
        if !wanted.is_empty() {
            let command = self.command().args(["config", "--environment"]);
            let line = command.to_string();
            let command = variables::marks(&wanted).fold(command, |command, (name, value)| command.env(name, value));
            match command.run(self.cancel.token(), |_| {}).await {
                Ok(output) => values.extend(variables::cut(&output.stdout, &wanted).map_err(|name| {
                    Failure::from(anyhow!("cannot tell the value of {name} in the output of `{line}`"))
                        .hint("Set the variable in the environment that kerek is called from.")
                })?),
                Err(error @ process::Error::Cancelled { .. }) => return Err(self.explain(error).await),
                // Old versions of Compose have no such option. Then only the caller's own variables are known.
                Err(error) => tracing::debug!("{error}"),
            }
        }
        variables::fill(project, &values);
        Ok(())
    }

    async fn config(&self, arguments: impl IntoIterator<Item = String>) -> Result<String, Failure> {
        let command = self.command().args(["config", "--format", "yaml"]).args(arguments);
        let line = command.to_string();
        let output = self.run(command, |line| self.reporter.report(&Event::ComposeSaid(line))).await?;
        let model = String::from_utf8(output).with_context(|| format!("output of `{line}`"))?;
        Ok(model)
    }
}

const INSTALL_HINT: &str = "Install Docker Compose 2.26 or later, so that `docker compose version` works.";

impl Compose for ComposeCli<'_> {
    async fn load(&self, services: &[ServiceName]) -> Result<Loaded, Failure> {
        let mut model = self.config([]).await?;
        let mut project = model::parse(&model).map_err(anyhow::Error::new)?;
        if services.iter().any(|name| !project.services.contains_key(name)) {
            // To name a service enables its profiles; if there is no such service, Compose says so.
            let names = services.iter().map(ToString::to_string);
            model = self.config(std::iter::once("--".to_owned()).chain(names)).await?;
            project = model::parse(&model).map_err(anyhow::Error::new)?;
        }
        self.fill_variables(&mut project).await?;
        Ok(Loaded { project, model })
    }

    async fn hashes(
        &self,
        loaded: &Loaded,
        containers: &BTreeMap<ServiceName, ContainerId>,
    ) -> Result<BTreeMap<ServiceName, String>, Failure> {
        if loaded.project.services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let input = hashing::input(&loaded.model, &loaded.project, containers).map_err(anyhow::Error::new)?;
        let command = self
            .bare_command()
            .args(self.options.arguments())
            .args(["--file=-", "--profile=*", "config", "--hash", "*"])
            .input(input);
        let line = command.to_string();
        let output = self.run(command, |_| {}).await?;
        let hashes = parse_hashes(&String::from_utf8_lossy(&output));
        if let Some(missing) = loaded.project.services.keys().find(|name| !hashes.contains_key(*name)) {
            return Err(anyhow!("`{line}` gave no hash for the service {missing}").into());
        }
        Ok(hashes)
    }

    async fn kept(&self, services: &BTreeSet<ServiceName>) -> Result<BTreeSet<String>, Failure> {
        let command = self
            .command()
            .args(["--ansi=never", "--progress=plain", "--dry-run", "create", "--no-build", "--pull=never", "--"])
            .args(services.iter().map(ToString::to_string));
        let mut kept = BTreeSet::new();
        let mut changed = BTreeSet::new();
        let outcome = command
            .run(self.cancel.token(), |line| {
                if let Some((container, state)) = parse_rehearsal(line) {
                    let names = if state.starts_with("Recreat") { &mut changed } else { &mut kept };
                    names.insert(container.to_owned());
                }
            })
            .await;
        match outcome {
            Ok(_) => Ok(kept.difference(&changed).cloned().collect()),
            Err(error @ process::Error::Cancelled { .. }) => Err(self.explain(error).await),
            // An image may be missing, for one. Then nobody knows.
            Err(error) => {
                tracing::debug!("{error}");
                Ok(BTreeSet::new())
            }
        }
    }

    async fn all_services(&self) -> Result<BTreeSet<ServiceName>, Failure> {
        let command = self.command().arg("--profile=*").args(["config", "--services"]);
        let output = self.run(command, |_| {}).await?;
        Ok(String::from_utf8_lossy(&output).lines().map(ServiceName::new).collect())
    }

    async fn create(&self, creation: &Creation) -> Result<(), Failure> {
        self.check_version().await?;
        // Of the two ways to create without starting, only `up` can leave out dependencies.
        let verb: &[&str] = if creation.no_dependencies { &["up", "--no-start", "--no-deps"] } else { &["create"] };
        let scales = creation.scale.iter().map(|(service, number)| format!("--scale={service}={number}"));
        let command = self
            .command()
            .args(["--ansi=never", "--progress=plain"])
            .args(verb)
            .arg("--no-recreate")
            .args(scales)
            .arg("--")
            .args(creation.services.iter().map(ToString::to_string));
        self.run(command, |line| self.reporter.report(&Event::ComposeSaid(line))).await?;
        Ok(())
    }
}

/// The container's name and what would become of it, from a line such as
/// ` DRY-RUN MODE -  Container shop-web-1  Recreate`.
fn parse_rehearsal(line: &str) -> Option<(&str, &str)> {
    let (_, action) = line.split_once("DRY-RUN MODE -")?;
    let mut words = action.split_whitespace();
    match (words.next(), words.next(), words.next(), words.next()) {
        (Some("Container"), Some(name), Some(state), None) => Some((name, state)),
        _ => None,
    }
}

/// Lines of `SERVICE HASH`.
fn parse_hashes(output: &str) -> BTreeMap<ServiceName, String> {
    output
        .lines()
        .filter_map(|line| {
            let (service, hash) = line.trim().rsplit_once(' ')?;
            Some((ServiceName::new(service.trim()), hash.to_owned()))
        })
        .collect()
}

/// Major and minor of a version such as `2.40.3-desktop.1`.
fn parse_version(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next()?.parse().ok()?;
    Some((major, minor))
}

/// Where the Docker CLI looks for its plugins (docker/cli, `cli-plugins/manager`), the user's own first.
fn plugin_directories(config: Option<&Path>) -> Vec<PathBuf> {
    let own = config
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("DOCKER_CONFIG").map(PathBuf::from))
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    let shared = [
        "/usr/local/lib/docker/cli-plugins",
        "/usr/local/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
    ];
    own.map(|config| config.join("cli-plugins")).into_iter().chain(shared.map(PathBuf::from)).collect()
}

fn in_directories(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hashes() {
        let hashes = parse_hashes("web 1f3a\ndb 9bc0\n");
        assert_eq!(hashes[&ServiceName::new("web")], "1f3a");
        assert_eq!(hashes[&ServiceName::new("db")], "9bc0");
        assert_eq!(hashes.len(), 2);
    }

    #[test]
    fn reads_what_compose_would_do() {
        let read = parse_rehearsal(" DRY-RUN MODE -  Container shop-web-1  Recreate ");
        assert_eq!(read, Some(("shop-web-1", "Recreate")));
        assert_eq!(parse_rehearsal(" DRY-RUN MODE -  Network shop_default  Created"), None);
        assert_eq!(parse_rehearsal("Container shop-web-1 Running"), None);
    }

    #[test]
    fn compares_versions() {
        for (version, new_enough) in
            [("2.26.1", true), ("2.40.3-3", true), ("5.6.1", true), ("2.25.0", false), ("1.29.2", false)]
        {
            assert_eq!(parse_version(version).is_some_and(|known| known >= OLDEST), new_enough, "{version}");
        }
        assert_eq!(parse_version("dev"), None);
    }

    #[test]
    fn options_stay_values() {
        let options = ProjectOptions {
            name: Some("-x".into()),
            profiles: vec!["--help".into()],
            parallel: Some(-1),
            compatibility: true,
            ..ProjectOptions::default()
        };
        assert_eq!(options.arguments(), ["--project-name=-x", "--profile=--help", "--parallel=-1", "--compatibility"]);
    }
}
