//! Where the engine of a host listens, and whether we may go there: asked for once, with one command.
//!
//! The host's own settings count, as they do for `docker` there: `DOCKER_HOST`, then its current context, then the usual
//! places, rootless engines included. The command works in any login shell, and whatever that prints besides.

use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::diagnosis::Target;
use crate::error::{Failure, Kind};
use crate::text::escape;

/// Finds the socket; the address in `h`, if there is one, stands for what the host says itself. `p` becomes the path, `c`
/// the program that [`RemoteSocket::dial`] runs: it may be all that the user may run as root.
///
/// It is given to a shell of unknown kind as one word in single quotes, and so has none itself, nor `!`, nor a
/// backslash, nor a second line.
const SCRIPT: &str = r#"
u=$(id -u);
r=${XDG_RUNTIME_DIR:-/run/user/$u};
places="/var/run/docker.sock $r/docker.sock $r/podman/podman.sock /run/podman/podman.sock";
if [ $e = podman ]; then
h=${h:-$CONTAINER_HOST};
if [ $u = 0 ]; then places=/run/podman/podman.sock; else places=$r/podman/podman.sock; fi;
else
h=${h:-$DOCKER_HOST};
if [ -z "$h" ]; then
if [ -n "$DOCKER_CONTEXT" ] || grep -q currentContext "${DOCKER_CONFIG:-$HOME/.docker}/config.json" 2>/dev/null; then
h=$(docker context inspect --format "{{.Endpoints.docker.Host}}" 2>/dev/null);
case $h in unix:///var/run/docker.sock) h=;; esac;
fi;
fi;
fi;
p=; s=missing;
case $h in
unix://*) p=${h#unix://};;
?*) s=elsewhere;;
*) for f in $places; do if [ -S $f ]; then p=$f; break; fi; done;;
esac;
if [ -n "$p" ] && [ -S "$p" ]; then
if [ -r "$p" ] && [ -w "$p" ]; then s=open; else s=closed; fi;
fi;
echo;
echo "kerek state $s";
echo "kerek path $p";
echo "kerek user $(id -un)";
c=false;
for f in podman docker; do if command -v $f >/dev/null 2>&1; then echo "kerek has $f"; c=$f; fi; done;
if [ $s = closed ] && sudo -n $c --version >/dev/null 2>&1; then echo "kerek has sudo"; fi;
echo "kerek end"
"#;

/// What begins a line of the answer.
const MARK: &str = "kerek ";

/// Whether a socket can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// By the user.
    Open,
    /// By somebody else.
    Closed,
    /// There is none.
    Missing,
    /// The host's own settings name something that is no socket.
    Elsewhere,
}

/// Where a host's engine listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RemoteSocket {
    state: State,
    path: Option<PathBuf>,
    user: String,
    docker: bool,
    podman: bool,
    sudo: bool,
}

impl RemoteSocket {
    /// The command that finds it. `path` is where it is to be, if that is known; `podman` whether that engine is meant.
    #[must_use]
    pub fn question(path: Option<&Path>, podman: bool) -> String {
        let engine = if podman { "podman" } else { "docker" };
        // Such a path has no character that a shell would heed, see `Destination`.
        let host = path.map_or_else(String::new, |path| format!("unix://{}", path.display()));
        format!("sh -c 'e={engine}; h={host};{}'", SCRIPT.replace('\n', " "))
    }

    /// Reads the answer, from whatever the command has printed.
    pub fn parse(output: &[u8], target: &Target) -> Result<Self, Failure> {
        let text = String::from_utf8_lossy(output);
        let answers = || text.lines().filter_map(|line| line.trim_end().strip_prefix(MARK));
        let value = |name: &str| answers().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let has = |program: &str| answers().any(|line| line.strip_prefix("has ") == Some(program));
        let state = match value("state") {
            Some("open") => State::Open,
            Some("closed") => State::Closed,
            Some("missing") => State::Missing,
            Some("elsewhere") => State::Elsewhere,
            _ => return Err(garbled(target, &text)),
        };
        if !answers().any(|line| line == "end") {
            return Err(garbled(target, &text));
        }
        let path = value("path").filter(|path| !path.is_empty()).map(plain).transpose();
        let path = path.map_err(|path| {
            let error = anyhow!("the engine of {} listens at {}", target.destination, escape(&path));
            Failure::new(Kind::Unreachable, error).hint(
                "Kerek takes absolute paths of letters, digits and any of / . _ - + @ : , = there. Give the socket another \
                 path, or a link.",
            )
        })?;
        let user = escape(value("user").unwrap_or_default());
        Ok(Self { state, path, user, docker: has("docker"), podman: has("podman"), sudo: has("sudo") })
    }

    /// The path of the socket, if it is one that we may use.
    #[must_use]
    pub fn to_forward(&self) -> Option<&Path> {
        self.path.as_deref().filter(|_| self.state == State::Open)
    }

