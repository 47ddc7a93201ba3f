//! What a project has on this machine, while its engine is on another: files and folders to mount that are not there.
//!
//! Engines mount what is on their own host. In place of what is missing they make an empty folder, or refuse, when the
//! deploy is under way already. So whatever is here is looked for there. Configs and secrets that are missing are copied
//! into the containers (see [`super::files`]); anything else is refused in planning. Whether the engine is on another
//! machine need not be known for this: in a container that is given the socket of its host's engine, it is much the same.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::anyhow;

use super::plan::Plan;
use crate::compose::files::MountedFile;
use crate::compose::{Bind, Project};
use crate::engine::{self, Content, Engine};
use crate::error::{Failure, Kind};
use crate::names::ServiceName;
use crate::text::escape;

/// Bytes that a file to copy may have. It is held in memory, and compared with what each container holds.
const LARGEST: u64 = super::files::MOST_COMPARED as u64;

/// What this machine has and the engine's host lacks, by absolute path.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Missing {
    paths: BTreeSet<String>,
    /// Why some of these cannot be copied.
    unfit: BTreeMap<String, String>,
}

/// Asks the engine for all paths that a project mounts and that are here.
pub(super) async fn look<E: Engine>(engine: &E, project: &Project) -> engine::Result<Missing> {
    let services = project.services.values();
    let sources = services.flat_map(|service| {
        let files = service.files.mounted.iter().map(|file| &file.source);
        files.chain(service.binds.iter().map(|bind| &bind.source))
    });
    let here: BTreeSet<_> = sources.filter(|source| Path::new(source).exists()).cloned().collect();
    let paths = if here.is_empty() { here } else { engine.lacking(&here).await? };
    Ok(Missing { paths, ..Missing::default() })
}

/// Makes configs and secrets that are missing files to copy, with what they hold here. Nothing is read outside of `within`.
pub(super) fn deliver(project: &mut Project, missing: &mut Missing, within: Option<&Path>) {
    for service in project.services.values_mut() {
        let (missed, mounted): (Vec<_>, Vec<_>) =
            service.files.mounted.drain(..).partition(|file| missing.paths.contains(&file.source));
        service.files.mounted = mounted;
        for file in missed {
            match readable(&file.source, within).and_then(|()| read(&file.source)) {
                Ok((content, executable)) => service.files.copied.push(file.delivered(content, executable)),
                Err(problem) => {
                    missing.unfit.insert(file.source.clone(), problem);
                    service.files.mounted.push(file);
                }
            }
        }
    }
}

/// Fails if a file is not in the folder that it has to be in.
fn readable(path: &str, within: Option<&Path>) -> Result<(), String> {
    let Some(folder) = within else { return Ok(()) };
    let resolved = fs::canonicalize(path).map_err(|error| format!("cannot be read: {error}"))?;
    if resolved.starts_with(folder) {
        Ok(())
    } else {
        Err(format!("is not in {}, the folder of the project", escape(&folder.to_string_lossy())))
    }
}

/// A file's content, and whether it can be executed; or why it cannot be copied.
fn read(path: &str) -> Result<(Content, bool), String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let facts = fs::metadata(path).map_err(unreadable)?;
    if facts.is_dir() {
        return Err("is a folder, and only files can be copied".to_owned());
    }
    if !facts.is_file() {
        return Err("is no regular file".to_owned());
    }
    if facts.len() > LARGEST {
        return Err(format!("has more than {} MB, the most that is copied", LARGEST >> 20));
    }
    Ok((Content(fs::read(path).map_err(unreadable)?), facts.permissions().mode() & 0o111 != 0))
}

/// Fails if containers are to come in that would mount what is missing.
pub(super) fn refuse(project: &Project, plan: &Plan, missing: &Missing) -> Result<(), Failure> {
    for name in plan.growing() {
        let Some(service) = project.services.get(name) else { continue };
        if let Some(bind) = service.binds.iter().find(|bind| missing.paths.contains(&bind.source)) {
            return Err(not_there(name, bind));
        }
        let unfit = |file: &MountedFile| Some((file.key.clone(), missing.unfit.get(&file.source)?));
        if let Some((file, (key, problem))) = service.files.mounted.iter().find_map(|file| Some((file, unfit(file)?))) {
            let source = escape(&file.source);
            let error = anyhow!(
                "services.{name}: {source}, the file of {}, is not on the engine's host, and here it {problem}",
                escape(&key)
            );
            return Err(Failure::new(Kind::Unchanged, error)
                .hint(format!("Put it on the engine's host, at {source}: it is then mounted from there.")));
        }
    }
    Ok(())
}

fn not_there(service: &ServiceName, bind: &Bind) -> Failure {
    let [key, source, target] = [&bind.key, &bind.source, &bind.target].map(|text| escape(text));
    let error = anyhow!(
        "services.{service}.{key}: {source} is on this machine and not on the engine's host, so it cannot be mounted at \
         {target}"
    );
    let failure = Failure::new(Kind::Unchanged, error);
    let failure = if Path::new(&bind.source).is_dir() {
        failure.hint("For data, use a named volume; for files, a config or a secret each (with `file:`, it is copied).")
    } else {
        failure.hint("Make it a config or a secret with `file:`: then it is copied.")
    };
    failure.hint(format!("Or put it on the engine's host, at {source}: it is then mounted from there."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::files::CopiedFile;
    use crate::compose::model::parse;

    fn project(folder: &Path) -> Project {
        let folder = folder.display();
        let yaml = format!(
            "name: shop\nservices:\n  web:\n    image: web\n    configs: [{{source: here}}, {{source: gone}}, {{source: folder}}]\n\
             configs:\n  here: {{file: {folder}/here}}\n  gone: {{file: {folder}/gone}}\n  folder: {{file: {folder}}}\n"
        );
        parse(&yaml).expect("valid")
    }

    #[test]
    fn only_what_can_be_copied_is_delivered() {
        let folder = tempfile::tempdir().expect("temporary directory");
        fs::write(folder.path().join("here"), "content").expect("should write");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let paths = [path("here"), folder.path().display().to_string()].into();
        let mut missing = Missing { paths, unfit: BTreeMap::new() };
        let mut project = project(folder.path());
        deliver(&mut project, &mut missing, None);
        let files = &project.services[&ServiceName::new("web")].files;
        let copied: Vec<_> = files.copied.iter().filter_map(CopiedFile::file).collect();
        assert_eq!(copied.len(), 1);
        assert_eq!((copied[0].path.as_str(), copied[0].mode, &*copied[0].content.0), ("/here", 0o444, &b"content"[..]));
        let mounted: Vec<_> = files.mounted.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(mounted, ["/gone", "/folder"]);
        assert_eq!(missing.unfit.keys().collect::<Vec<_>>(), [&folder.path().display().to_string()]);
    }
}
