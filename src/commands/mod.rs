//! The commands, one file each: they wire the parts of the library together and hold no logic of their own.
//!
//! [`run`] is where a parsed command line becomes action, and an outcome becomes words and an exit code.

mod change;
mod completions;
pub mod deploy;
mod history;
mod man_pages;
mod plugin;
mod plugin_metadata;
mod probe;
mod project;
mod provision;
mod rollback;
mod run_with_ssh_config;
mod transfer_images;
mod tunnel_ssh;
mod unlock;

use std::ffi::OsString;
use std::io;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, anyhow};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, registry};

use crate::cancel::Cancel;
use crate::cli::{Cli, Command, EngineOptions, GlobalOptions, LogLevel, Progress, ProjectOptions};
use crate::engine::endpoint::{Endpoint, Selection};
use crate::error::{Failure, Kind};
use crate::report::{console, json};
use crate::suggestion::{self, Suggestion};

/// Runs a command to its end, prints how it failed if it did, and returns the exit code (see
/// [`crate::error::Kind::exit_code`]; 0 for success).
pub async fn run(cli: &Cli) -> ExitCode {
    start_log(&cli.global);
    let begin = Instant::now();
    match dispatch(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) if progress(&cli.command) == Some(Progress::Json) => {
            console::err(&json::failure(&failure, begin.elapsed()));
            ExitCode::from(failure.kind.exit_code())
        }
        Err(failure) => console::fail(&failure),
    }
}

/// How the user wants to see progress, where there is a choice.
fn progress(command: &Command) -> Option<Progress> {
    match command {
        Command::Deploy(options) => options.output.progress,
        Command::Rollback(options) => options.output.progress,
        Command::TransferImages(options) => options.output.progress,
        _ => None,
    }
}

async fn dispatch(cli: &Cli) -> Result<(), Failure> {
    match &cli.command {
        Command::Deploy(options) => Box::pin(deploy::run(&cli.global, options)).await,
        Command::Completions(options) => completions::run(*options),
        Command::ManPages(options) => man_pages::run(&cli.global, options),
        Command::Plugin(options) => plugin::run(&cli.global, *options),
        Command::History(options) => history::run(&cli.global, options).await,
        Command::Rollback(options) => rollback::run(&cli.global, options).await,
        Command::Provision(options) => provision::run(&cli.global, options).await,
        Command::RunWithSshConfig(options) => run_with_ssh_config::run(&cli.global, options).await,
        Command::TunnelSsh(options) => tunnel_ssh::run(&cli.global, options).await,
        Command::Unlock(options) => unlock::run(&cli.global, options).await,
        Command::TransferImages(options) => transfer_images::run(&cli.global, options).await,
        Command::DockerCliPluginMetadata => plugin_metadata::run(),
        // `cli::parse` has answered it.
        Command::Help { .. } => Ok(()),
    }
}

/// Sends log messages to standard error, those of kerek only: what dependencies log may quote whole requests, with
/// environment variables and secrets in them.
fn start_log(global: &GlobalOptions) {
    let lines = fmt::layer()
        .with_ansi(false)
        .with_timer(fmt::time::uptime())
        .with_writer(io::stderr)
        .with_filter(Targets::new().with_target("kerek", level(global)));
    // It fails if there is a log already, which is then the one to use.
    drop(registry().with(lines).try_init());
}

fn level(global: &GlobalOptions) -> LevelFilter {
    match global.log_level {
        _ if global.debug => LevelFilter::DEBUG,
        Some(LogLevel::Debug) => LevelFilter::DEBUG,
        Some(LogLevel::Info) => LevelFilter::INFO,
        Some(LogLevel::Warn) | None => LevelFilter::WARN,
        Some(LogLevel::Error) => LevelFilter::ERROR,
        // What is fatal ends kerek, and is told as its failure.
        Some(LogLevel::Fatal) => LevelFilter::OFF,
    }
}

