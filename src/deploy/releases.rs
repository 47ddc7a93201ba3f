//! Releases: what was deployed when, kept on the engine, so that the last good version is one command away from wherever.
//!
//! A release is a note on the engine. It holds the model as Compose has resolved it, and, of each service, the image and
//! the config hash of its containers. Values of `environment` are in the model, as they are in the containers. What
//! secrets hold is not, nor what is in files of the engine's host. Its images have a name of kerek's own, so that they
//! outlive the one that they were deployed under.
//!
//! Nothing here decides what a deployment does: a rollback is a deployment of an old model.

mod choice;
mod record;
mod renaming;
mod text;
mod way;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::images::is_same;
use crate::compose::released;
use crate::engine::notes::Notes;
use crate::engine::{self, Container, State};
use crate::names::{ImageId, ProjectName, ServiceName};
pub use choice::{named, previous};
pub use record::{Book, Outcome as Recorded};
pub use renaming::Renaming;
pub use way::Way;

/// How many good releases are kept unless the files say otherwise.
pub const KEPT: usize = 10;

/// What was deployed at one time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Release {
    /// Counted from 1 by project.
    pub number: u64,
    /// The release whose content this is: itself, unless it is a rollback.
    pub origin: u64,
    /// When, in UTC by the clock of whoever deployed, such as `2026-02-03T04:05:06Z`; raw.
    pub at: String,
    /// Who, such as `alice@laptop`; raw.
    pub by: String,
    /// The command, such as `deploy web`; raw.
    pub what: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What it consists of; empty unless it is good.
    pub services: BTreeMap<ServiceName, Part>,
    /// The resolved model; empty unless it is good. It may hold passwords: never show it.
    pub model: String,
}

/// How a release ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// All of it was at work.
    Good,
    /// The new version was bad, and the old one stayed.
    Failed,
    /// It stopped half-way.
    Incomplete,
}

impl Outcome {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Failed => "failed",
            Self::Incomplete => "incomplete",
        }
    }
}

/// A service in a release.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Part {
    /// The name of its image.
    pub image: String,
    /// The ID of the image that its containers were made of; `None` if there were no containers.
    pub id: Option<String>,
    /// The config hash of its containers.
    pub hash: String,
}

impl Release {
    /// Whether this is what is at work: each service has containers as the release tells, and no others.
    #[must_use]
    pub fn serves(&self, containers: &[Container]) -> bool {
        self.outcome == Outcome::Good && self.services.keys().all(|service| self.has_at_work(service, containers))
    }

    /// Whether a service is at work as this release tells. One that has done its work may have been tidied away.
    fn has_at_work(&self, service: &ServiceName, containers: &[Container]) -> bool {
        let Some(part) = self.services.get(service) else { return false };
        let mut own = of(containers, service).peekable();
        if own.peek().is_none() {
            return part.id.is_none() || released::may_complete(&self.model, service);
        }
        own.all(|container| part.is_of(container))
    }

    /// The images that it takes.
    #[must_use]
    pub fn images(&self) -> BTreeSet<ImageId> {
        self.services.values().filter_map(|part| part.id.as_ref().map(ImageId::new)).collect()
    }
}

impl Part {
    fn is_of(&self, container: &Container) -> bool {
        let image = self.id.as_deref().is_some_and(|id| is_same(&ImageId::new(id), &container.image));
        image && self.hash == container.config_hash
    }
}

/// The containers of a service that are at work, or have been.
fn of<'a>(containers: &'a [Container], service: &ServiceName) -> impl Iterator<Item = &'a Container> {
    let own = containers.iter().filter(move |container| !container.one_off && container.service == *service);
    own.filter(|container| !matches!(container.state, State::Created | State::Dead))
}

/// All releases of a project, oldest first. What cannot be understood is left out.
pub async fn all(notes: &impl Notes, project: &ProjectName) -> engine::Result<Vec<Release>> {
    let notes = notes.notes(text::PROJECT, project.as_str()).await?;
    let mut releases: Vec<_> = notes
        .iter()
        .filter_map(|(name, text)| {
            let release = text::read(text);
            if release.is_none() {
                tracing::debug!("{} is no release that can be understood", crate::text::escape(name));
            }
            // Whoever has another name than its number tells is not to take anybody's place.
            release.filter(|release| *name == self::name(project, release.number))
        })
        .collect();
    releases.sort_by_key(|release| release.number);
    Ok(releases)
}

/// What the note is called.
fn name(project: &ProjectName, number: u64) -> String {
    format!("kerek-release-{project}-{number}")
}

#[cfg(test)]
mod tests;
