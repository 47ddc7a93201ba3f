//! When a started container is fit for work.
//!
//! [`judge`] is the verdict on one observation, a pure function; [`wait`] observes until there is a final one, and
//! [`watch`] whether it stays so for a while. With a healthcheck, it decides. Without one, a container is ready when it has run for a while without a restart. One that
//! may end (restart policy `no` or `on-failure`) and ended with 0 has done its work.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::condition::has_completed;
use super::watch::Subscription;
use crate::cancel::Cancel;
use crate::compose::duration;
use crate::engine::{self, Container, Engine, Health, State};

/// How long a container without a healthcheck has to run, unless `monitor` says otherwise.
pub(super) const SETTLE: Duration = Duration::from_secs(5);

/// Longer than anybody waits; short enough to be added to any time.
pub(super) const FOREVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A container is given at least this long to become ready.
const LEAST_DEADLINE: Duration = Duration::from_secs(60);

/// How often to look even if no event came.
const LOOK: Duration = Duration::from_secs(1);

/// The verdict on a container at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    /// Fit for work.
    Ready,
    /// Has done its work.
    Completed,
    /// Too early to say.
    Waiting,
    /// Not fit, and why.
    Failed(String),
}

/// Why waiting ended without a fit container.
#[derive(Debug)]
pub(super) enum Unready {
    /// The container is to blame, and why.
    Unfit(String),
    /// The user interrupted.
    Cancelled,
    /// The engine did not answer.
    Engine(engine::Error),
}

/// Judges a container that was started `running` ago, when the engine had restarted it `restarts` times, and needs to run
/// for `settle` where it has no healthcheck.
pub(super) fn judge(container: &Container, restarts: u64, running: Duration, settle: Duration) -> Verdict {
    match container.state {
        State::Exited { .. } if has_completed(container) => Verdict::Completed,
        State::Exited { out_of_memory: true, .. } => Verdict::Failed("was killed for using too much memory".into()),
        State::Exited { code, .. } => Verdict::Failed(format!("exited with code {code}")),
        State::Restarting => Verdict::Failed("exits again and again".into()),
        State::Dead => Verdict::Failed("is being removed by someone else".into()),
        State::Created | State::Paused => Verdict::Waiting,
        State::Running if container.restarts > restarts => Verdict::Failed("exits again and again".into()),
        State::Running => match container.health {
            Some(Health::Healthy) => Verdict::Ready,
            Some(Health::Unhealthy) => Verdict::Failed("is unhealthy".into()),
            None if running >= settle => Verdict::Ready,
            Some(Health::Starting) | None => Verdict::Waiting,
        },
    }
}

/// The longest a container may take to become ready: as asked for, else what its healthcheck allows for.
pub(super) fn deadline(container: &Container, asked: Option<Duration>, settle: Duration) -> Duration {
    asked.unwrap_or_else(|| {
        let implied = container.healthcheck.map_or(settle, |check| {
            let probe = check.interval.saturating_add(check.timeout);
            check.start_period.saturating_add(probe.saturating_mul(check.retries.max(1)))
        });
        implied.max(LEAST_DEADLINE)
    })
}

/// What is expected of a container that was started.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expectation {
    /// How long it has to run where it has no healthcheck.
    pub(super) settle: Duration,
    /// How long it may take.
    pub(super) deadline: Duration,
    /// Whether it is there to do some work and end, so that its health says nothing.
    pub(super) works: bool,
}

/// How waiting ended with a fit container.
#[derive(Debug)]
pub(super) enum Fit {
    /// It is ready, and what was seen of it then.
    Ready(Box<Container>),
    /// It has done its work.
    Completed,
}

/// Waits until a container that was started at `since`, as last observed then, is ready or has completed.
pub(super) async fn wait<E: Engine>(
    engine: &E,
    before: &Container,
    mut events: Subscription,
    since: Instant,
    Expectation { settle, deadline, works }: Expectation,
    cancel: &Cancel,
) -> Result<Fit, Unready> {
    let end = since + deadline;
    loop {
        events.catch_up();
        let container = look(engine, before, works).await?;
        match judge(&container, former_restarts(before), since.elapsed(), settle) {
            Verdict::Ready => return Ok(Fit::Ready(Box::new(container))),
            Verdict::Completed => return Ok(Fit::Completed),
            Verdict::Failed(reason) => return Err(Unready::Unfit(reason)),
            Verdict::Waiting => {}
        }
        let now = Instant::now();
        if now >= end {
            let limit = duration::format(deadline);
            return Err(Unready::Unfit(format!("was not ready within {limit}")));
        }
        let mut look = (now + LOOK).min(end);
        if container.health.is_none() && since + settle > now {
            look = look.min(since + settle);
        }
        tokio::select! {
            () = events.changed() => {}
            () = sleep_until(look) => {}
            () = cancel.requested() => return Err(Unready::Cancelled),
        }
    }
}

