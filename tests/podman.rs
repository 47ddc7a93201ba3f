//! Deploys on Podman, with Docker Compose as its client: that kerek keeps there what it promises for Docker, and, where
//! Podman or Compose on Podman behaves in its own way, that this is as `docs/podman.md` tells.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::support::load::Summary;
use crate::support::podman::PodmanProject;
use crate::support::prober::Prober;
use crate::support::project::{Container, Project};

/// A service whose behaviour is set by variables, beside one that never changes.
///
/// Shorter intervals are not for Podman: systemd starts what it has a timer for five times in ten seconds at most.
const WEB: &str = r#"
services:
  steady:
    image: kerek-test-app
    healthcheck: {test: [CMD, /app, healthcheck], interval: 2s, start_period: 20s}
  web:
    image: kerek-test-app
    command: ${WEB_COMMAND:-}
    restart: ${RESTART:-no}
    scale: ${REPLICAS:-2}
    environment:
      VERSION: ${VERSION:-v0}
      HEALTH: ${HEALTH:-ok}
      CRASH_AFTER_MS: ${CRASH_AFTER_MS:-}
      EXIT_CODE: ${EXIT_CODE:-1}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 2s, retries: 2, start_period: "${START_PERIOD:-60s}"}
    deploy: {update_config: {order: "${ORDER:-start-first}"}}
    x-kerek: {drain: {minimum: 1s, quiet: 500ms, maximum: 3s}}
"#;

const ORDERS: [&str; 2] = ["start-first", "stop-first"];

/// What makes a version bad, the variables that do so, and what kerek has to say about it: one of these.
type BadVersion = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const BAD_VERSIONS: [BadVersion; 4] = [
    ("never healthy", &[("HEALTH", "bad"), ("START_PERIOD", "1s")], &["unhealthy"]),
    ("crashes at start", &[("CRASH_AFTER_MS", "50"), ("EXIT_CODE", "3")], &["exited with code 3"]),
    // Podman has no state between two attempts: then, it has exited like any other.
    ("crash-loops", &[("CRASH_AFTER_MS", "50"), ("RESTART", "always")], &["again and again", "exited with code 1"]),
    // The words are the program's own: its last lines are to be shown.
    ("is given a wrong command", &[("WEB_COMMAND", "/no-such-program")], &["no-such-program"]),
];

#[test]
fn brings_up_updates_scales_and_settles() {
    let mut project = PodmanProject::new("podman-life", WEB);
    let output = project.kerek(&["deploy", "--wait"]).success();
    assert_contains(&output.stderr, "no container yet");
    assert_serves(&project, "v0", 2);
    assert_settled(&project);
    let steady = ids(&project.service("steady"));

    for order in ORDERS {
        project.set("ORDER", order);
        for (version, replicas) in [("v1", 3), ("v2", 1), ("v3", 2)] {
            project.set("VERSION", version);
            project.set("REPLICAS", &replicas.to_string());
            project.kerek(&["deploy"]).success();
            assert_serves(&project, version, replicas);
        }
        assert_settled(&project);
    }
    assert_eq!(ids(&project.service("steady")), steady, "what has not changed stays");
}

#[test]
fn what_stopped_or_lost_its_network_is_repaired() {
    let project = PodmanProject::new("podman-sick", WEB);
    project.kerek(&["deploy"]).success();
    let network = format!("{}_default", project.name());
    let web = project.service("web");
    project.docker(&["network", "disconnect", &network, &web[0].name]).success();
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v0", 2);

    let web = project.service("web");
    project.docker(&["stop", &web[1].name]).success();
    let output = project.kerek(&["deploy"]).success();
    assert_contains(&output.stderr, "does not run");
    assert_serves(&project, "v0", 2);
    assert_settled(&project);
}

