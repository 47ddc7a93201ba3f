//! The Docker context that leads to a host, made by the docker CLI, so that `kerek --context NAME deploy` gets there.
//!
//! A context that was not made here is never changed: it may be what somebody else deploys by.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::process::{self, Command};
use crate::ssh::destination::Destination;
use crate::text::escape;

/// What tells contexts that were made here.
const DESCRIPTION: &str = "Made by kerek provision";
/// The name of the context that docker has always.
const RESERVED: &str = "default";

/// A context that is to be there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Context {
    /// Its name.
    pub name: String,
    /// Where it leads.
    pub host: String,
    /// What that takes.
    pub action: Action,
    docker_config: Option<PathBuf>,
}

/// What it takes for a context to be there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// It is new.
    Create,
    /// It leads elsewhere as yet.
    Update,
    /// It is as it should be.
    Keep,
    /// There is no docker CLI that could have contexts.
    Impossible,
}

/// A context as docker lists it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    name: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    docker_endpoint: String,
}

impl Context {
    /// Decides what is to be done for a context. Fails if the name is taken by one that leads elsewhere and was not made
    /// here.
    pub async fn decide(
        name: &str,
        host: &str,
        docker_config: Option<&Path>,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let list = docker(docker_config).args(["ls", "--format", "{{json .}}"]);
        let action = match list.run(cancel.token(), |_| {}).await {
            Ok(output) => decide(name, host, &parse(&output.stdout)?)?,
            Err(process::Error::Failed { .. }) if !has_docker().await => Action::Impossible,
            Err(process::Error::Spawn { .. }) => Action::Impossible,
            Err(error) => return Err(anyhow::Error::new(error).into()),
        };
        Ok(Self {
            name: name.to_owned(),
            host: host.to_owned(),
            action,
            docker_config: docker_config.map(Path::to_owned),
        })
    }

    /// Whether it can be used, once it is made.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.action != Action::Impossible
    }

    /// Makes it so.
    pub async fn make(&self, cancel: &Cancel) -> Result<(), Failure> {
        let verb = match self.action {
            Action::Create => "create",
            Action::Update => "update",
            Action::Keep | Action::Impossible => return Ok(()),
        };
        let command = docker(self.docker_config.as_deref())
            .args([verb, "--description", DESCRIPTION, "--docker"])
            .arg(format!("host={}", self.host))
            .arg(&self.name);
        match command.run(cancel.token(), |_| {}).await {
            Ok(_) => Ok(()),
            Err(error) => {
                let kind = match error {
                    process::Error::Cancelled { .. } => cancel.kind(),
                    _ => Kind::Unchanged,
                };
                let error = anyhow::Error::new(error).context("the host is set up, but there is no context for it");
                Err(Failure::new(kind, error).hint(format!("Use it without one: `kerek --host {} deploy`.", self.host)))
            }
        }
    }
}

/// The name of a host's context: its alias or address, in letters that docker allows.
#[must_use]
pub fn name_of(destination: &Destination) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    let host = destination.host().chars().map(|it| if allowed(it) { it } else { '-' }).collect::<String>();
    let name = host.trim_start_matches(|first: char| !first.is_ascii_alphanumeric());
    // Docker wants two letters.
    if name.len() < 2 || name == RESERVED { format!("host-{name}") } else { name.to_owned() }
}

/// Whether docker takes the name for a context.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.+-".contains(character);
    name.len() >= 2
        && name != RESERVED
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(allowed)
}

fn decide(name: &str, host: &str, listed: &[Listed]) -> Result<Action, Failure> {
    match listed.iter().find(|context| context.name == name) {
        None => Ok(Action::Create),
        Some(context) if context.docker_endpoint == host => Ok(Action::Keep),
        Some(context) if context.description == DESCRIPTION => Ok(Action::Update),
        Some(context) => {
            let elsewhere = escape(&context.docker_endpoint);
            Err(Failure::from(anyhow!("there is a context {name} already, which leads to {elsewhere}"))
                .hint("Choose another name with --context-name, or none with --no-context.")
                .hint(format!("If nobody needs it any more: `docker context rm {name}`.")))
        }
    }
}

fn parse(output: &[u8]) -> Result<Vec<Listed>, Failure> {
    let lines = output.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let listed = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    Ok(listed.context("cannot read the contexts that `docker context ls` lists")?)
}

fn docker(config: Option<&Path>) -> Command {
    let command = Command::new("docker");
    let command = match config {
        Some(config) => command.arg("--config").arg(config),
        None => command,
    };
    command.arg("context")
}

/// Whether docker can be run at all.
async fn has_docker() -> bool {
    Command::new("docker").arg("--version").run(&CancellationToken::new(), |_| {}).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_docker_takes() {
        for (host, name) in [
            ("vps", "vps"),
            ("ssh://me@example.com:2222", "example.com"),
            ("ssh://[fe80::1%25eth0]:22", "fe80--1-eth0"),
            ("ssh://[::1]", "host-1"),
            ("_a.b", "a.b"),
            ("default", "host-default"),
            ("größe", "gr--e"),
        ] {
            let destination = host.parse().expect("a destination");
            assert_eq!(name_of(&destination), name);
            assert!(is_name(name), "{name}");
        }
        for name in ["", "a", "-a", "default", "a b", "a/b", "größe"] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn contexts_of_others_stay() {
        let context = |description: &str, host: &str| Listed {
            name: "vps".into(),
            description: description.into(),
            docker_endpoint: host.into(),
        };
        let decide = |listed: &[Listed]| decide("vps", "ssh://vps", listed).map_err(|failure| failure.to_string());
        assert_eq!(decide(&[]), Ok(Action::Create));
        assert_eq!(decide(&[context("mine", "ssh://vps")]), Ok(Action::Keep));
        assert_eq!(decide(&[context(DESCRIPTION, "ssh://old")]), Ok(Action::Update));
        let refusal = decide(&[context("mine", "ssh://\u{1b}old")]).expect_err("it is somebody else's");
        assert_eq!(refusal, "there is a context vps already, which leads to ssh://\\x1bold");
    }

    #[test]
    fn what_docker_lists_is_read() {
        let output = br#"{"Name":"default","Current":true,"DockerEndpoint":"unix:///x","Error":""}
{"Name":"vps","Description":"d","DockerEndpoint":"ssh://vps","More":[]}
"#;
        let listed = parse(output).expect("lines of JSON");
        assert_eq!((listed[1].name.as_str(), listed[1].docker_endpoint.as_str()), ("vps", "ssh://vps"));
        assert!(parse(b"Welcome!\n").is_err());
    }
}
