//! What a bad replica means for the rest of an update: `failure_action` and `max_failure_ratio`.

use super::row::{ORDERS, Row};
use super::rows;

/// An update of three replicas in either order whose slot `bad` fails: these old containers are left, and so many new ones
/// come in.
#[track_caller]
fn fail(keys: &str, bad: &'static str, code: i32, old: &[usize], new: usize) {
    for order in ORDERS {
        let ran = Row::new(format!("order: {}, {keys}", order.word())).failing_at(bad).deploy();
        ran.assert_serve(code, old, new);
    }
}

rows! {
    pause_by_default_in_slot_1: fail("", "1", 4, &[1, 2, 3], 0);
    pause_by_default_in_slot_2: fail("", "2", 5, &[2, 3], 1);
    pause_in_slot_1: fail("failure_action: pause", "1", 4, &[1, 2, 3], 0);
    pause_in_slot_2: fail("failure_action: pause", "2", 5, &[2, 3], 1);
    pause_in_slot_3: fail("failure_action: pause", "3", 5, &[3], 2);
    continue_in_slot_1: fail("failure_action: continue", "1", 5, &[1], 2);
    continue_in_slot_2: fail("failure_action: continue", "2", 5, &[2], 2);
    continue_in_slot_3: fail("failure_action: continue", "3", 5, &[3], 2);
    continue_in_slots_1_and_3: fail("failure_action: continue", "1,3", 5, &[1, 3], 1);
    rollback_in_slot_1: fail("failure_action: rollback", "1", 4, &[1, 2, 3], 0);
    rollback_in_slot_2: fail("failure_action: rollback", "2", 4, &[1, 2, 3], 0);
    rollback_in_slot_3: fail("failure_action: rollback", "3", 4, &[1, 2, 3], 0);
}

/// An update of four replicas whose second slot fails, a share of 0.25.
#[track_caller]
fn share(keys: &str, code: i32, old: &[usize], new: usize) {
    let ran = Row::new(format!("order: start-first, {keys}")).replicas(4).failing_at("2").deploy();
    ran.assert_serve(code, old, new);
}

rows! {
    too_small_a_ratio: share("max_failure_ratio: 0.2", 5, &[2, 3, 4], 1);
    just_the_ratio: share("max_failure_ratio: 0.25", 5, &[2], 3);
    just_the_ratio_as_a_string: share("max_failure_ratio: \"0.25\"", 5, &[2], 3);
    too_small_a_ratio_and_rollback: share("max_failure_ratio: 0.2, failure_action: rollback", 4, &[1, 2, 3, 4], 0);
    just_the_ratio_and_rollback: share("max_failure_ratio: 0.25, failure_action: rollback", 5, &[2], 3);
}
