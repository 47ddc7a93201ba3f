//! Writing down what was deployed, and forgetting what is long ago.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context;
use futures_util::future::join_all;

use super::{Outcome as Ending, Part, Release, all, name, of, text};
use crate::compose::{Loaded, released};
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
        /// What was wished for.
        loaded: &'a Loaded,
        /// What was done.
        deployed: &'a Deployed,
        /// The release that was gone back to.
        origin: Option<u64>,
    },
    /// The new version was bad, and the old one stayed.
    Failed,
    /// It stopped half-way.
    Incomplete,
}

impl<E: Engine + Notes> Book<'_, E> {
    /// Records a release, unless the last one was the same, and forgets all but the last `keep` good ones. Returns its
    /// number.
    pub async fn record(&self, outcome: Outcome<'_>, keep: usize) -> anyhow::Result<Option<u64>> {
        // What was updated is to be recorded for sure: then, containers are looked at while releases are.
        let containers = async {
            match outcome {
                Outcome::Good { deployed, .. } if keep > 0 && deployed.updated > 0 => {
                    self.engine.containers(self.project).await.map(Some)
                }
                _ => Ok(None),
            }
        };
        let (mut known, containers) = tokio::try_join!(all(self.engine, self.project), containers)?;
        let mut made = None;
        if keep > 0
            && let Some(release) = self.release(outcome, &known, containers).await?
        {
            let note = text::write(self.project, &release).context("cannot pack the model")?;
            self.engine.post(&name(self.project, release.number), &note).await?;
            self.keep_images(&release).await;
            made = Some(release.number);
            known.push(release);
        }
        self.forget(&known, keep).await?;
        Ok(made)
    }

    /// What is to be recorded; `containers` are those of the project, if they were looked at.
    async fn release(
        &self,
        outcome: Outcome<'_>,
        known: &[Release],
        containers: Option<Vec<Container>>,
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
        let (loaded, deployed, origin) = match outcome {
            Outcome::Good { loaded, deployed, origin } => (loaded, deployed, origin),
            Outcome::Failed => return Ok(Some(release(Ending::Failed))),
            Outcome::Incomplete => return Ok(Some(release(Ending::Incomplete))),
        };
        if deployed.updated == 0 && known.last().is_some_and(|last| is_known(deployed, last)) {
            return Ok(None);
        }
        let containers = match containers {
            Some(containers) => containers,
            None => self.engine.containers(self.project).await?,
        };
        let base = known.iter().rfind(|release| release.outcome == Ending::Good);
        let base = base.map(|base| released::Base {
            model: &base.model,
            services: base.services.keys().filter(|name| is_there(name, deployed, &containers)).collect(),
        });
        let considered = deployed.services.keys().collect();
        let model = released::model(loaded, &considered, base.as_ref(), &deployed.delivered)?;
        let images = released::images(&model)?;
        let covered = considered.into_iter().chain(base.iter().flat_map(|base| base.services.iter().copied()));
        let services: BTreeMap<_, _> = covered
            .filter_map(|name| Some((name.clone(), part(images.get(name)?.clone(), name, &containers))))
            .collect();
        Ok(Some(Release { origin: origin.unwrap_or(number), services, model, ..release(Ending::Good) }))
    }

    /// Gives each image a name that stays.
    async fn keep_images(&self, release: &Release) {
        let ids: BTreeSet<_> = release.images().into_values().collect();
        let tagging = ids.iter().map(|id| async move {
            // It may be gone by now, although containers of it run.
            if let Err(error) = self.images.tag_image(id, REPOSITORY, &self.tag(id)).await {
                tracing::debug!("{error}");
            }
        });
        join_all(tagging).await;
    }

    /// Removes releases that are too old, and the names of their images.
    async fn forget(&self, known: &[Release], keep: usize) -> anyhow::Result<()> {
        let old = retired(known, keep);
        let (old, stay): (Vec<_>, Vec<_>) = known.iter().partition(|release| old.contains(&release.number));
        let needed: BTreeSet<_> = stay.iter().flat_map(|release| release.images().into_values()).collect();
        for release in old {
            self.engine.tear_off(&name(self.project, release.number)).await?;
            for id in release.images().values().filter(|id| !needed.contains(id)) {
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
    let is_known =
        |(name, hash): (&ServiceName, &String)| last.services.get(name).is_some_and(|part| part.hash == *hash);
    last.outcome == Ending::Good && deployed.services.iter().all(is_known)
}

/// Whether a service that was not considered is there as it was in a release before.
fn is_there(service: &ServiceName, deployed: &Deployed, containers: &[Container]) -> bool {
    !deployed.services.contains_key(service) && of(containers, service).next().is_some()
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