/// What decides which engine is meant: the options, the environment and the engine's program.
fn selection(global: &GlobalOptions, program: &str) -> Selection {
    Selection {
        host: global.host.clone(),
        context: global.context.clone(),
        config: global.config.clone(),
        tls: tls(global),
        ..Selection::from_env(program)
    }
}

/// The same for the engine that images come from: that of the environment, whatever the options say.
fn source_selection(global: &GlobalOptions, program: &str) -> Selection {
    Selection { config: global.config.clone(), ..Selection::from_env(program) }
}

/// The options on encryption, as the docker CLI takes them.
fn tls(global: &GlobalOptions) -> Vec<OsString> {
    let flags = [("--tls", global.tls), ("--tlsverify", global.tlsverify)];
    let flags = flags.into_iter().filter(|(_, given)| *given).map(|(name, _)| name.into());
    let files = [("--tlscacert", &global.tlscacert), ("--tlscert", &global.tlscert), ("--tlskey", &global.tlskey)];
    let files = files.into_iter().filter_map(|(name, path)| Some([name.into(), path.clone()?.into_os_string()]));
    flags.chain(files.flatten()).collect()
}

fn same_engine(endpoint: &Endpoint) -> Failure {
    Failure::new(Kind::Usage, anyhow!("source and destination are the same engine, {endpoint}"))
        .hint("Name the destination with --host or --context, such as `--host ssh://deploy@example.com`.")
}

/// Does the work of a command while listening to signals. Those who do not want to wait for a good end get what `left` says.
async fn heeding_signals(
    cancel: &Cancel,
    work: impl Future<Output = Result<(), Failure>>,
    left: impl FnOnce(&Cancel) -> Failure,
) -> Result<(), Failure> {
    match cancel.listen(work).await.context("cannot listen to signals")? {
        Some(result) => result,
        None => Err(left(cancel)),
    }
}

/// The user did not want to wait for a good end.
fn insisted(cancel: &Cancel) -> Failure {
    Failure::new(cancel.kind(), anyhow!("stopped at once, in the middle of things"))
        .hint("What is there serves on as it is. Running the same command again tidies up and goes on from there.")
}

/// What the user has typed to say which engine and project are meant.
fn suggestion(global: &GlobalOptions, engine: &EngineOptions, project: Option<&ProjectOptions>) -> Suggestion {
    let place = suggestion::path("--config", global.config.as_deref())
        .chain(suggestion::option("--context", global.context.as_deref()))
        .chain(suggestion::option("--host", global.host.as_deref()));
    let project = project.into_iter().flat_map(|project| {
        let file = project.file.iter().flat_map(|file| suggestion::path("--file", Some(file)));
        let variables = project.env_file.iter().flat_map(|file| suggestion::path("--env-file", Some(file)));
        let profiles = project.profile.iter().flat_map(|name| suggestion::option("--profile", Some(name)));
        file.chain(suggestion::option("--project-name", project.project_name.as_deref()))
            .chain(suggestion::path("--project-directory", project.project_directory.as_deref()))
            .chain(variables)
            .chain(profiles)
            .chain(project.compatibility.then(|| "--compatibility".to_owned()))
    });
    Suggestion {
        engine: place.chain(tls(global).iter().map(|word| word.display().to_string())).collect(),
        program: Some(engine.container_engine.clone()).filter(|program| program != "docker"),
        ssh_config: engine.ssh_config.as_ref().map(|path| path.display().to_string()),
        project: project.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_wins_over_the_level_and_the_default_is_warn() {
        let global = |debug, log_level| GlobalOptions { debug, log_level, ..GlobalOptions::default() };
        assert_eq!(level(&global(false, None)), LevelFilter::WARN);
        assert_eq!(level(&global(false, Some(LogLevel::Info))), LevelFilter::INFO);
        assert_eq!(level(&global(false, Some(LogLevel::Fatal))), LevelFilter::OFF);
        assert_eq!(level(&global(true, None)), LevelFilter::DEBUG);
        assert_eq!(level(&global(true, Some(LogLevel::Error))), LevelFilter::DEBUG);
    }
}
