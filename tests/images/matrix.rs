//! Every kind of store as source and as destination, beside each other and on hosts that are reached over SSH.

use super::{Engine, LARGE, OVERHEAD, SMALL, assert_arrived, images, kerek, make, saved_config, transfer};
use crate::support::command::Output;
use crate::support::engines::{OtherEngine, Store, docker};
use crate::support::hosts::{Host, Kind};
use crate::support::image_archives::{Recipe, layer};
use crate::support::tcp_proxy::{Direction, TcpProxy};

const STORES: [Store; 3] = [Store::Overlay2, Store::Containerd, Store::Podman];

/// Where images go.
trait Destination: Engine {
    /// Transfers images and returns bytes on the link.
    fn take(&self, source: &OtherEngine, arguments: &[&str]) -> u64;
}

impl Destination for OtherEngine {
    #[track_caller]
    fn take(&self, source: &OtherEngine, arguments: &[&str]) -> u64 {
        transfer(source, self, arguments)
    }
}

/// The engine of a host: Docker with either kind of store, or podman without root.
struct Hosted {
    host: Host,
    proxy: TcpProxy,
    store: Store,
}

impl Hosted {
    fn start(store: Store) -> Self {
        let kind = if store == Store::Podman { Kind::Podman } else { Kind::Docker };
        let mut options = vec!["--user", "deploy"];
        if store == Store::Containerd {
            // The harder way: no forwarded socket, and one session at a time.
            options.extend(["--sshd", "AllowStreamLocalForwarding no", "--sshd", "MaxSessions 1"]);
        }
        let host = Host::start(kind, &options);
        if store == Store::Containerd {
            let switch = r#"echo '{"features": {"containerd-snapshotter": true}}' >/etc/docker/daemon.json
                systemctl restart docker.service"#;
            host.run(&["sh", "-ec", switch]).success();
        }
        let proxy = TcpProxy::start(host.address());
        let hosted = Self { host, proxy, store };
        let driver = hosted.docker(&["info", "--format", "{{.Driver}}"], &[]).success().stdout;
        let expected = if store == Store::Overlay2 { "overlay2" } else { "overlay" };
        assert!(
            driver.starts_with(expected) && (store != Store::Containerd || driver.trim() == "overlayfs"),
            "{driver}"
        );
        hosted
    }
}

impl Engine for Hosted {
    fn store(&self) -> Store {
        self.store
    }

    /// Through its socket, which root can see from here.
    fn docker(&self, arguments: &[&str], stdin: &[u8]) -> Output {
        let socket = if self.store == Store::Podman { "run/user/1000/podman/podman.sock" } else { "run/docker.sock" };
        docker(Some(&format!("unix:///proc/{}/root/{socket}", self.host.process())), arguments, stdin)
    }
}

impl Destination for Hosted {
    #[track_caller]
    fn take(&self, source: &OtherEngine, arguments: &[&str]) -> u64 {
        let before = self.proxy.passed(Direction::Up);
        let config = self.host.ssh_config_via(self.proxy.address()).display().to_string();
        let host = format!("ssh://{}", self.host.name());
        let options = ["-H", &host, "transfer-images", "-F", &config];
        kerek(source, &[&options[..], arguments].concat(), "").success();
        // What is on its way back when kerek ends is not what is counted.
        self.proxy.passed(Direction::Up) - before
    }
}

/// Sends images of one source to destinations with every kind of store.
fn all_destinations(source: Store) {
    let source = OtherEngine::start(source);
    for store in STORES {
        every_case(&source, &OtherEngine::start(store));
    }
}

fn every_case(source: &OtherEngine, destination: &impl Destination) {
    // Of their own for each pair: no engine is to have met them before.
    let pair = format!("{:?}-{:?}", source.store, destination.store());
    let name = |name: &str| format!("kerek-test/{pair}-{name}").to_lowercase();
    let seed = 1000 * source.store as u64 + 100 * destination.store() as u64;
    let (bottom, middle) = (layer(seed, LARGE), layer(seed + 1, LARGE));
    let (old, new) = (layer(seed + 2, SMALL), layer(seed + 3, SMALL));
    let first = Recipe::new(&name("web:1"), &[&bottom, &middle, &old]);
    make(source, &first);
    let cold = destination.take(source, &[&first.name]);
    assert_arrived(destination, &first);
    assert!(cold >= 2 * LARGE as u64, "{cold}");

    let again = destination.take(source, &[&first.name]);
    assert!(again <= OVERHEAD, "nothing is missing: {again}");

    let top = Recipe::new(&name("web:2"), &[&bottom, &middle, &new]);
    make(source, &top);
    let bytes = destination.take(source, &[&top.name]);
    assert_arrived(destination, &top);
    assert!(bytes <= new.len() as u64 + OVERHEAD, "the top layer has changed: {bytes}");

    source.docker(&["tag", &top.name, &name("other")], &[]).success();
    let bytes = destination.take(source, &[&name("other")]);
    assert!(bytes <= OVERHEAD, "only the name is missing: {bytes}");
    assert_eq!(saved_config(destination, &name("other:latest")), top.config_hex());

    let inserted = Recipe::new(&name("inserted:1"), &[&layer(seed + 4, SMALL), &bottom, &middle]);
    make(source, &inserted);
    let bytes = destination.take(source, &[&inserted.name]);
    assert_arrived(destination, &inserted);
    match destination.store() {
        // There, a layer is what it is only on top of those below.
        Store::Overlay2 => assert!(bytes > 2 * LARGE as u64, "{bytes}"),
        Store::Containerd | Store::Podman => assert!(bytes <= SMALL as u64 + OVERHEAD, "inserted: {bytes}"),
    }

    let several = [5, 6].map(|number| {
        let recipe =
            Recipe::new(&name(&format!("several:{number}")), &[&layer(seed + 7, LARGE), &layer(seed + number, SMALL)]);
        make(source, &recipe);
        recipe
    });
    let bytes = destination.take(source, &[&several[0].name, &several[1].name]);
    for recipe in &several {
        assert_arrived(destination, recipe);
    }
    assert!(bytes <= (LARGE + 2 * SMALL) as u64 + 2 * OVERHEAD, "layers in common are sent once: {bytes}");

    // Those without a name are what an image was that has lost its name.
    let before = images(destination);
    let forced = destination.take(source, &["--force", &first.name]);
    assert!(forced >= cold - OVERHEAD, "{forced}");
    assert_arrived(destination, &first);
    assert_eq!(images(destination), before);
}

#[test]
fn from_overlay2() {
    all_destinations(Store::Overlay2);
}

#[test]
fn from_containerd() {
    all_destinations(Store::Containerd);
}

#[test]
fn from_podman() {
    all_destinations(Store::Podman);
}

/// Sends images of every kind of source to a host.
fn all_sources(store: Store) {
    let host = Hosted::start(store);
    for source in STORES {
        every_case(&OtherEngine::start(source), &host);
    }
}

#[test]
fn to_a_host_with_docker() {
    all_sources(Store::Overlay2);
}

#[test]
fn to_a_host_with_containerd() {
    all_sources(Store::Containerd);
}

#[test]
fn to_a_host_with_podman_without_root() {
    all_sources(Store::Podman);
}
