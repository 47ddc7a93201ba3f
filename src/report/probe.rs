//! What a probe tells, in words.

use std::time::Duration;

use super::words;
use crate::compose::duration;
use crate::probe::{Phase, Report, Stretch, Url};

/// What is being done.
pub(super) fn begun(url: &Url, rate: u32) -> String {
    format!("asking for {} {} a second", words::safe(&url.to_string()), words::count(rate as usize, "time"))
}

/// A line for each phase, and whether all is well in it.
pub(super) fn lines(report: &Report) -> Vec<(bool, String)> {
    report.phases.iter().map(|(phase, stretch)| (stretch.failed == 0, line(*phase, stretch))).collect()
}

fn line(phase: Phase, stretch: &Stretch) -> String {
    let mut parts = vec![words::count(stretch.requests, "request"), failed(stretch)];
    let quantiles = [("p50", stretch.p50), ("p99", stretch.p99)];
    parts.extend(quantiles.into_iter().filter_map(|(name, value)| Some(format!("{name} {}", brief(value?)))));
    if stretch.failed > 0 {
        parts.push(format!("longest outage {}", duration::format(stretch.outage)));
    }
    let reasons = stretch.reasons.iter().map(|(reason, count)| format!("{} ({count})", words::safe(reason)));
    let reasons = reasons.collect::<Vec<_>>().join(", ");
    let reasons = if reasons.is_empty() { reasons } else { format!(": {reasons}") };
    format!("{:<6}  {}{reasons}", phase.name(), parts.join(", "))
}

fn failed(stretch: &Stretch) -> String {
    if stretch.failed == 0 {
        return "none failed".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "nobody makes that many requests")]
    let share = 100.0 * stretch.failed as f64 / stretch.requests.max(1) as f64;
    format!("{} failed ({share:.1}%)", stretch.failed)
}

/// Quick answers take less than a millisecond.
fn brief(time: Duration) -> String {
    if time < Duration::from_millis(1) { "<1ms".to_owned() } else { duration::format(time) }
}
