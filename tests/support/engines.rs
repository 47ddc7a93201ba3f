//! Engines of a test's own beside the machine's: Docker with each of its stores, and podman. They need root, live
//! in a network of their own, keep all they have in a temporary folder, and end with the test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::command::{self, Output};

/// How an engine keeps images.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Store {
    Overlay2,
    Containerd,
    Podman,
}

/// Settings of containerd, which all its versions since 1.3 know; they do not mind plugins that they have not.
const CONTAINERD: &str = "version = 2\n\
    disabled_plugins = [\"io.containerd.grpc.v1.cri\", \"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \
    \"io.containerd.nri.v1.nri\"]\n";

/// Time for an engine to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// An engine.
#[derive(Debug)]
pub(crate) struct OtherEngine {
    pub(crate) store: Store,
    directory: tempfile::TempDir,
    /// Whether its containers outlive it.
    lasting: bool,
    /// In the order in which they have been started.
    children: Vec<Child>,
}

impl OtherEngine {
    pub(crate) fn start(store: Store) -> Self {
        Self::start_with(store, false)
    }

    /// Docker whose containers live on while it is restarted; they are to be gone before it is dropped.
    pub(crate) fn lasting() -> Self {
        Self::start_with(Store::Overlay2, true)
    }

    fn start_with(store: Store, lasting: bool) -> Self {
        assert!(rustix::process::geteuid().is_root(), "engines of their own need root");
        // Sockets have short paths.
        let directory = tempfile::Builder::new().prefix("kerek-test-").tempdir_in("/tmp").expect("temporary folder");
        let mut engine = Self { store, directory, lasting, children: Vec::new() };
        match store {
            Store::Overlay2 | Store::Containerd => {
                engine.start_containerd();
                engine.start_dockerd();
            }
            Store::Podman => engine.start_podman(),
        }
        engine.wait_until_up();
        engine
    }

    /// Ends the engine by a signal and starts it again; returns when it is back.
    pub(crate) fn restart(&mut self, signal: Signal) {
        let mut dockerd = self.children.pop().expect("runs");
        kill_process(Pid::from_child(&dockerd), signal).expect("should signal");
        dockerd.wait().expect("should end");
        self.start_dockerd();
        self.wait_until_up();
    }

    fn wait_until_up(&self) {
        self.wait_for("the engine", || self.docker(&["version"], &[]).code == Some(0));
    }

    fn start_containerd(&mut self) {
        let containerd = self.path("containerd.sock");
        // What only Kubernetes needs: its resource interface has one socket for the whole machine, and a second containerd
        // that comes up at the same moment ends over it.
        fs::write(self.path("containerd.toml"), CONTAINERD).expect("a file");
        let mut command = apart("containerd");
        command.arg("--config").arg(self.path("containerd.toml"));
        command.arg("--root").arg(self.path("containerd")).arg("--state").arg(self.path("containerd-state"));
        command.arg("--address").arg(&containerd);
        self.spawn(command, "containerd");
        self.wait_for("containerd", || containerd.exists());
    }

    fn start_dockerd(&mut self) {
        let (snapshots, lasting) = (self.store == Store::Containerd, self.lasting);
        let config = format!("{{\"features\":{{\"containerd-snapshotter\":{snapshots}}},\"live-restore\":{lasting}}}");
        fs::write(self.path("daemon.json"), config).expect("a file");
        // In the network that containers are in which have outlived it.
        let mut command = Command::new("nsenter");
        let containerd = self.children.first().expect("runs").id();
        command.arg(format!("--net=/proc/{containerd}/ns/net")).args(["--", "dockerd"]);
        command.arg("--config-file").arg(self.path("daemon.json")).arg("--data-root").arg(self.path("data"));
        command.arg("--exec-root").arg(self.path("exec")).arg("--pidfile").arg(self.path("dockerd.pid"));
        command.arg("--containerd").arg(self.path("containerd.sock")).arg("--host").arg(self.host());
        command.args(["--bridge", "none", "--iptables=false", "--ip6tables=false"]);
        let driver = if self.store == Store::Containerd { "overlayfs" } else { "overlay2" };
        command.args(["--storage-driver", driver]);
        self.spawn(command, "dockerd");
    }

    fn start_podman(&mut self) {
        let mut command = apart("podman");
        command.arg("--root").arg(self.path("data")).arg("--runroot").arg(self.path("exec"));
        command.args(["system", "service", "--time", "0"]).arg(self.host());
        self.spawn(command, "podman");
    }

    fn spawn(&mut self, mut command: Command, name: &str) {
        let log = File::create(self.path(&format!("{name}.log"))).expect("a file");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a file")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} is needed (see scripts/setup.sh): {error}"));
        self.children.push(child);
    }

    #[track_caller]
    fn wait_for(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            if Instant::now() >= deadline {
                let log = |name| fs::read_to_string(self.path(&format!("{name}.log"))).unwrap_or_default();
                let logs = ["containerd", "dockerd", "podman"].map(log).concat();
                panic!("{what} did not come up in {}: {logs}", self.directory.path().display());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path("engine.sock")
    }

    /// Its address.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Runs the docker command against it with some standard input.
    pub(crate) fn docker(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        docker(Some(&self.host()), arguments, stdin)
    }

    /// The files that it keeps for the time of a load.
    pub(crate) fn temporary_files(&self) -> Vec<PathBuf> {
        let folder = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
        folder(&self.path("data/tmp")).collect()
    }
}

impl Drop for OtherEngine {
    fn drop(&mut self) {
        while let Some(mut child) = self.children.pop() {
            let _ = kill_process(Pid::from_child(&child), Signal::TERM);
            let deadline = Instant::now() + PATIENCE;
            while matches!(child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        // One that crashed while it started a container has forgotten who looks after that.
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            let pid = process.file_name().to_string_lossy().parse().ok().and_then(Pid::from_raw);
            let socket = self.path("containerd.sock").into_os_string().into_encoded_bytes();
            if let Some(pid) = pid.filter(|_| words.split(|byte| *byte == 0).any(|word| word == socket)) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        // Podman leaves its folder mounted on itself, and so does Docker whose containers outlive it.
        for folder in ["data/overlay", "data"] {
            let _ = Command::new("umount").arg(self.path(folder)).stderr(Stdio::null()).status();
        }
    }
}

/// A program in a network of its own: a second engine next to the machine's would tear down the bridges and firewall rules
/// that it takes for its own.
fn apart(program: &str) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--", program]);
    command
}

/// Runs the docker command against an engine (the tests' own if `None`) with some standard input.
pub(crate) fn docker(host: Option<&str>, arguments: &[&str], stdin: &[u8]) -> Output {
    let home = tempfile::tempdir().expect("temporary folder");
    let mut command = command::command("docker", home.path());
    if let Some(host) = host {
        command.env("DOCKER_HOST", host);
    }
    command.args(arguments);
    command::run_with(command, stdin)
}
