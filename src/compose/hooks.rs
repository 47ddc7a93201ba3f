//! Commands that Compose runs for a service: inside its containers right after a start and right before a stop, and in
//! containers of their own before the first start.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::pre_start::PreStart;
use super::unescape;
use crate::engine::Exec;

/// A service's hooks, each list in the order of execution.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hooks {
    /// Run to their end, each in a container of its own, before any container of a new version starts.
    pub pre_start: Vec<PreStart>,
    /// Run right after a container was started, ready or not.
    pub post_start: Vec<Exec>,
    /// Run right before a container is asked to stop.
    pub pre_stop: Vec<Exec>,
}

/// A hook as Compose prints it.
#[derive(Deserialize)]
pub(super) struct Hook {
    #[serde(default)]
    command: Vec<String>,
    user: Option<String>,
    #[serde(default)]
    privileged: bool,
    working_dir: Option<String>,
    #[serde(default)]
    environment: BTreeMap<String, Option<String>>,
}

impl From<Hook> for Exec {
    fn from(hook: Hook) -> Self {
        let text = |text: Option<String>| text.as_deref().map(unescape).unwrap_or_default();
        let variable = |(name, value): (String, Option<String>)| match value {
            Some(value) => format!("{name}={}", unescape(&value)),
            None => name,
        };
        Self {
            command: hook.command.iter().map(|word| unescape(word)).collect(),
            user: text(hook.user),
            privileged: hook.privileged,
            working_dir: text(hook.working_dir),
            environment: hook.environment.into_iter().map(variable).collect(),
        }
    }
}