#[test]
fn compose_and_kerek_agree() {
    let mut project = PodmanProject::new("podman-agree", WEB);
    project.compose(&["up", "--detach", "--wait"]).success();
    assert_settled(&project);
    let before = ids(&project.containers());
    project.kerek(&["deploy"]).success();
    assert_eq!(ids(&project.containers()), before, "kerek finds nothing to change");

    project.set("VERSION", "v1");
    project.compose(&["up", "--detach", "--wait"]).success();
    project.set("VERSION", "v2");
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "config changed");
    assert_contains(&output.stdout, "unchanged: steady");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v2", 2);
    assert_settled(&project);
}

#[test]
fn updates_lose_no_request() {
    for order in ORDERS {
        let mut project = PodmanProject::new("podman-requests", WEB);
        project.set("ORDER", order);
        project.kerek(&["deploy"]).success();
        for (before, version) in [("v0", "v1"), ("v1", "v2")] {
            project.set("VERSION", version);
            let prober = Prober::start(&project, "http://web:8080/");
            let output = project.kerek(&["deploy"]).success();
            let summary = prober.stop();
            assert_served(&project, &summary, &[before, version], &format!("{order}: {output}"));
            assert_serves(&project, version, 2);
        }
    }
}

#[test]
fn compose_up_loses_requests_and_they_are_seen() {
    let mut project = PodmanProject::new("podman-control", WEB);
    project.compose(&["up", "--detach", "--wait"]).success();
    project.set("VERSION", "v1");
    let prober = Prober::start(&project, "http://web:8080/");
    project.compose(&["up", "--detach", "--wait"]).success();
    let summary = prober.stop();
    assert!(summary.failed > 0, "{summary}");
}

#[test]
fn bad_versions_leave_the_old_one_serving_start_first() {
    bad_versions_leave_the_old_one_serving("start-first");
}

#[test]
fn bad_versions_leave_the_old_one_serving_stop_first() {
    bad_versions_leave_the_old_one_serving("stop-first");
}

fn bad_versions_leave_the_old_one_serving(order: &str) {
    let mut project = PodmanProject::new("podman-bad", WEB);
    project.set("ORDER", order);
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    for (kind, variables, words) in BAD_VERSIONS {
        let context = format!("{order}, {kind}");
        project.set("VERSION", "v1");
        for (name, value) in variables {
            project.set(name, value);
        }
        let prober = Prober::start(&project, "http://web:8080/");
        let output = project.kerek(&["deploy"]).exits(4);
        let summary = prober.stop();
        assert!(words.iter().any(|words| output.stderr.contains(words)), "one of {words:?} should be in:\n{output}");
        assert_contains(&output.stderr, "Now web is served by 2 containers of the old version");
        assert_eq!(ids(&project.containers()), before, "{context}: the old containers, nothing else\n{output}");
        assert_serves(&project, "v0", 2);
        assert_served(&project, &summary, &["v0"], &context);
        for (name, _) in variables {
            project.set(name, "");
        }
    }
}

/// Podman's `tail` would leave out "one".
#[test]
fn last_words_are_shown_whole_that_were_written_in_parts() {
    let compose = "services: {web: {image: 'busybox:1.37', command: sh -c 'printf one-; sleep 0.3; echo two; exit 3'}}";
    let project = PodmanProject::new("podman-words", compose);
    let output = project.kerek(&["deploy", "--wait"]).exits(4);
    assert_contains(&output.stderr, "exited with code 3");
    assert_contains(&output.stderr, "one-two");
}

/// A service whose main process and hooks tell what they do in a volume, which both versions share.
const TELLING: &str = r#"
services:
  web:
    image: busybox:1.37
    environment: {VERSION: "${VERSION:-v0}"}
    init: true
    command: sh -c 'echo main-$$VERSION >>/log/log; sleep 1; touch /tmp/ready; exec sleep 1000'
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 2s, start_period: 20s}
    volumes: ["log:/log"]
    post_start:
      - command: [sh, -c, "echo post-$$VERSION-$$PRICE-$$(id -u)-$$(pwd) >>/log/log; test $$VERSION != ${BAD:-none}"]
        working_dir: /etc
        environment: {PRICE: 5$$}
    pre_stop:
      - command: [sh, -c, "echo pre-$$VERSION >>/log/log"]
    deploy: {update_config: {order: "${ORDER:-start-first}"}}
    x-kerek: {drain: 0s}
