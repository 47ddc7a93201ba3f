//! `depends_on` on a real engine: nothing starts before what it depends on is as it has to be, what depends on something
//! that was replaced begins anew, and what is new starts side by side.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::support::project::{Container, Project};

/// `web` depends on `db` and `job`; what they do, and when `web` begins, is in a log on the host.
const ORDERED: &str = r#"
x-base: &base
  image: busybox:1.37
  stop_signal: KILL
  volumes: ["./log:/log"]
  environment: {VERSION: "${VERSION:-v0}"}
services:
  db:
    <<: *base
    command: sh -c 'sleep 1; echo db-$$VERSION >>/log; touch /tmp/ready; exec sleep 1000'
    healthcheck: {test: test -e /tmp/ready, interval: 1s, start_interval: 100ms, start_period: 60s, retries: 1}
  job:
    <<: *base
    command: sh -c 'sleep ${WORK:-1}; echo job-$$VERSION >>/log; exit ${CODE:-0}'
  web:
    <<: *base
    command: sh -c 'echo web-$$VERSION >>/log; exec sleep 1000'
    healthcheck: {test: "true", interval: 5s, start_interval: 100ms, start_period: 10s}
    depends_on:
      db: {condition: service_healthy, required: true}
      job: {condition: service_completed_successfully, required: true}
      nobody: {condition: service_started, required: false}
    deploy: {update_config: {order: "${ORDER:-stop-first}"}}
    x-kerek: {drain: 0s}
  nobody: {image: busybox:1.37, profiles: [never]}
"#;

fn ordered(label: &str) -> Project {
    let project = Project::new(label, ORDERED);
    project.write("log", "");
    project
}

/// What was logged since the last time.
fn take_log(project: &Project) -> Vec<String> {
    let log = std::fs::read_to_string(project.path().join("log")).expect("should read log");
    project.write("log", "");
    log.lines().map(str::to_owned).collect()
}

