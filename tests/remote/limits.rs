//! What an sshd may forbid, and what a login shell may be.

use std::fs;
use std::time::{Duration, Instant};

use crate::support::command;
use crate::support::site::Site;

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
            // Six sessions are enough, and a host may be slow to forget those that have ended.
            let logins = site.host.logins() - before;
            assert!((2..=6).contains(&logins), "{logins}: {}", site.host.sshd_log());
            site.assert_tidy();
        }
    }
}

#[test]
fn who_may_not_log_in_again_reads_why() {
    let site = Site::docker(&["--sshd", "MaxSessions 1", "--sshd", "AllowStreamLocalForwarding no"]);
    let once = site.path("once");
    // A road that can be taken once.
    let road = format!(
        "#!/bin/bash\nmkdir {} || exit 1\nexec 3<>/dev/tcp/127.0.0.1/{}\ncat <&3 &\ncat >&3\nkill $!\n",
        once.display(),
        site.host.address().port()
    );
    fs::write(site.path("road"), road).expect("should write file");
    let config = fs::read_to_string(site.host.ssh_config()).expect("should read SSH configuration");
    let config = format!("{config}    ProxyCommand bash {}\n", site.path("road").display());
    fs::write(site.path("ssh_config"), config).expect("should write SSH configuration");
    let begin = Instant::now();
    let deploy = site.deploy_command("1", &site.path("ssh_config"), &["--host", &site.address()]);
    let output = command::run(deploy).exits(3);
    assert!(output.stderr.contains("Hint: The host forwards no sockets and allows too few sessions"), "{output}");
    assert!(output.stderr.contains("MaxSessions"), "{output}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{output}");
    assert!(site.running().is_empty(), "{output}");
    site.assert_tidy();
}

#[test]
fn a_host_that_goes_on_and_on_is_given_up() {
    let site = Site::docker(&["--user", "deploy"]);
    site.host.run(&["sh", "-c", "echo 'cat /dev/zero' >/home/deploy/.bashrc"]).success();
    let begin = Instant::now();
    let output = site.deploy("1").exits(3);
    assert!(output.stderr.contains("it prints more than 1048576 bytes"), "{output}");
    assert!(begin.elapsed() < Duration::from_secs(60), "{output}");
    site.assert_tidy();
}

#[test]
fn sudo_does_where_the_socket_is_not_for_the_user() {
    let site = Site::docker(&["--user", "deploy", "--no-docker-group"]);
    site.deploy("1").success();
    assert_eq!(site.running(), ["1"; 3]);

    // Where that is all that sudo is for.
    let narrow = "echo 'deploy ALL=(root) NOPASSWD: /usr/bin/docker' >/etc/sudoers.d/host";
    site.host.run(&["sh", "-c", narrow]).success();
    site.deploy("2").success();
    assert_eq!(site.running(), ["2"; 3]);
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