volumes: {log: }
"#;

#[test]
fn hooks_run_and_fail_as_they_do_on_docker() {
    for order in ORDERS {
        let mut project = PodmanProject::new("podman-hooks", TELLING);
        project.set("ORDER", order);
        project.kerek(&["deploy"]).success();
        project.set("VERSION", "v1");
        project.kerek(&["deploy"]).success();
        let first = ["main-v0", "post-v0-5$-0-/etc"];
        let new = ["main-v1", "post-v1-5$-0-/etc"];
        let update = if order == "start-first" { [new[0], new[1], "pre-v0"] } else { ["pre-v0", new[0], new[1]] };
        assert_eq!(lines(&project, "web", "/log/log"), [&first[..], &update].concat(), "{order}");
        assert_settled(&project);

        let before = ids(&project.containers());
        project.set("VERSION", "v2");
        project.set("BAD", "v2");
        let output = project.kerek(&["deploy"]).exits(4);
        assert_contains(&output.stderr, "post_start[0] ended with code 1");
        assert_eq!(ids(&project.containers()), before, "{order}");
    }
}

/// Configs and secrets whose contents are in the Compose file or in variables.
const FILES: &str = r#"
services:
  web:
    image: busybox:1.37
    command: sleep 1000
    init: true
    configs:
      - {source: inline, target: /etc/inline.conf, mode: 0440}
      - {source: variable, target: /etc/variable.conf, uid: "7", gid: "8"}
    secrets: [token]
    healthcheck: {test: [CMD, "true"], interval: 2s, start_period: 20s}
    x-kerek: {drain: 0s}
configs:
  inline: {content: "inline ${CONTENT:-a}\n"}
  variable: {environment: SETTING}
secrets:
  token: {environment: TOKEN}
"#;

#[test]
fn files_are_in_place_and_changes_of_them_are_noticed() {
    let mut project = PodmanProject::new("podman-files", FILES);
    project.set("SETTING", "of a variable");
    project.set("TOKEN", "hush");
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
    assert_eq!(lines(&project, "web", "/etc/inline.conf"), ["inline a"]);
    assert_eq!(lines(&project, "web", "/etc/variable.conf"), ["of a variable"]);
    assert_eq!(lines(&project, "web", "/run/secrets/token"), ["hush"]);
    let web = project.service("web");
    let stat = ["exec", &web[0].id, "stat", "-c", "%a %u:%g", "/etc/inline.conf", "/etc/variable.conf"];
    let ours = project.docker(&stat).success().stdout;

    project.set("TOKEN", "hush again");
    let output = project.kerek(&["deploy"]).success();
    assert_contains(&output.stderr, "token");
    assert_eq!(lines(&project, "web", "/run/secrets/token"), ["hush again"]);
    assert_settled(&project);

    // Modes and owners are those that Compose gives.
    project.compose(&["up", "--detach", "--force-recreate"]).success();
    let web = project.service("web");
    let stat = ["exec", &web[0].id, "stat", "-c", "%a %u:%g", "/etc/inline.conf", "/etc/variable.conf"];
    assert_eq!(project.docker(&stat).success().stdout, ours);
    assert_settled(&project);
}

/// Each container adds its version to a file in each of its volumes.
const DIARY: &str = r#"
services:
  diary:
    image: busybox:1.37
    command: sh -c 'echo $$VERSION >>/named/diary; echo $$VERSION >>/anonymous/diary; exec sleep 1000'
    init: true
    environment: {VERSION: "${VERSION:-v0}"}
    volumes: ["named:/named", /anonymous]
    healthcheck: {test: [CMD, test, "${HEALTH:-ok}", "=", ok], interval: 2s, retries: 1, start_period: 1s}
    deploy: {update_config: {order: "${ORDER:-stop-first}"}}
    x-kerek: {drain: 0s}
