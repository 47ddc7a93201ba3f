//! Files that Compose gives to containers: a service's `configs` and `secrets`.
//!
//! Those with `file:` are mounted from the host when a container is created. Those with `content:` or `environment:` are
//! copied into a container between its creation and its first start; the engine knows nothing of them. Paths, modes
//! and owners are the ones that Compose 2.40 uses.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::unescape;
use crate::engine::{Content, File};

/// A service's configs and secrets, by how they reach a container.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Files {
    /// Files to copy in.
    pub copied: Vec<CopiedFile>,
    /// Absolute paths in the container of files that are mounted from the host.
    pub mounted: Vec<String>,
}

/// A file to copy into containers before they start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopiedFile {
    /// Where it is defined, such as `configs.motd`.
    pub key: String,
    /// The environment variable that holds its content, if one does.
    pub variable: Option<String>,
    /// The file; `None` if the variable is not set (or not known yet).
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

impl CopiedFile {
    /// The name of the config whose definition Compose prints without its only key, because its content is empty, and
    /// would not read again.
    pub(super) fn emptied(&self) -> Option<&str> {
        let empty = self.variable.is_none() && self.content.as_ref().is_some_and(|content| content.0.is_empty());
        self.key.strip_prefix("configs.").filter(|_| empty)
    }

    /// What is to be copied: nothing if it is empty (Compose leaves out empty ones), or if its content is unknown.
    #[must_use]
    pub fn file(&self) -> Option<File> {
        let content = self.content.clone().filter(|content| !content.0.is_empty())?;
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

/// A definition on the top level.
#[derive(Deserialize)]
pub(super) struct Definition {
    content: Option<String>,
    environment: Option<String>,
    file: Option<String>,
    #[serde(default)]
    external: bool,
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
            if definition.file.is_some() {
                self.mounted.push(path);
            } else if !definition.external {
                self.copied.push(copied(kind, &reference, definition, path)?);
            }
        }
        Ok(())
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
    let mode = match &reference.mode {
        None => 0o444,
        Some(Mode::Number(mode)) => *mode,
        Some(Mode::Octal(digits)) => u32::from_str_radix(digits, 8)
            .map_err(|_| mistake("mode", format!("`{digits}` is not an octal number such as `0440`")))?,
    };
    Ok(CopiedFile {
        key: format!("{key}.{}", reference.source),
        variable: definition.environment.clone(),
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
