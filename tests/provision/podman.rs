//! Podman: without root for a user, and for root.

use super::ground::Ground;
use crate::support::command;

const PODMAN: [&str; 2] = ["--container-engine", "podman"];

#[test]
fn a_user_gets_podman_without_root() {
    let ground = Ground::new(&["--user", "deploy", "--shell", "tcsh"], true);
    ground.write(1);
    ground.assert_converges(&PODMAN);

    ground.host.load(&["busybox:1.37"]);
    ground.deploy_by_context("1").success();
    assert_eq!(ground.running(), ["1"]);

    // By Docker's own way over ssh, with a port that used to be root's.
    let config = ground.host.ssh_config();
    let config = config.to_string_lossy();
    let run = ["run", "--detach", "--publish", "80:80", "busybox:1.37", "httpd", "-f"];
    let docker = ["run-with-ssh-config", &config, "docker", "--context", ground.host.name()];
    command::run(ground.plain(&[&docker[..], &run[..]].concat())).success();
    ground.host.run(&["curl", "--silent", "--show-error", "http://127.0.0.1:80"]).success();
    ground.assert_tidy();
}

#[test]
fn root_gets_podman() {
    let ground = Ground::new(&["--release", "bookworm"], true);
    ground.assert_converges(&PODMAN);
    let listed = ground.host.run(&[
        "curl",
        "--silent",
        "--unix-socket",
        "/run/podman/podman.sock",
        "http://d/v4.0.0/libpod/info",
    ]);
    assert!(listed.success().stdout.contains("\"rootless\":false"));
    let network =
        "podman network create net && podman run --rm --network net localhost/empty /x; podman network rm net";
    let image = "mkdir /e && tar -C /e -c . | podman import - localhost/empty";
    ground.host.run(&["sh", "-ec", image]).success();
    let run = ground.host.run(&["sh", "-c", network]);
    // What it fails for is that the image is empty, not that there is no network.
    assert!(run.stderr.contains("/x"), "{run}");
}
