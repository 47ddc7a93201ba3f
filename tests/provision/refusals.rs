//! Hosts that are not fit: refused soon, with what to do, and untouched.

use std::time::{Duration, Instant};

use super::ground::Ground;
use crate::support::command;

/// What a refusal may take where much else goes on.
const SOON: Duration = Duration::from_secs(30);

/// Asserts that a host is refused with some words.
#[track_caller]
fn assert_refused(ground: &Ground, words: &str) {
    let before = ground.files();
    let begin = Instant::now();
    let refused = ground.provision(&["--force"]).exits(8);
    assert!(begin.elapsed() < SOON, "{:?}: {refused}", begin.elapsed());
    assert!(refused.stderr.contains(words), "{refused}");
    assert!(refused.stderr.contains("Hint: "), "{refused}");
    ground.assert_untouched(&before);
}

#[test]
fn hosts_that_are_not_fit_stay_as_they_are() {
    let ground = Ground::new(&[], false);
    let with = |begin: &str, words: &str, end: &str| {
        ground.host.run(&["sh", "-c", begin]).success();
        assert_refused(&ground, words);
        ground.host.run(&["sh", "-c", end]).success();
    };
    let release = |lines: &str| format!("printf '{lines}' >/root/release; mount --bind /root/release /etc/os-release");
    let unmount = "umount /etc/os-release";
    with(&release("ID=alpine\\nPRETTY_NAME=\"Alpine Linux\"\\n"), "this is Alpine Linux", unmount);
    with(&release("ID=debian\\nVERSION_ID=10\\nPRETTY_NAME=Debian\\n"), "whose Docker is too old", unmount);
    with(
        "mount -t tmpfs -o size=16m tmpfs /var/cache/apt/archives && mount -t tmpfs -o size=16m tmpfs /var/cache",
        "MB free in /var/cache",
        "umount /var/cache && umount /var/cache/apt/archives",
    );
    with("mount --bind /usr /usr && mount -o remount,bind,ro /usr", "/usr is read-only", "umount --lazy /usr");
    with(
        "mkdir /etc/docker && echo '{' >/etc/docker/daemon.json",
        "daemon.json is no JSON object",
        "rm -r /etc/docker",
    );

    // With another one that cannot even be reached; the worst decides.
    let config = ground.host.ssh_config();
    let config = config.to_string_lossy();
    let neither = ["provision", "-F", &config, "nobody.invalid", ground.host.name()];
    let output = command::run(ground.plain(&neither)).exits(7);
    assert!(output.stderr.contains("Error: nobody.invalid: no connection"), "{output}");
    assert!(output.stderr.contains("--force"), "{output}");
    ground.host.run(&["sh", "-c", &release("ID=alpine\\n")]).success();
    let both = ["provision", "--force", "-F", &config, "nobody.invalid", ground.host.name()];
    let output = command::run(ground.plain(&both)).exits(8);
    assert!(output.stderr.contains("Error: nobody.invalid: no connection"), "{output}");
    assert!(output.stderr.contains("2 of 2 hosts failed"), "{output}");
    ground.assert_tidy();
}

#[test]
fn users_who_cannot_become_root_are_told() {
    let ground = Ground::new(&["--user", "deploy", "--sudo", "none"], false);
    assert_refused(&ground, "deploy is asked for a password by sudo there, or may not use it");
    // That the password was typed a moment ago, somewhere, is of no use.
    let rule = "printf 'Defaults timestamp_type=global\\ndeploy ALL=(ALL) ALL\\n' >/etc/sudoers.d/host";
    ground.host.run(&["sh", "-c", rule]).success();
    let typed = "echo deploy | sudo -S -p '' true && sudo -n true";
    ground.host.run_as_deploy(&["sh", "-c", typed]).success();
    assert_refused(&ground, "deploy is asked for a password by sudo there");
    ground.host.run(&["sh", "-c", "echo 'deploy ALL=(ALL) NOPASSWD: ALL\nDefaults requiretty' >/etc/sudoers.d/host"]);
    assert_refused(&ground, "terminal");
    ground.host.run(&["mv", "/usr/bin/sudo", "/root/sudo"]).success();
    assert_refused(&ground, "deploy is not root, and there is no sudo");
}

#[test]
fn contexts_of_others_are_left_alone() {
    let ground = Ground::new(&[], false);
    let create = ["context", "create", ground.host.name(), "--docker", "host=ssh://elsewhere"];
    command::run(ground.site().command("docker", &create)).success();
    let before = ground.files();
    let refused = ground.provision(&["--force"]).exits(1);
    assert!(refused.stderr.contains("--context-name"), "{refused}");
    ground.assert_untouched(&before);
    let inspect = ["context", "inspect", ground.host.name(), "--format", "{{.Endpoints.docker.Host}}"];
    assert_eq!(command::run(ground.site().command("docker", &inspect)).success().stdout, "ssh://elsewhere\n");
}
