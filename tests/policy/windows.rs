//! `monitor` where there is a healthcheck: what has come in is watched while others are updated, and old containers are
//! there to be put back until that is over.

use super::row::{ORDERS, Order, Row};
use super::rows;
use crate::support::events::EventLog;
use crate::support::project::Project;

/// What falls does so so long after its start, well within a `monitor` of 8 s.
const FALL: &str = "3000";

/// An update whose slot `bad` becomes healthy, and falls while it is watched.
fn falling(order: Order, keys: &str, bad: &'static str, how: &'static str) -> Row {
    let row = Row::new(format!("order: {}, monitor: 8s, {keys}", order.word()));
    row.new_version(&[("BAD_STARTS", bad), (how, FALL)])
}

#[track_caller]
fn fall(keys: &str, bad: &'static str, code: i32, old: &[usize], new: usize) {
    for order in ORDERS {
        let ran = falling(order, keys, bad, "CRASH_AFTER_MS").deploy();
        ran.assert_serve(code, old, new);
    }
}

rows! {
    // Which others have begun by then is up to the machine, but for the delay.
    pausing_in_slot_1: fall("delay: 7s", "1", 4, &[1, 2, 3], 0);
    pausing_in_slot_3: fall("", "3", 5, &[3], 2);
    continuing_in_slot_1: fall("failure_action: continue", "1", 5, &[1], 2);
    continuing_in_slot_2: fall("failure_action: continue", "2", 5, &[2], 2);
    rolling_back_in_slot_2: fall("failure_action: rollback", "2", 4, &[1, 2, 3], 0);
    rolling_back_in_slot_3: fall("failure_action: rollback", "3", 4, &[1, 2, 3], 0);
    tolerating_slot_2: fall("max_failure_ratio: 0.4", "2", 5, &[2], 2);
    falling_all_together: fall("parallelism: 0", "1,2,3", 4, &[1, 2, 3], 0);
}

#[test]
fn turning_unhealthy_is_falling() {
    let row = falling(Order::StartFirst, "", "3", "SICK_AFTER_MS").new_version(&[("INTERVAL", "1s")]);
    let ran = row.deploy();
    ran.assert_serve(5, &[3], 2);
    assert!(ran.output.stderr.contains("is unhealthy"), "{ran}");
}

#[test]
fn being_restarted_is_falling() {
    let row = falling(Order::StopFirst, "", "3", "CRASH_AFTER_MS").new_version(&[("RESTART", "always")]);
    let ran = row.deploy();
    ran.assert_serve(5, &[3], 2);
    assert!(ran.output.stderr.contains("again and again"), "{ran}");
}

#[test]
fn what_was_taken_back_is_watched_as_well() {
    // The first of two to be taken back is the second one: its fourth start.
    let old = [("BAD_STARTS", "4"), ("CRASH_AFTER_MS", FALL)];
    let row = Row::new("order: start-first, failure_action: rollback").failing_at("3").old(&old);
    let ran = row.rollback("order: start-first, monitor: 8s, failure_action: continue").deploy();
    ran.assert_left(5, &[1, 3], 1, &[2]);
}

/// Two services, of which the first is watched.
const PAIR: &str = r#"
x-app: &app
  image: kerek-test-app
  healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, retries: 1, start_interval: 100ms, start_period: 60s}
  x-kerek: {drain: 0s}
services:
  a:
    <<: *app
    environment: {VERSION: "${VERSION:-old}", CRASH_AFTER_MS: "${CRASH_AFTER_MS:-}"}
    deploy: {update_config: {order: start-first, monitor: 20s}}
  b:
    <<: *app
    environment: {VERSION: "${VERSION:-old}"}
    deploy: {update_config: {order: start-first}}
"#;

/// Its new version, ready to be deployed.
fn pair() -> Project {
    let mut project = Project::new("policy", PAIR);
    project.compose(&["up", "--detach", "--wait"]).success();
    project.set("VERSION", "new");
    project
}

fn versions(project: &Project) -> Vec<String> {
    let containers = project.containers().into_iter();
    containers.map(|it| format!("{} {} {}", it.service, it.variable("VERSION"), it.state)).collect()
}

#[test]
fn the_next_service_does_not_wait_for_the_window() {
    let project = pair();
    let log = EventLog::start(&project);
    let output = project.kerek(&["deploy"]).success();
    let events = log.end(&project);
    let at = |what: &str| {
        let what = format!("container {what}");
        let event = events.iter().find(|event| event.what.starts_with(&what));
        event.unwrap_or_else(|| panic!("{what} should be in {events:#?}\n{output}")).at
    };
    let name = project.name();
    let (comes, goes) = (at(&format!("start {name}-a-2")), at(&format!("destroy {name}-a-1")));
    assert!(goes - comes >= 20.0, "the old one is kept: {events:#?}");
    assert!(at(&format!("start {name}-b-2")) < goes, "the next one is updated meanwhile: {events:#?}");
    assert_eq!(versions(&project), ["a new running", "b new running"]);
}

#[test]
fn what_falls_is_put_back_although_others_are_updated() {
    let mut project = pair();
    project.set("CRASH_AFTER_MS", "8000");
    let before = project.service("a");
    let output = project.kerek(&["deploy"]).exits(5);
    assert!(output.stderr.contains("the new version of a is not fit: it exited with code 1"), "{output}");
    assert!(output.stderr.contains("Now a is served by 1 container of the old version"), "{output}");
    assert_eq!(versions(&project), ["a old running", "b new running"], "{output}");
    assert_eq!(project.service("a")[0].id, before[0].id);
    assert!(project.service("a")[0].is_known_as("a"), "{output}");
}
