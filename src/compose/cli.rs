//! Compose as a child process: it reads the files, computes config hashes and creates containers.
//!
//! Every child gets the user's project options as they are, and the engine as a socket in `DOCKER_HOST`, so that it
//! talks to the very engine kerek talks to.

mod options;
pub mod program;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use serde_json::Value;

use super::delivered::{self, Delivered, Otherwise};
use super::images::{Policy, Refresh};
use super::{Compose, Creation, HookRun, Loaded, Project, Rehearsal, hashing, model, rehearsal, unnamed, variables};
use crate::cancel::Cancel;
use crate::engine::Content;
use crate::error::Failure;
use crate::names::{ContainerId, ServiceName};
use crate::process::{self, Command};
use crate::remedies::remedy;
use crate::report::{Event, Reporter};
pub use options::ProjectOptions;
use program::Program;

/// The oldest Compose with all that kerek needs (`config --hash` from a resolved model, `create --scale`, …).
const OLDEST: (u32, u32) = (2, 26);

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
    /// What [`ComposeCli::prefetch`] has read.
    prefetched: RefCell<Option<(Instant, Loaded)>>,
    /// Whether the version is known to be new enough.
    vetted: Cell<bool>,
}

impl<'a> ComposeCli<'a> {
    /// Finds Compose where the Docker CLI keeps its plugins, else in `PATH`.
    pub fn find(
        options: &'a ProjectOptions,
        socket: &'a Path,
        config: Option<&'a Path>,
        cancel: &'a Cancel,
        reporter: &'a dyn Reporter,
    ) -> Result<Self, Failure> {
        let program = Program::find(config)
            .ok_or_else(|| Failure::from(anyhow!("found no Docker Compose on this machine")).hint(INSTALL_HINT))?;
        Ok(Self {
            program,
            options,
            socket,
            config,
            cancel,
            reporter,
            prefetched: RefCell::default(),
            vetted: Cell::default(),
        })
    }

    /// Does the work of the next [`Compose::load`] of the same services beforehand; it takes no engine.
    pub async fn prefetch(&self, services: &[ServiceName]) -> Result<Loaded, Failure> {
        let loaded = self.load(services).await?;
        *self.prefetched.borrow_mut() = Some((Instant::now(), loaded.clone()));
        Ok(loaded)
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
        let command = self.program.command();
        let mut host = OsString::from("unix://");
        host.push(self.socket);
        let command =
            ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "COMPOSE_STATUS_STDOUT"]
                .into_iter()
                .fold(command, Command::env_remove)
                .env("DOCKER_HOST", host)
                // Progress and orphans are kerek's business, also where a project's `.env` says something about them.
                .env("COMPOSE_PROGRESS", "plain")
                .env("COMPOSE_ANSI", "never")
                .env("COMPOSE_REMOVE_ORPHANS", "0")
                .env("COMPOSE_IGNORE_ORPHANS", "1");
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

    /// Shows a line that Compose says, unless it is wrong.
    fn tell(&self, line: &str) {
        if !is_of_swarm(line) {
            self.reporter.report(&Event::ComposeSaid(line));
        }
    }

    /// Runs a child that may take long, and shows what it says.
    async fn work(&self, command: Command) -> Result<(), Failure> {
        self.run(command, |line| self.tell(line)).await?;
        Ok(())
    }

    /// A call of Compose that tells its progress in lines.
    fn telling(&self) -> Command {
        self.command().args(TELLING)
    }

    /// A call of Compose on what the user's files say of services, but without the container names of some, and with
    /// files that are not to be mounted.
    async fn altered(
        &self,
        services: impl Iterator<Item = &ServiceName>,
        unnamed: &BTreeSet<ServiceName>,
        delivered: &Delivered,
    ) -> Result<Command, Failure> {
        // Named, so that they are there even if their profiles are not enabled.
        let names = services.map(ToString::to_string);
        let model = self.config(std::iter::once("--".to_owned()).chain(names)).await?;
        let project = model::parse(&model).map_err(anyhow::Error::new)?;
        let model = unnamed::model(&model, &project, unnamed).map_err(anyhow::Error::new)?;
        Ok(self.fed(model, delivered, Otherwise::StandIn))
    }