/// Watches a container that was ready, as last observed before its start, until a time: does it stay fit (`false`), or
/// complete (`true`)? It is looked at once in any case; its health says nothing if it is there to do some work.
pub(super) async fn watch<E: Engine>(
    engine: &E,
    before: &Container,
    mut events: Subscription,
    (end, works): (Instant, bool),
    cancel: &Cancel,
) -> Result<bool, Unready> {
    loop {
        match judge(&look(engine, before, works).await?, former_restarts(before), Duration::ZERO, FOREVER) {
            Verdict::Completed => return Ok(true),
            Verdict::Failed(reason) => return Err(Unready::Unfit(reason)),
            Verdict::Ready | Verdict::Waiting => {}
        }
        let now = Instant::now();
        if now >= end {
            return Ok(false);
        }
        tokio::select! {
            () = events.changed() => {}
            () = sleep_until((now + LOOK).min(end)) => {}
            () = cancel.requested() => return Err(Unready::Cancelled),
        }
    }
}

async fn look<E: Engine>(engine: &E, before: &Container, works: bool) -> Result<Container, Unready> {
    let container = engine.container(&before.id).await.map_err(Unready::Engine)?;
    let mut container = container.ok_or_else(|| Unready::Unfit("was removed by someone else".into()))?;
    if works {
        (container.health, container.healthcheck) = (None, None);
    }
    Ok(container)
}

/// How often the engine had restarted a container before: one that runs already may have had a bad day long ago.
fn former_restarts(before: &Container) -> u64 {
    if before.state == State::Running { before.restarts } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Healthcheck, RestartPolicy};

    fn verdict(change: impl FnOnce(&mut Container)) -> Verdict {
        let mut container = Container::example();
        change(&mut container);
        judge(&container, 0, Duration::from_secs(2), Duration::from_secs(5))
    }

    #[test]
    fn health_decides_where_there_is_a_healthcheck() {
        assert_eq!(verdict(|c| c.health = Some(Health::Healthy)), Verdict::Ready);
        assert_eq!(verdict(|c| c.health = Some(Health::Starting)), Verdict::Waiting);
        assert_eq!(verdict(|c| c.health = Some(Health::Unhealthy)), Verdict::Failed("is unhealthy".into()));
    }

    #[test]
    fn time_decides_where_there_is_none() {
        let mut container = Container::example();
        container.health = None;
        let settle = Duration::from_secs(5);
        assert_eq!(judge(&container, 0, Duration::from_secs(4), settle), Verdict::Waiting);
        assert_eq!(judge(&container, 0, settle, settle), Verdict::Ready);
    }

    #[test]
    fn a_restart_is_a_failure_even_if_healthy() {
        let verdict = verdict(|c| {
            c.restarts = 1;
            c.health = Some(Health::Healthy);
        });
        assert_eq!(verdict, Verdict::Failed("exits again and again".into()));
    }

    #[test]
    fn only_what_may_end_completes() {
        let exited = |policy| {
            move |c: &mut Container| {
                c.state = State::Exited { code: 0, out_of_memory: false };
                c.restart_policy = policy;
                c.healthcheck = None;
            }
        };
        assert_eq!(verdict(exited(RestartPolicy::No)), Verdict::Completed);
        assert_eq!(verdict(exited(RestartPolicy::OnFailure)), Verdict::Completed);
        let failed = Verdict::Failed("exited with code 0".into());
        assert_eq!(verdict(exited(RestartPolicy::Always)), failed);
        let checked = verdict(|c| {
            let healthcheck = c.healthcheck;
            exited(RestartPolicy::No)(c);
            c.healthcheck = healthcheck;
        });
        assert_eq!(checked, failed);
    }

    #[test]
    fn the_healthcheck_implies_the_deadline() {
        let mut container = Container::example();
        let seconds = Duration::from_secs;
        container.healthcheck =
            Some(Healthcheck { interval: seconds(30), timeout: seconds(10), retries: 3, start_period: seconds(20) });
        assert_eq!(deadline(&container, None, SETTLE), seconds(140));
        assert_eq!(deadline(&container, Some(seconds(7)), SETTLE), seconds(7));
        container.healthcheck = None;
        assert_eq!(deadline(&container, None, SETTLE), seconds(60));
    }
}
