//! How finished replicas are taken back: `rollback_config`.

use super::row::{ORDERS, Order, Ran, Row};
use super::rows;
use crate::support::prober::Prober;

/// An update whose last slot fails and which is to be rolled back.
fn row(order: Order, keys: &str) -> Row {
    Row::new(format!("order: {}, failure_action: rollback", order.word())).rollback(keys).failing_at("3")
}

/// Takes two of three replicas back, so many at a time, with a pause in between.
#[track_caller]
fn taken_back(keys: &str, order: Order, at_a_time: usize, pause: f64) {
    for update in ORDERS {
        let keys = format!("order: {}, {keys}", order.word());
        let ran = row(update, &keys).old(&[("BOOT_MS", "500")]).deploy();
        ran.assert_serve(4, &[1, 2, 3], 0);
        ran.assert_pace(&[1, 2], &finished(&ran), order, at_a_time, pause);
        ran.assert_together("rolling_back", order, at_a_time);
    }
}

/// The new containers that were finished.
fn finished(ran: &Ran) -> Vec<usize> {
    ran.brought_in()[..2].to_vec()
}

rows! {
    start_first_goes_one_by_one: taken_back("", Order::StartFirst, 1, 0.0);
    stop_first_goes_one_by_one: taken_back("", Order::StopFirst, 1, 0.0);
    parallelism_0_start_first: taken_back("parallelism: 0", Order::StartFirst, 2, 0.0);
    parallelism_2_stop_first: taken_back("parallelism: \"2\"", Order::StopFirst, 2, 0.0);
    delay_start_first: taken_back("delay: 1s500ms", Order::StartFirst, 1, 1.5);
    delay_stop_first: taken_back("delay: 1500ms", Order::StopFirst, 1, 1.5);
}

#[test]
fn the_order_is_that_of_the_update_by_default() {
    for order in ORDERS {
        let ran = row(order, "").deploy();
        ran.assert_serve(4, &[1, 2, 3], 0);
        ran.assert_pace(&[1, 2], &finished(&ran), order, 1, 0.0);
    }
}

#[test]
fn monitor_without_a_healthcheck() {
    // What fails does so as soon as the second of the update is over.
    let bad = [("BAD_STARTS", "2"), ("CRASH_AFTER_MS", "500")];
    let row = Row::new("order: start-first, failure_action: rollback, monitor: 2s").replicas(2).unchecked();
    let ran = row.rollback("order: start-first, monitor: 3s").new_version(&bad).deploy();
    ran.assert_serve(4, &[1, 2], 0);
    let (back, gone) = (ran.times("start", &[1])[0], ran.times("die", &ran.brought_in()[..1])[0]);
    assert!(gone - back >= 3.0, "the new one goes too early:\n{ran}");
}

/// Of the two finished replicas, the one that is taken back first fails: its fourth start.
#[track_caller]
fn spoiled(keys: &str, old: &[usize], new: usize, stopped: &[usize]) {
    let spoiled = [("BAD_STARTS", "4"), ("BOOT_MS", "300"), ("CRASH_AFTER_MS", "100")];
    for order in ORDERS {
        let ran = row(Order::StartFirst, &format!("order: {}, {keys}", order.word())).old(&spoiled).deploy();
        ran.assert_left(5, old, new, stopped);
    }
}

rows! {
    pause_by_default: spoiled("", &[3], 2, &[1, 2]);
    pausing: spoiled("failure_action: pause", &[3], 2, &[1, 2]);
    continuing: spoiled("failure_action: continue", &[1, 3], 1, &[2]);
    too_small_a_ratio: spoiled("max_failure_ratio: 0.4", &[3], 2, &[1, 2]);
    just_the_ratio: spoiled("max_failure_ratio: \"0.5\"", &[1, 3], 1, &[2]);
}

rows! {
    no_request_is_lost_start_first: loses_nothing(Order::StartFirst);
    no_request_is_lost_stop_first: loses_nothing(Order::StopFirst);
}

#[track_caller]
fn loses_nothing(order: Order) {
    let project = row(order, "").begin();
    let compose = std::fs::read_to_string(project.path().join("compose.yaml")).expect("should read file");
    project.write("compose.yaml", &compose.replace("drain: 0s", "drain: {minimum: 1s, quiet: 500ms, maximum: 3s}"));
    let prober = Prober::start(&project, "http://web:8080/");
    let output = project.kerek(&["deploy"]).exits(4);
    let summary = prober.stop();
    assert_eq!(summary.failed, 0, "{summary}\n{output}");
    let versions: Vec<_> = summary.versions.keys().map(String::as_str).collect();
    assert_eq!(versions, ["new", "old"], "traffic reached both: {summary}\n{output}");
}
