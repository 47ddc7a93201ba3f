//! Docker: for root, and for somebody whose sudo wants a password on a host that has its own mind.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::ground::{Ground, announced, changed};
use crate::support::command;
use crate::support::eventually::eventually;
use crate::support::terminal::{Answer, CTRL_C};

#[test]
fn root_gets_docker_that_outlives_restarts() {
    let ground = Ground::new(&[], false);
    let before = ground.files();
    let refused = ground.provision(&[]).exits(7);
    assert!(refused.stderr.contains("--force"), "{refused}");
    assert_eq!(announced(&refused.stderr), ["settings", "packages"]);
    ground.assert_untouched(&before);
    ground.assert_converges(&[]);

    ground.host.load(&["busybox:1.37"]);
    ground.deploy_by_context("1").success();
    assert_eq!(ground.running(), ["1"; 3]);

    let run = ["docker", "run", "--detach", "--name", "lasting", "--restart", "always", "busybox:1.37", "sleep", "1d"];
    ground.host.run(&run).success();
    let inspect = ["docker", "inspect", "--format", "{{.State.StartedAt}}", "lasting"];
    let started = ground.host.run(&inspect).success().stdout;
    ground.host.run(&["systemctl", "restart", "docker.service"]).success();
    assert_eq!(ground.host.run(&inspect).success().stdout, started);

    let mut restart = Command::new("docker");
    restart.args(["restart", "--time", "20", &ground.host.container()]);
    command::run(restart).success();
    let begin = Instant::now();
    let running = ["docker", "ps", "--quiet", "--filter", "name=lasting"];
    while ground.host.run(&running).stdout.is_empty() {
        assert!(begin.elapsed() < Duration::from_secs(60), "it is not back");
        sleep(Duration::from_millis(200));
    }
    assert_ne!(ground.host.run(&inspect).success().stdout, started);
}

/// A package whose installation ends a while after the script has begun to look who else is at work.
const SLOW_PACKAGE: &str = "mkdir -p /root/slow/DEBIAN && cd /root && \
    printf 'Package: slow\nVersion: 1\nArchitecture: all\nMaintainer: me <me@example.com>\nDescription: slow\n' \
        >slow/DEBIAN/control && \
    printf '%s\n' '#!/bin/sh' 'timeout 300 sh -c \"until [ -e /run/kerek-provision.lock ]; do sleep 0.1; done\"' \
        'sleep 8' >slow/DEBIAN/postinst && chmod 755 slow/DEBIAN/postinst && \
    dpkg-deb --build slow >/dev/null && rm -r slow";

const GO_AHEAD: Answer<'_> = Answer::Shown("Go ahead on ", "y");
/// What is asked for.
const PASSWORD: &str = "Password for sudo";

