//! The command line as types: what may be typed, what it means, and the help that says so.
//!
//! [`parse`] turns arguments into a [`Cli`] and does nothing else: it reads one environment variable (the default of
//! `--container-engine`), touches no file and prints nothing. Options, short forms and values follow `docker` and
//! `docker compose` where they exist there too, down to who wins when an option is repeated.

mod advice;
mod common;
mod deploy;
mod global;
mod hosts;
mod probe;
mod releases;
mod shell;
mod tunnel;
mod unlock;
mod values;

use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::{Resettable, Styles};
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

pub use common::{Ansi, EngineOptions, OutputOptions, PaceOptions, Progress, ProjectOptions};
pub use deploy::{DeployOptions, Pull};
pub use global::{GlobalOptions, LogLevel};
pub use hosts::{ProvisionOptions, RunWithSshConfigOptions, TransferImagesOptions};
pub use probe::ProbeOptions;
pub use releases::{HistoryOptions, ListFormat, RollbackOptions};
pub use shell::{CompletionsOptions, ManPagesOptions, PluginAction, PluginOptions};
pub use tunnel::TunnelSshOptions;
pub use unlock::UnlockOptions;

const EXAMPLES: &[(&str, &str)] = &[
    ("kerek deploy", "Update the app in the current directory on the local engine"),
    ("kerek --host ssh://deploy@example.com deploy --dry-run", "Show what a deployment to a server would change"),
    ("kerek rollback", "Go back to the version before"),
];

const HELP_EXAMPLES: &[(&str, &str)] = &[
    ("kerek help deploy", "Explain `kerek deploy` and its options at length"),
    ("kerek deploy -h", "The same in short"),
];

/// A whole command line.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "kerek",
    version,
    about = "Deploys Docker Compose apps to servers over SSH without dropping a request",
    long_about = "Deploys Docker Compose apps to servers over SSH without dropping a request.\n\n\
        Use it where you would say `docker compose up`: it reads the same Compose files and speaks to the same \
        engines, local or behind SSH, but takes an old container out of service only after its successor has proven \
        itself.",
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 100
)]
pub struct Cli {
    /// Options of every command, given before or after its name.
    #[command(flatten)]
    pub global: GlobalOptions,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Explain the options: `-h` in short, `--help` at length
    #[arg(short, long, global = true, action = ArgAction::Help, help_heading = global::GENERAL)]
    help: Option<bool>,
    /// Tell which version this is
    #[arg(short = 'V', long, action = ArgAction::Version, help_heading = global::GENERAL)]
    version: Option<bool>,
}

/// All that can be typed, as clap knows it.
#[must_use]
pub fn definition() -> clap::Command {
    command(Program::Kerek)
}

/// The commands and their own options.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Bring services to the state that the Compose files describe
    #[command(long_about = deploy::LONG_ABOUT)]
    Deploy(DeployOptions),
    /// Print completions for a shell
    #[command(long_about = shell::COMPLETIONS_LONG_ABOUT)]
    Completions(CompletionsOptions),
    /// Show what was deployed when, and how it ended
    #[command(long_about = releases::HISTORY_LONG_ABOUT)]
    History(HistoryOptions),
    /// Write manual pages
    #[command(long_about = shell::MAN_PAGES_LONG_ABOUT)]
    ManPages(ManPagesOptions),
    /// Make `docker deploy` the same as `kerek deploy`
    #[command(long_about = shell::PLUGIN_LONG_ABOUT)]
    Plugin(PluginOptions),
    /// Turn fresh hosts into container hosts
    #[command(long_about = hosts::PROVISION_LONG_ABOUT)]
    Provision(ProvisionOptions),
    /// Go back to a release that was good
    #[command(long_about = releases::ROLLBACK_LONG_ABOUT)]
    Rollback(RollbackOptions),
    /// Run a program whose SSH connections follow a given config file
    #[command(long_about = hosts::RUN_WITH_SSH_CONFIG_LONG_ABOUT)]
    RunWithSshConfig(RunWithSshConfigOptions),
    /// Send local images to another engine without a registry, only what it lacks
    #[command(long_about = hosts::TRANSFER_IMAGES_LONG_ABOUT)]
    TransferImages(TransferImagesOptions),
    /// Bring the socket of a host's engine to this machine
    #[command(long_about = tunnel::LONG_ABOUT)]
    TunnelSsh(TunnelSshOptions),
    /// Remove the lock of a project
    #[command(long_about = unlock::LONG_ABOUT)]
    Unlock(UnlockOptions),
    /// Explain kerek or one of its commands
    Help {
        /// The command to explain; kerek as a whole if left out
        command: Vec<String>,
    },
    /// What the docker CLI asks a plugin first
    #[command(hide = true)]
    DockerCliPluginMetadata,
}

