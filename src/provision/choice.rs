//! What is to be done to a host, from what is known of it: a pure function, [`choose`].
//!
//! The scripts in `scripts/provision/` decide once more for themselves, as anybody may run them by hand. Both come to the
//! same, which tests on real hosts prove: what is announced here is what they change.

use std::fmt;

use anyhow::anyhow;
use serde_json::Value;

use super::Engine;
use super::facts::{Facts, Rights};
use crate::error::{Failure, Kind};

/// Free space, in kB, without which nothing is installed: engine and lists of packages take half of it.
const ROOM: u64 = 1 << 20;

/// Packages for Docker; its client is among what the script finds itself.
const DOCKER: &[&str] = &["docker.io", "iptables"];
/// Packages for Podman, run by root. Netavark, which sets up networks, calls iptables or nft, depending on its version;
/// `catatonit` is what `init: true` runs.
const PODMAN: &[&str] = &["podman", "aardvark-dns", "catatonit", "crun", "iptables", "netavark", "nftables"];
/// What it takes besides for other users.
const ROOTLESS: &[&str] = &["dbus-user-session", "fuse-overlayfs", "slirp4netns", "uidmap"];

/// What is to be done to a host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// In the order of the script; nothing if the host is as it should be.
    pub changes: Vec<Change>,
    /// What to know about the host besides.
    pub notes: Vec<String>,
}

/// One thing that is done to a host, as its own words say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Change {
    /// An interrupted installation is finished.
    Repair,
    /// Docker gets settings with these keys.
    Settings(Vec<&'static str>),
    /// These packages are installed.
    Packages(Vec<String>),
    /// Docker's service is started or enabled.
    Start,
    /// Docker's service, which runs, is restarted.
    Restart {
        /// Whether that is not known for sure.
        perhaps: bool,
    },
    /// This user joins the group that may use Docker.
    Group(String),
    /// This user gets IDs for containers.
    Ids(String),
    /// All users may publish low ports.
    Ports,
    /// Services of this user start at boot.
    Linger(String),
    /// Podman listens, for this user.
    Socket(String),
    /// There is a command `docker` that leads to Podman.
    Command,
    /// There is none any more.
    NoCommand,
}

impl Change {
    /// The step of the script that does it.
    #[must_use]
    pub const fn step(&self) -> &'static str {
        match self {
            Self::Repair => "dpkg",
            Self::Settings(_) => "settings",
            Self::Packages(_) => "packages",
            Self::Start | Self::Restart { .. } => "service",
            Self::Group(_) => "group",
            Self::Ids(_) => "ids",
            Self::Ports => "ports",
            Self::Linger(_) => "linger",
            Self::Socket(_) => "socket",
            Self::Command | Self::NoCommand => "command",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Repair => {
                formatter.write_str("finish an installation that was interrupted (dpkg --configure, apt-get -f)")
            }
            Self::Settings(keys) => write!(formatter, "write to /etc/docker/daemon.json: {}", keys.join(", ")),
            Self::Packages(names) => write!(formatter, "install with apt, and what they need: {}", names.join(" ")),
            Self::Start => formatter.write_str("start docker.service, now and at boot"),
            Self::Restart { perhaps: false } => {
                formatter.write_str("restart docker.service, while its containers run on")
            }
            Self::Restart { perhaps: true } => {
                formatter.write_str("restart docker.service if its settings are new to it, while its containers run on")
            }
            Self::Group(user) => {
                write!(formatter, "let {user} join the group docker, which is as good as being root there")
            }
            Self::Ids(user) => write!(formatter, "give {user} subordinate user IDs (/etc/subuid, /etc/subgid)"),
            Self::Ports => formatter
                .write_str("let all users publish ports from 80 on (sysctl, /etc/sysctl.d/99-kerek-provision.conf)"),
            Self::Linger(user) => write!(formatter, "let services of {user} start at boot (loginctl enable-linger)"),
            Self::Socket(user) => write!(formatter, "start podman.socket of {user}, now and at boot"),
            Self::Command => formatter.write_str("write /usr/local/bin/docker, which leads to Podman"),
            Self::NoCommand => formatter.write_str("remove /usr/local/bin/docker, which leads to Podman"),
        }
    }
}

/// Decides what is to be done so that the user of the host has the engine. `password` tells whether there is one for
/// sudo.
///
/// Fails with [`Kind::Unfit`] where that is not possible.
pub fn choose(facts: &Facts, engine: Engine, password: bool) -> Result<Plan, Failure> {
    let changes = match engine {
        Engine::Docker => docker(facts)?,
        Engine::Podman => podman(facts),
    };
    if !changes.is_empty() {
        check_system(facts, engine)?;
        check_rooms(facts, &changes)?;
        check_rights(facts, password)?;
    }
    Ok(Plan { notes: notes(facts, engine, &changes), changes })
}

