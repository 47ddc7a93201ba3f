//! How fast kerek is with an engine on another host, beside docker and Compose with one call a step over `ssh://`, in the
//! same run. Prints Markdown; fails if a target is missed.
//!
//! The host is a throw-away one on this machine; for distance, a proxy before its sshd adds 20 ms each way.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use figures::{Figure, median, seconds, timed};
use support::command::{self, Output};
use support::hosts::{Host, Kind};
use support::project::build_app_image;
use support::tcp_proxy::TcpProxy;
use tempfile::TempDir;

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the benchmark needs but a part of it")]
mod support;

const COMPOSE: &str = r#"
name: bench
services:
  web:
    image: kerek-test-app
    scale: 3
    environment: {VERSION: "${VERSION}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 200ms, start_period: 30s}
    deploy: {update_config: {order: start-first}}
    x-kerek: {drain: 0s}
"#;

/// What a byte takes each way, for distance.
const DELAY: Duration = Duration::from_millis(20);
/// Rounds per measurement.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    let mut bench = Bench::new();
    bench.kerek("first");
    let mut figures = Vec::new();
    for delay in [Duration::ZERO, DELAY] {
        bench.proxy.change_both(|conditions| conditions.delay = delay);
        let distance = match delay.as_millis() {
            0 => "beside".to_owned(),
            delay => format!("{} ms away and back", 2 * delay),
        };
        figures.extend([bench.connect(&distance, delay), bench.no_change(&distance), bench.update(&distance)]);
    }
    figures.push(bench.logins());
    figures::print(&figures)
}

/// A host, and a project for it.
struct Bench {
    host: Host,
    proxy: TcpProxy,
    /// With `home`, whose `bin` has an `ssh` that knows the host.
    folder: TempDir,
    config: PathBuf,
    versions: u32,
}

