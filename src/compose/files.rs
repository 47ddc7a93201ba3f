//! Files that Compose gives to containers: a service's `configs` and `secrets`.
//!
//! Those with `file:` are mounted from the host when a container is created. Those with `content:` or `environment:` are
//! copied into a container between its creation and its first start; the engine knows nothing of them. Paths, modes
//! and owners are the ones that Compose 2.40 uses. A file that the engine's host lacks can be copied, too: see
//! [`MountedFile::delivered`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::unescape;
use crate::engine::{Content, File};

/// Permissions of files for which none are asked.
const READABLE: u32 = 0o444;
/// The same of files that can be run where they come from.
const RUNNABLE: u32 = 0o555;

const fn default_mode(executable: bool) -> u32 {
    if executable { RUNNABLE } else { READABLE }
}

/// A service's configs and secrets, by how they reach a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files {
    /// Files to copy in.
    pub copied: Vec<CopiedFile>,
    /// Files to mount from the host.
    pub mounted: Vec<MountedFile>,
}

/// A file to copy into containers before they start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopiedFile {
    /// Where it is defined, such as `configs.motd`.
    pub key: String,
    /// Where its content comes from.
    pub origin: Origin,
    /// What it holds; `None` if the variable is not set (or not known yet).
    pub content: Option<Content>,
    /// Its absolute path in the container.
    pub path: String,
    /// Its permissions.
    pub mode: u32,
    /// Its owner, if one is asked for.
    pub uid: Option<u32>,
    /// Its group, if one is asked for.
    pub gid: Option<u32>,
}

/// Where the content of a file to copy comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The Compose files.
    Inline,
    /// An environment variable.
    Variable(String),
    /// A file of this machine, by its absolute path.
    File(String),
}

/// A file that is mounted from the host of the engine.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MountedFile {
    /// Where it is defined, such as `configs.motd`.
    pub key: String,
    /// Its absolute path on the host.
    pub source: String,
    /// Its absolute path in the container.
    pub path: String,
    /// Permissions and owners that are asked for. Those of what is mounted are the host's, whatever is said here.
    mode: Option<u32>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl MountedFile {
    /// The same file, copied from this machine. Unless permissions are asked for, everybody may read it, and run it if
    /// it is `executable`.
    #[must_use]
    pub fn delivered(&self, content: Content, executable: bool) -> CopiedFile {
        CopiedFile {
            key: self.key.clone(),
            origin: Origin::File(self.source.clone()),
            content: Some(content),
            path: self.path.clone(),
            mode: self.mode.unwrap_or(default_mode(executable)),
            uid: self.uid,
            gid: self.gid,
        }
    }
}

impl CopiedFile {
    /// Whether it is from a file of this machine, and can be run.
    #[must_use]
    pub fn is_runnable_file(&self) -> bool {
        matches!(self.origin, Origin::File(_)) && self.mode == RUNNABLE
    }

    /// The name of the config whose definition Compose prints without its only key, because its content is empty, and
    /// would not read again.
    pub(super) fn emptied(&self) -> Option<&str> {
        let empty = self.origin == Origin::Inline && self.content.as_ref().is_some_and(|content| content.0.is_empty());
        self.key.strip_prefix("configs.").filter(|_| empty)
    }

    /// What is to be copied: nothing if its content is unknown, or empty where Compose leaves that out.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        let stays_empty = matches!(self.origin, Origin::File(_));
        let content = self.content.clone().filter(|content| stays_empty || !content.0.is_empty())?;
        Some(File { path: self.path.clone(), content, mode: self.mode, uid: self.uid, gid: self.gid })
    }
}

/// The two kinds of files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Config,
    Secret,
}

/// An element of a service's `configs` or `secrets`.
#[derive(Deserialize)]
pub(super) struct Reference {
    source: String,
    target: Option<String>,
    uid: Option<String>,
    gid: Option<String>,
    mode: Option<Mode>,
}

/// Octal digits, or (Compose before 2.30) the number itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Mode {
    Number(u32),
    Octal(String),
}

impl Mode {
    /// The permissions, or what is wrong with them.
    fn bits(&self) -> Result<u32, String> {
        match self {
            Self::Number(mode) => Ok(*mode),
            Self::Octal(digits) => {
                u32::from_str_radix(digits, 8).map_err(|_| format!("`{digits}` is not an octal number such as `0440`"))
            }
        }
    }
}

/// A definition on the top level.
#[derive(Deserialize)]
pub(super) struct Definition {
    content: Option<String>,
    environment: Option<String>,
    file: Option<String>,
    #[serde(default)]
    external: bool,
    /// In releases, of what was a file that could be run where it was deployed from.
    #[serde(default, rename = "x-kerek-executable")]
    executable: bool,
}

/// A mistake: the key below the service, and what is wrong with it.
pub(super) type Mistake = (String, String);

impl Files {
    /// Adds what a service refers to.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        references: Vec<Reference>,
        definitions: &BTreeMap<String, Option<Definition>>,
    ) -> Result<(), Mistake> {
        for reference in references {
            let Some(Some(definition)) = definitions.get(&reference.source) else { continue };
            let path = path(kind, &reference);
            if let Some(source) = &definition.file {
                self.mounted.push(mounted(kind, &reference, source, path));
            } else if !definition.external {
                self.copied.push(copied(kind, &reference, definition, path)?);
            }
        }
        Ok(())
    }
}

fn mounted(kind: Kind, reference: &Reference, source: &str, path: String) -> MountedFile {
    let id = |value: Option<&String>| value.and_then(|value| value.parse().ok());
    MountedFile {
        key: format!("{}.{}", kind.key(), reference.source),
        source: unescape(source),
        path,
        // Compose takes no heed of them, so they need not be right.
        mode: reference.mode.as_ref().and_then(|mode| mode.bits().ok()),
        uid: id(reference.uid.as_ref()),
        gid: id(reference.gid.as_ref()),
    }
}

fn copied(kind: Kind, reference: &Reference, definition: &Definition, path: String) -> Result<CopiedFile, Mistake> {
    let key = kind.key();
    let mistake = |part: &str, problem: String| (format!("{key}.{}.{part}", reference.source), problem);
    let id = |part: &str, value: Option<&String>| {
        value
            .filter(|value| !value.is_empty())
            .map(|value| value.parse().map_err(|_| mistake(part, format!("`{value}` is not a number"))))
            .transpose()
    };
    let mode = reference.mode.as_ref().map_or(Ok(default_mode(definition.executable)), Mode::bits);
    let mode = mode.map_err(|problem| mistake("mode", problem))?;
    Ok(CopiedFile {
        key: format!("{key}.{}", reference.source),
        origin: definition.environment.clone().map_or(Origin::Inline, Origin::Variable),
        content: match &definition.environment {
            Some(_) => None,
            // Compose does not print empty content.
            None => Some(Content(unescape(definition.content.as_deref().unwrap_or_default()).into_bytes())),
        },
        path,
        mode,
        uid: id("uid", reference.uid.as_ref())?,
        gid: id("gid", reference.gid.as_ref())?,
    })
}

/// Where a file is in the container.
fn path(kind: Kind, reference: &Reference) -> String {
    let target = reference.target.as_deref().map(unescape).filter(|target| !target.is_empty());
    let target = target.unwrap_or_else(|| reference.source.clone());
    match kind {
        _ if target.starts_with('/') => target,
        Kind::Config => format!("/{target}"),
        Kind::Secret => format!("/run/secrets/{target}"),
    }
}

impl Kind {
    fn key(self) -> &'static str {
        match self {
            Self::Config => "configs",
            Self::Secret => "secrets",
        }
    }
}