volumes: {named: }
"#;

#[test]
fn volumes_keep_their_data() {
    let mut project = PodmanProject::new("podman-data", DIARY);
    project.kerek(&["deploy"]).success();
    let mut expected = vec!["v0".to_owned()];
    for (order, version) in [("start-first", "v1"), ("stop-first", "v2"), ("start-first", "v3")] {
        project.set("ORDER", order);
        project.set("VERSION", version);
        if version == "v3" {
            // It may write, too, but must not destroy.
            project.set("HEALTH", "bad");
            project.kerek(&["deploy"]).exits(4);
            expected.push(version.to_owned());
            project.set("HEALTH", "ok");
        }
        project.kerek(&["deploy"]).success();
        expected.push(version.to_owned());
        for volume in ["named", "anonymous"] {
            assert_eq!(lines(&project, "diary", &format!("/{volume}/diary")), expected, "{order}, {volume}");
        }
        assert_settled(&project);
    }
}

/// A job that ends, and a service that waits for its end.
const JOB: &str = r#"
services:
  migrate:
    image: busybox:1.37
    command: sh -c 'sleep 1; exit ${CODE:-0}'
    environment: {VERSION: "${VERSION:-v0}"}
  web:
    image: kerek-test-app
    depends_on: {migrate: {condition: service_completed_successfully}}
    environment: {VERSION: "${VERSION:-v0}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 2s, start_period: 20s}
    x-kerek: {drain: 0s}
"#;

#[test]
fn jobs_end_before_those_that_wait_for_them() {
    let mut project = PodmanProject::new("podman-job", JOB);
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    project.kerek(&["deploy"]).success();
    let job = project.service("migrate");
    assert_eq!((job.len(), job[0].state.as_str(), job[0].exit_code), (1, "exited", 0), "{job:#?}");
    assert_serves(&project, "v1", 1);
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");

    project.set("VERSION", "v2");
    project.set("CODE", "3");
    let output = project.kerek(&["deploy"]).exits(4);
    assert_contains(&output.stderr, "exited with code 3");
    assert_serves(&project, "v1", 1);
}

#[test]
fn what_podman_lacks_is_told_before_anything_changes() {
    let mut project = PodmanProject::new("podman-lacks", WEB);
    project.set("REPLICAS", "1");
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    // Podman speaks a version of Docker's API that has no such setting.
    project.write("compose.yaml", &WEB.replace("retries: 2,", "retries: 2, start_interval: 100ms,"));
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "start_interval");
    assert_eq!(ids(&project.containers()), before);
    assert_serves(&project, "v0", 1);
}

#[test]
fn the_socket_is_found_where_podman_has_it() {
    let project = PodmanProject::new("podman-socket", "services: {web: {image: kerek-test-app}}");
    let by_variable = |arguments: &[&str]| {
        let mut kerek = project.kerek_command(arguments);
        kerek.env_remove("DOCKER_HOST").env("CONTAINER_HOST", project.address());
        crate::support::command::run(kerek)
    };
    PodmanProject::repeated(|| by_variable(&["deploy", "--container-engine", "podman"])).success();
    let containers = project.containers();
    assert_eq!(containers.len(), 1, "{containers:#?}");

    // Without any address. Where root has its socket, this one is put for a single command alone.
    let socket = project.address().trim_start_matches("unix://");
    let runtime = project.path().join("runtime");
    let folder = runtime.join("podman");
    fs::create_dir_all(&folder).expect("should make folders");
    symlink(socket, folder.join("podman.sock")).expect("should link");
    let root = fs::metadata("/proc/self").expect("should read /proc").uid() == 0;
    let mut command = if root {
        // What is there already needs no help, and would vanish behind the link.
        let script =
            "[ \"$2\" = /run/podman/podman.sock ] || { mkdir -p /run/podman; mount --bind \"$1\" /run/podman; }
            shift 2; exec \"$@\"";
        project.command("unshare", &["--mount", "sh", "-ec", script, "sh", &folder.to_string_lossy(), socket])
    } else {
        let mut command = project.command("env", &[]);
        command.env("XDG_RUNTIME_DIR", &runtime);
        command
    };
    let kerek = [env!("CARGO_BIN_EXE_kerek"), "deploy", "--container-engine", "podman", "--dry-run"];
    command.args(kerek).env_remove("DOCKER_HOST");
    let output = crate::support::command::run(command).success();
    assert_contains(&output.stdout, "Nothing to do");
}

