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
fn without_forwarding_few_sessions_are_enough() {
    for sessions in [1, 3] {
        let limit = format!("MaxSessions {sessions}");
        let narrow = ["--sshd", &limit, "--sshd", "MaxStartups 1:100:1", "--sshd", "AllowStreamLocalForwarding no"];
        let site = Site::docker(&narrow);
        for version in ["1", "2"] {
            let before = site.host.logins();
            site.deploy(version).success();
            assert_eq!(site.running(), [version; 3]);
            // As many as it takes for six sessions.
            let logins = site.host.logins() - before;
            assert!((2..=6_usize.div_ceil(sessions)).contains(&logins), "{logins}: {}", site.host.sshd_log());
            site.assert_tidy();
        }
    }
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