    /// A call of Compose on a model of kerek's making.
    fn fed(&self, mut model: Value, delivered: &Delivered, otherwise: Otherwise) -> Command {
        let variables = delivered::put(&mut model, delivered, otherwise);
        let command = self.bare_command().args(self.options.arguments()).args(["--file=-", "--profile=*"]);
        // JSON is YAML.
        let command = command.input(model.to_string());
        variables.into_iter().fold(command, |command, (name, value)| command.env(name, value))
    }

    /// Turns a failed child into a failure with a way out.
    async fn explain(&self, error: process::Error) -> Failure {
        match &error {
            process::Error::Cancelled { .. } => Failure::new(self.cancel.kind(), error),
            process::Error::Spawn { .. } => Failure::from(anyhow::Error::new(error)).hint(INSTALL_HINT),
            process::Error::Failed { stderr, .. } => {
                let remedy = remedy(&stderr.join("\n"));
                let failure = Failure::from(anyhow::Error::new(error));
                match (self.check_version().await, remedy) {
                    (Err(version), _) => version,
                    (Ok(()), Some(remedy)) => failure.hint(remedy),
                    (Ok(()), None) => failure,
                }
            }
        }
    }

    /// Fails if Compose is missing or too old.
    pub async fn check_version(&self) -> Result<(), Failure> {
        if self.vetted.get() {
            return Ok(());
        }
        let command = self.bare_command().args(["version", "--short"]);
        let line = command.to_string();
        let output = match command.run(self.cancel.token(), |_| {}).await {
            Ok(output) => output.stdout,
            Err(error @ process::Error::Cancelled { .. }) => {
                return Err(Failure::new(self.cancel.kind(), error));
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
        self.vetted.set(true);
        Ok(())
    }

    /// Looks up the environment variables that hold contents of configs and secrets. Those that are not set stay
    /// unknown: this matters only once a service is to get them.
    async fn fill_variables(&self, project: &mut Project) -> Result<(), Failure> {
        let wanted = variables::wanted(project);
        let values = self.values(wanted).await?;
        variables::fill(project, &values);
        Ok(())
    }

    async fn values(&self, mut wanted: BTreeSet<String>) -> Result<BTreeMap<String, Content>, Failure> {
        let mut values = variables::own(&mut wanted, |name| std::env::var_os(name));
        if !wanted.is_empty() {
            // What is wanted may be what kerek tells Compose otherwise.
            let command = wanted.iter().fold(self.command(), Command::env_remove).args(["config", "--environment"]);
            let line = command.to_string();
            let command = variables::marks(&wanted).fold(command, |command, (name, value)| command.env(name, value));
            match command.run(self.cancel.token(), |_| {}).await {
                Ok(output) => values.extend(variables::cut(&output.stdout, &wanted).map_err(|name| {
                    Failure::from(anyhow!("cannot tell the value of {name} in the output of `{line}`"))
                        .hint("Set the variable in the environment that kerek is called from.")
                })?),
                Err(error @ process::Error::Cancelled { .. }) => return Err(self.explain(error).await),
                // Old versions of Compose have no such option.
                Err(error) => {
                    tracing::debug!("{error}");
                    values.extend(self.interpolated(&wanted).await?);
                }
            }
        }
        Ok(values)
    }

    /// The values of variables, by having Compose put them into a model.
    async fn interpolated(&self, wanted: &BTreeSet<String>) -> Result<BTreeMap<String, Content>, Failure> {
        let mut command = self.bare_command().args(self.options.arguments());
        if self.options.directory.is_none() {
            let by_variable = std::env::var_os("COMPOSE_FILE");
            let by_variable = by_variable.as_deref().and_then(|files| std::env::split_paths(files).next());
            let first = self.options.files.first().map(PathBuf::from).or(by_variable);
            let here = std::env::current_dir().context("the current directory").map_err(Failure::from)?;
            let mut argument = OsString::from("--project-directory=");
            argument.push(variables::directory(first.as_deref(), &here));
            command = command.arg(argument);
        }
        let command = wanted.iter().fold(command, Command::env_remove);
        let command = command.args(["--file=-", "config", "--format=json"]).input(variables::question(wanted));
        let line = command.to_string();
        let output = self.run(command, |_| {}).await?;
        variables::answers(&output).map_err(|error| Failure::from(anyhow!("{error}, in the output of `{line}`")))
    }

    async fn config(&self, arguments: impl IntoIterator<Item = String>) -> Result<String, Failure> {
        let command = self.command().args(["config", "--format", "yaml"]).args(arguments);
        let line = command.to_string();
        let output = self.run(command, |line| self.tell(line)).await?;
        let model = String::from_utf8(output).with_context(|| format!("output of `{line}`"))?;
        Ok(model)
    }
}

/// How long what was read counts. After that, as when somebody else had the lock, the files may be other ones.
const FRESH: Duration = Duration::from_secs(5);

/// Lets Compose tell its progress in lines.
const TELLING: [&str; 2] = ["--ansi=never", "--progress=plain"];

const INSTALL_HINT: &str = "Install Docker Compose 2.26 or later, so that `docker compose version` works.";

impl Compose for ComposeCli<'_> {
    async fn load(&self, services: &[ServiceName]) -> Result<Loaded, Failure> {
        if let Some((_, loaded)) = self.prefetched.take().filter(|(since, _)| since.elapsed() < FRESH) {
            return Ok(loaded);
        }
        let mut model = self.config([]).await?;
        let mut project = model::parse(&model).map_err(anyhow::Error::new)?;
        if services.iter().any(|name| !project.services.contains_key(name)) {
            // To name a service enables its profiles; if there is no such service, Compose says so.
            let names = services.iter().map(ToString::to_string);
            model = self.config(std::iter::once("--".to_owned()).chain(names)).await?;
            project = model::parse(&model).map_err(anyhow::Error::new)?;
        }
        if self.options.compatibility {
            separate_by_underscores(&mut project);
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
            .env_remove("COMPOSE_COMPATIBILITY")
            // What is resolved is compatible already; Compose would hash it unlike it labels containers.
            .args(self.options.arguments().into_iter().filter(|argument| argument != "--compatibility"))
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

    async fn rehearse(&self, services: &BTreeSet<ServiceName>) -> Result<Rehearsal, Failure> {
        let command = self
            .telling()
            .args(["--dry-run", "create", "--no-build", "--pull=never", "--"])
            .args(services.iter().map(ToString::to_string));
        let mut told = String::new();
        // If this finds something to do, creating follows, and that takes a known version.
        let (outcome, version) =
            tokio::join!(command.run(self.cancel.token(), |line| told.extend([line, "\n"])), self.check_version());
        version?;
        match outcome {
            Ok(output) => Ok(rehearsal::parse(&told, &String::from_utf8_lossy(&output.stdout))),
            Err(error @ process::Error::Cancelled { .. }) => Err(self.explain(error).await),
            // An image may be missing, for one. Then nobody knows.
            Err(error) => {
                tracing::debug!("{error}");
                Ok(Rehearsal::default())
            }
        }
    }

    async fn up(&self, scale: &BTreeMap<ServiceName, u32>, delivered: &Delivered) -> Result<(), Failure> {
        let command = if delivered.is_empty() {
            self.command()
        } else {
            self.altered(scale.keys(), &BTreeSet::new(), delivered).await?
        };
        let scales = scale.iter().map(|(service, number)| format!("--scale={service}={number}"));
        let command = command
            .args(TELLING)
            .args(["up", "--detach", "--no-deps"])
            .args(scales)
            .arg("--")
            .args(scale.keys().map(ToString::to_string));
        self.work(command).await
    }

    async fn all_services(&self) -> Result<BTreeSet<ServiceName>, Failure> {
        let command = self.command().arg("--profile=*").args(["config", "--services"]);
        let output = self.run(command, |_| {}).await?;
        Ok(String::from_utf8_lossy(&output).lines().map(ServiceName::new).collect())
    }

    async fn variables(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        let values = self.values(names.clone()).await?.into_iter();
        Ok(values.map(|(name, value)| (name, String::from_utf8_lossy(&value.0).into_owned())).collect())
    }

    async fn refresh(&self, refresh: &Refresh) -> Result<(), Failure> {
        self.check_version().await?;
        let Refresh { build, pull, try_pull, quiet_pull } = refresh;
        for (services, ignore_failures) in [(pull, false), (try_pull, true)] {
            if !services.is_empty() {
                let command = self
                    .telling()
                    .args(["pull", "--policy=always"])
                    .args(quiet_pull.then_some("--quiet"))
                    .args(ignore_failures.then_some("--ignore-pull-failures"))
                    .arg("--")
                    .args(services.iter().map(ToString::to_string));
                self.work(command).await?;
            }
        }
        if build.is_empty() {
            return Ok(());
        }
        // Unlike `up --build`, `build` records how an image was made, as a part of the image: it would be another one
        // each time.
        let command = self
            .telling()
            .args(["build", "--"])
            .args(build.iter().map(ToString::to_string))
            .env("BUILDX_NO_DEFAULT_ATTESTATIONS", "1")
            .tell_all();
        self.work(command).await
    }

    async fn create(&self, creation: &Creation) -> Result<(), Failure> {
        self.check_version().await?;
        // Of the two ways to create without starting, only `up` can leave out dependencies.
        let verb: &[&str] = match creation {
            Creation { no_dependencies: true, .. } => &["up", "--no-start", "--no-deps"],
            // Some versions know this option of `up` alone.
            Creation { quiet_pull: true, .. } => &["up", "--no-start"],
            _ => &["create"],
        };
        let scales = creation.scale.iter().map(|(service, number)| format!("--scale={service}={number}"));
        let Creation { services, delivered, .. } = creation;
        let none = BTreeSet::new();
        let command = if creation.unnamed || !delivered.is_empty() {
            self.altered(services.iter(), if creation.unnamed { services } else { &none }, delivered).await?
        } else {
            self.command()
        };
        let command = command
            .args(TELLING)
            .args(verb)
            .arg("--no-recreate")
            .args(creation.pull.and_then(Policy::as_option).map(|when| format!("--pull={when}")))
            .args(creation.quiet_pull.then_some("--quiet-pull"))
            .args(creation.no_build.then_some("--no-build"))
            .args(scales)
            .arg("--")
            .args(services.iter().map(ToString::to_string));
        self.work(command).await
    }

    async fn run_hook(&self, run: &HookRun<'_>) -> Result<ContainerId, Failure> {
        let command = self
            .fed(run.hook.model(run.volumes_of), run.delivered, Otherwise::Mount)
            .args(TELLING)
            .args(["run", "--detach", "--no-deps"])
            .args(["--quiet-pull", "--label=com.docker.compose.hook=pre_start"])
            .arg(format!("--name={}", run.name))
            .arg("--")
            .arg(run.service.to_string());
        let line = command.to_string();
        let output = self.run(command, |line| self.tell(line)).await?;
        let output = String::from_utf8_lossy(&output);
        match output.lines().map(str::trim).rfind(|line| !line.is_empty()) {
            Some(id) => Ok(ContainerId::new(id)),
            None => Err(anyhow!("`{line}` did not say which container it has made").into()),
        }
    }
}

/// Whether Compose (5 and later) says that only Swarm heeds an update policy. Kerek does, too.
fn is_of_swarm(line: &str) -> bool {
    ["deploy.update_config: ", "deploy.rollback_config: "].iter().any(|key| line.contains(key))
        && line.contains("Swarm")
}

/// Gives images without a name of their own the one that Compose v1 would have given them.
fn separate_by_underscores(project: &mut Project) {
    for (name, service) in &mut project.services {
        if service.source.builds && service.image == format!("{}-{name}", project.name) {
            service.image = format!("{}_{name}", project.name);
        }
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
    fn compares_versions() {
        for (version, new_enough) in
            [("2.26.1", true), ("2.40.3-3", true), ("5.6.1", true), ("2.25.0", false), ("1.29.2", false)]
        {
            assert_eq!(parse_version(version).is_some_and(|known| known >= OLDEST), new_enough, "{version}");
        }
        assert_eq!(parse_version("dev"), None);
    }

    #[test]
    fn only_what_is_said_of_update_policies_is_kept_back() {
        let line =
            |key: &str| format!("level=warning msg=\"service \\\"web\\\": {key}: {key} only applies in Swarm mode\"");
        assert!(is_of_swarm(&line("deploy.update_config")) && is_of_swarm(&line("deploy.rollback_config")));
        assert!(!is_of_swarm(&line("deploy.placement")) && !is_of_swarm("deploy.update_config: invalid order"));
    }
}
