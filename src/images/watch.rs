//! Tells a link that is dead from an engine that is busy.
//!
//! An engine may be silent for minutes while it gathers or unpacks an image. So silence alone means nothing: the engine
//! is asked for a sign of life beside the transfer, over a connection of its own.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::pipe::Meter;
use crate::engine::api::Api;
use crate::engine::{Error, ErrorKind};

/// Time between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time without any sign of life after which a link is dead; with the pauses, at most 15 s.
const LIMIT: Duration = Duration::from_secs(10);

/// Returns when an engine has given no sign of life for too long: neither an answer nor any progress of the transfer.
pub(super) async fn until_dead(engine: &Api, which: &str, meter: &Meter) -> Error {
    let mut last = Instant::now();
    let mut progress = 0;
    loop {
        sleep(PAUSE).await;
        let answered = matches!(timeout(PATIENCE, engine.ping()).await, Ok(Ok(())));
        let now = meter.taken() + meter.sent();
        if answered || now != progress {
            (last, progress) = (Instant::now(), now);
        } else if last.elapsed() >= LIMIT {
            let message = format!("no sign of life for {} s; is the link cut?", last.elapsed().as_secs());
            return Error { kind: ErrorKind::Unreachable, call: format!("wait for the {which} engine"), message };
        }
    }
}
