//! What containers of the fake engine do once they are started: a pure function of the time since then.

use std::time::Duration;

use crate::engine::{Health, Healthcheck, State};

/// What a container does once it is started, every time anew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Behaviour {
    /// What becomes of its process.
    pub(crate) process: Process,
    /// What its healthcheck finds; `None` without a healthcheck.
    pub(crate) probe: Option<Probe>,
}

/// What becomes of a process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Process {
    /// Runs until it is stopped.
    Runs,
    /// Ends by itself.
    Exits {
        /// Since the start.
        after: Duration,
        /// Its exit code; 137 stands for having used too much memory.
        code: i64,
    },
    /// Ends by itself and is restarted, again and again, with a pause as long as it had run.
    CrashLoops {
        /// How long it runs.
        every: Duration,
    },
    /// The engine refuses to start it.
    RefusesToStart,
}

/// What a healthcheck finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Probe {
    /// Good, from then on.
    HealthyAfter(Duration),
    /// Bad, from then on.
    UnhealthyAfter(Duration),
    /// Good from the first time on, and bad from the second one on.
    HealthyBetween(Duration, Duration),
}

/// Longer than anybody waits.
const NEVER: Duration = Duration::from_secs(1_000_000);

/// How long a container that never becomes healthy is given by [`Behaviour::healthcheck`] until it is unhealthy.
const PATIENCE: Duration = Duration::from_secs(100);

impl Behaviour {
    /// Becomes healthy.
    pub(crate) const fn healthy(after: Duration) -> Self {
        Self { process: Process::Runs, probe: Some(Probe::HealthyAfter(after)) }
    }

    /// Becomes unhealthy.
    pub(crate) const fn unhealthy(after: Duration) -> Self {
        Self { process: Process::Runs, probe: Some(Probe::UnhealthyAfter(after)) }
    }

    /// Fails its probes from the first to the last; the engine says so when it has seen enough of them.
    pub(crate) const fn never_healthy() -> Self {
        Self::unhealthy(PATIENCE)
    }

    /// Becomes healthy, and unhealthy later.
    pub(crate) const fn falling_ill(after: Duration, until: Duration) -> Self {
        Self { process: Process::Runs, probe: Some(Probe::HealthyBetween(after, until)) }
    }

    /// Becomes healthy, and ends by itself later.
    pub(crate) const fn falling_down(after: Duration, until: Duration) -> Self {
        Self { process: Process::Exits { after: until, code: 1 }, probe: Some(Probe::HealthyAfter(after)) }
    }

    /// Runs, without a healthcheck.
    pub(crate) const fn plain() -> Self {
        Self::unchecked(Process::Runs)
    }

    /// Ends by itself, without a healthcheck.
    pub(crate) const fn exits(after: Duration, code: i64) -> Self {
        Self::unchecked(Process::Exits { after, code })
    }

    /// Without a healthcheck.
    pub(crate) const fn unchecked(process: Process) -> Self {
        Self { process, probe: None }
    }

    /// With a healthcheck that never comes to a verdict before the process has come to its end.
    pub(crate) const fn checked(process: Process) -> Self {
        Self { process, probe: Some(Probe::HealthyAfter(NEVER)) }
    }

    /// With a healthcheck that says unhealthy after a while.
    pub(crate) const fn failing_probes(after: Duration, process: Process) -> Self {
        Self { process, probe: Some(Probe::UnhealthyAfter(after)) }
    }

    /// The settings of the healthcheck.
    pub(crate) fn healthcheck(self) -> Option<Healthcheck> {
        self.probe.map(|_| Healthcheck {
            interval: Duration::from_secs(20),
            timeout: Duration::from_secs(5),
            retries: 4,
            start_period: Duration::ZERO,
        })
    }

    /// State, health and number of restarts so long after the start.
    pub(crate) fn after(self, elapsed: Duration) -> (State, Option<Health>, u64) {
        let (state, restarts) = self.process(elapsed);
        // An engine calls unhealthy what does not run.
        let health = self.probe.map(|probe| match probe {
            _ if state != State::Running => Health::Unhealthy,
            Probe::UnhealthyAfter(time) | Probe::HealthyBetween(_, time) if elapsed >= time => Health::Unhealthy,
            Probe::HealthyAfter(time) | Probe::HealthyBetween(time, _) if elapsed >= time => Health::Healthy,
            _ => Health::Starting,
        });
        (state, health, restarts)
    }

    fn process(self, elapsed: Duration) -> (State, u64) {
        match self.process {
            Process::Exits { after, code } if elapsed >= after => {
                (State::Exited { code, out_of_memory: code == 137 }, 0)
            }
            Process::CrashLoops { every } => {
                let halves = elapsed.as_nanos() / every.as_nanos();
                let state = if halves.is_multiple_of(2) { State::Running } else { State::Restarting };
                (state, u64::try_from(halves.div_ceil(2)).unwrap_or(u64::MAX))
            }
            _ => (State::Running, 0),
        }
    }

    /// Time since the start at which something changes next.
    pub(crate) fn next_change(self, elapsed: Duration) -> Option<Duration> {
        let process = match self.process {
            Process::Exits { after, .. } => Some(after),
            Process::CrashLoops { every } => {
                let halves = u32::try_from(elapsed.as_nanos() / every.as_nanos()).unwrap_or(u32::MAX - 1);
                Some(every * (halves + 1))
            }
            Process::Runs | Process::RefusesToStart => None,
        };
        let probe = match self.probe {
            None => [None, None],
            Some(Probe::HealthyAfter(time) | Probe::UnhealthyAfter(time)) => [Some(time), None],
            Some(Probe::HealthyBetween(from, until)) => [Some(from), Some(until)],
        };
        process.into_iter().chain(probe.into_iter().flatten()).filter(|change| *change > elapsed).min()
    }

    /// Whether it does a service's work so long after the start: the truth, which nobody can know by looking. What its
    /// healthcheck finds good works at that time; without one, only what goes on does.
    pub(crate) fn is_ready(self, elapsed: Duration) -> bool {
        match (self.process, self.probe) {
            (Process::Runs, None) => true,
            (Process::Runs, Some(Probe::HealthyAfter(from))) => elapsed >= from,
            (Process::Runs, Some(Probe::HealthyBetween(from, until)))
            | (Process::Exits { after: until, .. }, Some(Probe::HealthyAfter(from))) => {
                (from..until).contains(&elapsed)
            }
            _ => false,
        }
    }

    /// Whether it did a service's work once since the start, and does not any more.
    pub(crate) fn has_fallen(self, elapsed: Duration) -> bool {
        let worked =
            matches!(self.probe, Some(Probe::HealthyAfter(from) | Probe::HealthyBetween(from, _)) if elapsed >= from);
        worked && !self.is_ready(elapsed)
    }
}
