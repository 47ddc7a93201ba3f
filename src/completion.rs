//! Words that could come next while somebody types a command line: commands and options as [`crate::cli`] has them, and
//! names of contexts, services and releases as they are there at that moment.
//!
//! [`script`] makes a shell ask, [`answer`] is what it gets. Nothing that takes long is asked for: services cost a call of
//! Compose, releases one of an engine on this machine; those of others would take a login, and are left out.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::anyhow;
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::cli;
use crate::compose::cli::program;
use crate::engine::endpoint::{self, Endpoint, Selection};
use crate::error::Failure;
use crate::process::Command;
use crate::text::escape;

/// The variable by which shells say that they ask, and who they are.
const VARIABLE: &str = "KEREK_COMPLETE";

const NAME: &str = "kerek";

/// What looking for names may take. Who types does not wait any longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Options that say which project is meant, each with a value.
const PROJECT: [(&str, char); 5] = [
    ("--file", 'f'),
    ("--project-name", 'p'),
    ("--project-directory", '\0'),
    ("--env-file", '\0'),
    ("--profile", '\0'),
];

/// Options that say which engine is meant.
const ENGINE: [(&str, char); 3] = [("--context", 'c'), ("--host", 'H'), ("--config", '\0')];

/// Answers if this is a question of a shell's.
pub fn answer() -> Option<ExitCode> {
    let here = std::env::current_dir().ok();
    let environment = CompleteEnv::with_factory(definition).var(VARIABLE).bin(NAME).completer(NAME);
    match environment.try_complete(std::env::args_os(), here.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        // Whatever is said now ends up in the line that somebody types.
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// What a shell has to run so that it asks.
pub fn script(shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let completer =
        shells.completer(&shell.to_string()).ok_or_else(|| anyhow!("there are no completions for {shell}"))?;
    completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut script).map_err(anyhow::Error::from)?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

fn definition() -> clap::Command {
    let completed = |name: &'static str, with: fn(&OsStr) -> Vec<CompletionCandidate>| {
        move |command: clap::Command| command.mut_arg(name, |argument| argument.add(ArgValueCompleter::new(with)))
    };
    completed("context", contexts)(cli::definition())
        .mut_subcommand("deploy", completed("service_names", services))
        .mut_subcommand("rollback", completed("release", releases))
}

fn contexts(current: &OsStr) -> Vec<CompletionCandidate> {
    let names = endpoint::contexts(&selection()).into_iter();
    beginning_with(current, names.map(|name| (name, String::new())))
}

fn services(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(compose) = program::find(None) else { return Vec::new() };
    // Also those that no profile enables are named by somebody who wants them.
    let call = compose.args(given(&PROJECT)).args(["--profile", "*", "config", "--services", "--no-interpolate"]);
    let services = ask(call).unwrap_or_default();
    // Compose lists them in another order each time.
    let services: BTreeSet<_> = services.lines().collect();
    beginning_with(current, services.into_iter().map(|name| (name.to_owned(), String::new())))
}

fn releases(current: &OsStr) -> Vec<CompletionCandidate> {
    #[derive(Deserialize)]
    struct Release {
        #[serde(rename = "release")]
        number: u64,
        at: String,
        command: String,
        outcome: String,
    }

    let is_near = matches!(Endpoint::resolve(&selection()), Ok(Endpoint::Unix(_)));
    let Some(program) = std::env::current_exe().ok().filter(|_| is_near) else { return Vec::new() };
    let call = Command::new(program).args(given(&ENGINE)).args(["history", "--format", "json"]).args(given(&PROJECT));
    let history = ask(call).unwrap_or_default();
    let releases = history.lines().filter_map(|line| serde_json::from_str::<Release>(line).ok());
    let releases = releases.filter(|release| release.outcome == "good");
    beginning_with(
        current,
        releases.map(|release| (release.number.to_string(), format!("{}, {}", release.at, release.command))),
    )
}

/// The names, each with what is said about it, that begin like the word so far.
fn beginning_with(word: &OsStr, names: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let word = word.to_string_lossy();
    // A name that steers terminals is nobody's.
    let fit = names.filter(|(name, _)| name.starts_with(&*word) && escape(name) == *name);
    fit.map(|(name, about)| {
        let about = Some(escape(&about)).filter(|about| !about.is_empty());
        CompletionCandidate::new(name).help(about.map(Into::into))
    })
    .collect()
}

/// Runs a command to its end, unless that takes too long.
fn ask(command: Command) -> Option<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
    let never = CancellationToken::new();
    let output = runtime.block_on(async { tokio::time::timeout(PATIENCE, command.run(&never, |_| {})).await });
    String::from_utf8(output.ok()?.ok()?.stdout).ok()
}

/// The engine as it is typed so far.
fn selection() -> Selection {
    let value = |name| {
        let words = given(&[name]);
        words.last().map(|word| word.to_string_lossy().into_owned())
    };
    let [context, host, config] = ENGINE.map(value);
    Selection { context, host, config: config.map(Into::into), ..Selection::from_env("docker") }
}

/// Options with their values that are typed already, as they can be handed on.
fn given(options: &[(&str, char)]) -> Vec<OsString> {
    let words = std::env::args_os().skip_while(|word| word != "--").skip(1);
    in_words(options, &words.filter_map(|word| word.into_string().ok()).collect::<Vec<_>>())
}

fn in_words(options: &[(&str, char)], words: &[String]) -> Vec<OsString> {
    let mut found = Vec::new();
    for (index, word) in words.iter().enumerate() {
        for (long, short) in options {
            let short = format!("-{short}");
            let value = if word == long || *word == short {
                words.get(index + 1).map(String::as_str)
            } else if let Some(value) = word.strip_prefix(long) {
                value.strip_prefix('=')
            } else if word.starts_with("--") {
                None
            } else {
                word.strip_prefix(&short)
            };
            found.extend(value.into_iter().flat_map(|value| [OsString::from(long), value.into()]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_found_as_they_can_be_typed() {
        let words = |line: &str| line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>();
        for (line, expected) in [
            ("kerek deploy ", ""),
            ("kerek -c vps deploy -f a.yaml --file=b.yaml -fc.yaml w", "--file a.yaml --file b.yaml --file c.yaml"),
            ("kerek deploy --project-name shop --profiles x -p", "--project-name shop"),
            (
                "kerek deploy --project-directory=.. --env-file .env --profile x",
                "--project-directory .. --env-file .env --profile x",
            ),
        ] {
            let found = in_words(&PROJECT, &words(line));
            assert_eq!(found.join(OsStr::new(" ")), expected, "{line}");
        }
    }

    #[test]
    fn names_are_filtered() {
        let names = ["web", "worker", "db", "w\u{1b}[2J"].map(|name| (name.to_owned(), String::new()));
        let found = beginning_with(OsStr::new("w"), names.into_iter());
        assert_eq!(found.iter().map(CompletionCandidate::get_value).collect::<Vec<_>>(), ["web", "worker"]);
    }
}
