//! Throw-away hosts, reached over SSH, as `scripts/hosts.sh` makes them.
//!
//! A [`Host`] is a test's own. It goes when dropped, and with the test's folder its keys and SSH configuration; what a
//! killed run has left goes when the next one starts its first host. Whatever is asked of a host here is asked from within
//! its container: only who is tested logs in over SSH.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::command::{self, Output};
use super::process::{Process, TIDY};

/// A label of hosts with the process that has started them, see [`Process`].
pub(crate) const PROCESS_LABEL: &str = "kerek.test.process";

/// What a host has been given beforehand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    /// No engine.
    Fresh,
    /// Docker, and programs that run over ssh: rsync and git.
    Docker,
    /// Podman, with its sockets for root and for the user `deploy`.
    Podman,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

/// A host that is up; dropping it removes it.
pub(crate) struct Host {
    name: String,
    port: u16,
    /// With keys and configurations.
    folder: TempDir,
}

impl Host {
    /// Starts a host and waits until it, with its engine, can be used. The options are those of `scripts/hosts.sh up`
    /// except `--kind`.
    #[track_caller]
    pub(crate) fn start(kind: Kind, options: &[&str]) -> Self {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let name = format!("test-{}-{:08x}", kind.name(), RandomState::new().hash_one(process::id()) >> 32);
        // The port is not known before; but what fails from here on is to be removed, too.
        let mut host = Self { name, port: 0, folder: TempDir::new().expect("should make a temporary directory") };
        let label = format!("{PROCESS_LABEL}={}", Process::current());
        host.script(&[&["up", "--kind", kind.name(), "--label", &label], options, &[&host.name]].concat()).success();
        let port = docker(&["port", &host.container(), "22/tcp"]).success().stdout;
        let port = port.trim().rsplit(':').next().and_then(|port| port.parse().ok());
        host.port = port.expect("should have a port");
        host
    }

    /// The host's name, which is also its alias in the SSH configuration and what `hostname` says on it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Where its sshd is reached.
    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its address on the network that it shares with other hosts, where its sshd has the usual port.
    #[track_caller]
    pub(crate) fn inner_address(&self) -> String {
        let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
        docker(&["container", "inspect", "--format", format, &self.container()]).success().stdout.trim().to_owned()
    }

    /// An SSH configuration that knows the host by its name, but says nothing on other hosts.
    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.own("ssh_config")
    }

    /// The same, except that the host is reached at another address, such as that of a proxy.
    pub(crate) fn ssh_config_via(&self, address: SocketAddr) -> PathBuf {
        let config = fs::read_to_string(self.ssh_config()).expect("should read SSH configuration");
        let lines = config.lines().map(|line| match line.trim_start().split(' ').next() {
            Some("HostName") => format!("    HostName {}\n", address.ip()),
            Some("Port") => format!("    Port {}\n", address.port()),
            _ => format!("{line}\n"),
        });
        let path = self.own(&format!("ssh_config-{}", address.port()));
        fs::write(&path, lines.collect::<String>()).expect("should write SSH configuration");
        path
    }

    /// Knows the host's key by the host's name and by [`Host::address`].
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.own("known_hosts")
    }

    fn own(&self, file: &str) -> PathBuf {
        self.folder.path().join(&self.name).join(file)
    }

    /// The name of the container that the host is.
    pub(crate) fn container(&self) -> String {
        format!("kerek-host-{}", self.name)
    }

    /// The process of this machine under whose `/proc/…/root` the host's files are, for root.
    #[track_caller]
    pub(crate) fn process(&self) -> String {
        let pid = ["container", "inspect", "--format", "{{.State.Pid}}", &self.container()];
        docker(&pid).success().stdout.trim().to_owned()
    }

    /// Runs a program on the host, as root, without SSH.
    #[track_caller]
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        docker(&[&["exec", &self.container()], command].concat())
    }

    /// Runs a program on the host as the user `deploy`, without SSH.
    #[track_caller]
    pub(crate) fn run_as_deploy(&self, command: &[&str]) -> Output {
        let container = self.container();
        let user = ["exec", "--user", "deploy", "--workdir", "/home/deploy", "--env", "XDG_RUNTIME_DIR=/run/user/1000"];
        docker(&[&user[..], &[container.as_str()], command].concat())
    }

    /// Copies images of the local engine to the host's: to Docker's, or to podman's of the user `deploy`.
    #[track_caller]
    pub(crate) fn load(&self, images: &[&str]) {
        self.script(&[&["load", &self.name], images].concat()).success();
    }

    /// How many logins sshd has accepted so far.
    #[track_caller]
    pub(crate) fn logins(&self) -> usize {
        self.sshd_log().lines().filter(|line| line.starts_with("Accepted ")).count()
    }

    /// What sshd has logged so far.
    #[track_caller]
    pub(crate) fn sshd_log(&self) -> String {
        self.run(&["journalctl", "--sync"]).success();
        // Not by its unit: the journal may look up who says something when that has gone into a session of its own already.
        let who = ["--identifier=sshd", "--identifier=sshd-session", "--identifier=sshd-auth"];
        self.run(&[&["journalctl", "--quiet", "--no-pager", "--output=cat"], &who[..]].concat()).success().stdout
    }

    /// The processes of SSH connections, and all that was started over them and still runs, as `PID COMMAND…`. Services
    /// that were asked for over SSH don't count, such as containers.
    #[track_caller]
    pub(crate) fn ssh_processes(&self) -> Vec<String> {
        let listed = self.run(&["ps", "-e", "-ww", "-o", "cgroup:512=,pid=,args="]).success().stdout;
        let of_connections = listed.lines().filter_map(|line| {
            let (cgroups, process) = line.trim_start().split_once(' ')?;
            let process = process.trim();
            // One that is not logged in yet is still with sshd.
            let greeting = cgroups.contains("/ssh.service") && !process.contains("[listener]");
            (greeting || cgroups.contains("/session-")).then(|| process.to_owned())
        });
        of_connections.collect()
    }

    /// Asserts that no process of an SSH connection is left, or is within [`TIDY`].
    #[track_caller]
    pub(crate) fn assert_left_alone(&self) {
        let begin = Instant::now();
        let mut left = self.ssh_processes();
        while !left.is_empty() && begin.elapsed() < TIDY {
            thread::sleep(Duration::from_millis(100));
            left = self.ssh_processes();
        }
        assert!(left.is_empty(), "left on {}: {left:#?}", self.name);
    }

    fn script(&self, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/hosts.sh");
        let mut command = Command::new(script);
        command.args(arguments).env("KEREK_HOSTS", self.folder.path());
        command::run(command)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let down = self.script(&["down", &self.name]);
        // A second panic would hide the first.
        if !thread::panicking() {
            down.success();
        }
    }
}

/// Removes the hosts of test processes that are no more.
pub(crate) fn sweep() {
    let format = format!("{{{{.ID}}}} {{{{.Label \"{PROCESS_LABEL}\"}}}}");
    let filter = format!("label={PROCESS_LABEL}");
    let hosts = docker(&["ps", "--all", "--filter", &filter, "--format", &format]).success().stdout;
    for host in hosts.lines() {
        let Some((container, process)) = host.split_once(' ') else { continue };
        if Process::parse(process).is_some_and(|process| process.is_gone()) {
            // Another test process may do the same at the same time.
            docker(&["rm", "--force", "--volumes", container]);
        }
    }
}

/// Docker, as the user who runs the tests has it.
#[track_caller]
fn docker(arguments: &[&str]) -> Output {
    let mut command = Command::new("docker");
    command.args(arguments);
    command::run(command)
}
