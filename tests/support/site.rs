//! A project that is deployed from here to a host of its own.
//!
//! All that kerek and its children make on this machine has to be in the site's own folder for temporary files, and all
//! that they run has that folder, or the SSH configuration's, in its command line or environment: so it can be told what
//! they leave.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::command::{self, Output};
use super::hosts::{Host, Kind};
use super::process::TIDY;
use super::project::processes_with;

/// The image of the project's only service.
const IMAGE: &str = "busybox:1.37";

/// A host, and a project for it.
pub(crate) struct Site {
    pub(crate) host: Host,
    /// With `home`, `app` and `tmp`.
    folder: TempDir,
    /// The program on the host that tells what is there.
    podman: bool,
}

impl Site {
    /// Starts a host with Docker; options as for [`Host::start`].
    pub(crate) fn docker(options: &[&str]) -> Self {
        Self::start(Kind::Docker, options, true)
    }

    /// Starts a host with podman, whose engine is that of the user `deploy`.
    pub(crate) fn podman() -> Self {
        Self::start(Kind::Podman, &["--user", "deploy"], true)
    }

    /// Starts a host without an engine.
    pub(crate) fn fresh() -> Self {
        Self::bare(&[], false)
    }

    /// The same with options as for [`Host::start`]; `podman` tells which engine it is to get, later.
    pub(crate) fn bare(options: &[&str], podman: bool) -> Self {
        Self { podman, ..Self::start(Kind::Fresh, options, false) }
    }

    fn start(kind: Kind, options: &[&str], engine: bool) -> Self {
        // A control socket's path must be short.
        let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").expect("should make a folder");
        for name in ["home", "app", "tmp"] {
            fs::create_dir(folder.path().join(name)).expect("should make a folder");
        }
        let site = Self { host: Host::start(kind, options), folder, podman: kind == Kind::Podman };
        command::link_plugins(&site.path("home")).expect("should link plugins");
        if engine {
            site.host.load(&[IMAGE]);
        }
        site.write(3);
        site
    }

    /// Sets the number of replicas.
    pub(crate) fn write(&self, replicas: u32) {
        // Probes of two dozen containers keep a machine busy. Compose believes that podman knows but one interval.
        let interval = if self.podman { "1s" } else { "10s, start_interval: 200ms" };
        let compose = format!(
            r#"
            name: site
            services:
              web:
                image: {IMAGE}
                command: [sh, -c, "trap exit TERM; sleep 3600 & wait"]
                labels: {{version: "$VERSION"}}
                healthcheck: {{test: "true", interval: {interval}, start_period: 60s}}
                stop_grace_period: 5s
                x-kerek: {{drain: 0s}}
                deploy: {{replicas: {replicas}, update_config: {{order: start-first, parallelism: {}}}}}
            "#,
            replicas.div_ceil(3),
        );
        fs::write(self.path("app/compose.yaml"), compose).expect("should write file");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Kerek's `--host` for the site.
    pub(crate) fn address(&self) -> String {
        format!("ssh://{}", self.host.name())
    }

    /// A program in the site's environment.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command::command(program, &self.path("home"));
        command
            .args(arguments)
            .current_dir(self.path("app"))
            .env("TMPDIR", self.path("tmp"))
            .env_remove("DOCKER_CONFIG");
        command
    }

    /// A deploy of a version over a given SSH configuration, not yet run.
    pub(crate) fn deploy_command(&self, version: &str, config: &Path, options: &[&str]) -> Command {
        let config = config.to_string_lossy();
        let arguments = [&["deploy", "--progress", "plain", "-F", &config], options].concat();
        let mut command = self.command(env!("CARGO_BIN_EXE_kerek"), &arguments);
        command.env("VERSION", version);
        command
    }

    /// Runs a deploy of a version to its end.
    #[track_caller]
    pub(crate) fn deploy(&self, version: &str) -> Output {
        command::run(self.deploy_command(version, &self.host.ssh_config(), &["--host", &self.address()]))
    }

    /// Asks the engine on the host, there.
    #[track_caller]
    pub(crate) fn engine(&self, arguments: &[&str]) -> Output {
        if self.podman {
            self.host.run_as_deploy(&[&["podman"], arguments].concat())
        } else {
            self.host.run(&[&["docker"], arguments].concat())
        }
    }

    /// The versions of running containers, sorted.
    #[track_caller]
    pub(crate) fn running(&self) -> Vec<String> {
        let format = if self.podman { "{{index .Labels \"version\"}}" } else { "{{.Label \"version\"}}" };
        let list = self.engine(&["ps", "--filter", "label=com.docker.compose.project=site", "--format", format]);
        let mut versions: Vec<_> = list.success().stdout.lines().map(str::to_owned).collect();
        versions.sort();
        versions
    }

    /// Waits until a container of a version runs.
    pub(crate) fn wait_for(&self, version: &str) {
        let begin = Instant::now();
        while !self.running().iter().any(|it| it == version) {
            assert!(begin.elapsed() < Duration::from_secs(60), "no container of version {version}");
            sleep(Duration::from_millis(100));
        }
    }

    /// Asserts that nothing is left of kerek, here and on the host, or is within a moment.
    #[track_caller]
    pub(crate) fn assert_tidy(&self) {
        let begin = Instant::now();
        let mut left = self.left();
        while !left.is_empty() && begin.elapsed() < TIDY {
            sleep(Duration::from_millis(50));
            left = self.left();
        }
        assert!(left.is_empty(), "left here: {left:#?}");
        self.host.assert_left_alone();
    }

    /// Files and processes.
    fn left(&self) -> Vec<String> {
        let files = fs::read_dir(self.path("tmp")).expect("should read folder");
        let files = files.map(|entry| entry.expect("should read folder").path().display().to_string());
        let processes = processes_with(&format!("TMPDIR={}", self.path("tmp").display()));
        files.chain(processes).collect()
    }
}
