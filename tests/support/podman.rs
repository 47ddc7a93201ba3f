//! A project on Podman, beside the engine that all other tests use: with a service of its own on a socket of its own, or
//! on the one that `KEREK_TEST_PODMAN=unix://…` names.
//!
//! Everything that the project's commands do, they do there: `docker` and Compose as clients, and kerek. Dropping it tears
//! the project down and ends the service. Podman must be installed; a test that needs it fails where it is not.

use std::env;
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::api::get;
use super::command::{self, Output};
use super::project::Project;

/// Images that projects may use.
const IMAGES: [&str; 2] = ["busybox:1.37", "kerek-test-app"];
/// Limits that any machine grants to containers. Podman's own are higher than some may set.
const SETTINGS: &str = "[containers]\ndefault_ulimits = [\"nofile=4096:4096\", \"nproc=16384:16384\"]\n";
/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// A service that was left behind, as this process was killed, ends by itself after so many seconds without a client.
const IDLE_SECONDS: &str = "60";
/// Between two rounds of healthchecks, where the system has no timers for them.
const PROBE_PAUSE: Duration = Duration::from_millis(200);

/// A project whose engine is Podman.
pub(crate) struct PodmanProject {
    project: Project,
    /// Goes after the project.
    podman: Podman,
}

impl PodmanProject {
    /// As [`Project::new`]. The images `busybox:1.37` and `kerek-test-app` are there.
    pub(crate) fn new(label: &str, compose: &str) -> Self {
        let mut project = Project::new(label, compose);
        let podman = Podman::start(&project);
        project.set("DOCKER_HOST", &podman.address);
        load_images(&project, &podman.address);
        Self { project, podman }
    }

    /// As [`Project::kerek`], but see [`PodmanProject::repeated`].
    pub(crate) fn kerek(&self, arguments: &[&str]) -> Output {
        Self::repeated(|| self.project.kerek(arguments))
    }

    /// As [`Project::compose`], but see [`PodmanProject::repeated`].
    pub(crate) fn compose(&self, arguments: &[&str]) -> Output {
        Self::repeated(|| self.project.compose(arguments))
    }

    /// Runs what may make a network. While another engine's interfaces come and go, Podman may fail to do so; then,
    /// nothing has changed, and it is run again, once.
    pub(crate) fn repeated(run: impl Fn() -> Output) -> Output {
        let output = run();
        if output.code == Some(1) && output.stderr.contains("no such network interface") {
            return run();
        }
        output
    }

    /// The address of the socket: `unix://…`.
    pub(crate) fn address(&self) -> &str {
        &self.podman.address
    }

    /// The major version of Podman.
    #[track_caller]
    pub(crate) fn major_version(&self) -> u32 {
        let version = self.docker(&["version", "--format", "{{.Server.Version}}"]).success().stdout;
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        major.unwrap_or_else(|| panic!("not a version: {version}"))
    }
}

impl Deref for PodmanProject {
    type Target = Project;

    fn deref(&self) -> &Project {
        &self.project
    }
}

impl DerefMut for PodmanProject {
    fn deref_mut(&mut self) -> &mut Project {
        &mut self.project
    }
}

/// An engine; dropping it ends the service, if there is one.
struct Podman {
    address: String,
    _service: Option<Service>,
}

impl Podman {
    fn start(project: &Project) -> Self {
        if let Ok(address) = env::var("KEREK_TEST_PODMAN") {
            return Self { address, _service: None };
        }
        let service = Service::start(project);
        Self { address: format!("unix://{}", service.socket().display()), _service: Some(service) }
    }
}

/// A service of Podman's API.
struct Service {
    podman: Child,
    /// Holds `podman/podman.sock`, as a user's runtime directory does.
    folder: TempDir,
    /// Runs healthchecks until the sender is gone.
    prober: Option<(mpsc::Sender<()>, JoinHandle<()>)>,
}

impl Service {
    fn start(project: &Project) -> Self {
        // Not in the project's folder, whose path may be too long for a socket.
        let folder = TempDir::new().expect("should make a temporary directory");
        let settings = folder.path().join("containers.conf");
        fs::write(&settings, SETTINGS).expect("should write file");
        fs::create_dir(folder.path().join("podman")).expect("should make a folder");
        let socket = folder.path().join("podman/podman.sock");
        let log = fs::File::create(folder.path().join("log")).expect("should create file");

        let mut command = Command::new("podman");
        command.args(["system", "service", "--time", IDLE_SECONDS]).arg(format!("unix://{}", socket.display()));
        command.env("CONTAINERS_CONF", settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let timers = Path::new("/run/systemd/system").is_dir();
        if !timers {
            command.env("DISABLE_HC_SYSTEMD", "true");
        }
        let podman = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run podman: {error}; `scripts/setup.sh` installs it on Debian"));
        let mut service = Self { podman, folder, prober: None };
        service.wait();
        if !timers {
            service.prober = Some(probe(socket, project.name().to_owned()));
        }
        service
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("podman/podman.sock")
    }

    fn wait(&self) {
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = get(&self.socket(), "/_ping") {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < deadline, "podman should answer: {error}\n{log}");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some((stop, prober)) = self.prober.take() {
            drop(stop);
            // Its panic would be a second one.
            let _ = prober.join();
        }
        // It may have ended by itself.
        let _ = self.podman.kill();
        let _ = self.podman.wait();
    }
}

/// Stands in for systemd, whose timers run Podman's healthchecks: runs those of a project's containers again and again,
/// more often than they ask for.
fn probe(socket: PathBuf, project: String) -> (mpsc::Sender<()>, JoinHandle<()>) {
    let (stop, stopped) = mpsc::channel::<()>();
    let probe = move || {
        while stopped.recv_timeout(PROBE_PAUSE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let running = get(&socket, "/v4.0.0/libpod/containers/json").ok().flatten().unwrap_or_default();
            for container in running.as_array().into_iter().flatten() {
                if container["Labels"]["com.docker.compose.project"] == project.as_str()
                    && let Some(id) = container["Id"].as_str()
                {
                    // Refused where there is no healthcheck, or no process any more.
                    let _ = get(&socket, &format!("/v4.0.0/libpod/containers/{id}/healthcheck"));
                }
            }
        }
    };
    (stop, thread::spawn(probe))
}

/// Copies the images from the usual engine, unless Podman has the very same.
fn load_images(project: &Project, address: &str) {
    static LOADED: OnceLock<()> = OnceLock::new();
    LOADED.get_or_init(|| {
        for image in IMAGES {
            let id = ["image", "inspect", "--format", "{{.Id}}", image];
            let mut usual = command::command("docker", &project.home());
            usual.args(id);
            let (usual, former) = (command::run(usual), project.docker(&id));
            if usual.code == Some(0) && usual.stdout == former.stdout {
                continue;
            }
            let script = "set -o pipefail
                docker image inspect \"$1\" >/dev/null || docker pull \"$1\"
                docker save \"$1\" | docker --host \"$2\" load";
            let mut copy = command::command("bash", &project.home());
            copy.args(["-c", script, "bash", image, address]);
            command::run(copy).success();
            if former.code == Some(0) {
                // Stays where a container still uses it.
                project.docker(&["image", "rm", former.stdout.trim()]);
            }
        }
    });
}
