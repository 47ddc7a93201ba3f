//! What there is to know of a host before anything is done to it, as `scripts/provision/probe.sh` tells it.
//!
//! [`Facts`] hold what was said, nothing that was concluded. The words come from the host, and so are escaped here.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::text::escape;

/// What begins a line of the answer.
const MARK: &str = "kerek ";

/// What a host has told.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// The operating system.
    pub system: System,
    /// Who we are there.
    pub user: User,
    /// The folders that something is installed in.
    pub rooms: Vec<Room>,
    /// What the package manager has.
    pub packages: Packages,
    /// TCP ports of web servers that somebody listens on.
    pub taken_ports: Vec<u16>,
    /// Docker.
    pub docker: Docker,
    /// Podman, if that was asked for.
    pub podman: Podman,
}

/// An operating system, in the words of `os-release`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct System {
    /// `ID`: `debian`, `ubuntu`, …; may be empty.
    pub id: String,
    /// `ID_LIKE`: the IDs of those that it is made from.
    pub like: Vec<String>,
    /// `VERSION_ID`: major and minor number, unless there is none (yet).
    pub release: Option<(u32, u32)>,
    /// `PRETTY_NAME`: for people; may be empty.
    pub name: String,
    /// The kind of processor.
    pub machine: String,
    /// Whether it is run by systemd.
    pub systemd: bool,
}

/// The user who has logged in.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct User {
    /// The login name.
    pub name: String,
    /// The number; root has 0.
    pub id: u32,
    /// How to become root.
    pub rights: Rights,
}

/// How a user becomes root.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Rights {
    /// There is nothing to become.
    Root,
    /// `sudo` asks for nothing.
    Sudo,
    /// `sudo` asks for a password, or refuses.
    Password,
    /// `sudo` works on a terminal only.
    Terminal,
    /// There is no `sudo`.
    #[default]
    None,
}

/// A folder, and what can be written to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Room {
    /// Its path.
    pub folder: String,
    /// Free space in its file system, in kB.
    pub free: u64,
    /// Whether that is read-only.
    pub read_only: bool,
}

/// Packages of the Debian kind.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Packages {
    /// Those installed, of all that an engine may need.
    pub installed: BTreeSet<String>,
    /// Whether the kernel demands `AppArmor`'s tools, and they are not there.
    pub lacks_apparmor: bool,
    /// Whether an installation was interrupted.
    pub interrupted: bool,
    /// Whether a package manager is at work.
    pub locked: bool,
}

/// Docker on a host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Docker {
    /// What the engine's program says of itself, if there is one.
    pub version: Option<String>,
    /// The package that it is of, `nobody` if of none.
    pub owner: Option<String>,
    /// Whether there is a command `docker`, whosever it is; if Docker was asked for, one that is not our own.
    pub client: bool,
    /// Whether there is our own, which leads to Podman; told if Docker was asked for.
    pub shim: bool,
    /// Whether there is a socket.
    pub socket: bool,
    /// Whether the user may write to it.
    pub open: bool,
    /// Whether the user is in the group `docker`.
    pub member: bool,
    /// Whether the service starts at boot.
    pub enabled: bool,
    /// Whether it runs.
    pub active: bool,
    /// Whether its containers run on without it, as it runs now; `None` if it runs not, or does not tell us.
    pub lives_on: Option<bool>,
    /// Whether it is part of a swarm.
    pub swarm: bool,
    /// The file with its settings, if there is one that is not empty; `None` in it if it cannot be read.
    pub settings: Option<Option<Vec<u8>>>,
    /// The keys of settings that are flags of its service.
    pub given: BTreeSet<String>,
}

/// Podman on a host, as the user has it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Podman {
    /// What the program says of itself, if there is one.
    pub version: Option<String>,
    /// Whether the socket is there, and will be after a restart of the host.
    pub listens: bool,
    /// Whether the user has IDs to give to containers.
    pub ids: bool,
    /// Whether the user's services run without a login.
    pub lingers: bool,
    /// Whether users may take the ports of web servers, also after a restart.
    pub ports: bool,
}

impl Facts {
    /// Reads an answer from whatever else was printed. `None` if there is no answer, or but a part of it.
    #[must_use]
    pub fn parse(output: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(output);
        let mut facts = Self::default();
        let mut ended = false;
        for line in text.lines().filter_map(|line| line.trim_end().strip_prefix(MARK)) {
            let (name, value) = line.split_once(' ').unwrap_or((line, ""));
            ended |= name == "end";
            facts.learn(name, value.trim());
        }
        (ended && !facts.user.name.is_empty()).then_some(facts)
    }