#[test]
fn a_user_with_a_password_gets_docker_beside_what_is_there() {
    let options =
        ["--release", "bookworm", "--user", "deploy", "--sudo", "password", "--shell", "fish", "--noise", "Hi!"];
    let ground = Ground::new(&options, false);
    let settings = r#"mkdir /etc/docker && printf '{"labels": ["a=}{\\"b"],\n "log-driver": "json-file"}' >/etc/docker/daemon.json"#;
    ground.host.run(&["sh", "-c", settings]).success();
    ground.host.run(&["sh", "-c", SLOW_PACKAGE]).success();

    let before = ground.files();
    let refused = ground.provision(&["--force"]).exits(8);
    assert!(refused.stderr.contains("--ask-become-password"), "{refused}");
    ground.provision(&["--force", "--ask-become-password"]).exits(7);
    let wrong =
        ground.provision_on_terminal(&["--ask-become-password"], &[GO_AHEAD, Answer::Hidden(PASSWORD, "wrong\n")]);
    let wrong = wrong.exits(8);
    assert!(wrong.stdout.contains("sudo refuses"), "{wrong}");
    ground.assert_untouched(&before);
    let no = Answer::Shown("Go ahead on ", "n");
    let declined = ground.provision_on_terminal(&["--ask-become-password"], &[no]).exits(7);
    assert!(declined.stdout.contains("not agreed to"), "{declined}");
    ground.assert_untouched(&before);
    let interrupted = Answer::Hidden("Go ahead on ", CTRL_C);
    ground.interrupt_provision(&["--ask-become-password"], &[interrupted]).exits(130);
    let interrupted = Answer::Hidden(PASSWORD, CTRL_C);
    ground.interrupt_provision(&["--ask-become-password"], &[GO_AHEAD, interrupted]).exits(130);
    ground.assert_untouched(&before);

    // Somebody else is installing something.
    let slow = "setsid dpkg -i /root/slow.deb >/dev/null 2>&1 </dev/null & \
        until pgrep --full '[s]low.postinst' >/dev/null; do sleep 0.1; done";
    ground.host.run(&["timeout", "60", "sh", "-c", slow]).success();
    let password = Answer::Hidden(PASSWORD, "deploy\n");
    let done = ground.provision_on_terminal(&["--force", "--ask-become-password"], &[password]).success();
    assert!(done.stdout.contains("another package manager is at work"), "{done}");
    assert!(done.stdout.contains("3 changes, Docker"), "{done}");
    assert!(!done.stdout.contains("wrong"), "{done}");
    ground.assert_done(&[]);
    let merged = ground.host.run(&["cat", "/etc/docker/daemon.json"]).success().stdout;
    let merged: serde_json::Value = serde_json::from_str(&merged).expect("should be JSON");
    let expected = serde_json::json!({"labels": ["a=}{\"b"], "log-driver": "json-file", "live-restore": true});
    assert_eq!(merged, expected);

    // Docker 20.10 does not know it.
    let compose = fs::read_to_string(ground.path("app/compose.yaml")).expect("should read file");
    let compose = compose.replace(", start_interval: 200ms", "");
    fs::write(ground.path("app/compose.yaml"), compose).expect("should write file");
    ground.host.load(&["busybox:1.37"]);
    ground.deploy_by_context("1").success();
    assert_eq!(ground.running(), ["1"; 3]);
    ground.assert_tidy();
}

#[test]
fn this_machine_is_a_host_too() {
    // Where kerek runs is a throw-away host, in a container of which nobody has to trust that nothing is changed.
    let ground = Ground::new(&["--release", "bookworm"], false);
    let mut copy = Command::new("docker");
    copy.args(["cp", env!("CARGO_BIN_EXE_kerek"), &format!("{}:/usr/local/bin/kerek", ground.host.container())]);
    command::run(copy).success();
    let provision = ["kerek", "provision", "--force", "localhost"];
    let done = ground.host.run(&provision).success();
    assert!(done.stderr.contains("localhost: 2 changes, Docker"), "{done}");
    assert!(done.stderr.contains("Next: kerek deploy\n"), "{done}");
    let again = ground.host.run(&provision).success();
    assert!(again.stderr.contains("localhost: 0 changes, Docker"), "{again}");
    assert_eq!(ground.host.run(&["docker", "context", "ls", "--quiet"]).success().stdout, "default\n");
}

/// Has Docker's service run with these flags, and a container in it; returns when that has started.
fn restart_with(ground: &Ground, flags: &str) -> String {
    let script = "echo \"DOCKER_OPTS='$0'\" >/etc/default/docker && rm -f /etc/docker/daemon.json && \
        systemctl restart docker.service && docker start lasting >/dev/null";
    ground.host.run(&["sh", "-ec", script, flags]).success();
    started(ground)
}

/// When the container has started, if it runs.
fn started(ground: &Ground) -> String {
    let format = "{{.State.Running}} {{.State.StartedAt}}";
    let started = ground.host.run(&["docker", "inspect", "--format", format, "lasting"]).success().stdout;
    assert!(started.starts_with("true "), "{started}");
    started
}

