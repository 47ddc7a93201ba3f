//! Proof that the engine of a host can be used, the way that `deploy` goes there: a login, a socket, a container.

use std::time::Duration;

use anyhow::anyhow;
use tokio::time::timeout;

use super::Wish;
use crate::cancel::Cancel;
use crate::engine::access::Access;
use crate::engine::endpoint::Selection;
use crate::error::{Failure, Kind};
use crate::text::escape;

/// What an engine may take to make its first container.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was proven.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Proof {
    /// The engine answers, and makes containers.
    Works {
        /// What it calls itself and its version, escaped.
        engine: String,
    },
    /// The user has just joined a group, of which this process will never know.
    AfterLogin,
}

/// Talks to the engine at an address. `joined` tells whether the user has just joined the group that may.
pub async fn verify(wish: &Wish, address: &str, joined: bool, cancel: &Cancel) -> Result<Proof, Failure> {
    let selection = Selection { host: Some(address.to_owned()), ..Selection::from_env(wish.engine.program()) };
    let access = Access::prepare(&selection, wish.ssh_config.as_deref()).await.map_err(unproven)?;
    let (api, link) = match access.connect(cancel).await {
        Ok(connected) => connected,
        Err(_) if joined && wish.destination.is_localhost() => return Ok(Proof::AfterLogin),
        Err(failure) => return Err(unproven(failure)),
    };
    let trial = tokio::select! {
        trial = timeout(PATIENCE, api.trial()) => {
            let late = |_| Failure::new(Kind::Incomplete, anyhow!("it made no container within {} s", PATIENCE.as_secs()));
            let trial = trial.map_err(late);
            trial.and_then(|trial| trial.map_err(|error| Failure::new(Kind::Incomplete, error))).map_err(unproven)
        }
        () = cancel.requested() => {
            Err(Failure::new(cancel.kind(), anyhow!("interrupted: the engine is there, but was not tried")))
        }
    };
    let version = link.end(trial).await?;
    Ok(Proof::Works { engine: format!("{} {}", wish.engine, escape(&version)) })
}

fn unproven(failure: Failure) -> Failure {
    let error = failure.error.context("the host is set up, but its engine cannot be used yet");
    let mut unproven = Failure::new(failure.kind, error);
    unproven.hints = failure.hints;
    unproven
}
