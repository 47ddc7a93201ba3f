//! Waiting for what comes about by itself.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// What it may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks again until a condition holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        sleep(Duration::from_millis(50));
    }
}
