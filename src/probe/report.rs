//! What has become of requests, in numbers. Nothing here does I/O.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Url;

/// Different failures that are told apart.
const REASONS: usize = 3;

/// A part of the time in which requests are made.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Nothing has been touched yet.
    Before,
    /// The deploy is at work.
    During,
    /// It is through, well or not.
    After,
}

impl Phase {
    /// All, in their order.
    pub const ALL: [Self; 3] = [Self::Before, Self::During, Self::After];

    /// As it is called in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::During => "during",
            Self::After => "after",
        }
    }
}

/// What has become of one request.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    /// When it was due, since the first one.
    pub(super) due: Duration,
    pub(super) phase: Phase,
    /// From when it was due until its answer was there, or until it failed.
    pub(super) latency: Duration,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was asked for.
    pub url: Url,
    /// How it went in each phase in which anything was asked.
    pub phases: Vec<(Phase, Stretch)>,
}

/// How it went for a while.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Stretch {
    /// Requests that were made.
    pub requests: usize,
    /// Those among them that failed.
    pub failed: usize,
    /// What half of the answered requests took at most.
    pub p50: Option<Duration>,
    /// What 99 in 100 of the answered requests took at most.
    pub p99: Option<Duration>,
    /// The longest time from when a failed request was due until an answered one was, or until the end.
    pub outage: Duration,
    /// The most frequent failures, and how often each was met.
    pub reasons: Vec<(String, usize)>,
}

/// Sums answers up, in any order; requests were due once in an `interval`.
pub(super) fn summarize(url: &Url, mut answers: Vec<Answer>, interval: Duration) -> Report {
    answers.sort_by_key(|answer| answer.due);
    let stretch = |phase| {
        let of_phase: Vec<_> = answers.iter().filter(|answer| answer.phase == phase).collect();
        (!of_phase.is_empty()).then(|| (phase, self::stretch(&of_phase, interval)))
    };
    Report { url: url.clone(), phases: Phase::ALL.into_iter().filter_map(stretch).collect() }
}

fn stretch(answers: &[&Answer], interval: Duration) -> Stretch {
    let mut latencies: Vec<_> =
        answers.iter().filter(|answer| answer.failure.is_none()).map(|answer| answer.latency).collect();
    latencies.sort_unstable();
    let mut reasons = BTreeMap::<&str, usize>::new();
    for reason in answers.iter().filter_map(|answer| answer.failure.as_deref()) {
        *reasons.entry(reason).or_default() += 1;
    }
    let mut reasons: Vec<_> = reasons.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    reasons.truncate(REASONS);
    let outages = answers.chunk_by(|one, next| one.failure.is_some() == next.failure.is_some());
    let outages = outages.filter(|run| run[0].failure.is_some());
    let lengths = outages.map(|run| run[run.len() - 1].due.saturating_sub(run[0].due) + interval);
    Stretch {
        requests: answers.len(),
        failed: answers.len() - latencies.len(),
        p50: quantile(&latencies, 50),
        p99: quantile(&latencies, 99),
        outage: lengths.max().unwrap_or_default(),
        reasons,
    }
}

/// The value that so many per cent do not exceed.
fn quantile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(answers: Vec<Answer>) -> Report {
        summarize(&"http://shop.example/".parse().expect("a URL"), answers, Duration::from_millis(100))
    }

    fn answer(number: u64, phase: Phase, latency: u64, failure: Option<&str>) -> Answer {
        Answer {
            due: Duration::from_millis(100 * number),
            phase,
            latency: Duration::from_millis(latency),
            failure: failure.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn each_phase_is_summed_up_on_its_own() {
        let mut answers: Vec<_> = (0..100).map(|number| answer(number, Phase::Before, number + 1, None)).collect();
        answers.extend((100..110).map(|number| answer(number, Phase::During, 5, None)));
        answers.extend((110..113).map(|number| answer(number, Phase::During, 1, Some("connection refused"))));
        answers.push(answer(113, Phase::During, 7, None));
        answers.push(answer(114, Phase::During, 9_000, Some("status 502")));
        // In whatever order they end.
        answers.reverse();
        let Report { phases, .. } = report(answers);
        let [(Phase::Before, before), (Phase::During, during)] = phases.as_slice() else { panic!("{phases:?}") };
        let milliseconds = |number| Some(Duration::from_millis(number));
        assert_eq!((before.requests, before.failed, before.outage), (100, 0, Duration::ZERO));
        assert_eq!((before.p50, before.p99), (milliseconds(50), milliseconds(99)));
        assert_eq!((during.requests, during.failed), (15, 4));
        assert_eq!((during.p50, during.p99), (milliseconds(5), milliseconds(7)));
        assert_eq!(during.outage, Duration::from_millis(300));
        assert_eq!(during.reasons, [("connection refused".to_owned(), 3), ("status 502".to_owned(), 1)]);
    }

    #[test]
    fn nothing_answered_has_no_quantiles() {
        let Report { phases, .. } = report(vec![answer(0, Phase::After, 1, Some("status 500"))]);
        let [(Phase::After, stretch)] = phases.as_slice() else { panic!("{phases:?}") };
        assert_eq!((stretch.p50, stretch.p99, stretch.failed), (None, None, 1));
        assert!(report(Vec::new()).phases.is_empty());
    }
}