fn ids(project: &Project, service: &str) -> Vec<String> {
    project.service(service).into_iter().map(|container| container.id).collect()
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` should be in:\n{text}");
}

#[test]
fn nothing_starts_before_its_conditions_hold() {
    let mut project = ordered("conditions");
    // Longer than something without a healthcheck is watched for.
    project.set("WORK", "7");
    for version in ["v0", "v1"] {
        project.set("VERSION", version);
        project.kerek(&["deploy"]).success();
        let log = take_log(&project);
        assert_eq!(log.last(), Some(&format!("web-{version}")), "{log:?}");
        assert_eq!(log.len(), 3, "{log:?}");
    }
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");
}

/// Its image serves elsewhere, and has a healthcheck for that.
#[test]
fn a_job_is_not_asked_for_its_health() {
    let healthcheck =
        "  job:\n    healthcheck: {test: 'false', interval: 1s, start_interval: 100ms, start_period: 1s, retries: 1}\n";
    let mut project = Project::new("unhealthy-job", &ORDERED.replace("  job:\n", healthcheck));
    project.write("log", "");
    // By then, it is unhealthy.
    project.set("WORK", "5");
    for version in ["v0", "v1"] {
        project.set("VERSION", version);
        project.kerek(&["deploy", "--wait"]).success();
        let log = take_log(&project);
        assert_eq!(log.iter().filter(|line| line.starts_with("job")).collect::<Vec<_>>(), [&format!("job-{version}")]);
        assert_eq!(log.last(), Some(&format!("web-{version}")), "{log:?}");
    }
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");
}

#[test]
fn a_failing_job_leaves_its_dependents_alone() {
    for work in ["1", "7"] {
        let mut project = ordered("failing-job");
        project.kerek(&["deploy"]).success();
        let before = ids(&project, "web");
        take_log(&project);
        project.set("WORK", work);
        project.set("CODE", "7");
        project.write("compose.yaml", &ORDERED.replace("web-$$VERSION", "new-$$VERSION"));
        let output = project.kerek(&["deploy"]).exits(4);
        assert_contains(&output.stderr, "exited with code 7");
        assert_contains(&output.stderr, "Now web is served by 1 container of the old version");
        assert_eq!(ids(&project, "web"), before);
        assert_eq!(take_log(&project), ["job-v0"]);
        // Mended, the same command gets through.
        project.set("CODE", "0");
        project.kerek(&["deploy"]).success();
        assert_eq!(take_log(&project).last().map(String::as_str), Some("new-v0"));
    }
}

#[test]
fn what_is_kept_has_to_meet_the_condition_too() {
    let compose = r#"
services:
  db: {image: busybox:1.37, command: sleep 1000, stop_signal: KILL}
  web:
    image: busybox:1.37
    command: sleep ${SECONDS_:-1000}
    stop_signal: KILL
    healthcheck: {test: "true", interval: 5s, start_interval: 100ms, start_period: 10s}
    depends_on: {db: {condition: "${CONDITION:-service_started}"}}
"#;
    let mut project = Project::new("kept", compose);
    project.kerek(&["deploy"]).success();
    let before = ids(&project, "web");
    project.set("CONDITION", "service_healthy");
    project.set("SECONDS_", "1001");
    let output = project.kerek(&["deploy"]).exits(4);
    assert_contains(&output.stderr, "web was not touched: it depends on db, whose container");
    assert_contains(&output.stderr, "has no healthcheck");
    assert_eq!(ids(&project, "web"), before);
    // As with Compose, what is left out is not waited for.
    project.kerek(&["deploy", "--no-deps", "web"]).success();
    assert_ne!(ids(&project, "web"), before);
}

#[test]
fn what_is_not_required_is_only_warned_about() {
    let mut project = ordered("optional");
    project.write("compose.yaml", &ORDERED.replace("required: true", "required: false"));
    project.set("CODE", "7");
    let output = project.kerek(&["deploy"]).exits(5);
    assert_contains(&output.stderr, "job is not fit; what depends on it can do without it");
    assert_contains(&output.stderr, "web goes on without nobody");
    assert!(take_log(&project).contains(&"web-v0".to_owned()));
    assert_eq!(project.service("web")[0].state, "running");
}

/// A dependency, and one dependent of each kind.
const RESTARTING: &str = r#"
x-app: &app
  image: kerek-test-app
  healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
  depends_on: {db: {condition: service_healthy, restart: true}}
  x-kerek: {drain: 0s}
services:
  db:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
  again: {<<: *app}
  anew: {<<: *app, deploy: {replicas: 2, update_config: {order: start-first}}}
  fixed: {<<: *app, ports: ["127.0.0.1:${PORT:-18743}:80"], deploy: {update_config: {order: start-first}}}
  other: {<<: *app, depends_on: [db]}
"#;

/// Each container's ID and when it was started last.
fn runs(project: &Project) -> BTreeMap<String, Vec<(String, String)>> {
    let mut runs: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for Container { id, service, .. } in project.containers() {
        let started = project.docker(&["inspect", "--format", "{{.State.StartedAt}}", &id]).success().stdout;
        runs.entry(service).or_default().push((id, started));
    }
    runs
}

#[test]
fn dependents_begin_anew_with_what_they_depend_on() {
    let mut project = Project::new("restart", RESTARTING);
    project.kerek(&["deploy"]).success();
    let before = runs(&project);
    project.set("VERSION", "v1");
    let plan = project.kerek(&["deploy", "--dry-run"]).success().stdout;
    assert_contains(&plan, "depends on db, which gets other containers");
    assert_contains(&plan, &format!("restart  {}-again-1", project.name()));
    assert_contains(&plan, &format!("replace  {}-anew-1", project.name()));
    assert_contains(&plan, &format!("restart  {}-fixed-1", project.name()));
    assert_eq!(runs(&project), before);

    project.kerek(&["deploy"]).success();
    let after = runs(&project);
    let kept = |service: &str| before[service].iter().zip(&after[service]).all(|(old, new)| old.0 == new.0);
    let started = |service: &str| before[service].iter().zip(&after[service]).all(|(old, new)| old.1 != new.1);
    assert!(!kept("db") && !kept("anew"), "{before:?}\n{after:?}");
    assert!(kept("again") && started("again") && kept("fixed") && started("fixed"), "{before:?}\n{after:?}");
    assert_eq!(after["other"], before["other"]);
    assert_eq!(after["anew"].len(), 2);
    for deploy in [&["deploy", "--dry-run"][..], &["deploy"]] {
        project.kerek(deploy).success();
        assert_eq!(runs(&project), after, "nothing is left to do");
    }
}

#[test]
fn dependents_that_missed_a_replacement_are_made_up_for() {
    let mut project = Project::new("missed", RESTARTING);
    project.set("PORT", "18744");
    project.kerek(&["deploy"]).success();
    let before = runs(&project);
    project.set("VERSION", "v1");
    // As a run that is cut off right after `db`.
    project.kerek(&["deploy", "db"]).success();
    assert_eq!(runs(&project)["again"], before["again"]);
    project.kerek(&["deploy"]).success();
    assert_eq!(runs(&project)["again"][0].0, before["again"][0].0);
    assert_ne!(runs(&project)["again"][0].1, before["again"][0].1);
    let settled = runs(&project);
    // More of the same disturbs nobody.
    project.compose(&["up", "--detach", "--scale", "db=2", "--no-recreate"]).success();
    let plan = project.kerek(&["deploy", "--dry-run"]).success().stdout;
    assert_contains(&plan, "Nothing to do");
    assert_eq!(runs(&project)["again"], settled["again"]);
}

#[test]
fn what_is_new_starts_side_by_side() {
    let service = |name: &str, other: &str| {
        format!(
            "  {name}:\n    image: busybox:1.37\n    command: sh -c 'touch /shared/{name}; exec sleep 1000'\n    \
             stop_signal: KILL\n    volumes: [\"./shared:/shared\"]\n    healthcheck: {{test: test -e /shared/{other}, \
             interval: 1s, start_interval: 100ms, start_period: 60s, retries: 1}}\n"
        )
    };
    // Each is healthy only when the other one has started, and does not say so.
    let project = Project::new("together", &format!("services:\n{}{}", service("a", "b"), service("b", "a")));
    std::fs::create_dir(project.path().join("shared")).expect("should make a folder");
    let begin = Instant::now();
    project.kerek(&["deploy"]).success();
    assert!(begin.elapsed() < Duration::from_secs(60));
    for container in project.containers() {
        assert_eq!(container.health.as_deref(), Some("healthy"), "{container:?}");
    }
}