impl Bench {
    fn new() -> Self {
        let host = Host::start(Kind::Docker, &[]);
        build_app_image();
        host.load(&["kerek-test-app"]);
        let proxy = TcpProxy::start(host.address());
        let config = host.ssh_config_via(proxy.address());
        let folder = tempfile::Builder::new().prefix("k").tempdir_in("/tmp").expect("should make a folder");
        let home = folder.path().join("home");
        fs::create_dir_all(home.join("bin")).expect("should make a folder");
        command::link_plugins(&home).expect("should link plugins");
        // Docker cannot be given a config for ssh.
        let ssh = home.join("bin/ssh");
        fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F '{}' \"$@\"\n", config.display()))
            .expect("should write");
        fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("should make it a program");
        fs::write(folder.path().join("compose.yaml"), COMPOSE).expect("should write file");
        Self { host, proxy, folder, config, versions: 0 }
    }

    fn command(&self, program: impl AsRef<Path>, arguments: &[&str], version: &str) -> Command {
        let home = self.folder.path().join("home");
        let mut command = command::command(&program.as_ref().to_string_lossy(), &home);
        let path = format!("{}:{}", home.join("bin").display(), std::env::var("PATH").unwrap_or_default());
        command.args(arguments).current_dir(self.folder.path()).env("VERSION", version).env("PATH", path);
        command
    }

    fn address(&self) -> String {
        format!("ssh://{}", self.host.name())
    }

    /// A deploy of a version.
    fn kerek(&self, version: &str) -> Output {
        let config = self.config.to_string_lossy();
        let arguments = ["--host", &self.address(), "deploy", "--progress", "plain", "-F", &config];
        command::run(self.command(env!("CARGO_BIN_EXE_kerek"), &arguments, version)).success()
    }

    /// A call of docker.
    fn docker(&self, arguments: &[&str], version: &str) -> String {
        let address = self.address();
        let arguments = [&["--host", &address], arguments].concat();
        command::run(self.command("docker", &arguments, version)).success().stdout
    }

    /// The name of a version that was never there.
    fn version(&mut self) -> String {
        self.versions += 1;
        format!("v{}", self.versions)
    }

    /// From the start of kerek to the engine's first answer, over a command on the host.
    fn connect(&self, distance: &str, delay: Duration) -> Figure {
        let (mut kerek, mut ssh) = (Vec::new(), Vec::new());
        let config = self.config.to_string_lossy();
        for _ in 0..2 * ROUNDS {
            let bare = self.command("/usr/bin/ssh", &["-F", &config, self.host.name(), "true"], "");
            ssh.push(timed(|| drop(command::run(bare).success())));
            let mut tunnel =
                self.command(env!("CARGO_BIN_EXE_kerek"), &["tunnel-ssh", "-F", &config, self.host.name()], "");
            let begin = Instant::now();
            let mut tunnel = tunnel.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("should start kerek");
            // The tunnel's address comes when the engine has answered.
            let mut address = String::new();
            BufReader::new(tunnel.stdout.take().expect("stdout")).read_line(&mut address).expect("should read");
            kerek.push(begin.elapsed());
            assert!(address.starts_with("unix://"), "{address}");
            let mut end = Command::new("sh");
            end.args(["-c", &format!("kill {}", tunnel.id())]);
            command::run(end).success();
            tunnel.wait().expect("should wait");
        }
        let (kerek, ssh) = (median(kerek), median(ssh));
        let allowed = ssh.mul_f64(1.3) + 4 * delay;
        Figure {
            what: format!("{distance}: log in, forward, first answer (`ssh host true`: {})", seconds(ssh)),
            measured: seconds(kerek),
            target: format!("≤ {}", seconds(allowed)),
            met: kerek <= allowed,
        }
    }

    /// Finding out that there is nothing to do.
    fn no_change(&mut self, distance: &str) -> Figure {
        let (mut kerek, mut compose) = (Vec::new(), Vec::new());
        let version = self.version();
        self.kerek(&version);
        for _ in 0..ROUNDS {
            kerek.push(timed(|| drop(self.kerek(&version))));
            compose.push(timed(|| drop(self.docker(&["compose", "up", "--detach"], &version))));
        }
        let (kerek, compose) = (median(kerek), median(compose));
        let allowed = Duration::from_millis(1200);
        Figure {
            what: format!("{distance}: nothing to change (`docker compose up -d`: {})", seconds(compose)),
            measured: seconds(kerek),
            target: format!("≤ {}", seconds(allowed)),
            met: kerek <= allowed,
        }
    }

    /// Replacing three replicas one by one.
    fn update(&mut self, distance: &str) -> Figure {
        let (mut kerek, mut steps) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let version = self.version();
            kerek.push(timed(|| drop(self.kerek(&version))));
            let version = self.version();
            steps.push(timed(|| self.step_by_step(&version)));
        }
        let (kerek, steps) = (median(kerek), median(steps));
        let ratio = kerek.as_secs_f64() / steps.as_secs_f64();
        Figure {
            what: format!(
                "{distance}: update of 3 replicas one by one: {} (with a call of docker or Compose a step: {})",
                seconds(kerek),
                seconds(steps)
            ),
            measured: format!("{ratio:.2} ×"),
            target: "≤ 0.5 ×".into(),
            met: ratio <= 0.5,
        }
    }

    /// The same update as a script would do it: create, start, wait, stop, remove.
    fn step_by_step(&self, version: &str) {
        let list = ["ps", "--quiet", "--filter", "label=com.docker.compose.project=bench"];
        let old = self.docker(&list, version);
        self.docker(&["compose", "create", "--no-recreate", "--scale", "web=6"], version);
        let created = self.docker(&[&list[..], &["--all", "--filter", "status=created"]].concat(), version);
        assert_eq!((old.lines().count(), created.lines().count()), (3, 3));
        for (old, new) in old.lines().zip(created.lines()) {
            self.docker(&["start", new], version);
            while self.docker(&["inspect", "--format", "{{.State.Health.Status}}", new], version).trim() != "healthy" {}
            self.docker(&["stop", old], version);
            self.docker(&["rm", old], version);
        }
    }

    /// Logins that a deploy takes.
    fn logins(&self) -> Figure {
        let count = |work: &dyn Fn()| {
            let before = self.host.logins();
            work();
            self.host.logins() - before
        };
        let first = count(&|| drop(self.kerek("logins")));
        let kerek = count(&|| drop(self.kerek("more logins")));
        let steps = count(&|| self.step_by_step("most logins"));
        Figure {
            what: format!("SSH logins of that update (with a call a step: {steps})"),
            measured: format!("{kerek}"),
            target: "1".into(),
            met: kerek == 1 && first == 1,
        }
    }
}
