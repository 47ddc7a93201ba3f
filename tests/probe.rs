//! What `--probe` tells of a deploy, and does about failures; `requests/probe.rs` holds its numbers against those of
//! others.

use std::fs;

use crate::support::command;
use crate::support::json_lines::{self, event, number};
use crate::support::project::Project;
use crate::support::site::Site;

/// A service that is not away while it is updated, behind a proxy. A new version may turn out to be sick when it has been
/// found healthy.
const STEADY: &str = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-1}", SICK_AFTER_MS: "${SICK_AFTER_MS:-}"}
    deploy: {replicas: 2, update_config: {order: start-first}}
    x-kerek: {drain: 7s}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 60s, start_period: 20s, start_interval: 200ms}
  proxy:
    image: nginx:stable-alpine
    command: [nginx, -g, daemon off;]
    configs: [{source: nginx, target: /etc/nginx/nginx.conf}]
    ports: ["127.0.0.1::80"]
    depends_on: [web]
configs:
  nginx:
    content: |
      events {}
      http {
        resolver 127.0.0.11 valid=1s;
        server {
          listen 80;
          set $$app web;
          location / { proxy_pass http://$$app:8080; }
        }
      }
"#;

/// Behind a proxy with a certificate of its own making.
const SECURE: &str = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-1}"}
    deploy: {update_config: {order: start-first}}
    x-kerek: {drain: 2s}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 2s, start_period: 20s, start_interval: 200ms}
  proxy:
    image: caddy:2-alpine
    command: [caddy, run, --config, /etc/caddy/Caddyfile, --adapter, caddyfile]
    environment: {XDG_DATA_HOME: /data}
    configs: [{source: caddy, target: /etc/caddy/Caddyfile}]
    ports: ["127.0.0.1::8443"]
    depends_on: [web]
configs:
  caddy:
    content: |
      {
        auto_https disable_redirects
        skip_install_trust
      }
      https://localhost:8443 {
        tls internal
        reverse_proxy {
          dynamic a web 8080 {
            refresh 1s
          }
        }
      }
"#;

#[test]
fn failures_are_told_or_count_as_those_of_a_replica() {
    let mut project = Project::new("probe-sick", STEADY);
    project.kerek(&["deploy", "--wait"]).success();
    let url = format!("http://{}/health", project.published("proxy", 80));
    let versions = |project: &Project| {
        let containers = project.containers();
        let containers = containers.iter().filter(|container| container.service == "web");
        containers.map(|container| container.variable("VERSION").to_owned()).collect::<Vec<_>>()
    };

    // Nothing is wrong.
    let deploy = ["deploy", "--progress", "json", "--probe", &url, "--probe-failures", "0"];
    project.set("VERSION", "2");
    let probed_well = event(&project.kerek(&deploy).success(), "probed");
    for phase in ["before", "during", "after"] {
        assert_eq!(probed_well[phase]["failed"], 0, "{probed_well}");
        assert!(number(&probed_well[phase]["requests"]) >= 10.0, "{probed_well}");
    }
    assert_eq!(versions(&project), ["2", "2"]);

    // The first replica of the new version is to blame, and all that is replaced.
    project.set("VERSION", "3");
    // Later than it is found healthy, earlier than the one that it replaces goes.
    project.set("SICK_AFTER_MS", "5000");
    let output = project.kerek(&deploy).exits(4);
    let lines = json_lines::parse(&output.stderr);
    let failed: Vec<_> = lines.iter().filter(|line| line["step"] == "failed").collect();
    let [failed] = failed.as_slice() else { panic!("{output}") };
    assert!(failed["reason"].as_str().is_some_and(|reason| reason.contains(&url)), "{output}");
    assert!(number(&event(&output, "probed")["during"]["failed"]) > 0.0, "{output}");
    assert_eq!(versions(&project), ["2", "2"]);

    // Whoever only wants to know gets to know.
    let output = project.kerek(&["deploy", "--progress", "plain", "--probe", &url]).success();
    assert_eq!(versions(&project), ["3", "3"]);
    assert!(output.stderr.contains("status 503"), "{output}");
}

#[test]
fn certificates_are_checked() {
    let mut project = Project::new("probe-tls", SECURE);
    project.kerek(&["deploy", "--wait"]).success();
    let port = project.published("proxy", 8443).rsplit(':').next().unwrap_or_default().to_owned();
    // Caddy answers to that name only.
    let url = format!("https://localhost:{port}/");
    let root = "proxy:/data/caddy/pki/authorities/local/root.crt";
    project.compose(&["cp", root, "root.crt"]).success();
    let trusted = project.path().join("root.crt").display().to_string();
    let everybody = fs::read_dir("/etc/ssl/certs").expect("certificates of this machine");
    assert!(everybody.count() > 0, "a machine that trusts somebody");

    project.set("VERSION", "2");
    let deploy = ["deploy", "--progress", "json", "--probe", &url];
    let strange = event(&project.kerek(&deploy).success(), "probed");
    assert_eq!(strange["before"]["failed"], strange["before"]["requests"], "{strange}");
    let reason = &strange["before"]["reasons"][0]["reason"];
    assert!(reason.as_str().is_some_and(|reason| reason.starts_with("no TLS: ")), "{strange}");

    project.set("VERSION", "3");
    project.set("SSL_CERT_FILE", &trusted);
    let known = event(&project.kerek(&deploy).success(), "probed");
    for phase in ["before", "during", "after"] {
        assert_eq!(known[phase]["failed"], 0, "{known}");
    }
}

#[test]
fn the_host_is_asked_from_within() {
    let site = Site::docker(&["--user", "deploy"]);
    let compose = r#"
        name: site
        services:
          web:
            image: busybox:1.37
            command: [httpd, -f, -p, "8080", -h, /etc]
            labels: {version: "$VERSION"}
            ports: ["127.0.0.1:8765:8080"]
            healthcheck: {test: "true", interval: 1s, start_period: 60s, start_interval: 200ms}
    "#;
    fs::write(site.path("app/compose.yaml"), compose).expect("should write file");
    site.deploy("1").success();
    let address = site.address();
    let url = "http://localhost:8765/passwd";
    let options = ["--host", &address, "--progress", "json", "--probe", url, "--probe-from-host"];
    let output = command::run(site.deploy_command("2", &site.host.ssh_config(), &options)).success();
    let seen = event(&output, "probed");
    assert_eq!((&seen["before"]["failed"], &seen["after"]["failed"]), (&0.into(), &0.into()), "{seen}");
    assert!(number(&seen["during"]["failed"]) > 0.0, "it was away: {seen}");
    assert_eq!(site.running(), ["2"]);
    site.assert_tidy();
}

#[test]
fn what_cannot_be_asked_for_changes_nothing() {
    let mut project = Project::new("probe-bad", STEADY);
    project.kerek(&["deploy", "--wait"]).success();
    let before: Vec<_> = project.containers().into_iter().map(|container| container.id).collect();
    project.set("VERSION", "2");
    let output = project.kerek(&["deploy", "--probe", "http://nowhere.invalid/"]).exits(1);
    assert!(output.stderr.contains("nowhere.invalid") && output.stderr.contains("--probe"), "{output}");
    let after: Vec<_> = project.containers().into_iter().map(|container| container.id).collect();
    assert_eq!(before, after);
}
