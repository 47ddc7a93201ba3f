//! What became of a stream of requests, as numbers: for assertions, as JSON from program to program, and for people.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

/// Failures that are kept one by one; all are counted.
const MAX_FAILURES: usize = 2000;
/// Different first words that are kept apart; what comes later counts as `…`.
const MAX_VERSIONS: usize = 1000;
/// Characters of a first word that are kept.
const MAX_WORD: usize = 60;

/// A finished stream of requests. Times of requests are when they were due, in seconds since the stream began.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Summary {
    /// Seconds between the Unix epoch and the beginning.
    pub(crate) began: f64,
    /// Seconds from the beginning until it was stopped.
    pub(crate) duration: f64,
    /// Requests that were due, failed ones included.
    pub(crate) sent: u64,
    /// Requests without a good answer in time.
    pub(crate) failed: u64,
    /// The first failures.
    pub(crate) failures: Vec<Failure>,
    /// Persistent connections that the server closed without notice between requests. No failures.
    pub(crate) reconnects: u64,
    /// Milliseconds from due to answered, over requests that did not fail; zeros if none.
    pub(crate) latency: Latency,
    /// Milliseconds by which the generator itself was late at worst: large where the machine is too busy to measure.
    pub(crate) lag: f64,
    /// Good answers by the first word of their body, which an app puts its version in.
    pub(crate) versions: BTreeMap<String, Seen>,
}

/// Percentiles in milliseconds.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// A failed request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Failure {
    pub(crate) at: f64,
    /// Seconds from `at` until it was known.
    pub(crate) after: f64,
    /// Why, in words; may hold anything that a server said, escaped.
    pub(crate) reason: String,
}

/// How often and when a version was seen.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Seen {
    pub(crate) count: u64,
    pub(crate) first: f64,
    pub(crate) last: f64,
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { duration, sent, failed, reconnects, latency, lag, .. } = self;
        writeln!(formatter, "sent {sent} in {duration:.1} s, failed {failed}, reconnects {reconnects}")?;
        let Latency { p50, p99, max } = latency;
        writeln!(formatter, "latency p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms; lag up to {lag:.1} ms")?;
        for (version, Seen { count, first, last }) in &self.versions {
            writeln!(formatter, "{version}: {count} from {first:.1} s to {last:.1} s")?;
        }
        for Failure { at, after, reason } in &self.failures {
            writeln!(formatter, "failed at {at:.3} s after {after:.3} s: {reason}")?;
        }
        Ok(())
    }
}

/// What became of one request.
pub(super) struct Answer {
    /// Since the beginning.
    pub(super) due: Duration,
    /// From due to begun.
    pub(super) lag: Duration,
    /// From due to answered or failed.
    pub(super) latency: Duration,
    /// The body, or why there is none.
    pub(super) result: Result<Vec<u8>, String>,
}

/// Adds answers up.
pub(super) struct Recorder {
    summary: Summary,
    /// Of good answers, in microseconds.
    latencies: Vec<u32>,
}

impl Recorder {
    pub(super) fn new(began: SystemTime) -> Self {
        let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self {
            summary: Summary {
                began: began.as_secs_f64(),
                duration: 0.0,
                sent: 0,
                failed: 0,
                failures: Vec::new(),
                reconnects: 0,
                latency: Latency::default(),
                lag: 0.0,
                versions: BTreeMap::new(),
            },
            latencies: Vec::new(),
        }
    }

    pub(super) fn record(&mut self, answer: Answer) {
        self.summary.sent += 1;
        self.summary.lag = self.summary.lag.max(answer.lag.as_secs_f64() * 1000.0);
        match answer.result {
            Ok(body) => {
                self.latencies.push(u32::try_from(answer.latency.as_micros()).unwrap_or(u32::MAX));
                self.see(first_word(&body), answer.due.as_secs_f64());
            }
            Err(reason) => {
                self.summary.failed += 1;
                if self.summary.failures.len() < MAX_FAILURES {
                    self.summary.failures.push(Failure {
                        at: answer.due.as_secs_f64(),
                        after: answer.latency.as_secs_f64(),
                        reason,
                    });
                }
            }
        }
    }

    pub(super) fn summarize(mut self, duration: Duration, reconnects: u64) -> Summary {
        self.summary.duration = duration.as_secs_f64();
        self.latencies.sort_unstable();
        let percentile = |percent| milliseconds(&self.latencies, percent);
        self.summary.latency = Latency { p50: percentile(50), p99: percentile(99), max: percentile(100) };
        self.summary.reconnects = reconnects;
        self.summary.failures.sort_by(|left, right| left.at.total_cmp(&right.at));
        self.summary
    }

    /// Answers come in any order.
    fn see(&mut self, mut version: String, at: f64) {
        let versions = &mut self.summary.versions;
        if versions.len() >= MAX_VERSIONS && !versions.contains_key(&version) {
            "…".clone_into(&mut version);
        }
        let seen = versions.entry(version).or_insert(Seen { count: 0, first: at, last: at });
        seen.count += 1;
        seen.first = seen.first.min(at);
        seen.last = seen.last.max(at);
    }
}

fn first_word(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let word = text.split_whitespace().next().unwrap_or_default();
    word.chars().take(MAX_WORD).flat_map(char::escape_debug).collect()
}

/// The nearest-rank percentile of sorted microseconds; zero if there are none.
fn milliseconds(sorted: &[u32], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).map_or(0.0, |&microseconds| f64::from(microseconds) / 1000.0)
}
