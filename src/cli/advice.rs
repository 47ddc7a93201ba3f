//! What to type instead of options that there are not where they were typed, but elsewhere or in Compose.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

/// Options of `docker compose` itself, which stand before the name of a command there.
const BEFORE_COMMAND: [&str; 11] = [
    "-f",
    "--file",
    "-p",
    "--project-name",
    "--project-directory",
    "--env-file",
    "--profile",
    "--compatibility",
    "--parallel",
    "--ansi",
    "--progress",
];

/// Adds what to do to an error about an option that is not known.
pub(super) fn on(mut error: clap::Error, program: &str) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && let Some(advice) = advice(argument, program)
    {
        // The usage is that of what looks alike.
        if error.remove(ContextKind::SuggestedArg).is_some() {
            error.remove(ContextKind::Usage);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(advice)]));
    }
    error
}

fn advice(argument: &str, program: &str) -> Option<String> {
    let option = argument.split('=').next().unwrap_or(argument);
    Some(match option {
        _ if BEFORE_COMMAND.contains(&option) => {
            format!("'{option}' comes after the name of a command that knows it: '{program} deploy {option} …'")
        }
        "--scale" => "the Compose file says how many replicas there are: 'scale' or 'deploy.replicas'".to_owned(),
        "--no-recreate" => format!("to see what would be replaced, and why: '{program} deploy --dry-run'"),
        "-y" | "--yes" => "leave it out: a deploy asks no questions".to_owned(),
        "--quiet-build" => "'--progress quiet' keeps builds quiet, too".to_owned(),
        _ => return None,
    })
}
