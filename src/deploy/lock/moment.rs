//! Moments, to tell for how long a process may have been paused.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment by two clocks: one that goes on while a process is stopped but not while its machine is suspended, and the
/// wall clock, which also tells of that but may be set.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) steady: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    /// This one.
    pub(super) fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// How long ago it was, by the clock that says more. A wall clock that is set forward makes that too long, which costs
    /// a beat. In a virtual machine that was paused both may have stood still, until its host or a time server sets
    /// the wall clock: such a pause is only noticed by then, or with the next beat.
    pub(super) fn elapsed(self) -> Duration {
        self.steady.elapsed().max(self.wall.elapsed().unwrap_or_default())
    }
}