    fn learn(&mut self, name: &str, value: &str) {
        match name {
            "system" | "kind" | "release" | "called" | "machine" | "systemd" => self.system.learn(name, value),
            "user" => self.user.name = escape(value),
            // Who is not known to be root is not.
            "uid" => self.user.id = value.parse().unwrap_or(u32::MAX),
            "rights" => self.user.rights = Rights::parse(value),
            "room" => self.rooms.extend(Room::parse(value)),
            "package" => drop(self.packages.installed.insert(escape(value))),
            "wants" => self.packages.lacks_apparmor = true,
            "broken" => self.packages.interrupted = true,
            "locked" => self.packages.locked = true,
            "taken" => self.taken_ports.extend(value.parse::<u16>()),
            "podman" | "listens" | "ids" | "lingers" | "ports" => self.podman.learn(name, value),
            _ => self.docker.learn(name, value),
        }
    }
}

impl System {
    fn learn(&mut self, name: &str, value: &str) {
        match name {
            "system" => self.id = escape(value),
            "kind" => self.like = value.split_whitespace().map(escape).collect(),
            "release" => {
                let (major, minor) = value.split_once('.').unwrap_or((value, "0"));
                self.release = major.parse().ok().map(|major| (major, minor.parse().unwrap_or(0)));
            }
            "called" => self.name = escape(value),
            "machine" => self.machine = escape(value),
            _ => self.systemd = true,
        }
    }
}

impl Docker {
    fn learn(&mut self, name: &str, value: &str) {
        match name {
            "docker" => self.version = Some(escape(value)),
            "owner" => self.owner = Some(escape(value)),
            "client" => self.client = true,
            "shim" => self.shim = true,
            "socket" => self.socket = true,
            "open" => self.open = true,
            "member" => self.member = true,
            "enabled" => self.enabled = true,
            "active" => self.active = true,
            "lives" => self.lives_on = value.parse().ok(),
            "swarm" => self.swarm = true,
            "settings" => self.settings = Some(STANDARD.decode(value).ok().filter(|text| !text.is_empty())),
            "given" => drop(self.given.insert(escape(value))),
            // Probes of later versions may tell more.
            _ => {}
        }
    }
}

impl Podman {
    fn learn(&mut self, name: &str, value: &str) {
        match name {
            "podman" => self.version = Some(escape(value)),
            "listens" => self.listens = true,
            "ids" => self.ids = true,
            "lingers" => self.lingers = true,
            _ => self.ports = true,
        }
    }
}

impl Rights {
    fn parse(text: &str) -> Self {
        match text {
            "root" => Self::Root,
            "sudo" => Self::Sudo,
            "password" => Self::Password,
            "terminal" => Self::Terminal,
            _ => Self::None,
        }
    }
}

impl Room {
    fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (folder, free, access) = (words.next()?, words.next()?, words.next()?);
        Some(Self { folder: escape(folder), free: free.parse().ok()?, read_only: access == "ro" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_found_amid_noise() {
        let answer = b"Welcome!\r\nkerek-ish\n\nkerek user deploy\nkerek uid 1000\nkerek system ubuntu\nkerek kind debian\n\
            kerek release 24.04\nkerek called Ubuntu \x1b[31m24.04\nkerek rights password\nkerek room /usr 1024 ro\n\
            kerek room /odd\nkerek package iptables\nkerek taken 443\nkerek settings e30=\nkerek something new\nkerek end\n";
        let facts = Facts::parse(answer).expect("an answer");
        assert_eq!(facts.user, User { name: "deploy".into(), id: 1000, rights: Rights::Password });
        assert_eq!(facts.system.name, "Ubuntu \\x1b[31m24.04");
        assert_eq!((facts.system.release, &facts.system.like[..]), (Some((24, 4)), &["debian".to_owned()][..]));
        assert_eq!(facts.rooms, [Room { folder: "/usr".into(), free: 1024, read_only: true }]);
        assert_eq!(facts.docker.settings, Some(Some(b"{}".to_vec())));
        assert_eq!(facts.taken_ports, [443]);
        assert!(facts.packages.installed.contains("iptables"));
    }

    #[test]
    fn half_an_answer_is_none() {
        for answer in ["", "sh: command not found", "kerek user deploy\nkerek uid 1000", "kerek end"] {
            assert_eq!(Facts::parse(answer.as_bytes()), None, "{answer}");
        }
    }

    #[test]
    fn who_is_not_known_to_be_root_is_not() {
        let facts = Facts::parse(b"kerek user me\nkerek uid x\nkerek end").expect("an answer");
        assert_eq!((facts.user.id, facts.user.rights), (u32::MAX, Rights::None));
    }

    #[test]
    fn settings_that_cannot_be_read_are_there() {
        let facts = Facts::parse(b"kerek user me\nkerek settings \nkerek end").expect("an answer");
        assert_eq!(facts.docker.settings, Some(None));
    }
}
