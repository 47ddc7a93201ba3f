//! An open-loop HTTP load generator: requests are due at fixed times, whether or not earlier ones have been answered.
//!
//! Time counts from when a request was due, not from when it was sent, so that a stall is seen by every request that
//! would have fallen into it. Each request that was due is accounted for exactly once in the [`Summary`]: answered with
//! a status below 400 and a whole body before its timeout, or failed. It serves as a library to the tests and is the
//! program `load`.

mod client;
mod summary;
mod url;

use std::future::Future;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use client::Client;
pub(crate) use summary::Summary;
use summary::{Answer, Recorder};
pub(crate) use url::Url;

/// Requests that may be open at the same time; further ones wait, at the expense of their latency.
const MAX_IN_FLIGHT: usize = 256;

/// One stream of requests.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) url: Url,
    pub(crate) method: Method,
    pub(crate) connections: Connections,
    /// Requests per second, greater than 0.
    pub(crate) rate: f64,
    /// What a request may take from when it is due to the last byte of its answer.
    pub(crate) timeout: Duration,
}

/// What is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
#[value(rename_all = "UPPER")]
pub(crate) enum Method {
    /// Idempotent: may be asked again by the rules of HTTP.
    Get,
    /// With a small body. Never asked twice: the first may have had its effect.
    Post,
}

/// How requests map to connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Connections {
    /// A connection for every request.
    New,
    /// A few persistent connections that take turns, as from a gateway or a crowd of browsers.
    KeepAlive,
}

impl Config {
    /// GET requests with 10 s of patience.
    pub(crate) fn new(url: Url, connections: Connections, rate: f64) -> Self {
        Self { url, method: Method::Get, connections, rate, timeout: Duration::from_secs(10) }
    }
}

/// A load that runs in a thread of its own, beside whatever a test does. It ends unheard when dropped.
pub(crate) struct Load {
    stop: oneshot::Sender<()>,
    thread: thread::JoinHandle<Summary>,
}

impl Load {
    /// Begins at once.
    pub(crate) fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel();
        let thread = thread::spawn(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("should get a runtime");
            runtime.block_on(run(config, async {
                // The sender may be gone instead of having sent: an end as well.
                let _ = stopped.await;
            }))
        });
        Self { stop, thread }
    }

    /// Sends nothing more, waits for open requests, and tells how it went.
    pub(crate) fn stop(self) -> Summary {
        // The thread may have panicked, which shows in a moment.
        let _ = self.stop.send(());
        self.thread.join().expect("load should not panic")
    }
}

/// Generates load until `stop`, then waits for open requests.
pub(crate) async fn run(config: Config, stop: impl Future<Output = ()>) -> Summary {
    let began = Instant::now();
    let mut recorder = Recorder::new(SystemTime::now());
    let stream = Arc::new(Stream {
        client: Client::new(&config),
        timeout: config.timeout,
        room: Semaphore::new(MAX_IN_FLIGHT),
        began,
    });
    let mut requests = JoinSet::new();
    tokio::pin!(stop);
    for number in 0_u32.. {
        let due = Duration::from_secs_f64(f64::from(number) / config.rate);
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = sleep_until(began + due) => {}
        }
        requests.spawn(Arc::clone(&stream).request(due));
        while let Some(answer) = requests.try_join_next() {
            recorder.record(answer.expect("request should not panic"));
        }
    }
    let duration = began.elapsed();
    while let Some(answer) = requests.join_next().await {
        recorder.record(answer.expect("request should not panic"));
    }
    recorder.summarize(duration, stream.client.reconnects())
}

/// What the requests of a stream share.
struct Stream {
    client: Client,
    timeout: Duration,
    room: Semaphore,
    began: Instant,
}

impl Stream {
    /// Makes the request that is due at that time after the beginning.
    async fn request(self: Arc<Self>, due: Duration) -> Answer {
        let lag = self.began.elapsed().saturating_sub(due);
        let exchange = async {
            let _room = self.room.acquire().await;
            self.client.ask().await
        };
        let result = timeout_at(self.began + due + self.timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {:?}", self.timeout)));
        Answer { due, lag, latency: self.began.elapsed().saturating_sub(due), result }
    }
}
