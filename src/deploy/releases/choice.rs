//! Which release a rollback goes to. Pure.

use std::fmt::Write;

use anyhow::anyhow;

use super::{Outcome, Release};
use crate::engine::Container;
use crate::error::{Failure, Kind};
use crate::names::ProjectName;

/// The release that was good before the last deployment, whatever came of that: the newest good one, unless that is at work
/// and nothing was tried since; then it is the one before.
///
/// So it leads back out of whatever there is: a deployment that was good in the eyes of kerek only, one that has failed or was
/// cut off, and what somebody has done by hand. Called again, it goes back one more; it never goes forward.
pub fn previous<'a>(
    project: &ProjectName,
    releases: &'a [Release],
    containers: &[Container],
) -> Result<&'a Release, Failure> {
    let Some(newest) = good(releases).last() else {
        return Err(refusal(anyhow!("no good release of {project} is known on this engine"))
            .hint("`kerek deploy` records one each time that it has changed something, or at its first run."));
    };
    let was_last = releases.last().is_some_and(|last| last.number == newest.number);
    if !was_last || !newest.serves(containers) {
        return Ok(newest);
    }
    good(releases).rfind(|release| release.number < newest.origin).ok_or_else(|| {
        let error = anyhow!("there is no good release of {project} before {}, which serves", newest.origin);
        others(refusal(error), good(releases).filter(|release| release.origin != newest.origin))
    })
}

/// A release by its number.
pub fn named<'a>(project: &ProjectName, releases: &'a [Release], number: u64) -> Result<&'a Release, Failure> {
    match releases.iter().find(|release| release.number == number) {
        Some(release) if release.outcome == Outcome::Good => Ok(release),
        Some(release) => {
            let error = anyhow!("release {number} of {project} never served: it is {}", release.outcome.as_str());
            Err(others(refusal(error), good(releases)))
        }
        None => Err(others(refusal(anyhow!("there is no release {number} of {project}")), good(releases))),
    }
}

fn good(releases: &[Release]) -> impl DoubleEndedIterator<Item = &Release> {
    releases.iter().filter(|release| release.outcome == Outcome::Good)
}

fn refusal(error: anyhow::Error) -> Failure {
    Failure::new(Kind::Unchanged, error)
}

/// Tells which releases could be named instead.
fn others<'a>(failure: Failure, releases: impl Iterator<Item = &'a Release>) -> Failure {
    let mut numbers = String::new();
    for release in releases {
        let comma = if numbers.is_empty() { "" } else { ", " };
        // Writing to a string cannot fail.
        let _ = write!(numbers, "{comma}{}", release.number);
    }
    if numbers.is_empty() {
        failure
    } else {
        failure.hint(format!("These can be named: {numbers}. `kerek history` shows them."))
    }
}