#[test]
fn what_docker_is_told_elsewhere_stands() {
    // This one cannot tell beforehand what it would start with.
    let ground = Ground::new(&["--release", "bookworm"], false);
    ground.provision(&["--force"]).success();
    ground.host.load(&["busybox:1.37"]);
    ground.host.run(&["docker", "create", "--name", "lasting", "busybox:1.37", "sleep", "1d"]).success();

    // With Podman's command in Docker's place.
    let shim = "printf '#!/bin/sh\n# Podman, called as Docker is: so\nexit 1\n' >/usr/local/bin/docker; \
        chmod 755 /usr/local/bin/docker";
    for (flags, settings) in [
        ("--log-opt max-size=50m", r#"{"live-restore": true}"#),
        ("--live-restore", r#"{"log-opts": {"max-file": "3", "max-size": "10m"}}"#),
    ] {
        let begin = restart_with(&ground, flags);
        ground.host.run(&["sh", "-c", shim]).success();
        let done = ground.assert_converges(&[]);
        assert_eq!(changed(&done), ["settings", "service", "command"], "{flags}");
        let written = ground.host.run(&["cat", "/etc/docker/daemon.json"]).success().stdout;
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("should be JSON");
        assert_eq!(value(&written), value(settings), "{flags}");
        assert_eq!(started(&ground), begin, "{flags}");
    }

    // Without it, there is no way to let the containers run on.
    let begin = restart_with(&ground, "--debug");
    let own = r#"{"debug": true}"#;
    ground.host.run(&["sh", "-c", "printf %s \"$0\" >/etc/docker/daemon.json", own]).success();
    let failed = ground.provision(&["--force"]).exits(5);
    assert!(failed.stderr.contains("and so was not restarted; /etc/docker/daemon.json is as it was"), "{failed}");
    assert!(failed.stderr.contains("both as a flag and in the configuration file: debug"), "{failed}");
    assert_eq!(ground.host.run(&["cat", "/etc/docker/daemon.json"]).success().stdout, own);
    assert_eq!(started(&ground), begin);

    // With it, they run on also if Docker does not start, nor without it then.
    let begin = restart_with(&ground, "");
    let own = r#"{"debug": false}"#;
    let break_it = "printf %s \"$0\" >/etc/docker/daemon.json; mkdir -p /run/systemd/system/docker.service.d; \
        printf '[Service]\nExecStartPre=/bin/sh -c \"! grep max-size /etc/docker/daemon.json\"\n' \
        >/run/systemd/system/docker.service.d/broken.conf; systemctl daemon-reload";
    ground.host.run(&["sh", "-ec", break_it, own]).success();
    let failed = ground.provision(&["--force"]).exits(5);
    assert!(failed.stderr.contains("Docker does not start; /etc/docker/daemon.json is as it was"), "{failed}");
    assert_eq!(ground.host.run(&["cat", "/etc/docker/daemon.json"]).success().stdout, own);
    assert_eq!(started(&ground), begin);
}

#[test]
fn a_docker_whose_programs_nobody_finds_is_left_alone() {
    let ground = Ground::new(&[], false);
    let listen = ["systemd-run", "--quiet", "systemd-socket-activate", "--listen=/run/docker.sock", "/usr/bin/cat"];
    ground.host.run(&listen).success();
    eventually("it listens", || ground.host.run(&["grep", "/run/docker.sock", "/proc/net/unix"]).code == Some(0));
    let dry = ground.provision(&["--dry-run"]).success();
    assert!(dry.stdout.contains("left as it is"), "{dry}");
    assert_eq!(announced(&dry.stdout), [""; 0]);
    ground.copy_scripts();
    let done = ground.host.run(&["timeout", "5", "sh", "/home/deploy/scripts/docker.sh"]);
    assert!(done.stdout.contains("ok packages Docker is here from elsewhere"), "{done}");
    assert!(!done.stdout.contains("changed"), "{done}");
}
