//! Writing down what was deployed, and forgetting what is long ago.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, anyhow};
use futures_util::future::join_all;

use super::{Outcome as Ending, Part, Release, all, name, of, text};
use crate::compose::released;
use crate::deploy::Deployed;
use crate::deploy::lock::Owner;
use crate::engine::api::Api;
use crate::engine::notes::Notes;
use crate::engine::{Container, Engine};
use crate::names::{ImageId, ProjectName, ServiceName};

/// Where kerek's own names of images begin.
const REPOSITORY: &str = "kerek-release";
/// Characters of a project's name in them; engines take 128 in all.
const LONGEST_PROJECT: usize = 100;
/// How many numbers may be taken by what cannot be read as a release.
const MOST_TAKEN: u64 = 100;

/// The releases of a project, to be written by whoever holds its lock.
#[derive(Clone, Copy, Debug)]
pub struct Book<'a, E> {
    /// The engine, which holds the notes.
    pub engine: &'a E,
    /// The same, for names of images.
    pub images: &'a Api,
    /// Whose releases.
    pub project: &'a ProjectName,
    /// Who deploys.
    pub owner: &'a Owner,
}

/// How a deployment has ended.
#[derive(Clone, Copy, Debug)]
pub enum Outcome<'a> {
    /// All is at work.
    Good {
        /// What was done.
        deployed: &'a Deployed,
        /// The release that was gone back to.
        origin: Option<u64>,
    },
    /// The new version was bad, and the old one stayed.
    Failed,
    /// It stopped half-way.
    Incomplete,
    /// The user stopped it, before or after it had changed anything.
    Interrupted,
}

impl<E: Engine + Notes> Book<'_, E> {
    /// All releases that there are.
    pub async fn all(&self) -> anyhow::Result<Vec<Release>> {
        Ok(all(self.engine, self.project).await?)
    }

    /// Records a release, unless it is the last one still. Returns all that there are now.
    pub async fn record(&self, outcome: Outcome<'_>) -> anyhow::Result<Vec<Release>> {
        let (mut known, containers) =
            tokio::try_join!(all(self.engine, self.project), self.engine.containers(self.project))?;
        if let Some(mut release) = self.release(outcome, &known, &containers)? {
            self.post(&mut release).await?;
            self.keep_images(&release).await;
            known.push(release);
        }
        Ok(known)
    }

    /// Posts a release, under the next number that is free: there may be releases that cannot be read.
    async fn post(&self, release: &mut Release) -> anyhow::Result<()> {
        for _ in 0..=MOST_TAKEN {
            let note = text::write(self.project, release).context("cannot pack the model")?;
            let name = name(self.project, release.number);
            if self.engine.post(&name, &note).await? == note {
                return Ok(());
            }
            tracing::debug!("{name} is taken");
            let Some(next) = release.number.checked_add(1) else { break };
            if release.origin == release.number {
                release.origin = next;
            }
            release.number = next;
        }
        Err(anyhow!("there are volumes with the names of the next {MOST_TAKEN} releases already"))
    }

    /// What is to be recorded; `containers` are those of the project.
    fn release(
        &self,
        outcome: Outcome<'_>,
        known: &[Release],
        containers: &[Container],
    ) -> anyhow::Result<Option<Release>> {
        let number = known.last().map_or(1, |last| last.number.saturating_add(1));
        let release = |ending| Release {
            number,
            origin: number,
            at: self.owner.since().to_owned(),
            by: self.owner.who().to_owned(),
            what: self.owner.what().to_owned(),
            outcome: ending,
            services: BTreeMap::new(),
            model: String::new(),
        };
        let serving = known.last().filter(|last| last.serves(containers));
        let (deployed, origin) = match outcome {
            Outcome::Good { deployed, origin } => (deployed, origin),
            Outcome::Failed => return Ok(Some(release(Ending::Failed))),
            Outcome::Interrupted if serving.is_some() => return Ok(None),
            Outcome::Incomplete | Outcome::Interrupted => return Ok(Some(release(Ending::Incomplete))),
        };
        if deployed.updated == 0 && serving.is_some_and(|last| is_known(deployed, last)) {
            return Ok(None);
        }
        let base = known.iter().rfind(|release| release.outcome == Ending::Good);
        let (services, model) = content(deployed, base, containers)?;
        Ok(Some(Release { origin: origin.unwrap_or(number), services, model, ..release(Ending::Good) }))
    }

    /// Gives each image a name that stays.
    async fn keep_images(&self, release: &Release) {
        let ids = release.images();
        let tagging = ids.iter().map(|id| async move {
            // It may be gone by now, although containers of it run.
            if let Err(error) = self.images.tag_image(id, REPOSITORY, &self.tag(id)).await {
                tracing::debug!("{error}");
            }
        });
        join_all(tagging).await;
    }

    /// Removes all releases but the last `keep` good ones, and the names of their images.
    pub async fn forget(&self, known: &[Release], keep: usize) -> anyhow::Result<()> {
        let old = retired(known, keep);
        let (old, stay): (Vec<_>, Vec<_>) = known.iter().partition(|release| old.contains(&release.number));
        let needed: BTreeSet<_> = stay.iter().flat_map(|release| release.images()).collect();
        for release in old {
            self.engine.tear_off(&name(self.project, release.number)).await?;
            for id in release.images().iter().filter(|id| !needed.contains(id)) {
                // It may be in use, and have no other name: then it keeps this one.
                if let Err(error) = self.images.untag_image(REPOSITORY, &self.tag(id)).await {
                    tracing::debug!("{error}");
                }
            }
        }
        Ok(())
    }

    fn tag(&self, id: &ImageId) -> String {
        let project: String = self.project.as_str().chars().take(LONGEST_PROJECT).collect();
        format!("{project}.{}", id.short())
    }
}

