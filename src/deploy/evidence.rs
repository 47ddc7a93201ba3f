//! What there is to look at when a container has failed: what it has said, what its healthcheck has said, and what usually
//! helps against that.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::Engine;
use crate::names::{ContainerId, ServiceName};
use crate::remedies::remedy;
use crate::report::{Event, Reporter};

/// Lines of output that are shown.
const LINES: usize = 20;

/// How long a container that has failed may take to have its output in its log.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A container that has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Culprit<'a> {
    pub(super) service: &'a ServiceName,
    pub(super) id: &'a ContainerId,
    /// What it is called when it is spoken of.
    pub(super) name: &'a str,
}

/// Shows what a container that has failed for `reason` leaves, and what helps if that is known. What cannot be had is left
/// out.
pub(super) async fn show<E: Engine>(engine: &E, reporter: &dyn Reporter, culprit: Culprit<'_>, reason: &str) {
    let Culprit { service, id, name } = culprit;
    let (logs, now) = tokio::join!(last_lines(engine, id), engine.container(id));
    let probe = now.ok().flatten().map(|now| now.last_probe).unwrap_or_default();
    reporter.report(&Event::Evidence { service, container: name, logs: &logs, probe: &probe });
    // The last words count most.
    let mut complaints = [reason, probe.as_str()].into_iter().chain(logs.iter().rev().map(String::as_str));
    if let Some(remedy) = complaints.find_map(remedy) {
        reporter.report(&Event::Note(&remedy));
    }
}

/// The last lines that a container has written. Podman calls a container ended a moment before its log has its last
/// words, which are the ones that matter: an empty log is looked at again for a while.
async fn last_lines<E: Engine>(engine: &E, id: &ContainerId) -> Vec<String> {
    let deadline = Instant::now() + LAST_WORDS;
    loop {
        let lines = engine.logs(id, LINES).await.unwrap_or_default();
        if !lines.is_empty() || Instant::now() >= deadline {
            return lines;
        }
        sleep(LAST_WORDS / 10).await;
    }
}
