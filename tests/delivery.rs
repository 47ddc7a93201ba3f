//! Images on their way over SSH, and deploys that bring their own, on hosts of the tests' own.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::command::{self, Output};
use crate::support::engines::{OtherEngine, Store, docker};
use crate::support::hosts::{Host, Kind};
use crate::support::image_archives::{Recipe, layer};
use crate::support::json_lines;
use crate::support::process::TIDY;
use crate::support::project::Project;
use crate::support::tcp_proxy::{Direction, TcpProxy};

/// What a transfer may take besides layers: a login, and questions.
const OVERHEAD: u64 = 64_000;

/// A copy of an example, to be delivered to a host through a proxy that counts.
struct Site {
    project: Project,
    host: Host,
    proxy: TcpProxy,
}

impl Site {
    fn start(label: &str, example: &str, options: &[&str]) -> Self {
        let project = Project::copy(label, example);
        let host = Host::start(Kind::Docker, &[&["--user", "deploy"], options].concat());
        let proxy = TcpProxy::start(host.address());
        Self { project, host, proxy }
    }

    /// Kerek with the host as its destination, not yet run.
    fn command(&self, command: &[&str]) -> Command {
        let config = self.host.ssh_config_via(self.proxy.address());
        let host = format!("ssh://{}", self.host.name());
        let options = ["-F", &config.to_string_lossy()].map(str::to_owned);
        let mut kerek = self.project.kerek_command(&["--host", &host]);
        kerek.args(command).args(options);
        kerek
    }

    /// Runs kerek to its end, and returns how much went up.
    #[track_caller]
    fn kerek(&self, command: &[&str], stdin: &str) -> (Output, u64) {
        let (before, logins) = (self.proxy.passed(Direction::Up), self.host.logins());
        let output = command::run_with(self.command(command), stdin.as_bytes());
        assert_eq!(self.host.logins(), logins + 1, "{output}");
        (output, self.proxy.passed(Direction::Up) - before)
    }

    #[track_caller]
    fn docker(&self, arguments: &[&str]) -> String {
        self.host.run(&[&["docker"], arguments].concat()).success().stdout
    }

    /// IDs of the project's containers on the host.
    fn containers(&self) -> BTreeSet<String> {
        let filter = format!("label=com.docker.compose.project={}", self.project.name());
        self.docker(&["ps", "--quiet", "--no-trunc", "--filter", &filter]).lines().map(str::to_owned).collect()
    }

    /// What the containers serve.
    fn served(&self) -> BTreeSet<String> {
        self.containers().iter().map(|id| self.docker(&["exec", id, "cat", "/www/index.html"])).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.project.name());
        let images = docker(None, &["image", "ls", "--quiet", "--filter", &label], &[]).stdout;
        let images: BTreeSet<_> = images.lines().collect();
        if !images.is_empty() {
            docker(
                None,
                &[&["image", "rm", "--force"], images.into_iter().collect::<Vec<_>>().as_slice()].concat(),
                &[],
            );
        }
    }
}

#[test]
fn a_deploy_brings_its_images() {
    let site = Site::start("delivery", "examples/ssh_delivery", &[]);
    let deploy = ["deploy", "--build", "--transfer-images", "--progress", "json"];
    let (output, _) = site.kerek(&deploy, "");
    output.success();
    let first = site.containers();
    assert_eq!((first.len(), site.served()), (2, ["Hi from A\n".to_owned()].into()));

    let (output, bytes) = site.kerek(&deploy, "");
    assert_eq!(site.containers(), first, "{output}");
    assert!(bytes <= OVERHEAD, "nothing has changed: {bytes} bytes, {output}");
    output.success();

    // Big enough to tell whether it is all that is sent, and nothing that could be compressed.
    let content = layer(7, 400_000);
    std::fs::write(site.project.path().join("greet/big"), &content).expect("should write file");
    let dockerfile = std::fs::read_to_string(site.project.path().join("greet/Dockerfile")).expect("should read file");
    site.project.write("greet/Dockerfile", &dockerfile.replace("COPY index.html", "COPY index.html big"));
    site.project.write("greet/index.html", "Hi from B\n");
    let (output, _) = site.kerek(&["--dry-run", "deploy", "--transfer-images"], "");
    assert!(output.stderr.contains("neither builds nor sends"), "{output}");
    assert!(output.stderr.contains("0 images to send, 0 B, 1 there already"), "not built yet: {output}");
    site.project.compose(&["build"]).success();
    let (output, bytes) = site.kerek(&["--dry-run", "deploy", "--transfer-images"], "");
    assert!(output.stderr.contains("1 image to send, 4"), "400 kB and a bit: {output}");
    assert!(bytes <= OVERHEAD && site.containers() == first, "nothing is sent: {bytes} bytes, {output}");
    let (output, bytes) = site.kerek(&deploy, "");
    let second = site.containers();
    assert!(second.is_disjoint(&first) && second.len() == 2, "{output}");
    assert_eq!(site.served(), ["Hi from B\n".to_owned()].into(), "{output}");
    assert!(bytes <= content.len() as u64 + 2 * OVERHEAD, "one layer has changed: {bytes} bytes, {output}");
    let events = json_lines::parse(&output.stderr);
    let planned = events.iter().find(|event| event["event"] == "planned").expect("should be planned");
    assert_eq!(planned["services"][0]["reasons"][0]["reason"], "image_changed", "{output}");
    let sent = events.iter().find(|event| event["step"] == "sent").expect("should be sent");
    assert_eq!(sent["layers"].as_u64().expect("a number") - sent["kept"].as_u64().expect("a number"), 1, "{sent}");

    // A build that fails, or an image that is nowhere, leaves all as it is.
    site.project.write("greet/Dockerfile", "FROM busybox:1.37\nRUN --network=none false\n");
    site.kerek(&deploy, "").0.exits(1);
    assert_eq!(site.containers(), second);
    // Without --host there is nowhere to send to.
    let here = site.project.kerek(&["deploy", "--transfer-images"]).exits(2);
    assert!(here.stderr.contains("source and destination are the same engine"), "{here}");
    site.host.assert_left_alone();
}

