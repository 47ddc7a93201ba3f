//! How an update goes when all is well: `order`, `parallelism`, `delay`, and `monitor` where there is no healthcheck.

use super::row::{Order, Row};
use super::rows;

/// So long that several replicas which are started together are all started before one of them is ready.
const BOOT: (&str, &str) = ("BOOT_MS", "500");

/// An update with some keys in some order: so many replicas at a time, and a pause after each batch.
#[track_caller]
fn pace(keys: &str, order: Order, at_a_time: usize, pause: f64) {
    let ran = Row::new(format!("order: {}, {keys}", order.word())).new_version(&[BOOT]).deploy();
    ran.assert_serve(0, &[], 3);
    ran.assert_pace(&ran.brought_in(), &ran.old(), order, at_a_time, pause);
    ran.assert_together("service_begun", order, at_a_time);
}

rows! {
    start_first_goes_one_by_one: pace("", Order::StartFirst, 1, 0.0);
    stop_first_goes_one_by_one: pace("", Order::StopFirst, 1, 0.0);
    parallelism_1: pace("parallelism: 1", Order::StopFirst, 1, 0.0);
    parallelism_2_start_first: pace("parallelism: 2", Order::StartFirst, 2, 0.0);
    parallelism_2_stop_first: pace("parallelism: 2", Order::StopFirst, 2, 0.0);
    parallelism_2_as_a_string: pace("parallelism: \"2\"", Order::StartFirst, 2, 0.0);
    parallelism_0_start_first: pace("parallelism: 0", Order::StartFirst, 3, 0.0);
    parallelism_0_stop_first: pace("parallelism: 0", Order::StopFirst, 3, 0.0);
    parallelism_0_as_a_string: pace("parallelism: \"0\"", Order::StopFirst, 3, 0.0);
    more_parallelism_than_replicas: pace("parallelism: 10", Order::StartFirst, 3, 0.0);
    delay_start_first: pace("delay: 1500ms", Order::StartFirst, 1, 1.5);
    delay_stop_first: pace("delay: 1s500ms", Order::StopFirst, 1, 1.5);
    delay_between_batches: pace("delay: 2.5s, parallelism: 2", Order::StartFirst, 2, 2.5);
}

#[test]
fn the_order_is_stop_first_by_default() {
    let ran = Row::new("").deploy();
    ran.assert_serve(0, &[], 3);
    ran.assert_pace(&ran.brought_in(), &ran.old(), Order::StopFirst, 1, 0.0);
}

/// An update of two replicas without a healthcheck: each new one runs so long before the next step.
#[track_caller]
fn settling(keys: &str, order: Order, seconds: f64) {
    let ran = Row::new(format!("order: {}, {keys}", order.word())).replicas(2).unchecked().deploy();
    ran.assert_serve(0, &[], 2);
    let (starts, stops) = (ran.times("start", &ran.brought_in()), ran.times("die", &ran.old()));
    match order {
        Order::StartFirst => {
            for (start, stop) in starts.iter().zip(&stops) {
                assert!(stop - start >= seconds, "an old one goes too early:\n{ran}");
            }
        }
        Order::StopFirst => assert!(stops[1] - starts[0] >= seconds, "an old one goes too early:\n{ran}"),
    }
}

rows! {
    monitor_start_first: settling("monitor: 2500ms", Order::StartFirst, 2.5);
    monitor_stop_first: settling("monitor: 2s", Order::StopFirst, 2.0);
    monitor_of_5_seconds_by_default: settling("", Order::StartFirst, 5.0);
}

#[test]
fn what_crashes_within_its_monitor_was_never_ready() {
    let crash = [("CRASH_AFTER_MS", "1500")];
    let ran = Row::new("order: start-first, monitor: 4s").replicas(2).unchecked().new_version(&crash).deploy();
    ran.assert_serve(4, &[1, 2], 0);
}
