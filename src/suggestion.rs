//! Commands to be suggested: as the user would type them for the engine and the project that this run is about. One that
//! left these out could change something else.

use std::borrow::Cow;
use std::path::Path;

/// What the user has typed besides the command's name and what it is to do.
#[derive(Clone, Debug, Default)]
pub struct Suggestion {
    /// Options of the docker CLI that say which engine is meant.
    pub engine: Vec<String>,
    /// The engine's program, if not `docker`.
    pub program: Option<String>,
    /// The SSH configuration, if not the usual one.
    pub ssh_config: Option<String>,
    /// Options of Compose that say which project is meant.
    pub project: Vec<String>,
}

impl Suggestion {
    /// A command of kerek on the same project, such as `kerek --context vps deploy -p shop --pull missing web`.
    #[must_use]
    pub fn on_project(&self, command: &str, arguments: &[&str]) -> String {
        let project: Vec<_> = self.project.iter().map(String::as_str).collect();
        self.on_engine(command, &[&project, arguments].concat())
    }

    /// A command of kerek on the same engine, such as `kerek --context vps unlock shop`.
    #[must_use]
    pub fn on_engine(&self, command: &str, arguments: &[&str]) -> String {
        let program = self.program.iter().flat_map(|program| ["--container-engine", program.as_str()]);
        let ssh = self.ssh_config.iter().flat_map(|path| ["--ssh-config", path.as_str()]);
        let engine = self.engine.iter().map(String::as_str);
        let words = std::iter::once("kerek").chain(engine).chain([command]);
        join(words.chain(program).chain(ssh).chain(arguments.iter().copied()))
    }

    /// A command of the engine's own program, such as `docker --context vps logs shop-web-1`.
    #[must_use]
    pub fn of_engine(&self, arguments: &[&str]) -> String {
        // Podman takes other options, and has to be asked where it is.
        if let Some(program) = &self.program {
            return join([program.as_str()].into_iter().chain(arguments.iter().copied()));
        }
        let elsewhere = !self.engine.is_empty();
        let ssh = self.ssh_config.iter().filter(|_| elsewhere);
        let ssh = ssh.flat_map(|path| ["kerek", "run-with-ssh-config", path.as_str()]);
        let engine = self.engine.iter().map(String::as_str);
        join(ssh.chain(["docker"]).chain(engine).chain(arguments.iter().copied()))
    }
}

/// An option with its value, if it was given.
pub fn option(name: &str, value: Option<&str>) -> impl Iterator<Item = String> {
    value.into_iter().flat_map(move |value| [name.to_owned(), value.to_owned()])
}

/// The same for a path.
pub fn path(name: &str, value: Option<&Path>) -> impl Iterator<Item = String> {
    value.into_iter().flat_map(move |value| [name.to_owned(), value.display().to_string()])
}

/// Words as they can be typed in a shell.
fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
}

/// A word as it can be typed in a shell.
#[must_use]
pub fn quote(word: &str) -> Cow<'_, str> {
    // Nothing but NUL cannot be quoted, which no argument contains.
    shlex::try_quote(word).unwrap_or(Cow::Borrowed(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_words_stay_one_word_in_a_shell() {
        assert_eq!(quote("ssh://me@vps:2222"), "ssh://me@vps:2222");
        assert_eq!(quote("my images; reboot"), "'my images; reboot'");
    }

    #[test]
    fn what_was_typed_is_typed_again() {
        let here = Suggestion::default();
        assert_eq!(here.on_project("deploy", &["--pull", "missing", "web"]), "kerek deploy --pull missing web");
        assert_eq!(here.of_engine(&["logs", "web-1"]), "docker logs web-1");

        let there = Suggestion {
            engine: option("--host", Some("ssh://vps")).collect(),
            ssh_config: Some("my ssh.conf".to_owned()),
            project: path("--file", Some(Path::new("prod.yaml"))).collect(),
            program: None,
        };
        let deploy = "kerek --host ssh://vps deploy --ssh-config 'my ssh.conf' --file prod.yaml web";
        assert_eq!(there.on_project("deploy", &["web"]), deploy);
        assert_eq!(
            there.on_engine("unlock", &["shop"]),
            "kerek --host ssh://vps unlock --ssh-config 'my ssh.conf' shop"
        );
        let logs = "kerek run-with-ssh-config 'my ssh.conf' docker --host ssh://vps logs web-1";
        assert_eq!(there.of_engine(&["logs", "web-1"]), logs);

        let podman = Suggestion { program: Some("podman".to_owned()), ..Suggestion::default() };
        assert_eq!(podman.on_project("rollback", &["2"]), "kerek rollback --container-engine podman 2");
        assert_eq!(podman.of_engine(&["logs", "web-1"]), "podman logs web-1");
    }
}
