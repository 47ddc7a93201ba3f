//! The bundled scripts: which one it is, how it is run on a host, and what it tells.
//!
//! They are sent whole, with a digest that is checked before they run, through one command that also removes them.
//! From then on they go to their end, whoever listens.

use std::fmt;

use anyhow::anyhow;
use sha2::{Digest as _, Sha256};

use super::Engine;
use super::facts::Rights;
use super::place::{Ended, Place};
use crate::error::{Failure, Kind};

/// Takes a script and runs it.
const RECEIVE: &str = include_str!("../../scripts/provision/receive.sh");
/// What the others share; comes before them.
const LIB: &str = include_str!("../../scripts/provision/lib.sh");
const DOCKER: &str =
    concat!(include_str!("../../scripts/provision/look.sh"), include_str!("../../scripts/provision/docker.sh"));
const PODMAN: &str = include_str!("../../scripts/provision/podman.sh");

/// What begins a line of theirs.
const MARK: &str = "provision: ";

/// A line of a script.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// What is said of the step.
    pub verb: Verb,
    /// The step's name.
    pub step: String,
    /// What is to be known besides, escaped.
    pub words: String,
}

/// What can be said of a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verb {
    /// It has begun.
    Doing,
    /// Somebody else has to finish first.
    Waiting,
    /// A program that it has run says this.
    Said,
    /// It is done.
    Changed,
    /// There was nothing to do.
    Ok,
    /// It cannot be done.
    Failed,
}

impl Line {
    /// Reads an escaped line; `None` if it is none of the script's own.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix(MARK)?.splitn(3, ' ');
        let verb = match words.next()? {
            "doing" => Verb::Doing,
            "waiting" => Verb::Waiting,
            "said" => Verb::Said,
            "changed" => Verb::Changed,
            "ok" => Verb::Ok,
            "failed" => Verb::Failed,
            _ => return None,
        };
        let step = words.next().filter(|step| !step.is_empty())?.to_owned();
        Some(Self { verb, step, words: words.next().unwrap_or_default().trim_end().to_owned() })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { verb, step, words } = self;
        match verb {
            Verb::Doing => write!(formatter, "{words}"),
            Verb::Waiting => write!(formatter, "waiting {words}"),
            Verb::Said => write!(formatter, "| {words}"),
            Verb::Changed => write!(formatter, "changed: {step}: {words}"),
            Verb::Ok => write!(formatter, "fine: {step}: {words}"),
            Verb::Failed => write!(formatter, "failed: {step}: {words}"),
        }
    }
}

/// Runs the script for an engine as root, and hands out its lines as they come.
///
/// Fails with `Unfit` if the password for sudo is wrong, `Incomplete` if a step could not be done or the script's end is
/// not known; running it again goes on from there.
pub async fn run(
    place: &Place,
    engine: Engine,
    rights: Rights,
    password: Option<&str>,
    on_line: &mut impl FnMut(&Line),
) -> Result<(), Failure> {
    let script = [LIB, if engine == Engine::Docker { DOCKER } else { PODMAN }].concat();
    let digest = Sha256::digest(&script).iter().fold(String::new(), |digest, byte| format!("{digest}{byte:02x}"));
    let (word, input) = match (rights, password) {
        (Rights::Root, _) => ("root", script),
        (Rights::Password, Some(password)) => ("password", format!("{password}\n{script}")),
        _ => ("sudo", script),
    };
    let mut failed = None;
    let hear = |line: &str| {
        let Some(line) = Line::parse(line) else { return };
        on_line(&line);
        if line.verb == Verb::Failed {
            failed = Some(line);
        }
    };
    match place.feed(RECEIVE, &[&digest, word], input.as_bytes(), hear).await {
        Ok(Ended { code: Some(0), .. }) => Ok(()),
        Ok(ended) => Err(explain(failed, &ended)),
        Err(failure) => Err(lost(failure)),
    }
}

fn explain(failed: Option<Line>, ended: &Ended) -> Failure {
    match failed {
        Some(Line { step, words, .. }) if step == "sudo" => Failure::new(Kind::Unfit, anyhow!("sudo refuses: {words}"))
            .hint("Nothing has changed. Is the password right?"),
        Some(Line { step, words, .. }) => Failure::new(Kind::Incomplete, anyhow!("{words} (step `{step}`)"))
            .hint("What was done before stays. Once the cause is gone, run the same command again."),
        None => {
            let code = ended.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
            let words = [vec![format!("the script on the host ended with {code}")], ended.words.clone()].concat();
            Failure::new(Kind::Incomplete, anyhow!(words.join("\n")))
                .hint("Run the same command again: it goes on from there.")
        }
    }
}

/// The link broke, or nobody tells how it ended.
fn lost(failure: Failure) -> Failure {
    let error = failure.error.context("what has begun on the host goes on there");
    let mut lost =
        Failure::new(failure.kind, error).hint("Run the same command again: it waits for that, and does what is left.");
    lost.hints.extend(failure.hints);
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_from_noise() {
        let line = Line::parse("provision: changed packages docker.io iptables").expect("a line");
        assert_eq!(line.to_string(), "changed: packages: docker.io iptables");
        assert_eq!(Line::parse("provision: ok service ").map(|line| line.words), Some(String::new()));
        for noise in
            ["", "Welcome!", "provision:", "provision: ", "provision: ok", "provision: ok ", "provision: new x"]
        {
            assert_eq!(Line::parse(noise), None, "{noise:?}");
        }
    }

    #[test]
    fn a_script_that_is_cut_off_does_nothing() {
        for script in [RECEIVE, DOCKER, PODMAN] {
            // All but the last line defines functions.
            assert!(script.ends_with("\n\nmain \"$@\"\n"));
        }
    }

    #[tokio::test]
    async fn a_script_that_arrives_changed_is_not_run() {
        let mut lines = Vec::new();
        let ended =
            Place::Here.feed(RECEIVE, &["0", "root"], b"echo provision: ok ran", |line| lines.push(line.to_owned()));
        assert_eq!(ended.await.expect("it has run").code, Some(1));
        assert_eq!(lines, ["provision: failed upload the script did not arrive as it was sent"]);
    }
}
