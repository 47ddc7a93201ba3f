//! What it means when ssh gives up: its own words, and what to do about them.
//!
//! A [`Target`] is a host as ssh is called for it; [`Target::explain`] makes a [`Failure`] of what ssh said.

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::anyhow;

use super::destination::Destination;
use crate::error::{Failure, Kind};
use crate::text;

/// What ssh says about a key that is not the one it knows; followed by the details.
const CHANGED_KEY: &str = "REMOTE HOST IDENTIFICATION HAS CHANGED";

/// A host, and the SSH config to reach it with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The host.
    pub destination: Destination,
    /// The config file, if not the usual ones.
    pub config: Option<PathBuf>,
}

impl Target {
    /// The arguments for ssh that say which host is meant. Whatever follows is a command.
    #[must_use]
    pub fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        if let Some(config) = &self.config {
            words.extend(["-F".into(), config.clone().into_os_string()]);
        }
        if let Some(port) = self.destination.port() {
            words.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(user) = self.destination.user() {
            words.extend(["-l".into(), user.into()]);
        }
        words.extend(["--".into(), self.destination.host().into()]);
        words
    }

    /// A call of ssh as the user could type it, escaped.
    #[must_use]
    pub fn call(&self) -> String {
        let words = self.words();
        let words = words.iter().filter(|word| *word != "--").map(|word| text::escape(&word.to_string_lossy()));
        let words: Vec<_> = std::iter::once("ssh".to_owned()).chain(words).collect();
        shlex::try_join(words.iter().map(String::as_str)).unwrap_or_else(|_| words.join(" "))
    }

    /// The failure of a connection, from the lines that ssh has said last, which are escaped.
    #[must_use]
    pub fn explain(&self, said: &[String]) -> Failure {
        self.failure("no connection to", said)
    }

    /// The failure of a connection that there was, likewise.
    #[must_use]
    pub fn explain_loss(&self, said: &[String]) -> Failure {
        self.failure("lost the connection to", said)
    }

    fn failure(&self, what: &str, said: &[String]) -> Failure {
        let words = match said {
            [] => "ssh ended without a word".to_owned(),
            [line] => line.clone(),
            lines => format!("\n{}", lines.join("\n")),
        };
        let failure = Failure::new(Kind::Unreachable, anyhow!("{what} {}: {words}", self.destination));
        match self.hint(&words) {
            Some(hint) => failure.hint(hint),
            None => failure.hint(format!("Try `{} true` to see whether it is kerek.", self.call())),
        }
    }

    fn hint(&self, words: &str) -> Option<String> {
        let call = self.call();
        let host = text::escape(self.destination.host());
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| words.contains(phrase));
        Some(if says(&[CHANGED_KEY]) {
            format!(
                "The host is not the one that it was, or somebody is in between. If you know why, remove the old key as \
                 told above (`ssh-keygen -R {host}`), and check the new one with `{call}`."
            )
        } else if says(&["Host key verification failed", "host key is known for"]) {
            format!("Nobody has vouched for this host's key yet. Look at it once with `{call}` on a terminal.")
        } else if says(&["Permission denied", "Too many authentication failures"]) {
            format!("The host lets nobody in with these keys. See what is tried with `{call} -v true`.")
        } else if says(&["Could not resolve hostname"]) {
            format!("Is {host} spelled right? An alias has to be in the SSH config that is used (-F).")
        } else if says(&["Connection refused"]) {
            format!("Nothing answers at that port. Is it the right one, and is sshd running on {host}?")
        } else if says(&["timed out", "No route to host", "Network is unreachable", "no login within"]) {
            format!("Is {host} up, and does no firewall stand in between? Try `{call}`.")
        } else if says(&["Connection closed by", "Connection reset by", "kex_exchange_identification"]) {
            "The host hung up during the login. It may have too many logins at once (`MaxStartups` of its sshd), or ban \
             this address."
                .to_owned()
        } else if says(&["not responding", "Broken pipe", "closed by remote host", "reset by peer"]) {
            "The connection broke. What runs on the host runs on; run the same command again when it is back."
                .to_owned()
        } else if says(&["open user config file", "Bad configuration option", "terminating, "]) {
            "Mend the SSH config.".to_owned()
        } else {
            return None;
        })
    }
}

/// Whether ssh told of a key that is not the one it knows.
pub(super) fn is_changed_key(said: &[String]) -> bool {
    said.iter().any(|line| line.contains(CHANGED_KEY))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target() -> Target {
        let destination = "ssh://me@vps:2222".parse().expect("a destination");
        Target { destination, config: Some("my conf".into()) }
    }

    #[test]
    fn nothing_in_a_destination_is_an_option() {
        assert_eq!(target().words(), ["-F", "my conf", "-p", "2222", "-l", "me", "--", "vps"]);
        assert_eq!(target().call(), "ssh -F 'my conf' -p 2222 -l me vps");
    }

    #[test]
    fn each_way_to_fail_has_a_way_out() {
        for (said, hint) in [
            ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @", "remove the old key"),
            ("Host key verification failed.", "on a terminal"),
            ("me@vps: Permission denied (publickey).", "-v true`"),
            ("ssh: Could not resolve hostname vps: Name or service not known", "spelled right"),
            ("ssh: connect to host vps port 2222: Connection refused", "sshd running on vps"),
            ("ssh: connect to host vps port 2222: No route to host", "firewall"),
            ("Connection timed out during banner exchange", "firewall"),
            ("Timeout, server vps not responding.", "again"),
            ("kex_exchange_identification: Connection closed by remote host", "MaxStartups"),
            ("client_loop: send disconnect: Broken pipe", "again"),
            ("Connection closed by 10.0.0.1 port 22", "MaxStartups"),
            ("Can't open user config file my conf: No such file or directory", "Mend"),
            ("something new", "ssh -F 'my conf' -p 2222 -l me vps true"),
        ] {
            let failure = target().explain(&[said.to_owned()]);
            assert_eq!(failure.kind, Kind::Unreachable);
            assert!(failure.to_string().contains(said), "{failure}");
            assert!(failure.hints[0].contains(hint), "{said}: {:?}", failure.hints);
        }
    }
}