/// Parses a command line, program name included. An error is what clap has to say instead: help or the version
/// (both are asked for and not failures), or what is wrong with the arguments.
pub fn parse<I, A>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = A>,
    A: Into<OsString>,
{
    let arguments: Vec<OsString> = arguments.into_iter().map(Into::into).collect();
    let program = Program::called(arguments.first());
    let mut command = command(program);
    let matches = match command.try_get_matches_from_mut(arguments) {
        // The docker CLI puts its own options first, so that `docker --help deploy` looks like help on all of kerek.
        Err(error) if error.kind() == ErrorKind::DisplayHelp && program == Program::Docker => {
            return Err(explain(program, &["deploy".to_owned()]));
        }
        matches => matches.map_err(|error| advice::on(error, &command, program.name()))?,
    };
    let cli = Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    if let Command::Help { command: topic } = &cli.command {
        return Err(explain(program, topic));
    }
    cli.global.check(&mut command)?;
    Ok(cli)
}

/// What clap shows for `--help` of a command, or of the program as a whole.
fn explain(program: Program, topic: &[String]) -> clap::Error {
    let topic = topic.iter().map(String::as_str);
    let words = [program.name()].into_iter().chain(topic).chain(["--help"]);
    match command(program).try_get_matches_from(words) {
        Err(answer) => answer,
        Ok(_) => clap::Error::new(ErrorKind::DisplayHelp),
    }
}

/// The command that the user believes to call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Program {
    Kerek,
    /// As a plugin of the docker CLI, which runs `docker-deploy` with the words after `docker` and offers `deploy` only.
    Docker,
}

impl Program {
    fn called(path: Option<&OsString>) -> Self {
        match path.and_then(|path| Path::new(path).file_name()) {
            Some(name) if name == OsStr::new("docker-deploy") => Self::Docker,
            _ => Self::Kerek,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Kerek => "kerek",
            Self::Docker => "docker",
        }
    }
}

/// The clap command, with what the derive macros cannot express.
fn command(program: Program) -> clap::Command {
    let examples = [
        ("deploy", deploy::EXAMPLES),
        ("help", HELP_EXAMPLES),
        ("completions", shell::COMPLETIONS_EXAMPLES),
        ("history", releases::HISTORY_EXAMPLES),
        ("man-pages", shell::MAN_PAGES_EXAMPLES),
        ("plugin", shell::PLUGIN_EXAMPLES),
        ("provision", hosts::PROVISION_EXAMPLES),
        ("rollback", releases::ROLLBACK_EXAMPLES),
        ("run-with-ssh-config", hosts::RUN_WITH_SSH_CONFIG_EXAMPLES),
        ("transfer-images", hosts::TRANSFER_IMAGES_EXAMPLES),
        ("tunnel-ssh", tunnel::EXAMPLES),
        ("unlock", unlock::EXAMPLES),
    ];
    let mut command = repeatable(Cli::command()).bin_name(program.name()).after_help(render(program, EXAMPLES));
    for (name, examples) in examples {
        command = command.mut_subcommand(name, |command| repeatable(command).after_help(render(program, examples)));
    }
    heed_environment(hide_engine_options(command))
}

/// Leaves the options that choose an engine out of the help of commands that need none. They are accepted nonetheless.
fn hide_engine_options(mut command: clap::Command) -> clap::Command {
    let hidden: Vec<clap::Arg> = command
        .get_arguments()
        .filter(|argument| argument.get_help_heading() == Some(global::ENGINE))
        .map(|argument| argument.clone().hide(true))
        .collect();
    for name in ["completions", "help", "man-pages", "plugin", "provision", "run-with-ssh-config", "tunnel-ssh"] {
        command = command.mut_subcommand(name, |command| command.args(&hidden));
    }
    command
}

/// An environment variable that is set but empty is as good as unset, as for the docker CLI.
fn heed_environment(mut command: clap::Command) -> clap::Command {
    for (option, variable) in common::FROM_ENVIRONMENT {
        if !std::env::var_os(variable).is_some_and(|value| value.is_empty()) {
            continue;
        }
        for name in ["deploy", "history", "provision", "rollback", "transfer-images", "unlock"] {
            command = command.mut_subcommand(name, |command| {
                let known = command.get_arguments().any(|argument| argument.get_id() == option);
                if known { command.mut_arg(option, |argument| argument.env(Resettable::Reset)) } else { command }
            });
        }
    }
    command
}

/// Of a repeated option the last one counts, as in `docker compose`, so that scripts can append to a command line.
/// The host is the exception, there as here: two of them in one place are a mistake.
fn repeatable(command: clap::Command) -> clap::Command {
    command.mut_args(|argument| {
        let own = argument.get_id().clone();
        let single = matches!(argument.get_action(), ArgAction::Set | ArgAction::SetTrue);
        if single && !argument.is_positional() && own != "host" { argument.overrides_with(own) } else { argument }
    })
}

/// Examples as the last part of a help, in the words of the program that the user called.
fn render(program: Program, examples: &[(&str, &str)]) -> String {
    let header = *Styles::styled().get_header();
    let examples: String =
        examples.iter().flat_map(|(example, effect)| ["\n  ", example, "\n      ", effect]).collect();
    format!("{header}Examples:{header:#}{examples}").replace("kerek", program.name())
}

#[cfg(test)]
mod tests;
