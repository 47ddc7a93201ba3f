//! What users would have seen of a deploy: somebody who asks for a URL all the time and takes note of the answers.
//!
//! Requests are due at fixed times, whether or not earlier ones have been answered, each on a connection of its own; time
//! counts from when a request was due. So a pause is seen by every request that falls into it. They are made by a thread
//! of their own: what else kerek does must not show in the numbers.

mod client;
mod report;
mod url;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::Context;
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::cancel::Cancel;
use crate::deploy::Witness;
use crate::error::Failure;
use client::Client;
pub use client::Way;
use report::Answer;
pub use report::{Phase, Report, Stretch};
pub use url::Url;

/// How long to ask before anything is touched, to know what is usual.
const BEFORE: Duration = Duration::from_secs(2);
/// How long to ask after the end, for what comes late.
const AFTER: Duration = Duration::from_secs(3);
/// How long to ask after a replica was replaced, before it counts as done.
const PROOF: Duration = Duration::from_secs(1);
/// What a request may take from when it is due to the last byte of its answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Requests that may be open at the same time; further ones wait, at the expense of their latency.
const MOST_OPEN: usize = 256;
/// How often to look even if nothing was answered.
const LOOK: Duration = Duration::from_millis(100);

/// What to ask for, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What to ask for.
    pub url: Url,
    /// Requests a second, at least one.
    pub rate: u32,
    /// How many may fail before that counts as the failure of a replica; any number, if `None`.
    pub tolerated: Option<usize>,
}

/// Somebody who asks, from the beginning until [`Probe::finish`] or the drop.
pub struct Probe {
    settings: Settings,
    shared: Arc<Shared>,
    begin: Instant,
    thread: JoinHandle<()>,
}

/// What the thread that asks shares with the one that works.
struct Shared {
    log: Mutex<Log>,
    /// Told whenever a request has ended.
    changed: Notify,
    stop: CancellationToken,
}

struct Log {
    phase: Phase,
    answers: Vec<Answer>,
    /// When those requests were due that have not ended.
    open: BTreeSet<Instant>,
    /// Whether anything was ever answered well: what does not answer yet cannot be lost.
    answered: bool,
    /// Failed requests that nobody was blamed for yet.
    unexplained: usize,
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Probe {
    /// Begins to ask.
    pub async fn start(settings: Settings, way: Way) -> Result<Self, Failure> {
        let client = Client::prepare(&settings.url, way).await.map_err(|error| {
            Failure::from(error.context(format!("cannot probe {}", settings.url)))
                .hint("Nothing was deployed. Mend the URL after --probe, or leave it out.")
        })?;
        let shared = Arc::new(Shared {
            log: Mutex::new(Log {
                phase: Phase::Before,
                answers: Vec::new(),
                open: BTreeSet::new(),
                answered: false,
                unexplained: 0,
            }),
            changed: Notify::new(),
            stop: CancellationToken::new(),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("cannot start to probe")?;
        let interval = interval(settings.rate);
        let asker = (client, Arc::clone(&shared));
        let thread = thread::Builder::new().name("probe".to_owned()).spawn(move || {
            let (client, shared) = asker;
            runtime.block_on(ask(&client, interval, &shared));
        });
        let thread = thread.context("cannot start to probe")?;
        Ok(Self { settings, shared, begin: Instant::now(), thread })
    }

    /// Waits until it is known how things usually are, or until the user interrupts.
    pub async fn baseline(&self, cancel: &Cancel) {
        pause(self.begin + BEFORE, cancel).await;
    }

    /// Another phase begins.
    pub fn enter(&self, phase: Phase) {
        self.shared.log().phase = phase;
    }

    /// Asks on for a moment, unless the user has interrupted, waits for the last answers, and tells how it went.
    pub async fn finish(&self, cancel: &Cancel) -> Report {
        self.enter(Phase::After);
        pause(Instant::now() + AFTER, cancel).await;
        self.shared.stop.cancel();
        while !self.thread.is_finished() {
            let changed = self.shared.changed.notified();
            // It only makes waiting shorter.
            let _ = timeout(LOOK, changed).await;
        }
        let answers = std::mem::take(&mut self.shared.log().answers);
        report::summarize(&self.settings.url, answers, interval(self.settings.rate))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Probe").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Drop for Probe {
    /// Nobody is interested any more; the thread ends by itself.
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

impl Witness for Probe {
    fn verdict(&self) -> LocalBoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let Some(tolerated) = self.settings.tolerated else { return Ok(()) };
            let until = Instant::now() + PROOF;
            loop {
                let changed = self.shared.changed.notified();
                {
                    let mut log = self.shared.log();
                    if log.unexplained > tolerated {
                        let failed = std::mem::take(&mut log.unexplained);
                        let url = &self.settings.url;
                        return Err(format!("let {failed} requests to {url} fail, where {tolerated} may"));
                    }
                    if Instant::now() > until && log.open.first().is_none_or(|due| *due > until) {
                        return Ok(());
                    }
                }
                // It only makes waiting shorter.
                let _ = timeout(LOOK, changed).await;
            }
        })
    }
}

fn interval(rate: u32) -> Duration {
    Duration::from_secs(1) / rate.max(1)
}

/// Waits until then, or until the user interrupts.
async fn pause(until: Instant, cancel: &Cancel) {
    tokio::select! {
        () = sleep_until(until) => {}
        () = cancel.requested() => {}
    }
}

/// Makes requests until it is told to stop, and waits for those that are open then.
async fn ask(client: &Client, interval: Duration, shared: &Shared) {
    let begin = Instant::now();
    let room = Semaphore::new(MOST_OPEN);
    let mut open = FuturesUnordered::new();
    let mut due = begin;
    loop {
        tokio::select! {
            biased;
            () = shared.stop.cancelled() => break,
            () = sleep_until(due) => {
                let phase = {
                    let mut log = shared.log();
                    log.open.insert(due);
                    log.phase
                };
                open.push(request(client, &room, begin, due, phase));
                due += interval;
            }
            Some((due, answer)) = open.next() => record(shared, due, answer),
        }
    }
    while let Some((due, answer)) = open.next().await {
        record(shared, due, answer);
    }
}

async fn request(client: &Client, room: &Semaphore, begin: Instant, due: Instant, phase: Phase) -> (Instant, Answer) {
    let exchange = async {
        let _room = room.acquire().await;
        client.ask().await
    };
    let result = timeout_at(due + PATIENCE, exchange).await;
    let result = result.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
    (due, Answer { due: due - begin, phase, latency: due.elapsed(), failure: result.err() })
}

fn record(shared: &Shared, due: Instant, answer: Answer) {
    let mut log = shared.log();
    log.open.remove(&due);
    if answer.failure.is_none() {
        log.answered = true;
    } else if log.answered && answer.phase == Phase::During {
        log.unexplained += 1;
    }
    log.answers.push(answer);
    drop(log);
    shared.changed.notify_waiters();
}
