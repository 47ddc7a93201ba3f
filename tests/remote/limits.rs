//! What an sshd may forbid, and what a login shell may be.

use crate::site::Site;

/// Deploys two versions with two dozen replicas, each over one login.
fn deploys(options: &[&str]) {
    let site = Site::docker(options);
    site.write(24);
    for version in ["1", "2"] {
        let before = site.host.logins();
        site.deploy(version).success();
        assert_eq!(site.running(), [version; 24]);
        assert_eq!(site.host.logins(), before + 1, "{}", site.host.sshd_log());
        site.assert_tidy();
    }
}

#[test]
fn one_session_and_one_login_at_a_time_are_enough() {
    let noise = ["--shell", "tcsh", "--noise", "kerek state open\nWelcome!", "--banner", "Authorised use only"];
    deploys(&[&["--sshd", "MaxSessions 1", "--sshd", "MaxStartups 1:100:1", "--user", "deploy"], &noise[..]].concat());
}

#[test]
fn forwarding_is_not_needed() {
    deploys(&["--sshd", "AllowStreamLocalForwarding no", "--shell", "fish", "--user", "deploy"]);
}

#[test]
fn sudo_does_where_the_socket_is_not_for_the_user() {
    let site = Site::docker(&["--user", "deploy", "--no-docker-group"]);
    site.deploy("1").success();
    assert_eq!(site.running(), ["1"; 3]);
    site.assert_tidy();
}

#[test]
fn without_sudo_a_socket_of_others_is_refused() {
    for sudo in ["password", "none"] {
        let site = Site::docker(&["--user", "deploy", "--no-docker-group", "--sudo", sudo]);
        let output = site.deploy("1").exits(3);
        assert!(output.stderr.contains("deploy may not use the engine's socket /var/run/docker.sock"), "{output}");
        assert!(output.stderr.contains("usermod -aG docker deploy"), "{output}");
        site.assert_tidy();
    }
}
