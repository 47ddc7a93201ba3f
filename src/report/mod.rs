//! What happens, as events, and the ways to show it.
//!
//! The library says what happens by handing an [`Event`] to a [`Reporter`]; it never prints. Renderers only render: they
//! decide nothing. Everything that came from outside is escaped where it is shown.

pub mod ask;
pub mod choose;
mod compose_log;
pub mod console;
mod forecast;
pub mod history;
pub mod hosts;
pub mod json;
mod live;
mod paint;
pub mod plain;
pub mod plan;
mod probe;
#[cfg(test)]
mod recorded;
pub mod survey;
pub mod terminal;
mod timeline;
pub mod transfer;
mod words;

use std::fmt;
use std::time::Duration;

use crate::compose::Order;
use crate::deploy::plan::Plan;
use crate::engine::Container;
use crate::names::ServiceName;
use crate::probe::{Report, Url};

/// Takes events and shows them.
pub trait Reporter: fmt::Debug {
    /// Shows an event, or not.
    fn report(&self, event: &Event<'_>);
}

/// Something worth telling.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The plan is made. `containers` are those it speaks of.
    Planned {
        /// What is to be done.
        plan: &'a Plan,
        /// What was observed.
        containers: &'a [Container],
    },
    /// A line of Compose's own progress, escaped.
    ComposeSaid(&'a str),
    /// Compose is about to create containers.
    Creating {
        /// How many.
        containers: usize,
    },
    /// A service's turn has come.
    ServiceBegun {
        /// Whose.
        service: &'a ServiceName,
        /// How many replicas are replaced, added or removed.
        slots: usize,
        /// Which way round.
        order: Order,
    },
    /// Something happened to a container.
    Step {
        /// The service.
        service: &'a ServiceName,
        /// The container's name, raw.
        container: &'a str,
        /// What.
        step: Step<'a>,
    },
    /// A service is up to date.
    ServiceDone {
        /// Which.
        service: &'a ServiceName,
        /// How long that took.
        took: Duration,
    },
    /// Finished replicas of a service are taken back.
    RollingBack {
        /// Which.
        service: &'a ServiceName,
        /// How many.
        slots: usize,
    },
    /// Why a container is to blame: what it printed, what its health probe said.
    Evidence {
        /// The service.
        service: &'a ServiceName,
        /// The container's name, raw.
        container: &'a str,
        /// Its last lines of output, raw.
        logs: &'a [String],
        /// The output of its last health probe, raw; empty if there is none.
        probe: &'a str,
    },
    /// Something happened to an image on its way to another engine.
    Transfer(transfer::Transfer<'a>),
    /// A URL is asked for from now on.
    Probing {
        /// Which.
        url: &'a Url,
        /// How often a second.
        rate: u32,
    },
    /// What has become of the requests.
    Probed(&'a Report),
    /// Something the user should know but need not act on at once.
    Note(&'a str),
    /// Something the user should act on.
    Warning(&'a str),
    /// A container whose service is in no file any more is gone.
    OrphanRemoved {
        /// Its name, raw.
        container: &'a str,
        /// Since it was asked to stop.
        took: Duration,
    },
    /// All is created, and nothing was started, as the user has asked.
    Prepared {
        /// Services that are to change.
        services: usize,
        /// How long it took.
        took: Duration,
    },
    /// The deploy has come to its good end.
    Finished {
        /// Services that were changed.
        updated: usize,
        /// Services that were considered and left as they are.
        unchanged: usize,
        /// How long it all took.
        took: Duration,
    },
}

/// What happened to a container in the course of its replacement.
#[derive(Clone, Debug)]
pub enum Step<'a> {
    /// It is asked to start.
    Starting,
    /// It runs, and is watched until it is ready.
    Waiting {
        /// Whether a healthcheck tells; otherwise time does.
        healthcheck: bool,
        /// The longest it may take.
        deadline: Duration,
    },
    /// It runs, and is watched until its work is done, which others wait for.
    Working,
    /// One of its hooks runs.
    Hook {
        /// Which, such as `post_start[0]`.
        hook: &'a str,
    },
    /// One of its hooks has failed.
    HookFailed {
        /// Which.
        hook: &'a str,
        /// Its exit code.
        code: i64,
    },
    /// It is ready for work.
    Ready {
        /// Since it was started.
        took: Duration,
    },
    /// It has done its work and ended well.
    Completed,
    /// It serves, and is watched on while others are updated.
    Watched {
        /// For how long.
        remaining: Duration,
    },
    /// The service's names lead to it.
    Published,
    /// The service's names lead to it no longer.
    Withdrawn,
    /// It is left alone until traffic has ceased.
    Draining,
    /// Traffic has ceased, or the time is up.
    Drained {
        /// Since it was withdrawn.
        took: Duration,
        /// Whether something was still arriving at the end.
        busy: bool,
    },
    /// It is asked to end.
    Stopping,
    /// It has ended.
    Stopped {
        /// Since it was asked.
        took: Duration,
    },
    /// It is gone.
    Removed,
    /// It is not fit.
    Failed {
        /// Why, in words.
        reason: &'a str,
    },
    /// It serves again, after its successor has failed.
    Restored,
    /// It got another address when it was reconnected, so that its connections are lost.
    AddressChanged {
        /// Before.
        from: &'a str,
        /// After.
        to: &'a str,
    },
}

/// A reporter that shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _: &Event<'_>) {}
}