fn docker(facts: &Facts) -> Result<Vec<Change>, Failure> {
    let mut changes = Vec::new();
    let docker = &facts.docker;
    if !is_foreign(facts) {
        changes.extend(repair(facts));
        let keys = missing_settings(facts)?;
        let service = service(facts, &keys);
        changes.extend((!keys.is_empty()).then_some(Change::Settings(keys)));
        let mut packages = missing(facts, DOCKER);
        packages.extend((facts.packages.lacks_apparmor).then(|| "apparmor".to_owned()));
        let installed = facts.packages.installed.contains("docker.io");
        packages.extend((installed && !docker.client).then(|| "docker-cli".to_owned()));
        changes.extend((!packages.is_empty()).then_some(Change::Packages(packages)));
        changes.extend(service);
    }
    changes.extend(docker.shim.then_some(Change::NoCommand));
    if facts.user.id != 0 && !docker.member && !(is_foreign(facts) && docker.open) {
        changes.push(Change::Group(facts.user.name.clone()));
    }
    // To find out is no reason by itself to become root.
    let idle = docker.enabled && changes == [Change::Restart { perhaps: true }];
    Ok(if idle { Vec::new() } else { changes })
}

/// What becomes of Docker's service where these keys are written to its settings. It is restarted only where its
/// containers run on.
fn service(facts: &Facts, keys: &[&str]) -> Option<Change> {
    let docker = &facts.docker;
    // A package of a service starts it.
    if !facts.packages.installed.contains("docker.io") {
        return None;
    }
    let restarts = match docker.lives_on {
        _ if !docker.active => false,
        Some(true) => !keys.is_empty(),
        Some(false) => will_live_on(facts, keys),
        None => !keys.is_empty() || will_live_on(facts, keys),
    };
    if restarts {
        return Some(Change::Restart { perhaps: docker.lives_on.is_none() });
    }
    (!docker.enabled || !docker.active).then_some(Change::Start)
}

/// Whether Docker can be brought to let containers run on, once its settings have these keys, too. A node of a swarm would
/// not start again.
fn will_live_on(facts: &Facts, keys: &[&str]) -> bool {
    !facts.docker.swarm && (keys.contains(&"live-restore") || says_live_restore(facts))
}

/// What looks interrupted may be under way.
fn repair(facts: &Facts) -> Option<Change> {
    (facts.packages.interrupted && !facts.packages.locked).then_some(Change::Repair)
}

/// Whether there is a Docker that is not the distribution's, which is none of our business.
fn is_foreign(facts: &Facts) -> bool {
    facts.docker.owner.as_ref().is_some_and(|owner| owner != "docker.io")
}

/// The keys that Docker's settings are to get: those that it has no say on yet.
fn missing_settings(facts: &Facts) -> Result<Vec<&'static str>, Failure> {
    let settings = match &facts.docker.settings {
        Some(Some(text)) => serde_json::from_slice::<Value>(text).ok().and_then(|value| value.as_object().cloned()),
        // The script, as root, will see.
        Some(None) | None => Some(serde_json::Map::new()),
    };
    let Some(settings) = settings else {
        return Err(unfit("/etc/docker/daemon.json is no JSON object")
            .hint("Docker would not start with it, either. Mend it, or remove it."));
    };
    // Docker does not start with what is both a flag and in its file; nor would it read a file that is another one's.
    let has = |key| settings.contains_key(key) || facts.docker.given.contains(key);
    if has("config-file") {
        return Ok(Vec::new());
    }
    let live_restore = !has("live-restore") && !facts.docker.swarm;
    let logs = !has("log-driver") && !has("log-opts");
    Ok([(live_restore, "live-restore"), (logs, "log-opts")]
        .into_iter()
        .filter_map(|(lacks, key)| lacks.then_some(key))
        .collect())
}

fn says_live_restore(facts: &Facts) -> bool {
    if facts.docker.given.contains("config-file") {
        return false;
    }
    let settings = facts.docker.settings.iter().flatten().next();
    settings.and_then(|text| serde_json::from_slice::<Value>(text).ok()).is_some_and(|it| it["live-restore"] == true)
}

fn podman(facts: &Facts) -> Vec<Change> {
    let user = &facts.user.name;
    let rootless = facts.user.id != 0;
    let podman = &facts.podman;
    let names = [PODMAN, if rootless { ROOTLESS } else { &[] }].concat();
    let packages = missing(facts, &names);
    let mut changes = Vec::new();
    changes.extend(repair(facts));
    changes.extend((!packages.is_empty()).then_some(Change::Packages(packages)));
    if rootless {
        changes.extend((!podman.ids).then(|| Change::Ids(user.clone())));
        changes.extend((!podman.ports).then_some(Change::Ports));
        changes.extend((!podman.lingers).then(|| Change::Linger(user.clone())));
    }
    // That of root is started by the package.
    let started = !rootless && !facts.packages.installed.contains("podman");
    changes.extend((!podman.listens && !started).then(|| Change::Socket(user.clone())));
    changes.extend((!facts.docker.client).then_some(Change::Command));
    changes
}

