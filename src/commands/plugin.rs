//! `kerek plugin`: a link in the docker CLI's folder of plugins, so that `docker deploy` is `kerek deploy`.
//!
//! What is there and not a link to some kerek is somebody else's, and stays.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::cli::{GlobalOptions, PluginAction, PluginOptions};
use crate::error::Failure;
use crate::report::console;
use crate::text::escape;

/// What the docker CLI calls the plugin.
const NAME: &str = "docker-deploy";

/// Runs the command.
pub(super) fn run(global: &GlobalOptions, options: PluginOptions) -> Result<(), Failure> {
    let kerek = std::env::current_exe().context("cannot tell where kerek is")?;
    let link = folder(global)?.join(NAME);
    let what = look(&link, &kerek)?;
    let done = match (options.action, what) {
        (PluginAction::Install, Found::This) => format!("`docker deploy` is kerek already, by {}", shown(&link)),
        (PluginAction::Install, Found::Nothing | Found::AnotherKerek(_)) if global.dry_run => {
            format!("would make {}, a link to {}", shown(&link), shown(&kerek))
        }
        (PluginAction::Install, found) => {
            install(&link, &kerek, &found)?;
            format!("`docker deploy` is kerek now, by {}", shown(&link))
        }
        (PluginAction::Remove, Found::Nothing) => format!("there is no plugin {}", shown(&link)),
        (PluginAction::Remove, Found::This | Found::AnotherKerek(_)) if global.dry_run => {
            format!("would remove {}", shown(&link))
        }
        (PluginAction::Remove, Found::This | Found::AnotherKerek(_)) => {
            fs::remove_file(&link).with_context(|| format!("cannot remove {}", shown(&link)))?;
            format!("removed {}", shown(&link))
        }
    };
    console::out(&format!("{done}\n")).map_err(console::cannot_write)
}

/// Where the docker CLI looks for the user's plugins.
fn folder(global: &GlobalOptions) -> Result<PathBuf, Failure> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = global.config.clone().or_else(|| variable("DOCKER_CONFIG"));
    let config = config.or_else(|| Some(variable("HOME")?.join(".docker")));
    let config = config.ok_or_else(|| {
        Failure::from(anyhow!("cannot tell where the docker CLI's configuration is")).hint("Name it with --config.")
    })?;
    Ok(config.join("cli-plugins"))
}

/// What is in the plugin's place.
#[derive(Debug, Eq, PartialEq)]
enum Found {
    Nothing,
    /// A link to the program that runs.
    This,
    /// A link to another program of the same name, be it there or not.
    AnotherKerek(PathBuf),
}

/// Fails if that is not ours to change.
fn look(link: &Path, kerek: &Path) -> Result<Found, Failure> {
    let target = match fs::read_link(link) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        // It is no link, for one.
        Err(_) => return Err(foreign(link)),
    };
    let absolute = link.parent().unwrap_or(link).join(&target);
    let resolved = fs::canonicalize(&absolute).unwrap_or(absolute);
    let this = fs::canonicalize(kerek).unwrap_or_else(|_| kerek.to_owned());
    if resolved == this {
        Ok(Found::This)
    } else if target.file_name() == Some(OsStr::new("kerek")) {
        Ok(Found::AnotherKerek(target))
    } else {
        Err(foreign(link))
    }
}

fn foreign(link: &Path) -> Failure {
    Failure::from(anyhow!("{} is something else than a link to kerek", shown(link)))
        .hint("It was left as it is. Move it away first if it is not needed.")
}

fn install(link: &Path, kerek: &Path, found: &Found) -> Result<(), Failure> {
    let folder = link.parent().unwrap_or(link);
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", shown(folder)))?;
    if let Found::AnotherKerek(_) = found {
        fs::remove_file(link).with_context(|| format!("cannot replace {}", shown(link)))?;
    }
    Ok(symlink(kerek, link).with_context(|| format!("cannot make the link {}", shown(link)))?)
}

fn shown(path: &Path) -> String {
    escape(&path.to_string_lossy())
}
