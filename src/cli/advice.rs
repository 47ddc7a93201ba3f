//! What to type instead of options that there are not where they were typed, but elsewhere or in Compose.

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::common;

/// Adds what to do to an error about an option that is not known.
pub(super) fn on(mut error: clap::Error, command: &clap::Command, program: &str) -> clap::Error {
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && let Some(advice) = advice(argument, command, program)
    {
        // The usage is that of what looks alike.
        if error.remove(ContextKind::SuggestedArg).is_some() {
            error.remove(ContextKind::Usage);
        }
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(advice)]));
    }
    error
}

fn advice(argument: &str, command: &clap::Command, program: &str) -> Option<String> {
    let option = argument.split('=').next().unwrap_or(argument);
    Some(match option {
        _ if is_of_compose(option, command) => {
            format!("'{option}' comes after the name of a command that knows it: '{program} deploy {option} …'")
        }
        "--scale" => "the Compose file says how many replicas there are: 'scale' or 'deploy.replicas'".to_owned(),
        "--no-recreate" => format!("to see what would be replaced, and why: '{program} deploy --dry-run'"),
        "-y" | "--yes" => "leave it out: a deploy asks no questions".to_owned(),
        "--quiet-build" => "'--progress quiet' keeps builds quiet, too".to_owned(),
        _ => return None,
    })
}

/// Whether an option of `deploy` is one of `docker compose` itself, where it stands before the name of a command.
fn is_of_compose(option: &str, command: &clap::Command) -> bool {
    let deploy = command.get_subcommands().find(|command| command.get_name() == "deploy");
    let arguments = deploy.into_iter().flat_map(clap::Command::get_arguments);
    arguments.filter(|it| [Some(common::PROJECT), Some(common::OUTPUT)].contains(&it.get_help_heading())).any(|it| {
        it.get_short().is_some_and(|short| option == format!("-{short}"))
            || it.get_long().is_some_and(|long| option == format!("--{long}"))
    })
}
