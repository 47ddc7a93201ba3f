//! Who holds a lock: to be shown to those who wait, and to tell whether the holder is still at it.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::process;
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::process::{Pid, getpid, test_kill_process};

use crate::engine::notes::Text;
use crate::text::escape;

/// Keys of the text of a lock.
const NONCE: &str = "kerek.lock.nonce";
const WHO: &str = "kerek.lock.who";
const WHAT: &str = "kerek.lock.what";
const SINCE: &str = "kerek.lock.since";
const PROCESS: &str = "kerek.lock.process";

/// A run of kerek.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner {
    /// Different for each run.
    pub(super) nonce: String,
    /// Such as `alice@laptop`.
    who: String,
    /// Such as `deploy web`.
    what: String,
    /// By the holder's clock, so for people only: such as `2026-02-03T04:05:06Z`.
    since: String,
    /// The process, unmistakable among all of all machines; empty where the system does not tell.
    process: String,
}

impl Owner {
    /// This very process.
    #[must_use]
    pub fn this(what: &str) -> Self {
        let random = || RandomState::new().hash_one(process::id());
        Self {
            nonce: format!("{:016x}{:016x}", random(), random()),
            who: format!("{}@{}", user(), host()),
            what: what.to_owned(),
            since: jiff::Timestamp::try_from(SystemTime::now())
                .map(|now| now.strftime("%FT%TZ").to_string())
                .unwrap_or_default(),
            process: identity(getpid()).unwrap_or_default(),
        }
    }

    /// Who: such as `alice@laptop`; raw.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// What is being done: such as `deploy web`; raw.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Since when, in UTC by the run's own clock: such as `2026-02-03T04:05:06Z`; raw.
    #[must_use]
    pub fn since(&self) -> &str {
        &self.since
    }

    pub(super) fn text(&self) -> Text {
        [(NONCE, &self.nonce), (WHO, &self.who), (WHAT, &self.what), (SINCE, &self.since), (PROCESS, &self.process)]
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.clone()))
            .collect()
    }

    /// Reads what somebody has written, whoever that was.
    pub(super) fn read(text: &Text) -> Self {
        let part = |key| text.get(key).cloned().unwrap_or_default();
        Self { nonce: part(NONCE), who: part(WHO), what: part(WHAT), since: part(SINCE), process: part(PROCESS) }
    }

    /// Whether the process lives: `None` if it is not of this machine, or nobody can tell.
    pub(super) fn lives(&self) -> Option<bool> {
        let (machine, process) = self.process.rsplit_once(' ')?;
        let (id, _) = process.split_once('.')?;
        // Of another boot, or in a namespace of its own, it is none of those that can be seen from here.
        let here = identity(getpid())?;
        let (this_machine, _) = here.rsplit_once(' ')?;
        if machine != this_machine {
            return None;
        }
        let Some(id) = id.parse().ok().filter(|id| *id > 0).and_then(Pid::from_raw) else { return Some(false) };
        if let Some(there) = identity(id) {
            return Some(there == self.process);
        }
        // It has ended, or is that of somebody whose processes are hidden from us.
        matches!(test_kill_process(id), Err(Errno::SRCH)).then_some(false)
    }

    /// As a phrase: who does what since when.
    #[must_use]
    pub fn phrase(&self) -> String {
        let known = |part: &str, unknown: &str| escape(if part.is_empty() { unknown } else { part });
        let [who, what, since] =
            [known(&self.who, "somebody"), known(&self.what, "something"), known(&readable(&self.since), "some time")];
        format!("{who} (`kerek {what}`, since {since})")
    }
}

/// A moment for people, such as `2026-02-03 04:05:06 UTC`.
fn readable(moment: &str) -> String {
    moment.replacen('T', " ", 1).replacen('Z', " UTC", 1)
}

/// Boot, namespace, and the process with the time of its start: `BOOT NAMESPACE ID.START`. One that has ended, but that
/// nobody has taken note of yet, is another one.
fn identity(id: Pid) -> Option<String> {
    let id = id.as_raw_pid();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    let status = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the program's name, in parentheses, which may hold anything; the third and the 22nd of all fields.
    let mut fields = status.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    let start = if matches!(state, "Z" | "X") { "ended" } else { fields.nth(18)? };
    Some(format!("{} {} {id}.{start}", boot.trim(), namespace.display()))
}

fn user() -> String {
    let named =
        ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()));
    named.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string())
}

fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let owner = Owner::this("deploy web");
        assert_eq!(Owner::read(&owner.text()), owner);
        assert_ne!(Owner::this("deploy web").nonce, owner.nonce);
        assert!(owner.phrase().contains("`kerek deploy web`"), "{}", owner.phrase());
    }

    #[test]
    fn what_others_have_written_is_harmless() {
        let text = BTreeMap::from([(WHO.to_owned(), "\u{1b}[2Jeve".to_owned()), ("other".to_owned(), String::new())]);
        let owner = Owner::read(&text);
        assert!(!owner.phrase().contains('\u{1b}') && owner.phrase().contains("something"), "{}", owner.phrase());
        assert_eq!(owner.lives(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_end_of_a_process_of_this_machine_is_seen() {
        let owner = Owner::this("deploy");
        assert_eq!(owner.lives(), Some(true));
        let (machine, process) = owner.process.rsplit_once(' ').expect("a process");
        let (id, start) = process.split_once('.').expect("a start");
        let with = |process: String| Owner { process, ..owner.clone() };
        // Its number has gone to another process.
        assert_eq!(with(format!("{machine} {id}.{start}1")).lives(), Some(false));
        assert_eq!(with(format!("{machine} 4194305.1")).lives(), Some(false));
        assert_eq!(with(format!("{machine} x.1")).lives(), Some(false));
        assert_eq!(with(format!("another boot {process}")).lives(), None);
        assert_eq!(with(String::new()).lives(), None);
    }
}
