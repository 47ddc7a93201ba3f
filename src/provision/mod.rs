//! A host becomes a container host: what it is, what is to be done, doing it, and proof that `deploy` gets there.
//!
//! - [`facts`]: what there is to know of a host before anything is done.
//! - [`choice`]: what is to be done, decided from that; pure.
//! - [`place`]: where commands run: over the one SSH connection to a host, or here.
//! - [`script`]: the bundled scripts, how one of them is sent and run, and what it tells.
//! - [`verify`]: talks to the engine the way that `deploy` takes.
//! - [`context`]: the Docker context that leads there.
//!
//! [`Survey::make`] looks and changes nothing, [`Survey::carry_out`] changes. No host knows of another.

pub mod choice;
pub mod context;
pub mod facts;
pub mod place;
pub mod script;
pub mod verify;

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use self::choice::{Change, Plan};
use self::context::Context;
use self::facts::Facts;
use self::place::Place;
use self::script::{Line, Verb};
use self::verify::Proof;
use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::ssh::destination::Destination;

/// A container engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Engine {
    Docker,
    Podman,
}

impl Engine {
    /// The engine whose program this is.
    #[must_use]
    pub fn of_program(program: &str) -> Option<Self> {
        match Path::new(program).file_name().and_then(OsStr::to_str) {
            Some("docker") => Some(Self::Docker),
            Some("podman") => Some(Self::Podman),
            _ => None,
        }
    }

    /// The engine's program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Podman => "podman",
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// What a host is to become.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Which host.
    pub destination: Destination,
    /// What it is to run.
    pub engine: Engine,
    /// The SSH config, if not the usual one.
    pub ssh_config: Option<PathBuf>,
    /// Whether there will be a password for sudo.
    pub password: bool,
    /// The name of the Docker context; `None` for no context.
    pub context: Option<String>,
    /// The directory of docker's configuration, if not the usual one.
    pub docker_config: Option<PathBuf>,
}

/// What can be told of a host that is being worked on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum News<'a> {
    /// The script has come to something.
    Step(&'a Line),
    /// The engine is asked whether it works.
    Asking,
}

impl fmt::Display for News<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step(line) => line.fmt(formatter),
            Self::Asking => formatter.write_str("asking the engine"),
        }
    }
}

/// A host that was looked at.
#[derive(Debug)]
pub struct Survey {
    wish: Wish,
    place: Place,
    /// What was found.
    pub facts: Facts,
    /// What is to be done there.
    pub plan: Plan,
    /// What is to be done here.
    pub context: Option<Context>,
}

/// A host that is as it should be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    /// How many steps have changed something.
    pub changes: usize,
    /// The engine that answers, or why it could not be asked.
    pub proof: Proof,
}

impl Survey {
    /// Logs in, looks around, and decides what is to be done. Changes nothing.
    pub async fn make(wish: Wish, folder: &Path, cancel: &Cancel) -> Result<Self, Failure> {
        let place = Place::reach(&wish.destination, wish.ssh_config.as_deref(), folder, cancel).await?;
        let look = async {
            let facts = place.probe(wish.engine).await?;
            let plan = choice::choose(&facts, wish.engine, wish.password)?;
            let context = match &wish.context {
                Some(name) => {
                    let engine = address(&wish, &facts);
                    Some(Context::decide(name, &engine, wish.docker_config.as_deref(), cancel).await?)
                }
                None => None,
            };
            Ok((facts, plan, context))
        };
        let looked = tokio::select! {
            looked = look => looked,
            () = cancel.requested() => Err(interrupted(cancel, "nothing has changed")),
        };
        match looked {
            Ok((facts, plan, context)) => Ok(Self { wish, place, facts, plan, context }),
            Err(failure) => {
                place.leave().await;
                Err(failure)
            }
        }
    }

    /// The host.
    #[must_use]
    pub fn destination(&self) -> &Destination {
        &self.wish.destination
    }

    /// The engine it is to have.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.wish.engine
    }

    /// The engine's address, seen from here.
    #[must_use]
    pub fn address(&self) -> String {
        address(&self.wish, &self.facts)
    }

    /// Takes leave of the host without having done anything.
    pub async fn leave(self) {
        self.place.leave().await;
    }

    /// Does what is to be done, and proves that the engine can be used. `tell` hears of each step.
    pub async fn carry_out(
        self,
        password: Option<&str>,
        cancel: &Cancel,
        mut tell: impl FnMut(&News<'_>),
    ) -> Result<Done, Failure> {
        let mut changes = 0;
        if !self.plan.changes.is_empty() {
            let mut hear = |line: &Line| {
                changes += usize::from(line.verb == Verb::Changed);
                tell(&News::Step(line));
            };
            let run = script::run(&self.place, self.wish.engine, self.facts.user.rights, password, &mut hear);
            let ran = tokio::select! {
                ran = run => ran,
                () = cancel.requested() => Err(interrupted(cancel, "what has begun on the host goes on there")
                    .hint("Running the same command again waits for it, and does what is left.")),
            };
            if let Err(failure) = ran {
                self.place.leave().await;
                return Err(after(changes, failure));
            }
        }
        tell(&News::Asking);
        let joined = self.plan.changes.iter().any(|change| matches!(change, Change::Group(_)));
        // A login of its own, as `deploy` has: one from before does not know of a group that was joined since.
        let address = self.address();
        self.place.leave().await;
        let prove = verify::verify(&self.wish, &address, joined, cancel).await;
        let proof = prove.map_err(|failure| after(changes, failure))?;
        if let Some(context) = &self.context {
            context.make(cancel).await.map_err(|failure| after(changes, failure))?;
        }
        Ok(Done { changes, proof })
    }
}

/// A failure that comes after so many changes. Whatever fails does not know that there were some.
fn after(changes: usize, failure: Failure) -> Failure {
    match failure.kind {
        Kind::Unchanged if changes > 0 => Failure { kind: Kind::Incomplete, ..failure },
        _ => failure,
    }
}

/// The engine's address, seen from here.
fn address(wish: &Wish, facts: &Facts) -> String {
    if wish.destination.is_localhost() {
        return match (wish.engine, facts.user.id) {
            (Engine::Docker, _) => "unix:///var/run/docker.sock".to_owned(),
            (Engine::Podman, 0) => "unix:///run/podman/podman.sock".to_owned(),
            (Engine::Podman, id) => format!("unix:///run/user/{id}/podman/podman.sock"),
        };
    }
    let host = &wish.destination;
    match (wish.engine, facts.user.id) {
        (Engine::Docker, _) => host.to_string(),
        // There may be both engines.
        (Engine::Podman, 0) => format!("{host}/run/podman/podman.sock"),
        (Engine::Podman, id) => format!("{host}/run/user/{id}/podman/podman.sock"),
    }
}

fn interrupted(cancel: &Cancel, what: &str) -> Failure {
    Failure::new(cancel.kind(), anyhow!("interrupted: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_after_a_change_has_changed_something() {
        let failure = |kind| Failure::new(kind, anyhow!("no"));
        assert_eq!(after(0, failure(Kind::Unchanged)).kind, Kind::Unchanged);
        assert_eq!(after(1, failure(Kind::Unchanged)).kind, Kind::Incomplete);
        assert_eq!(after(1, failure(Kind::Unreachable)).kind, Kind::Unreachable);
    }
}
