//! How a service is updated: the Compose specification's `update_config` and `rollback_config`, and kerek's own
//! `x-kerek`.

use std::time::Duration;

use super::Order;

/// One of `deploy.update_config` and `deploy.rollback_config`, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdatePolicy {
    /// Stop or start first.
    pub order: Order,
    /// How many replicas are replaced at a time; `None` for all at once (`0` in the files).
    pub parallelism: Option<usize>,
    /// Pause between batches.
    pub delay: Duration,
    /// How long a new container is watched; `None` where the files do not say.
    pub monitor: Option<Duration>,
    /// What a failed replica means for the rest.
    pub failure_action: FailureAction,
    /// The share of failed replicas (0 to 1) that is put up with.
    pub max_failure_ratio: f64,
}

impl Default for UpdatePolicy {
    fn default() -> Self {
        Self {
            order: Order::default(),
            parallelism: Some(1),
            delay: Duration::ZERO,
            monitor: None,
            failure_action: FailureAction::default(),
            max_failure_ratio: 0.0,
        }
    }
}

/// What a failed replica means for the rest of the update.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum FailureAction {
    /// Stop the update where it is.
    #[default]
    Pause,
    /// Go on with the next replica.
    Continue,
    /// Take back the replicas already updated.
    Rollback,
}

/// How a container that is about to stop is left alone after it has left the service's DNS names (`x-kerek: drain:`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Drain {
    /// It is left alone at least this long: clients may still hold its address.
    pub minimum: Duration,
    /// And then until it has received nothing for this long.
    pub quiet: Duration,
    /// But no longer than this.
    pub maximum: Duration,
}

impl Default for Drain {
    /// Two seconds outlive the one second that proxies cache a name for at least; ten are what an engine grants a
    /// container to end by default, so that nobody is surprised by how long an update takes.
    fn default() -> Self {
        Self { minimum: Duration::from_secs(2), quiet: Duration::from_secs(1), maximum: Duration::from_secs(10) }
    }
}

impl Drain {
    /// A drain of a fixed length.
    #[must_use]
    pub const fn fixed(duration: Duration) -> Self {
        Self { minimum: duration, quiet: Duration::ZERO, maximum: duration }
    }

    /// Whether there is no drain at all.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.maximum.is_zero()
    }
}
