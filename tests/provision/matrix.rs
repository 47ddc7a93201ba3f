//! Each release of Debian with each engine for root and for others: made a container host, it runs an example that is updated
//! under load through the context that provisioning has left.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use super::ground::Ground;
use crate::support::chaos::{cases, tell};
use crate::support::command::{self, Output};
use crate::support::eventually::eventually;
use crate::support::load::{Config, Connections, Load, Summary};
use crate::support::port;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/zero_downtime_deployment");
/// Where the example's proxy listens, on the host.
const PORT: &str = "8080";
/// Requests a second.
const RATE: f64 = 50.0;

/// On podman, the network's gateway answers for names.
const SUBNET: &str = "
networks:
  default: {ipam: {config: [{subnet: 10.89.100.0/24}]}}
";

/// Release, engine, user. Two in a row have nothing in common.
const COMBINATIONS: [(&str, &str, &str); 8] = [
    ("trixie", "podman", "root"),
    ("bookworm", "docker", "deploy"),
    ("trixie", "docker", "root"),
    ("bookworm", "podman", "deploy"),
    ("trixie", "docker", "deploy"),
    ("bookworm", "podman", "root"),
    ("trixie", "podman", "deploy"),
    ("bookworm", "docker", "root"),
];

#[test]
fn an_example_is_updated_under_load() {
    for ((release, engine, user), _) in cases(&COMBINATIONS, 1, 1) {
        let load = update_under_load(release, engine, user);
        tell(&format!("| {release}, {engine}, {user} | {} | {} |", load.sent, load.failed));
        // The DNS server of podman 4 answers nobody for seconds when a container comes or goes (docs/podman.md).
        if (release, engine) != ("bookworm", "podman") {
            assert_eq!(load.failed, 0, "{release}, {engine}, {user}: {load}");
        }
    }
}

/// A file of the example as an engine needs it.
fn adapted(content: &str, engine: &str) -> String {
    // Debian 12's Docker does not know it, and Compose believes that podman does not.
    let content = content.replace("start_interval: 200ms", "retries: 3").replace("interval: 5s", "interval: 2s");
    if engine == "podman" { content.replace("127.0.0.11", "10.89.100.1") } else { content }
}

/// Returns what has become of the requests.
fn update_under_load(release: &str, engine: &str, user: &str) -> Summary {
    let ground = Ground::new(&["--release", release, "--user", user], engine == "podman");
    ground.provision(&["--force", "--container-engine", engine]).success();
    ground.assert_done(&["--container-engine", engine]);
    command::run(through_context(&ground, "transfer-images", &["busybox:1.37", "nginx:stable-alpine"])).success();
    for file in ["compose.yaml", "reverse-proxy.conf"] {
        let content = fs::read_to_string(format!("{EXAMPLE}/{file}")).expect("should read file");
        fs::write(ground.path(&format!("app/{file}")), adapted(&content, engine)).expect("should write file");
    }
    if engine == "podman" {
        let compose = ground.path("app/compose.yaml");
        let mut file = OpenOptions::new().append(true).open(compose).expect("should open file");
        file.write_all(SUBNET.as_bytes()).expect("should write file");
    }
    deploy(&ground, "A").success();
    let tunnel = Tunnel::open(&ground);
    let url = format!("http://127.0.0.1:{}/version", tunnel.port);
    let load = Load::start(Config::new(url.parse().expect("a URL"), Connections::New, RATE));
    sleep(Duration::from_secs(1));
    deploy(&ground, "B").success();
    sleep(Duration::from_secs(1));
    let load = load.stop();
    assert!(load.versions.contains_key("A") && load.versions.contains_key("B"), "{release}, {engine}, {user}: {load}");
    drop(tunnel);
    ground.assert_tidy();
    load
}

/// Deploys a version through the context that is called as the host.
fn deploy(ground: &Ground, version: &str) -> Output {
    let mut kerek = through_context(ground, "deploy", &["--wait"]);
    kerek.env("GREET_VERSION", version).env("PORT", PORT);
    command::run(kerek)
}

/// A command of kerek through the context that is called as the host.
fn through_context(ground: &Ground, command: &str, arguments: &[&str]) -> Command {
    let config = ground.host.ssh_config().display().to_string();
    let first = ["--context", ground.host.name(), command, "--progress", "plain", "-F", &config];
    ground.plain(&[&first[..], arguments].concat())
}

/// Brings the proxy's port here, for as long as it is there.
struct Tunnel {
    port: u16,
    ssh: Child,
}

impl Tunnel {
    fn open(ground: &Ground) -> Self {
        let port = port::free();
        let mut ssh = Command::new("ssh");
        ssh.arg("-F").arg(ground.host.ssh_config()).args(["-N", "-L", &format!("127.0.0.1:{port}:127.0.0.1:{PORT}")]);
        ssh.arg(ground.host.name()).stdin(Stdio::null()).stdout(Stdio::null());
        let tunnel = Self { port, ssh: ssh.spawn().expect("should start ssh") };
        eventually("ssh listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        tunnel
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        let _ = self.ssh.kill();
        let _ = self.ssh.wait();
    }
}
