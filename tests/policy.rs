//! The policy of an update, key by key and value by value, on a real engine: `update_config`, and `rollback_config` once
//! something has failed.
//!
//! Each row of these tables is a deploy of its own. What it did is judged by the order and the times of the engine's own
//! events; how many replicas it was at together, by the steps that kerek tells of, as one after the other may be so quick
//! that they look like one.

mod failures;
mod pace;
mod rollback;
mod row;
mod values;
mod windows;

/// Tests of one row each, so that they run side by side.
macro_rules! rows {
    ($($name:ident: $row:expr;)*) => {
        $(
            #[test]
            fn $name() {
                $row;
            }
        )*
    };
}
use rows;
