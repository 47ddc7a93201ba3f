//! Services that live in containers of others (`network_mode: service:…` and the like): they begin anew whenever these
//! do, and nothing is lost of them because something else fails.

use crate::support::command::Output;
use crate::support::project::{Container, Project};

/// A host, what lives in its network, who depends on that, and somebody who has nothing to do with it.
const COMPOSE: &str = r#"
x-check: &check {interval: 2s, timeout: 20s, retries: 1, start_interval: 100ms, start_period: "${START_PERIOD:-60s}"}
services:
  tunnel:
    image: kerek-test-app
    environment: {VERSION: "${TUNNEL:-v0}", HEALTH: "${TUNNEL_HEALTH:-ok}"}
    healthcheck: {test: [CMD, /app, healthcheck], <<: *check}
  app:
    image: ${IMAGE:-kerek-test-app}
    container_name: ${NAME}
    network_mode: service:tunnel
    environment: {PORT: "8081", VERSION: "${APP:-v0}"}
    depends_on: {tunnel: {condition: service_healthy}}
    healthcheck: {test: [CMD, /app, healthcheck, "http://127.0.0.1:8081/health"], <<: *check}
  web:
    image: kerek-test-app
    depends_on: {app: {condition: service_healthy}}
    healthcheck: {test: [CMD, /app, healthcheck], <<: *check}
  zoo:
    image: kerek-test-app
    environment: {VERSION: "${ZOO:-v0}", HEALTH: "${ZOO_HEALTH:-ok}"}
    healthcheck: {test: [CMD, /app, healthcheck], <<: *check}
"#;

/// The project, deployed for the first time.
#[track_caller]
fn deployed(label: &str) -> Project {
    let mut project = Project::new(label, COMPOSE);
    let name = format!("{}-the-app", project.name());
    project.set("NAME", &name);
    project.kerek(&["deploy"]).success();
    assert_joined(&project);
    project
}

#[track_caller]
fn only(project: &Project, service: &str) -> Container {
    let mut containers = project.service(service);
    assert_eq!(containers.len(), 1, "{service}: {containers:?}");
    containers.remove(0)
}

#[track_caller]
fn ids(project: &Project) -> Vec<String> {
    project.containers().into_iter().map(|container| container.id).collect()
}

/// The app is found where it is to be: in the network of the tunnel's container.
#[track_caller]
fn assert_joined(project: &Project) {
    let tunnel = only(project, "tunnel").id;
    project.docker(&["exec", &tunnel, "/app", "healthcheck", "http://127.0.0.1:8081/health"]).success();
    assert_eq!(only(project, "app").name, format!("{}-the-app", project.name()));
}

#[track_caller]
fn assert_settled(project: &Project) {
    let before = ids(project);
    let stdout = project.kerek(&["deploy", "--dry-run"]).success().stdout;
    assert_contains(&stdout, "Nothing to do");
    project.compose(&["up", "--detach"]).success();
    assert_eq!(ids(project), before, "Compose agrees");
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "{part:?} should be in: {text}");
}

