//! The two ends of a transfer, and whether they are still there.
//!
//! Silence means nothing while an engine gathers or unpacks. Where SSH leads to it, ssh tells when the way is cut; any
//! other engine is asked for a sign of life beside the transfer.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::pipe::Meter;
use crate::engine::access::Link;
use crate::engine::access::room::Room;
use crate::engine::api::Api;
use crate::engine::api::images::About;
use crate::engine::{Error, ErrorKind};

/// Time between two questions.
const PAUSE: Duration = Duration::from_secs(2);
/// Time for an answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// Time without any sign of life after which a link is dead; with the pauses, at most 15 s.
const LIMIT: Duration = Duration::from_secs(10);

/// The engine that images come from, and the one that they go to.
#[derive(Clone, Debug)]
pub struct Ends {
    /// Where they come from.
    pub source: End,
    /// Where they go to.
    pub destination: End,
}

/// An engine that takes part in a transfer.
#[derive(Clone, Debug)]
pub struct End {
    /// The engine.
    pub api: Api,
    /// What ssh cancels when the way there is cut, if it is ssh that leads there.
    lost: Option<CancellationToken>,
    room: Option<Rc<Room>>,
}

impl End {
    /// The engine at the end of a link.
    #[must_use]
    pub fn new(api: Api, link: &Link) -> Self {
        // An image must not wait for a connection that is kept for nothing.
        let api = if link.is_dialled() { api.solitary() } else { api };
        Self { api, lost: link.is_watched().then(|| link.lost().clone()), room: link.room().map(Rc::new) }
    }

    /// Bytes that are free where the engine keeps images, as far as anyone tells.
    pub(super) async fn free(&self, about: &About) -> Option<u64> {
        match (about.free, &self.room, &about.folder) {
            (None, Some(room), Some(folder)) => room.at(folder).await,
            (free, ..) => free,
        }
    }

    /// Returns when nothing can be hoped for from the engine: the way there is cut, or there was no sign of life for too
    /// long, neither an answer nor any progress of the transfer.
    pub(super) async fn until_dead(&self, which: &str, meter: &Meter) -> Error {
        let message = match &self.lost {
            Some(lost) => {
                lost.cancelled().await;
                "the connection is lost".to_owned()
            }
            None => format!("no sign of life for {} s; is the link cut?", self.until_silent(meter).await.as_secs()),
        };
        Error { kind: ErrorKind::Unreachable, call: format!("wait for the {which} engine"), message }
    }

    async fn until_silent(&self, meter: &Meter) -> Duration {
        let mut last = Instant::now();
        let mut progress = 0;
        loop {
            sleep(PAUSE).await;
            let answered = matches!(timeout(PATIENCE, self.api.ping()).await, Ok(Ok(())));
            let now = meter.taken() + meter.sent();
            if answered || now != progress {
                (last, progress) = (Instant::now(), now);
            } else if last.elapsed() >= LIMIT {
                return last.elapsed();
            }
        }
    }
}