#[test]
fn images_go_over_ssh() {
    // The harder way: no forwarded socket, and one session at a time.
    let limits = ["--sshd", "AllowStreamLocalForwarding no", "--sshd", "MaxSessions 1"];
    let site = Site::start("transfer", "examples/image_transfer", &limits);
    site.project.compose(&["build"]).success();
    let names = site.project.compose(&["config", "--images"]).success().stdout;
    let (output, bytes) = site.kerek(&["transfer-images", "-"], &names);
    output.success();
    let worked = site.docker(&["run", "--rm", "--network=none", "image-transfer/worker:1.0"]);
    assert_eq!(worked, "Working on Linux\n");
    let (output, again) = site.kerek(&["transfer-images", "-"], &names);
    assert!(again <= OVERHEAD && again < bytes, "{again} of {bytes}: {output}");
    output.success();

    // The other way round: from a host to an engine here.
    let here = OtherEngine::start(Store::Containerd);
    let config = site.host.ssh_config();
    let mut back = site.project.kerek_command(&["--host", &here.host(), "transfer-images", "-F"]);
    back.arg(config).arg("image-transfer/web:1.0").env("DOCKER_HOST", format!("ssh://{}", site.host.name()));
    command::run(back).success();
    let output =
        here.docker(&["run", "--rm", "--network=none", "image-transfer/web:1.0", "cat", "/www/index.html"], &[]);
    assert_eq!(output.success().stdout, "Hi\n");

    a_cut_is_noticed(&site);
    let missing = site.kerek(&["transfer-images", "image-transfer/none"], "").0.exits(1);
    assert!(missing.stderr.contains("there is no image image-transfer/none on the source"), "{missing}");
    site.host.assert_left_alone();
}

/// A connection that breaks, and one that hangs, end kerek in time and leave names alone.
fn a_cut_is_noticed(site: &Site) {
    let source = OtherEngine::start(Store::Overlay2);
    let image = Recipe::new("kerek-test/cut:1", &[&layer(1, 3_000_000)]);
    source.docker(&["load"], &image.archive()).success();
    let transfer = || {
        let mut command = site.command(&["transfer-images", &image.name]);
        command.env("DOCKER_HOST", source.host());
        command::run(command)
    };
    for at in [20_000, 1_000_000, 2_900_000] {
        site.proxy.change(Direction::Up, |conditions| conditions.cut_after = Some(at));
        let output = transfer();
        site.proxy.change(Direction::Up, |conditions| conditions.cut_after = None);
        output.exits(3);
    }
    // So narrow that it is still going on when it is made to hang.
    site.proxy.change(Direction::Up, |conditions| conditions.bytes_per_second = Some(500_000));
    let (output, took) = std::thread::scope(|scope| {
        let stalled = scope.spawn(transfer);
        let before = site.proxy.passed(Direction::Up);
        let begin = Instant::now();
        while site.proxy.passed(Direction::Up) < before + 1_000_000 {
            assert!(begin.elapsed() < Duration::from_secs(60), "should get going");
            std::thread::sleep(Duration::from_millis(5));
        }
        site.proxy.change_both(|conditions| conditions.stalled = true);
        let begin = Instant::now();
        let output = stalled.join().expect("should end");
        (output, begin.elapsed())
    });
    site.proxy.change_both(|conditions| conditions.stalled = false);
    site.proxy.change(Direction::Up, |conditions| conditions.bytes_per_second = None);
    assert!(took < Duration::from_secs(60), "{took:?}: {output}");
    output.exits(3);
    site.proxy.cut();
    site.host.assert_left_alone();
    let listed = site.docker(&["image", "ls", "--quiet", "kerek-test/cut"]);
    assert_eq!(listed, "", "no name for what has not arrived");
    let left = || site.host.run(&["ls", "/var/lib/docker/tmp"]).success().stdout;
    let begin = Instant::now();
    while !left().is_empty() && begin.elapsed() < TIDY {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(left(), "", "nothing is left");
    transfer().success();
    assert_ne!(site.docker(&["image", "ls", "--quiet", "kerek-test/cut"]), "");
}