// --- helpers

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` should be in:\n{text}");
}

fn ids(containers: &[Container]) -> BTreeSet<String> {
    containers.iter().map(|container| container.id.clone()).collect()
}

/// The containers of `web`: as many as wanted, all of a version, healthy and known by the service's name.
#[track_caller]
fn assert_serves(project: &PodmanProject, version: &str, replicas: usize) {
    let web = project.service("web");
    assert_eq!(web.len(), replicas, "{web:#?}");
    for container in &web {
        assert_eq!(container.state, "running", "{container:#?}");
        assert_eq!(container.health.as_deref(), Some("healthy"), "{container:#?}");
        assert_eq!(container.variable("VERSION"), version, "{container:#?}");
        assert!(aliases(project, container).contains("web"), "{container:#?}");
    }
}

/// No request was lost, and none but the given versions answered.
///
/// Podman 4 cannot promise the former, whoever deploys: its DNS server drops questions, or ceases to answer for seconds,
/// as containers come, go and are reconnected. What did answer must be right there, too.
#[track_caller]
fn assert_served(project: &PodmanProject, summary: &Summary, versions: &[&str], context: &str) {
    if project.major_version() < 5 {
        assert!(!summary.versions.is_empty(), "{context}: {summary}");
        assert!(summary.versions.keys().all(|version| versions.contains(&version.as_str())), "{context}: {summary}");
        return;
    }
    assert_eq!(summary.failed, 0, "{context}: {summary}");
    assert_eq!(summary.versions.keys().collect::<Vec<_>>(), versions, "{context}: {summary}");
}

/// The names that Podman answers for in the project's network.
#[track_caller]
fn aliases(project: &Project, container: &Container) -> BTreeSet<String> {
    let format = "{{range .NetworkSettings.Networks}}{{range .Aliases}}{{println .}}{{end}}{{end}}";
    let aliases = project.docker(&["inspect", "--format", format, &container.id]).success().stdout;
    aliases.lines().map(str::to_owned).collect()
}

/// Another run has nothing to do, nor has Compose, and all containers run.
#[track_caller]
fn assert_settled(project: &PodmanProject) {
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");
    let states: BTreeSet<_> = project.containers().into_iter().map(|container| container.state).collect();
    assert_eq!(states, BTreeSet::from(["running".to_owned()]));

    // A rehearsal that would recreate a container with configs fails, for want of the container.
    let output = project.compose(&["up", "--detach", "--dry-run"]);
    assert!(output.code == Some(0) || output.stderr.contains("Recreate"), "{output}");
    let would_recreate = output.stderr.contains("Recreate");
    // Podman 4 calls a container's network by its name where its ID belongs. So Compose takes it for another network and
    // replaces all containers with each `up`.
    assert_eq!(would_recreate, project.major_version() < 5, "{output}");
}

/// A file in the only container of a service.
#[track_caller]
fn lines(project: &Project, service: &str, path: &str) -> Vec<String> {
    let containers = project.service(service);
    let [container] = containers.as_slice() else { panic!("{containers:#?}") };
    let output = project.docker(&["exec", &container.id, "cat", path]).success().stdout;
    output.lines().map(str::to_owned).collect()
}
