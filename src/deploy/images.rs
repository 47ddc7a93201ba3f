//! Images behind names that are used again and again: what is to be built and pulled before a deployment, and which
//! containers are made of something else than their image's name stands for by now.
//!
//! Compose's config hash knows the name only. That it stands for another image is a reason to update where the user, or
//! the Compose file, asks for new images; otherwise it is worth a note.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use futures_util::future;

use super::plan::{ChangedImage, Plan};
use crate::compose::images::{Options, Policy, Refresh};
use crate::compose::{Compose, Project, Service};
use crate::engine::{self, Container, Engine, Image, State};
use crate::error::Failure;
use crate::names::{ContainerId, ImageId, ServiceName};
use crate::report::{Event, Reporter};
use crate::suggestion::Suggestion;
use crate::text::escape;

/// What has to be built and pulled, although no container may be missing. What is missing besides that, Compose brings
/// in when it creates containers.
pub(super) async fn wanted<E: Engine>(
    engine: &E,
    project: &Project,
    considered: &BTreeSet<ServiceName>,
    options: &Options,
) -> engine::Result<Refresh> {
    let mut refresh = Refresh { quiet_pull: options.quiet_pull, ..Refresh::default() };
    for name in considered {
        let Some(service) = project.services.get(name) else { continue };
        let pulls = match options.policy(&service.source) {
            Policy::Build => {
                refresh.build.insert(name.clone());
                false
            }
            Policy::Always => true,
            Policy::Every(time) => is_older(engine.image(&service.image).await?, time),
            // One that can be built is left to Compose.
            Policy::Missing if options.pull.is_some() && !service.source.builds => {
                engine.image(&service.image).await?.is_none()
            }
            Policy::Missing | Policy::Never | Policy::Delivered => false,
        };
        if pulls {
            let group = if service.source.builds { &mut refresh.try_pull } else { &mut refresh.pull };
            group.insert(name.clone());
        }
    }
    Ok(refresh)
}

/// Whether an image has had its name for longer than that, as far as anyone can tell.
fn is_older(image: Option<Image>, time: Duration) -> bool {
    let tagged = image.and_then(|image| image.tagged);
    tagged.is_none_or(|tagged| SystemTime::now().duration_since(tagged).is_ok_and(|age| age > time))
}

/// Brings in the images that some services lack, as Compose would when it creates their containers: for those that are
/// created only when something has changed already. Fails if an image cannot be had.
pub(super) async fn bring_in<E: Engine, C: Compose>(
    engine: &E,
    compose: &C,
    project: &Project,
    services: impl Iterator<Item = &ServiceName>,
    options: &Options,
) -> Result<(), Failure> {
    let mut lacking = services.filter_map(|name| Some((name, project.services.get(name)?))).collect();
    lacking = without_image(engine, lacking).await?;
    let mut pulls = Refresh { quiet_pull: options.quiet_pull, ..Refresh::default() };
    for (name, service) in &lacking {
        if matches!(options.policy(&service.source), Policy::Missing | Policy::Every(_) | Policy::Always) {
            let group = if service.source.builds { &mut pulls.try_pull } else { &mut pulls.pull };
            group.insert((*name).clone());
        }
    }
    if !pulls.is_empty() {
        compose.refresh(&pulls).await?;
        lacking = without_image(engine, lacking).await?;
    }
    let buildable = lacking.iter().filter(|(_, service)| service.source.builds && !options.no_build);
    let builds = Refresh { build: buildable.map(|(name, _)| (*name).clone()).collect(), ..Refresh::default() };
    if !builds.is_empty() {
        compose.refresh(&builds).await?;
        lacking = without_image(engine, lacking).await?;
    }
    match lacking.first() {
        None => Ok(()),
        Some((name, service)) => {
            let image = escape(&service.image);
            let error = anyhow!(
                "{name} needs the image {image}, which the engine does not have and which may not be brought in"
            );
            Err(Failure::from(error).hint("Send it with `--transfer-images`, or allow for it to be built or pulled."))
        }
    }
}

/// Those of some services whose image is not on the engine.
async fn without_image<'a, E: Engine>(
    engine: &E,
    services: Vec<(&'a ServiceName, &'a Service)>,
) -> engine::Result<Vec<(&'a ServiceName, &'a Service)>> {
    let look = |&(name, service): &(&'a ServiceName, &'a Service)| async move {
        engine::Result::Ok(engine.image(&service.image).await?.is_none().then_some((name, service)))
    };
    Ok(future::try_join_all(services.iter().map(look)).await?.into_iter().flatten().collect())
}