    /// What comes before commands that are run as somebody who may use the engine.
    #[must_use]
    pub fn prefix(&self) -> &'static str {
        if self.state == State::Closed && self.sudo { "sudo -n " } else { "" }
    }

    /// The command that connects its standard streams to the engine.
    ///
    /// Fails where there is no engine, or none for us, in words.
    pub fn dial(&self, target: &Target) -> Result<String, Failure> {
        let host = &target.destination;
        let unreachable = |words: String| Failure::new(Kind::Unreachable, anyhow!("{words}"));
        let program = if self.docker { "docker --host" } else { "podman --url" };
        match (self.state, &self.path) {
            (State::Elsewhere, _) if self.docker => Ok("docker system dial-stdio".to_owned()),
            (State::Open, Some(path)) if self.docker || self.podman => {
                Ok(format!("{program} unix://{} system dial-stdio", path.display()))
            }
            (State::Closed, Some(path)) if self.sudo && (self.docker || self.podman) => {
                Ok(format!("sudo -n {program} unix://{} system dial-stdio", path.display()))
            }
            (State::Closed, Some(path)) => {
                let path = path.display();
                let failure = unreachable(format!("{} may not use the engine's socket {path} on {host}", self.user));
                Err(if path.to_string().contains("docker") {
                    failure.hint(format!("Let the user in with `sudo usermod -aG docker {}` there.", self.user))
                } else {
                    failure.hint("A user's own engine has a socket in the user's runtime directory there.")
                })
            }
            (State::Missing, Some(path)) => {
                Err(unreachable(format!("there is no socket {} on {host}", path.display()))
                    .hint("Is the engine running there, and is that its socket?"))
            }
            (State::Missing, None) if self.docker || self.podman => {
                let (engine, unit) =
                    if self.docker { ("Docker", "docker") } else { ("Podman", "--user podman.socket") };
                Err(unreachable(format!("there is {engine} on {host}, but no socket of it"))
                    .hint(format!("Start it there, as with `systemctl enable --now {unit}`.")))
            }
            (State::Open, _) => Err(unreachable(format!(
                "{host} does not forward sockets, and has no program to dial with"
            ))
            .hint(
                "Install the program `docker` or `podman` there, or allow `AllowStreamLocalForwarding` in its sshd.",
            )),
            (State::Missing | State::Closed | State::Elsewhere, _) => {
                Err(unreachable(format!("there is no container engine on {host}"))
                    .hint(format!("Install one there: `kerek provision {host}`.")))
            }
        }
    }
}

/// An absolute path that any shell takes as it is.
fn plain(path: &str) -> Result<PathBuf, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@:,=".contains(&byte);
    if path.starts_with('/') && path.bytes().all(allowed) { Ok(path.into()) } else { Err(path.to_owned()) }
}

fn garbled(target: &Target, text: &str) -> Failure {
    let text: String = escape(text.trim()).chars().take(400).collect();
    let words = if text.is_empty() { "nothing".to_owned() } else { format!("`{text}`") };
    let error = anyhow!("{} was asked for its engine's socket and answered {words}", target.destination);
    Failure::new(Kind::Unreachable, error)
        .hint(format!("Commands have to run there: try `{} sh -c true`.", target.call()))
        .hint(format!("Or say where the socket is: {}/var/run/docker.sock.", target.destination))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        Target { destination: "ssh://me@vps".parse().expect("a destination"), config: None }
    }

    fn parse(answer: &str) -> RemoteSocket {
        RemoteSocket::parse(answer.as_bytes(), &target()).expect("an answer")
    }

    #[test]
    fn the_question_is_one_word_in_any_shell() {
        let question = RemoteSocket::question(Some(Path::new("/run/x.sock")), false);
        let script = question.strip_prefix("sh -c '").and_then(|rest| rest.strip_suffix('\'')).expect("quotes");
        assert!(!script.contains(['\'', '!', '\\', '\n']), "{script}");
        assert!(script.starts_with("e=docker; h=unix:///run/x.sock;"), "{script}");
    }

    #[test]
    fn the_answer_is_found_amid_noise() {
        let socket = parse(
            "Welcome!\r\nkerek\n\nkerek state open\nkerek path /x/y.sock\nkerek user me\nkerek has docker\nkerek end\nbye",
        );
        assert_eq!(socket.to_forward(), Some(Path::new("/x/y.sock")));
        assert_eq!(socket.dial(&target()).expect("a command"), "docker --host unix:///x/y.sock system dial-stdio");
    }

    #[test]
    fn half_an_answer_is_none() {
        for answer in ["", "no such command", "kerek state open\nkerek path /x", "kerek state odd\nkerek end"] {
            let failure = RemoteSocket::parse(answer.as_bytes(), &target()).expect_err("no answer");
            assert_eq!(failure.kind, Kind::Unreachable);
        }
    }

    #[test]
    fn paths_that_a_shell_would_heed_are_refused() {
        for path in ["/x y", "/$(reboot)", "x", "/x;y", "/x'y"] {
            let answer = format!("kerek state open\nkerek path {path}\nkerek end");
            assert!(RemoteSocket::parse(answer.as_bytes(), &target()).is_err(), "{path}");
        }
    }

    #[test]
    fn what_is_not_for_us_is_dialled_with_sudo_or_refused() {
        let closed = "kerek state closed\nkerek path /var/run/docker.sock\nkerek user me\nkerek has docker\n";
        let socket = parse(&format!("{closed}kerek has sudo\nkerek end"));
        assert_eq!(socket.to_forward(), None);
        let command = "sudo -n docker --host unix:///var/run/docker.sock system dial-stdio";
        assert_eq!(socket.dial(&target()).expect("a command"), command);

        let failure = parse(&format!("{closed}kerek end")).dial(&target()).expect_err("no sudo");
        assert!(failure.to_string().starts_with("me may not use"), "{failure}");
        assert!(failure.hints[0].contains("usermod -aG docker me"), "{:?}", failure.hints);
    }

    #[test]
    fn what_is_missing_is_named() {
        for (answer, words) in [
            ("", "no container engine"),
            ("kerek has docker\n", "there is Docker"),
            ("kerek has podman\n", "there is Podman"),
            ("kerek path /x\n", "no socket /x"),
        ] {
            let failure = parse(&format!("kerek state missing\n{answer}kerek end")).dial(&target());
            let failure = failure.expect_err("no engine");
            assert_eq!(failure.kind, Kind::Unreachable);
            assert!(failure.to_string().contains(words), "{failure}");
            assert_eq!(failure.hints.len(), 1);
        }
    }
}
