//! Which project is meant: the user's options as Compose takes them, and the project's name.

use std::io::Read;

use anyhow::{Context, anyhow};

use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, ProjectOptions};
use crate::compose::cli::{self, ComposeCli};
use crate::engine::access::Access;
use crate::error::{Failure, Kind};
use crate::names::ProjectName;
use crate::report::Reporter;
use crate::text::escape;

/// The variable that names a project where no option does.
const NAME: &str = "COMPOSE_PROJECT_NAME";

/// The options as Compose takes them. Standard input is read if it is one of the files.
pub(super) fn options(options: &ProjectOptions) -> Result<cli::ProjectOptions, Failure> {
    let files: Vec<_> = options.file.iter().map(|file| file.clone().into_os_string()).collect();
    let stdin = if files.iter().any(|file| file == "-") || files.is_empty() && environment_names_stdin() {
        let mut stdin = Vec::new();
        std::io::stdin().read_to_end(&mut stdin).context("cannot read the Compose file from standard input")?;
        Some(stdin)
    } else {
        None
    };
    Ok(cli::ProjectOptions {
        files,
        stdin,
        name: options.project_name.clone().map(Into::into),
        directory: options.project_directory.clone().map(Into::into),
        environment_files: options.env_file.iter().map(|file| file.clone().into_os_string()).collect(),
        profiles: options.profile.iter().map(Into::into).collect(),
        compatibility: is_compatible(options),
        parallel: options.parallel.map(Into::into),
    })
}

/// Whether Compose is to do as its first version did, as far as it can.
pub(super) fn is_compatible(options: &ProjectOptions) -> bool {
    options.compatibility || is_yes("COMPOSE_COMPATIBILITY")
}

/// Whether an environment variable says yes, in the words that Compose takes for it.
fn is_yes(variable: &str) -> bool {
    let value = std::env::var(variable).unwrap_or_default().trim().to_ascii_lowercase();
    matches!(value.as_str(), "1" | "t" | "true" | "y")
}

/// Whether `COMPOSE_FILE`, which Compose reads where no file is named, has standard input among the files.
fn environment_names_stdin() -> bool {
    let variable = |name| std::env::var(name).unwrap_or_default();
    let separator = Some(variable("COMPOSE_PATH_SEPARATOR")).filter(|separator| !separator.is_empty());
    let separator = separator.unwrap_or_else(|| ":".to_owned());
    variable("COMPOSE_FILE").split(&separator).any(|file| file == "-")
}

/// The name of the project, for commands that need no more of it: as it is given, else as the Compose files tell.
pub(super) async fn name(
    global: &GlobalOptions,
    given: &ProjectOptions,
    access: &Access,
    cancel: &Cancel,
    reporter: &dyn Reporter,
) -> Result<ProjectName, Failure> {
    let variable = || std::env::var(NAME).ok().filter(|name| !name.is_empty() && given.file.is_empty());
    if let Some(name) = given.project_name.clone().or_else(variable) {
        return checked(&name);
    }
    let options = options(given)?;
    let compose = ComposeCli::find(&options, access.socket(), global.config.as_deref(), cancel, reporter)?;
    match compose.prefetch(&[]).await {
        Ok(loaded) => Ok(loaded.project.name),
        Err(failure) => Err(failure.hint("Without the Compose files, name the project with --project-name.")),
    }
}

/// Fails if this is no name that Compose allows.
fn checked(name: &str) -> Result<ProjectName, Failure> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
    if name.bytes().all(inner) && !name.starts_with(['_', '-']) && !name.is_empty() {
        return Ok(ProjectName::new(name));
    }
    let rule = "it consists of lower-case letters, digits, '-' and '_', and begins with a letter or digit";
    Err(Failure::new(Kind::Usage, anyhow!("\"{}\" is no name of a project: {rule}", escape(name))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_projects_are_those_of_compose() {
        for name in ["shop", "9-lives_", "a"] {
            assert_eq!(checked(name).expect("a name").as_str(), name);
        }
        for name in ["", "-shop", "_shop", "Shop", "a b", "a\u{1b}", "ä", "a/b", "a=b"] {
            assert_eq!(checked(name).expect_err("no name").kind, Kind::Usage, "{name:?}");
        }
    }
}
