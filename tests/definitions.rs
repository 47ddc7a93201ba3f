//! Networks and volumes whose definition changes: Compose would stop what is on a network, and offer to lose what a volume
//! holds. Kerek sees it coming and stops short.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::project::{Project, subnet};
use crate::support::{command, compose};

const SHOP: &str = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}"}
    networks: [front]
    volumes: [data:/data]
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
  neighbour:
    image: kerek-test-app
    networks: [front]
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
  apart:
    image: kerek-test-app
    environment: {VERSION: "${APART:-v0}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
networks:
  front:
    labels: {edition: "${NETWORK:-first <&> second}"}
    driver_opts: {com.docker.network.bridge.name: "${BRIDGE}"}
    ipam: {config: [{subnet: "${SUBNET}.0/24"}]}
volumes:
  data:
    labels: {edition: "${VOLUME:-first <&> second}"}
"#;

fn deployed(label: &str) -> Project {
    let mut project = Project::new(label, SHOP);
    let (_, id) = project.name().rsplit_once('-').expect("an ID");
    let bridge = format!("kerek{id}");
    project.set("BRIDGE", &bridge);
    project.set("SUBNET", &subnet());
    project.kerek(&["deploy"]).success();
    project
}

fn ids(project: &Project) -> BTreeSet<String> {
    project.containers().into_iter().map(|container| container.id).collect()
}

#[test]
fn an_unchanged_definition_is_no_reason_to_ask() {
    let project = deployed("definitions-same");
    let log = project.home().join("calls");
    let config = project.home().join("recording");
    fs::create_dir_all(config.join("cli-plugins")).expect("a folder");
    let recorder = config.join("cli-plugins/docker-compose");
    let usual =
        env::var("DOCKER_CONFIG").map_or("unset DOCKER_CONFIG".to_owned(), |it| format!("DOCKER_CONFIG='{it}'"));
    let script = format!("#!/bin/sh\necho \"$*\" >>'{}'\n{usual}\nexec docker compose \"$@\"\n", log.display());
    fs::write(&recorder, script).expect("a script");
    fs::set_permissions(&recorder, Permissions::from_mode(0o755)).expect("a program");

    let mut kerek = project.kerek_command(&["deploy", "--dry-run"]);
    kerek.env("DOCKER_CONFIG", config);
    let output = command::run(kerek).success();
    assert!(output.stdout.contains("Nothing to do"), "{}", output.stdout);
    let calls = fs::read_to_string(&log).expect("calls");
    assert!(calls.contains("config"), "the recorder is used: {calls}");
    assert!(!calls.contains("--dry-run"), "labels are what kerek computes, Compose need not be asked: {calls}");
}

/// Older versions of Compose remember no definitions, so they replace nothing, and nothing need be refused.
const REMEMBERING: &str = "2.31";

/// What is defined otherwise now stays as it was.
fn assert_deploys_without(project: &Project, kind: &str, name: &str) {
    project.kerek(&["deploy"]).success();
    let name = format!("{}_{name}", project.name());
    let label = project.docker(&[kind, "inspect", "--format", "{{index .Labels \"edition\"}}", &name]).success().stdout;
    assert_eq!(label.trim(), "first <&> second");
    assert!(project.kerek(&["deploy", "--dry-run"]).success().stdout.contains("Nothing to do"));
}

#[test]
fn a_changed_network_is_not_replaced_unasked() {
    let mut project = deployed("definitions-network");
    let before = ids(&project);
    project.set("NETWORK", "second");
    project.set("VERSION", "v1");
    if compose::is_older_than(REMEMBERING) {
        assert_deploys_without(&project, "network", "front");
        return;
    }
    for arguments in [&["deploy", "--dry-run"][..], &["deploy"], &["deploy", "neighbour"]] {
        let output = project.kerek(arguments);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("definition of the network"), "{}", output.stderr);
        assert!(output.stderr.contains("_front has changed"), "{}", output.stderr);
        assert!(output.stderr.contains("--recreate-networks"), "{}", output.stderr);
        assert!(output.stderr.contains("neighbour-1"), "tells what would be interrupted: {}", output.stderr);
        assert_eq!(ids(&project), before);
    }

    // What is not on it can be deployed.
    project.set("APART", "v1");
    project.kerek(&["deploy", "apart"]).success();
    let kept = ids(&project).intersection(&before).count();
    assert_eq!(kept, 2, "only `apart` was replaced");

    let plan = project.kerek(&["deploy", "--dry-run", "--recreate-networks"]).success().stdout;
    assert!(plan.contains("_front") && plan.contains("neighbour-1"), "{plan}");
    let output = project.kerek(&["deploy", "--recreate-networks"]).success();
    assert!(output.stderr.contains("replacing the network"), "{}", output.stderr);
    let edition = "{{index .Labels \"edition\"}}";
    let network = format!("{}_front", project.name());
    let label = project.docker(&["network", "inspect", "--format", edition, &network]).success().stdout;
    assert_eq!(label.trim(), "second");
    for container in project.containers() {
        assert_eq!((container.state.as_str(), container.health.as_deref()), ("running", Some("healthy")));
    }
    assert!(project.kerek(&["deploy", "--dry-run"]).success().stdout.contains("Nothing to do"));
}

#[test]
fn a_changed_volume_is_never_replaced() {
    let mut project = deployed("definitions-volume");
    let before = ids(&project);
    project.set("VOLUME", "second");
    project.set("VERSION", "v1");
    if compose::is_older_than(REMEMBERING) {
        assert_deploys_without(&project, "volume", "data");
        return;
    }
    for arguments in [&["deploy", "--dry-run"][..], &["deploy"], &["deploy", "--recreate-networks", "web"]] {
        let output = project.kerek(arguments);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("definition of the volume"), "{}", output.stderr);
        assert!(output.stderr.contains("docker volume rm"), "{}", output.stderr);
        assert_eq!(ids(&project), before);
    }
    project.set("VOLUME", "first <&> second");
    project.kerek(&["deploy"]).success();
}
