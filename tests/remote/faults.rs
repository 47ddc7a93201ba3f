//! Hosts that cannot be reached, must not be trusted, or vanish in the middle of a deploy.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::command::{self, Output};
use crate::support::hosts::{Host, Kind};
use crate::support::site::Site;
use crate::support::tcp_proxy::TcpProxy;
use crate::support::terminal::{self, Answer};

/// What may pass until a dead link has been noticed, which takes 12 s, and everything is put down.
const NOTICED: Duration = Duration::from_secs(60);

/// The site's SSH configuration with one setting changed.
fn config_with(site: &Site, name: &str, key: &str, value: &str) -> PathBuf {
    let config = fs::read_to_string(site.host.ssh_config()).expect("should read SSH configuration");
    let kept = config.lines().filter(|line| line.split_whitespace().next() != Some(key));
    let lines: Vec<_> = kept.chain([format!("    {key} {value}").as_str()]).map(|line| format!("{line}\n")).collect();
    let path = site.path(name);
    fs::write(&path, lines.concat()).expect("should write SSH configuration");
    path
}

#[test]
fn keys_of_hosts_are_not_taken_on_trust() {
    let site = Site::docker(&[]);
    let host = ["--host", &site.address()];
    let nobody = site.path("nobody");
    let unknown = config_with(&site, "unknown", "UserKnownHostsFile", &nobody.to_string_lossy());
    let output = command::run(site.deploy_command("1", &unknown, &host)).exits(3);
    assert!(output.stderr.contains("Host key verification failed"), "{output}");
    assert!(output.stderr.contains("on a terminal"), "{output}");
    assert!(!nobody.exists());

    // Somebody else's key, under every name of the host.
    let known = fs::read_to_string(site.host.known_hosts()).expect("should read known hosts");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlcmVrLWtlcmVrLWtlcmVrLWtlcmVrLWtlcmVrLWtl";
    let others: Vec<_> =
        known.lines().filter_map(|line| line.split(' ').next()).map(|names| format!("{names} {key}")).collect();
    fs::write(site.path("known"), others.join("\n")).expect("should write known hosts");
    let changed = config_with(&site, "changed", "UserKnownHostsFile", &site.path("known").to_string_lossy());
    let lenient = fs::read_to_string(&changed).expect("should read");
    let strict = |line: &&str| !line.contains("StrictHostKeyChecking");
    let lenient: Vec<_> = lenient.lines().filter(strict).chain(["    StrictHostKeyChecking no"]).collect();
    fs::write(site.path("lenient"), lenient.join("\n")).expect("should write SSH configuration");
    for config in [changed, site.path("lenient")] {
        let output = command::run(site.deploy_command("1", &config, &host)).exits(3);
        assert!(output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{output}");
        assert!(output.stderr.contains("ssh-keygen"), "{output}");
    }
    assert!(site.running().is_empty());
    site.assert_tidy();
}

#[test]
fn a_changed_key_of_a_jump_host_is_seen_behind_a_long_banner() {
    let banner: Vec<_> = (0..60).map(|line| format!("line {line}")).collect();
    let site = Site::docker(&["--banner", &banner.join("\n")]);
    let jump = Host::start(Kind::Fresh, &[]);
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGtlcmVrLWtlcmVrLWtlcmVrLWtlcmVrLWtlcmVrLWtl";
    fs::write(site.path("known"), format!("{} {key}\n", jump.name())).expect("should write known hosts");
    // What is lenient still forwards nothing, but does run a command.
    let lenient = fs::read_to_string(jump.ssh_config()).expect("should read SSH configuration");
    let lenient = lenient.lines().filter(|line| !line.contains("UserKnownHostsFile"));
    let known = format!("    UserKnownHostsFile {}", site.path("known").display());
    let lenient: Vec<_> = lenient.chain([known.as_str(), "    StrictHostKeyChecking no"]).collect();
    fs::write(site.path("lenient"), lenient.join("\n")).expect("should write SSH configuration");
    let road = format!(
        "exec ssh -F {} {} 'exec 3<>/dev/tcp/{}/22; cat <&3 & cat >&3'",
        site.path("lenient").display(),
        jump.name(),
        site.host.inner_address()
    );
    fs::write(site.path("road"), road).expect("should write file");
    let config = fs::read_to_string(site.host.ssh_config()).expect("should read SSH configuration");
    let config = format!("{config}    ProxyCommand bash {}\n", site.path("road").display());
    fs::write(site.path("ssh_config"), config).expect("should write SSH configuration");
    let config = site.path("ssh_config");
    let output = command::run(site.deploy_command("1", &config, &["--host", &site.address()])).exits(3);
    assert!(output.stderr.contains("REMOTE HOST IDENTIFICATION HAS CHANGED"), "{output}");
    assert!(output.stderr.contains("line 59"), "{output}");
    assert!(site.running().is_empty());
    site.assert_tidy();
}

#[test]
fn a_key_can_be_accepted_on_a_terminal() {
    let site = Site::docker(&[]);
    site.write(1);
    let known = site.path("accepted");
    let config = config_with(&site, "asking", "UserKnownHostsFile", &known.to_string_lossy());
    let config = config.to_string_lossy();
    let kerek = env!("CARGO_BIN_EXE_kerek");
    let line = format!("{kerek} --host {} deploy --progress plain -F {config}", site.address());
    let mut script = site.command("script", &[]);
    script.env("VERSION", "1");
    let output = terminal::run(script, &line, &[Answer::Shown("continue connecting", "yes\n")]).success();
    assert!(known.exists(), "{output}");
    assert_eq!(site.running(), ["1"]);
    site.assert_tidy();
}

#[test]
fn who_is_not_let_in_reads_why() {
    let site = Site::fresh();
    let host = ["--host", &site.address()];
    fs::write(site.path("no-key"), "none").expect("should write");
    let stranger = config_with(&site, "stranger", "IdentityFile", &site.path("no-key").to_string_lossy());
    let output = command::run(site.deploy_command("1", &stranger, &host)).exits(3);
    assert!(output.stderr.contains("Permission denied"), "{output}");
    assert!(output.stderr.contains("Hint: The host lets nobody in"), "{output}");

    let output = site.deploy("1").exits(3);
    assert!(output.stderr.contains("there is no container engine on ssh://"), "{output}");
    assert!(output.stderr.contains("kerek provision"), "{output}");
    site.assert_tidy();
}

#[test]
fn hostile_destinations_run_nothing() {
    let folder = tempfile::tempdir().expect("should make a folder");
    fs::write(folder.path().join("compose.yaml"), "name: hostile\nservices: {}\n").expect("should write file");
    for hostile in [
        "-oProxyCommand=touch pwned",
        "x -oProxyCommand=touch pwned",
        "$(touch pwned)",
        "`touch pwned`",
        "a;touch pwned",
        "-F/dev/null",
        "h:0",
        "[::1",
        "",
    ] {
        for form in [format!("ssh://{hostile}"), format!("ssh://u@{hostile}"), format!("ssh://{hostile}@h")] {
            let mut kerek = command::command(env!("CARGO_BIN_EXE_kerek"), folder.path());
            kerek.current_dir(folder.path()).args(["--host", &form, "deploy"]);
            command::run(kerek).exits(2);
        }
        let mut kerek = command::command(env!("CARGO_BIN_EXE_kerek"), folder.path());
        kerek.current_dir(folder.path()).args(["tunnel-ssh", "--", hostile]);
        command::run(kerek).exits(2);
    }
    let left: Vec<_> = fs::read_dir(folder.path()).expect("should read").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

/// A deploy that can be waited for.
fn start(site: &Site, version: &str, proxy: &TcpProxy) -> Child {
    let config = site.host.ssh_config_via(proxy.address());
    let mut deploy = site.deploy_command(version, &config, &["--host", &site.address()]);
    deploy.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("should start kerek")
}

fn finish(child: Child) -> Output {
    let output = child.wait_with_output().expect("should wait for kerek");
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Output::new("kerek deploy", output.status.code(), stdout, stderr)
}

/// Lets the link fail when the new version has begun to start, then expects what has to be so whatever the failure.
fn survives(fail: impl Fn(&TcpProxy), repair: impl Fn(&TcpProxy)) {
    let site = Site::docker(&[]);
    let proxy = TcpProxy::start(site.host.address());
    finish(start(&site, "1", &proxy)).success();
    let deploy = start(&site, "2", &proxy);
    site.wait_for("2");
    fail(&proxy);
    let begin = Instant::now();
    let output = finish(deploy).exits(3);
    assert!(begin.elapsed() < NOTICED, "{:?}\n{output}", begin.elapsed());
    assert!(output.stderr.contains("lost the connection to ssh://"), "{output}");
    assert!(output.stderr.contains("Hint: The connection broke"), "{output}");
    // All that ran is there, and maybe more.
    assert!(site.running().len() >= 3, "{output}\n{:?}", site.running());
    repair(&proxy);
    finish(start(&site, "2", &proxy)).success();
    assert_eq!(site.running(), ["2"; 3]);
    site.assert_tidy();
}

#[test]
fn a_cut_link_stops_the_deploy_and_not_the_service() {
    survives(TcpProxy::cut, |_| ());
}

#[test]
fn a_stalled_link_is_a_dead_one() {
    survives(
        |proxy| proxy.change_both(|conditions| conditions.stalled = true),
        |proxy| {
            // What the old connection still has to say is not for the host any more.
            proxy.cut();
            proxy.change_both(|conditions| conditions.stalled = false);
        },
    );
}

#[test]
fn nothing_outlives_a_killed_deploy() {
    let narrow = ["--sshd", "AllowStreamLocalForwarding no", "--sshd", "MaxSessions 2"];
    for options in [&["--user", "deploy"][..], &narrow] {
        let site = Site::docker(options);
        site.deploy("1").success();
        let proxy = TcpProxy::start(site.host.address());
        let mut deploy = start(&site, "2", &proxy);
        site.wait_for("2");
        deploy.kill().expect("should kill kerek");
        deploy.wait().expect("should wait for kerek");
        site.assert_tidy();
        site.deploy("2").success();
        assert_eq!(site.running(), ["2"; 3]);
        site.assert_tidy();
    }
}