/// What kerek has said, in one line.
fn words(output: &Output) -> String {
    output.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn each_can_be_updated() {
    let mut project = deployed("follow");
    assert_settled(&project);
    // What has a fixed name is made by copying.
    let tunnel = only(&project, "tunnel").id;
    project.set("APP", "v1");
    project.kerek(&["deploy"]).success();
    assert_eq!((only(&project, "app").variable("VERSION"), only(&project, "tunnel").id), ("v1", tunnel));
    assert_joined(&project);
    assert_settled(&project);

    let web = only(&project, "web").id;
    project.set("TUNNEL", "v1");
    project.kerek(&["deploy"]).success();
    assert_eq!((only(&project, "tunnel").variable("VERSION"), only(&project, "web").id), ("v1", web));
    assert_joined(&project);
    assert_settled(&project);
}

#[test]
fn a_host_that_was_started_again_has_its_followers_restarted() {
    let project = deployed("follow-restart");
    let before = ids(&project);
    project.docker(&["restart", "--time", "0", &only(&project, "tunnel").id]).success();
    let output = project.kerek(&["deploy"]).success();
    assert_contains(&output.stderr, "depends on tunnel");
    assert_eq!(ids(&project), before);
    assert_joined(&project);
    assert_settled(&project);
}

#[test]
fn a_host_that_is_taken_back_has_its_followers_restarted() {
    let mut project = deployed("follow-back");
    let before = ids(&project);
    for (variable, value) in [("TUNNEL", "v1"), ("TUNNEL_HEALTH", "bad"), ("START_PERIOD", "1s"), ("APP", "v1")] {
        project.set(variable, value);
    }
    project.kerek(&["deploy", "tunnel", "app"]).exits(4);
    assert_eq!(ids(&project), before);
    assert_joined(&project);
}

#[test]
fn a_failure_elsewhere_leaves_nobody_cut_off() {
    let mut project = deployed("follow-zoo");
    for (variable, value) in [("TUNNEL", "v1"), ("ZOO", "v1"), ("ZOO_HEALTH", "bad")] {
        project.set(variable, value);
    }
    project.kerek(&["deploy", "--wait-timeout", "5"]).exits(5);
    assert_eq!((only(&project, "tunnel").variable("VERSION"), only(&project, "zoo").variable("VERSION")), ("v1", "v0"));
    assert_joined(&project);
    project.set("ZOO_HEALTH", "ok");
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
}

#[test]
fn what_can_fail_early_does_and_what_fails_late_says_so() {
    let mut project = deployed("follow-late");
    let before = ids(&project);
    project.set("TUNNEL", "v1");
    project.set("IMAGE", "localhost:1/no-such-image:1");
    project.kerek(&["deploy"]).exits(1);
    assert_eq!(ids(&project), before);
    assert_joined(&project);

    // No image is to blame: only when it is created does the engine find that this cannot be.
    project.set("IMAGE", "kerek-test-app");
    let bad =
        COMPOSE.replace("    network_mode: service:tunnel\n", "    network_mode: service:tunnel\n    dns: 1.1.1.1\n");
    project.write("compose.yaml", &bad);
    let output = project.kerek(&["deploy"]).exits(5);
    assert_contains(&words(&output), "Changed before that, and stays so: tunnel.");
    assert_contains(&words(&output), "until it is deployed: app.");
    project.write("compose.yaml", COMPOSE);
    project.kerek(&["deploy"]).success();
    assert_joined(&project);
    assert_settled(&project);
}

#[test]
fn only_what_can_be_created_is_prepared() {
    let mut project = Project::new("follow-no-start", COMPOSE);
    project.set("NAME", &format!("{}-the-app", project.name()));
    let output = project.kerek(&["deploy", "--no-start"]).success();
    assert_contains(&output.stderr, "4 services prepared");
    let before = ids(&project);
    project.kerek(&["deploy"]).success();
    assert_eq!(ids(&project), before, "what was prepared serves");
    assert_joined(&project);

    project.set("TUNNEL", "v1");
    project.set("ZOO", "v1");
    let output = project.kerek(&["deploy", "--no-start"]).success();
    assert_contains(&output.stderr, "2 services prepared");
    assert_contains(&output.stderr, "app can be created only when");
    project.kerek(&["deploy"]).success();
    assert_joined(&project);
    assert_settled(&project);
}

#[test]
fn more_of_a_host_changes_nothing_for_its_followers() {
    let mut project = deployed("follow-scale");
    let app = only(&project, "app").id;
    project.write("compose.yaml", &COMPOSE.replacen("kerek-test-app\n", "kerek-test-app\n    scale: ${SCALE:-1}\n", 1));
    project.set("SCALE", "2");
    let stdout = project.kerek(&["deploy", "--dry-run"]).success().stdout;
    assert_contains(&stdout, "1 service to update");
    project.kerek(&["deploy"]).success();
    assert_eq!(only(&project, "app").id, app);
    assert_settled(&project);
}