fn missing(facts: &Facts, names: &[&str]) -> Vec<String> {
    names.iter().filter(|name| !facts.packages.installed.contains(**name)).map(ToString::to_string).collect()
}

fn check_system(facts: &Facts, engine: Engine) -> Result<(), Failure> {
    let system = &facts.system;
    let name = if system.name.is_empty() { "an unknown system" } else { &system.name };
    let is = |id: &str| system.id == id || system.like.iter().any(|like| like == id);
    if !is("debian") && !is("ubuntu") {
        return Err(unfit(format!("this is {name}: kerek sets up Debian, Ubuntu and those made from them"))
            .hint(format!("Install {engine} there by hand. `kerek deploy` works with any host that has an engine.")));
    }
    // Since when they have an engine that `deploy` can talk to; others count their releases in their own ways.
    let oldest = match (system.id.as_str(), engine) {
        ("debian", Engine::Docker) => (11, 0),
        ("debian", Engine::Podman) => (12, 0),
        ("ubuntu", Engine::Docker) => (20, 4),
        ("ubuntu", Engine::Podman) => (24, 4),
        _ => (0, 0),
    };
    if system.release.is_some_and(|release| release < oldest) {
        return Err(unfit(format!("this is {name}, whose {engine} is too old"))
            .hint("Bring the host to a newer release, or install a newer engine there by hand."));
    }
    if !system.systemd {
        return Err(unfit(format!("this is {name} without systemd, which is to run the engine"))
            .hint("Install the engine there by hand. `kerek deploy` works with any host that has one."));
    }
    Ok(())
}

fn check_rooms(facts: &Facts, changes: &[Change]) -> Result<(), Failure> {
    if let Some(room) = facts.rooms.iter().find(|room| room.read_only) {
        return Err(unfit(format!("{} is read-only", room.folder))
            .hint("Mount it for writing. If that is not meant to be, the image of the host has to bring the engine."));
    }
    let installs = changes.iter().any(|change| matches!(change, Change::Packages(_) | Change::Repair));
    match facts.rooms.iter().find(|room| installs && room.free < ROOM) {
        Some(room) => Err(unfit(format!(
            "there are but {} MB free in {}; an engine needs {} MB",
            room.free >> 10,
            room.folder,
            ROOM >> 10
        ))
        .hint("Make room there, for example with `apt-get clean` and `journalctl --vacuum-size=50M`.")),
        None => Ok(()),
    }
}

fn check_rights(facts: &Facts, password: bool) -> Result<(), Failure> {
    let user = &facts.user.name;
    match facts.user.rights {
        Rights::Root | Rights::Sudo => Ok(()),
        Rights::Password if password => Ok(()),
        Rights::Password => Err(unfit(format!("{user} is asked for a password by sudo there, or may not use it"))
            .hint("With --ask-become-password, kerek asks you for it.")
            .hint("Or log in as root, or as somebody who may use sudo.")),
        Rights::Terminal => Err(unfit(format!("sudo there wants a terminal of {user}"))
            .hint("Remove `requiretty` from the settings of sudo there, or log in as root.")),
        Rights::None => Err(unfit(format!("{user} is not root, and there is no sudo")).hint("Log in as root.")),
    }
}

fn notes(facts: &Facts, engine: Engine, changes: &[Change]) -> Vec<String> {
    let mut notes = Vec::new();
    if engine == Engine::Docker && is_foreign(facts) {
        notes.push("Docker is here from elsewhere than the distribution, and is left as it is".to_owned());
    }
    let keys = changes.iter().find_map(|change| match change {
        Change::Settings(keys) => Some(&keys[..]),
        _ => None,
    });
    let stays = |keys| facts.docker.active && !matches!(service(facts, keys), Some(Change::Restart { .. }));
    if facts.packages.installed.contains("docker.io") && keys.is_some_and(stays) {
        notes.push("the new settings count once somebody restarts Docker: its containers would end with it".to_owned());
    }
    if facts.packages.locked && changes.iter().any(|change| matches!(change, Change::Packages(_) | Change::Repair)) {
        notes.push("another package manager is at work; it is waited for, up to 300 s".to_owned());
    }
    for port in &facts.taken_ports {
        notes.push(format!("somebody listens on port {port}"));
    }
    notes
}

fn unfit(words: impl Into<String>) -> Failure {
    let words: String = words.into();
    Failure::new(Kind::Unfit, anyhow!(words))
}

#[cfg(test)]
mod tests;
