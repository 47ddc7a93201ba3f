//! No request is lost, whichever way leads to the engine.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::command;
use crate::support::hosts::{Host, Kind};
use crate::support::load::Summary;
use crate::support::project::build_app_image;
use crate::support::site::Site;

/// Two replicas, replaced one by one, that take the default drain.
const APP: &str = r#"
    name: site
    services:
      web:
        image: kerek-test-app
        environment: {VERSION: "$VERSION"}
        labels: {version: "$VERSION"}
        healthcheck: {test: [CMD, /app, healthcheck], interval: 1s, start_period: 60s}
        deploy: {replicas: 2, update_config: {order: start-first}}
    "#;

/// Deploys once, and once more under load, with options that lead to the engine.
fn loses_nothing(site: &Site, config: &Path, options: &[&str]) {
    build_app_image();
    site.host.load(&["kerek-test-app"]);
    fs::write(site.path("app/compose.yaml"), APP).expect("should write file");
    let deploy = |version: &str| {
        command::run(site.deploy_command(version, config, options)).success();
        assert_eq!(site.running(), [version; 2]);
    };
    deploy("1");
    let load = ["--url", "http://web:8080/", "--rate", "20", "--json", "-"];
    let run = ["run", "--detach", "--name", "load", "--network", "site_default", "--entrypoint", "/load"];
    site.engine(&[&run[..], &["kerek-test-app"], &load].concat()).success();
    deploy("2");
    site.engine(&["stop", "--time", "15", "load"]).success();
    let logs = site.engine(&["logs", "load"]).success();
    let summary: Summary =
        serde_json::from_str(&logs.stdout).unwrap_or_else(|error| panic!("no summary: {error}: {logs}"));
    assert_eq!(summary.failed, 0, "{summary}");
    assert!(summary.sent > 60, "{summary}");
    assert!(["1", "2"].iter().all(|version| summary.versions.contains_key(*version)), "{summary}");
    site.assert_tidy();
}

#[test]
fn over_ssh_with_a_narrow_sshd() {
    let site = Site::docker(&["--sshd", "MaxSessions 1", "--sshd", "MaxStartups 1:100:1"]);
    let before = site.host.logins();
    loses_nothing(&site, &site.host.ssh_config(), &["--host", &site.address()]);
    assert_eq!(site.host.logins(), before + 2, "{}", site.host.sshd_log());
}

#[test]
fn without_forwarding() {
    let site = Site::docker(&["--sshd", "AllowStreamLocalForwarding no", "--user", "deploy"]);
    let before = site.host.logins();
    loses_nothing(&site, &site.host.ssh_config(), &["--host", &site.address()]);
    assert_eq!(site.host.logins(), before + 2, "{}", site.host.sshd_log());
}

#[test]
fn over_rootless_podman() {
    let site = Site::podman();
    loses_nothing(&site, &site.host.ssh_config(), &["--host", &site.address()]);
}

#[test]
fn through_a_jump_host_and_a_context() {
    let site = Site::docker(&["--user", "deploy"]);
    let jump = Host::start(Kind::Fresh, &[]);
    // The host's own port, at an address that the jump host knows.
    let own = fs::read_to_string(site.host.ssh_config()).expect("should read SSH configuration");
    let own = own.lines().map(|line| match line.trim_start().split(' ').next() {
        Some("HostName") => format!("    HostName {}\n    ProxyJump {}\n", site.host.inner_address(), jump.name()),
        Some("Port") => "    Port 22\n".to_owned(),
        _ => format!("{line}\n"),
    });
    let jumps = fs::read_to_string(jump.ssh_config()).expect("should read SSH configuration");
    let config = site.path("ssh_config");
    fs::write(&config, own.collect::<String>() + &jumps).expect("should write SSH configuration");

    let host = format!("host={}", site.address());
    command::run(site.command("docker", &["context", "create", "vps", "--docker", &host])).success();
    loses_nothing(&site, &config, &["--context", "vps"]);
    assert_eq!([site.host.logins(), jump.logins()], [2, 2]);
    jump.assert_left_alone();
}

#[test]
fn over_tls() {
    let site = Site::docker(&[]);
    let address = site.host.inner_address();
    let keys = site.path("keys");
    fs::create_dir(&keys).expect("should make a folder");
    let script = format!(
        "set -e; key='-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 2'
        openssl req -x509 $key -subj /CN=authority -keyout authority.pem -out ca.pem
        for name in server client; do
            openssl req -x509 $key -subj /CN=$name -addext subjectAltName=IP:{address} -addext basicConstraints=CA:FALSE \
                -CA ca.pem -CAkey authority.pem -keyout $name-key.pem -out $name.pem
        done"
    );
    let mut make = Command::new("sh");
    make.args(["-c", &script]).current_dir(&keys);
    command::run(make).success();
    let mut copy = Command::new("docker");
    copy.arg("cp").arg(&keys).arg(format!("{}:/etc/docker-keys", site.host.container()));
    command::run(copy).success();
    let unit = "[Service]\nExecStart=\nExecStart=/usr/sbin/dockerd -H fd:// -H tcp://0.0.0.0:2376 --tlsverify \
                --tlscacert=/etc/docker-keys/ca.pem --tlscert=/etc/docker-keys/server.pem \
                --tlskey=/etc/docker-keys/server-key.pem\n";
    let write = "mkdir -p /etc/systemd/system/docker.service.d && printf %s \"$1\" >/etc/systemd/system/docker.service.d/tls.conf \
                 && systemctl daemon-reload && systemctl restart docker";
    site.host.run(&["sh", "-c", write, "sh", unit]).success();

    let path = |name: &str| keys.join(name).display().to_string();
    let [authority, certificate, key] = [path("ca.pem"), path("client.pem"), path("client-key.pem")];
    let endpoint = format!("host=tcp://{address}:2376,ca={authority},cert={certificate},key={key}");
    command::run(site.command("docker", &["context", "create", "tls", "--docker", &endpoint])).success();
    loses_nothing(&site, &site.host.ssh_config(), &["--context", "tls"]);

    // It is known there, too, what the host lacks.
    fs::write(site.path("app/here"), "").expect("should write file");
    let compose = APP.replace("healthcheck:", "volumes: [./here:/here]\n        healthcheck:");
    fs::write(site.path("app/compose.yaml"), compose).expect("should write file");
    let options = ["--context", "tls"];
    let output = command::run(site.deploy_command("3", &site.host.ssh_config(), &options)).exits(1);
    assert!(output.stderr.contains("/here is on this machine and not on the engine's host"), "{output}");
}