/// When Compose is to pull while it creates containers of some services: what [`wanted`] has brought in is not brought
/// in once more.
pub(super) fn policy_of_creation(
    project: &Project,
    services: &BTreeSet<ServiceName>,
    options: &Options,
) -> Option<Policy> {
    let sources = services.iter().filter_map(|name| Some(&project.services.get(name)?.source));
    let policies: Vec<_> = sources.map(|source| options.policy(source)).collect();
    if matches!(options.pull, Some(Policy::Never | Policy::Delivered)) {
        return options.pull;
    }
    let refreshed = policies.iter().any(|policy| !matches!(policy, Policy::Missing | Policy::Never));
    // One option is for all; where it would be wrong for some, it does no harm to look twice.
    let one_for_all = policies.iter().all(|policy| *policy != Policy::Never);
    (options.pull.is_some() || refreshed && one_for_all).then_some(Policy::Missing)
}

/// Finds containers whose image's name stands for another image. What their configuration hashes to is not asked: a hash
/// may turn out to be wrong.
pub(super) async fn changes<E: Engine>(
    engine: &E,
    project: &Project,
    considered: &BTreeSet<ServiceName>,
    containers: &[Container],
    options: &Options,
) -> engine::Result<BTreeMap<ContainerId, ChangedImage>> {
    let known: Vec<_> = containers
        .iter()
        .filter(|container| !container.one_off && considered.contains(&container.service))
        .filter_map(|container| Some((container, project.services.get(&container.service)?)))
        .collect();
    let names: BTreeSet<_> = known.iter().map(|(_, service)| service.image.as_str()).collect();
    let looks = names.into_iter().map(|name| async move { engine::Result::Ok((name, engine.image(name).await?)) });
    let images: BTreeMap<_, _> = future::try_join_all(looks).await?.into_iter().collect();
    let on_engine = |name: &str| images.get(name).and_then(Option::as_ref).map(|image| &image.id);
    let now = |name: &str| options.pinned.get(name).or_else(|| on_engine(name));
    // A container of the new image that waits to be started tells that an earlier run was asked for it.
    let prepared: BTreeSet<_> = known
        .iter()
        .filter(|(container, service)| container.config_hash == service.config_hash)
        .filter(|(container, service)| {
            container.state == State::Created && now(&service.image).is_some_and(|new| is_same(new, &container.image))
        })
        .map(|(container, _)| &container.service)
        .collect();
    let changed = known.iter().filter_map(|(container, service)| {
        let new = now(&service.image).filter(|new| !is_same(new, &container.image))?;
        let wanted = options.asks_for_new(&service.source) || prepared.contains(&container.service);
        let image =
            ChangedImage { name: service.image.clone(), old: container.image.clone(), new: new.clone(), wanted };
        Some((container.id.clone(), image))
    });
    Ok(changed.collect())
}

/// Whether two IDs are the same. Engines do not always write the algorithm before the digest.
pub(super) fn is_same(one: &ImageId, other: &ImageId) -> bool {
    let digest = |id: &ImageId| id.as_str().trim_start_matches("sha256:").to_owned();
    digest(one) == digest(other)
}

/// Tells of the services that stay with an image although its name stands for another one by now, and how to update.
pub(super) fn note(
    plan: &Plan,
    changed: &BTreeMap<ContainerId, ChangedImage>,
    suggestion: &Suggestion,
    reporter: &dyn Reporter,
) {
    for service in &plan.services {
        let stale = service.kept.iter().find_map(|id| changed.get(id)).filter(|image| !image.wanted);
        let Some(ChangedImage { name, old, new, .. }) = stale else { continue };
        let service = &service.service;
        let command = suggestion.on_project("deploy", &["--pull", "missing", service.as_str()]);
        reporter.report(&Event::Note(&format!(
            "{service} stays with the image that {name} was before ({}); now that is another one ({}); \
             `{command}` updates to it",
            old.short(),
            new.short()
        )));
    }
}

/// Tells that what would be built, pulled or sent is not in a dry run, if there is anything of that kind.
pub(super) fn note_dry_run(refresh: &Refresh, options: &Options, reporter: &dyn Reporter) {
    if !options.pinned.is_empty() {
        // They are all there.
    } else if options.pull == Some(Policy::Delivered) {
        reporter.report(&Event::Note(
            "a dry run neither builds nor sends: new images that come of it may mean more updates than are shown",
        ));
    } else if !refresh.is_empty() {
        reporter.report(&Event::Note(
            "a dry run neither builds nor pulls: new images that come of it may mean more updates than are shown",
        ));
    }
}
