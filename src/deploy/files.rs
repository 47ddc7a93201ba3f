//! Configs and secrets that the engine knows nothing of: refusing what cannot work, copying them into new containers, and
//! noticing that their content has changed, which Compose's config hash does not see. Files of this machine that its
//! engine lacks are among them, see [`super::elsewhere`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use anyhow::anyhow;
use futures_util::future;

use super::plan::Plan;
use crate::compose::Project;
use crate::compose::files::{CopiedFile, Origin};
use crate::engine::{self, Container, Engine, ErrorKind, Found, State};
use crate::error::{Failure, Kind};
use crate::names::{ContainerId, ServiceName};
use crate::text::escape;

/// Larger files are not compared: nobody has them in a variable or a Compose file.
pub(super) const MOST_COMPARED: usize = 4 << 20;

/// Containers whose files have other contents than they are to have, with the paths of these files.
pub(super) type Changes = BTreeMap<ContainerId, BTreeSet<String>>;

/// Fails if containers are to come in that cannot get their files.
pub(super) fn refuse(project: &Project, plan: &Plan) -> Result<(), Failure> {
    for name in plan.growing() {
        let Some(service) = project.services.get(name) else { continue };
        for file in &service.files.copied {
            if let (Origin::Variable(variable), None) = (&file.origin, &file.content) {
                return Err(unset(name, &file.key, variable));
            }
            if service.read_only && file.file().is_some() {
                let error = anyhow!(
                    "services.{name}.read_only: the root filesystem is read-only, so {} cannot be copied into it",
                    file.key
                );
                let hint = match &file.origin {
                    Origin::File(source) => {
                        format!("Put {} on the engine's host, at that path: it is then mounted.", escape(source))
                    }
                    _ => format!("Put the content into a file, and name it in `{}.file`: that is mounted.", file.key),
                };
                return Err(Failure::new(Kind::Unchanged, error).hint(hint));
            }
        }
    }
    Ok(())
}

fn unset(service: &ServiceName, key: &str, variable: &str) -> Failure {
    let error = anyhow!("services.{service}: the environment variable {variable}, the content of {key}, is not set");
    Failure::new(Kind::Unchanged, error).hint(format!("Set {variable} where kerek is called, or in an env file."))
}

/// Gives their files to all containers that are to come in and never ran.
pub(super) async fn copy_in<E: Engine>(
    engine: &E,
    project: &Project,
    plan: &Plan,
    containers: &[Container],
) -> engine::Result<()> {
    let incoming: BTreeSet<_> = plan.adopted().collect();
    let new = containers
        .iter()
        .filter(|container| container.state == State::Created && incoming.contains(&container.id))
        .filter_map(|container| Some((container, project.services.get(&container.service)?)));
    future::try_join_all(new.map(|(container, service)| async {
        // One after the other: files of the same path are written over by the last one, as with Compose.
        for file in service.files.copied.iter().filter_map(CopiedFile::file) {
            engine.write_file(&container.id, &file).await?;
        }
        Ok(())
    }))
    .await?;
    Ok(())
}

/// Finds containers whose configuration is as wanted, but not the contents of their configs and secrets.
pub(super) async fn changes<E: Engine>(
    engine: &E,
    project: &Project,
    considered: &BTreeSet<ServiceName>,
    containers: &[Container],
) -> engine::Result<Changes> {
    let comparable = containers
        .iter()
        .filter(|container| !container.one_off && considered.contains(&container.service))
        .filter(|container| matches!(container.state, State::Running | State::Exited { .. }))
        .filter_map(|container| Some((container, project.services.get(&container.service)?)))
        .filter(|(container, service)| container.config_hash == service.config_hash);
    let looks = comparable.flat_map(|(container, service)| {
        let copied =
            service.files.copied.iter().filter_map(CopiedFile::file).map(|file| (file.path, Some(file.content)));
        let mounted = service.files.mounted.iter().map(|file| (file.path.clone(), None));
        copied.chain(mounted).map(move |(path, wanted)| async move {
            let limit = if wanted.is_some() { MOST_COMPARED } else { 0 };
            let Some(found) = look(engine, &container.id, &path, limit).await? else { return Ok(None) };
            let changed = match wanted {
                Some(wanted) => is_as_copied(&found) && found.content.is_some_and(|content| content != wanted),
                None => container.started.is_some_and(|started| is_written_since(&found, started)),
            };
            engine::Result::Ok(changed.then_some((&container.id, path)))
        })
    });
    let mut changes = Changes::new();
    for (id, path) in future::try_join_all(looks).await?.into_iter().flatten() {
        changes.entry(id.clone()).or_default().insert(path);
    }
    Ok(changes)
}

/// A file that the engine does not want to show is no reason to fail, nor to replace anything.
async fn look<E: Engine>(engine: &E, id: &ContainerId, path: &str, limit: usize) -> engine::Result<Option<Found>> {
    match engine.read_file(id, path, limit).await {
        Err(error) if error.kind == ErrorKind::Refused => {
            tracing::debug!("{error}");
            Ok(None)
        }
        result => result,
    }
}

/// Whether a file was written to since a container started. All these times are of the engine's clock, as that of this
/// machine may be ahead or behind. One from the future, as archives and builds may leave it, would be newer than every
/// container to come, and replace them with each deploy.
fn is_written_since(found: &Found, started: SystemTime) -> bool {
    found.modified > started && found.modified <= found.now
}

/// Whether a file is the one that was copied into the container. If the container has written to it since (entrypoints
/// do fill in templates in place), the difference is its own doing, and would be there again after every update. Copied
/// files have times of whole seconds; those of files that are written to practically never are.
fn is_as_copied(found: &Found) -> bool {
    let time = found.modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    time.subsec_nanos() == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_changed_between_the_start_and_now_by_the_engines_clock() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        // Years behind and ahead of this machine's.
        let ahead = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs() * 2;
        for clock in [1_000, ahead] {
            let found = |modified| Found { modified: at(modified), now: at(clock), content: None };
            let started = at(clock - 100);
            assert!(is_written_since(&found(clock - 1), started));
            assert!(is_written_since(&found(clock), started));
            assert!(!is_written_since(&found(clock - 101), started), "it was there before");
            assert!(!is_written_since(&found(clock - 100), started), "it may have been read");
            assert!(!is_written_since(&found(clock + 1), started), "it would never settle");
        }
    }
}
