//! Where the commands of a provisioning run: on a host, over one SSH connection, or on this machine.
//!
//! A script is given to the shell as one word of letters and digits, so that it means the same to any login shell. Nothing
//! of ours has to be on the host for that, and nothing is left there.

use std::path::Path;

use anyhow::anyhow;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio_util::sync::CancellationToken;

use super::Engine;
use super::facts::Facts;
use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::process::{self, Command};
use crate::ssh::connection::Connection;
use crate::ssh::destination::Destination;
use crate::text::escape;

/// Tells the facts, see [`Facts`].
const PROBE: &str =
    concat!(include_str!("../../scripts/provision/look.sh"), include_str!("../../scripts/provision/probe.sh"));
/// Decodes a script, and becomes it.
const UNWRAP: &str = r#"eval "$(echo "$0" | base64 -d)""#;
/// Lines that are kept of what a script says on its stderr.
const TAIL: usize = 5;

/// Where commands run.
#[derive(Debug)]
pub enum Place {
    /// On this machine.
    Here,
    /// On a host that has let us in.
    There(Box<Connection>),
}

/// How a script has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ended {
    /// The exit code, if it came to one.
    pub(super) code: Option<i32>,
    /// Its last words on stderr, escaped.
    pub(super) words: Vec<String>,
}

impl Place {
    /// Goes there. `folder` is for the connection, see [`Connection::open`].
    pub(super) async fn reach(
        destination: &Destination,
        config: Option<&Path>,
        folder: &Path,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        if destination.is_localhost() {
            return Ok(Self::Here);
        }
        Ok(Self::There(Box::new(Connection::open(destination, config, folder, cancel).await?)))
    }

    /// Asks what is there.
    pub(super) async fn probe(&self, engine: Engine) -> Result<Facts, Failure> {
        let argument = engine.program();
        let output = match self {
            Self::Here => {
                let command = Command::new("sh").args(["-c", PROBE, "probe.sh", argument]);
                command.run(&CancellationToken::new(), |_| {}).await.map_err(anyhow::Error::new)?.stdout
            }
            Self::There(connection) => connection.run(&wrap(PROBE, &[argument])).await?,
        };
        Facts::parse(&output).ok_or_else(|| self.garbled(&output))
    }

    /// Runs a script with plain arguments, gives it its input, and hands out the lines of its output, escaped.
    ///
    /// Fails with `Unreachable` if its end is not heard of; it goes on nonetheless.
    pub(super) async fn feed(
        &self,
        script: &str,
        arguments: &[&str],
        input: &[u8],
        on_line: impl FnMut(&str),
    ) -> Result<Ended, Failure> {
        match self {
            Self::Here => feed_here(script, arguments, input, on_line).await,
            Self::There(connection) => feed_there(connection, script, arguments, input, on_line).await,
        }
    }

    /// Goes away.
    pub(super) async fn leave(self) {
        if let Self::There(connection) = self {
            connection.close().await;
        }
    }

    fn garbled(&self, output: &[u8]) -> Failure {
        let words: String = escape(String::from_utf8_lossy(output).trim()).chars().take(400).collect();
        let words = if words.is_empty() { "nothing".to_owned() } else { format!("`{words}`") };
        match self {
            Self::Here => anyhow!("this machine was asked what it is and answered {words}").into(),
            Self::There(connection) => {
                let target = connection.target();
                let error = anyhow!("{} was asked what it is and answered {words}", target.destination);
                Failure::new(Kind::Unreachable, error)
                    .hint(format!("Commands have to run there: try `{} sh -c true`.", target.call()))
            }
        }
    }
}

async fn feed_here(
    script: &str,
    arguments: &[&str],
    input: &[u8],
    mut on_line: impl FnMut(&str),
) -> Result<Ended, Failure> {
    // In a session of its own, where no signal for kerek reaches it, nor kerek's end.
    let command = Command::new("setsid").args(["--wait", "sh", "-c", script, "sh"]).args(arguments.iter().copied());
    let (mut running, streams) = command.start().map_err(anyhow::Error::new)?;
    let mut words = Vec::new();
    let (mut stdin, stdout, stderr) = (streams.stdin, streams.stdout, streams.stderr);
    let write = async {
        // A script that does not read its input says why.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let read = process::each_line(stdout, |line| on_line(&line));
    let listen = process::each_line(stderr, |line| keep(&mut words, line));
    let ((), read, listen) = tokio::join!(write, read, listen);
    read.and(listen).map_err(anyhow::Error::new)?;
    let status = running.wait().await.map_err(anyhow::Error::new)?;
    Ok(Ended { code: status.code(), words })
}

async fn feed_there(
    connection: &Connection,
    script: &str,
    arguments: &[&str],
    input: &[u8],
    mut on_line: impl FnMut(&str),
) -> Result<Ended, Failure> {
    let refused = |error: openssh::Error| {
        let error = anyhow!("no command can be started: {}", escape(&error.to_string()));
        Failure::new(Kind::Unreachable, error)
    };
    let remote = connection.start(&wrap(script, arguments)).await.map_err(refused)?;
    let mut words = Vec::new();
    let (mut stdin, stdout, stderr) = (remote.stdin, remote.stdout, remote.stderr);
    let talk = async {
        let write = async {
            let _ = stdin.write_all(input).await;
            let _ = stdin.shutdown().await;
            drop(stdin);
        };
        let read = process::each_line(stdout, |line| on_line(&line));
        let listen = process::each_line(stderr, |line| keep(&mut words, line));
        let ((), read, listen) = tokio::join!(write, read, listen);
        read.and(listen)
    };
    tokio::select! {
        talked = talk => talked.map_err(|_| connection.why_lost())?,
        () = connection.lost().cancelled() => return Err(connection.why_lost()),
    }
    match remote.child.wait().await {
        Ok(status) => Ok(Ended { code: status.code(), words }),
        Err(_) => Err(connection.why_lost()),
    }
}

fn keep(words: &mut Vec<String>, line: String) {
    if words.len() == TAIL {
        words.remove(0);
    }
    words.push(line);
}

/// A command that runs a script with plain arguments, in any shell.
fn wrap(script: &str, arguments: &[&str]) -> String {
    let words: String = arguments.iter().flat_map(|argument| [" ", argument]).collect();
    format!("sh -c '{UNWRAP}' {}{words}", STANDARD.encode(script))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn this_machine_tells_what_it_is() {
        let facts = Place::Here.probe(Engine::Docker).await.expect("an answer");
        assert_eq!(facts.user.id, rustix::process::geteuid().as_raw());
        assert_eq!(facts.rooms.len(), 4);
    }

    #[tokio::test]
    async fn scripts_get_input_and_give_output_and_code() {
        let script = "read -r line; echo \"$line $1\"; echo no >&2; exit 3";
        let error = Command::new("sh")
            .args(["-c", &wrap(script, &["b"])])
            .input("a\n")
            .run(&CancellationToken::new(), |_| {})
            .await
            .expect_err("exit 3")
            .to_string();
        assert!(error.ends_with("no"), "{error}");
        let mut lines = Vec::new();
        let ended = Place::Here.feed(script, &["b"], b"a\n", |line| lines.push(line.to_owned())).await;
        assert_eq!(ended.expect("it has run"), Ended { code: Some(3), words: vec!["no".to_owned()] });
        assert_eq!(lines, ["a b"]);
    }
}