/// Whether a deployment that has changed nothing is one that is recorded.
fn is_known(deployed: &Deployed, last: &Release) -> bool {
    deployed.services.iter().all(|name| {
        let wanted = deployed.loaded.project.services.get(name);
        wanted.zip(last.services.get(name)).is_some_and(|(wanted, part)| wanted.config_hash == part.hash)
    })
}

/// What a release consists of, and its model.
///
/// What was not considered belongs to it as well, if it is known what that is: it is as in the release before, or as the
/// files tell. What is neither was made by other means, and is left alone when this release is gone back to.
fn content(
    deployed: &Deployed,
    base: Option<&Release>,
    containers: &[Container],
) -> anyhow::Result<(BTreeMap<ServiceName, Part>, String)> {
    let files = &deployed.loaded.project.services;
    let is_in_files = |name: &ServiceName| {
        let mut own = of(containers, name).peekable();
        own.peek().is_some()
            && files.get(name).is_some_and(|service| own.all(|container| container.config_hash == service.config_hash))
    };
    let before = base.iter().flat_map(|base| base.services.keys());
    let before = before.filter(|name| !deployed.services.contains(*name) && of(containers, name).next().is_some());
    let (same, others) = before.partition(|name| base.is_some_and(|base| base.has_at_work(name, containers)));
    let base_of_model = base.map(|base| released::Base { model: &base.model, same, others });
    let released::Written { model, same } = released::model(&deployed.loaded, base_of_model.as_ref())?;
    let from_files = files.keys().filter(|name| deployed.services.contains(*name) || is_in_files(name));
    let from_files = from_files.filter(|name| !same.contains(*name));
    let mut services: BTreeMap<_, _> =
        from_files.map(|name| (name.clone(), part(files[name].image.clone(), name, containers))).collect();
    let retained = base.iter().flat_map(|base| &base.services).filter(|(name, _)| same.contains(*name));
    services.extend(retained.map(|(name, part)| (name.clone(), part.clone())));
    Ok((services, model))
}

/// What a service is made of. Of several containers, the one that was made last tells.
fn part(image: String, service: &ServiceName, containers: &[Container]) -> Part {
    let last = of(containers, service).max_by_key(|container| container.created);
    Part {
        image,
        id: last.map(|container| container.image.as_str().to_owned()),
        hash: last.map(|container| container.config_hash.clone()).unwrap_or_default(),
    }
}

/// The releases that are not among the last good ones, nor newer than the oldest of these.
pub(super) fn retired(known: &[Release], keep: usize) -> BTreeSet<u64> {
    let good = known.iter().rev().filter(|release| release.outcome == Ending::Good);
    let kept: BTreeSet<_> = good.take(keep).map(|release| release.number).collect();
    let oldest = kept.first().copied().unwrap_or(if keep == 0 { u64::MAX } else { 0 });
    // Of those that came to no good, only the newest: a deploy that is tried again and again should not fill the engine.
    let bad = known.iter().rev().filter(|release| release.outcome != Ending::Good && release.number > oldest);
    let bad: BTreeSet<_> = bad.take(keep).map(|release| release.number).collect();
    known
        .iter()
        .map(|release| release.number)
        .filter(|number| !kept.contains(number) && !bad.contains(number))
        .collect()
}
