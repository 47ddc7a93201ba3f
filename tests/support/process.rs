//! Processes, so that what a killed one has left can be told from what one that lives still needs.

use std::fs;
use std::process;
use std::time::Duration;

/// How long it may take until what ends is gone, on a machine with far too much to do. What stays does so for longer.
pub(crate) const TIDY: Duration = Duration::from_secs(30);

/// A process that can be told from later ones with the same number, and from those of other containers and machines that
/// use the same engine.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Process {
    id: u32,
    /// In ticks of the system since its start.
    started: String,
    /// The system's start.
    boot: String,
    /// The namespace of process numbers.
    namespace: String,
}

impl Process {
    pub(crate) fn current() -> Self {
        Self::find(process::id()).expect("should find itself")
    }

    /// `None` if there is no such process.
    pub(crate) fn find(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The second field, a name in parentheses, may hold anything.
        let started = stat.rsplit(')').next()?.split_whitespace().nth(19)?.to_owned();
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
        Some(Self { id, started, boot: boot.trim().to_owned(), namespace: namespace.display().to_string() })
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '/');
        let id = parts.next()?.parse().ok()?;
        let mut next = || parts.next().map(str::to_owned);
        Some(Self { id, started: next()?, boot: next()?, namespace: next()? })
    }

    /// Certainly so: of processes elsewhere nothing is known.
    pub(crate) fn is_gone(&self) -> bool {
        let here = Self::current();
        (&self.boot, &self.namespace) == (&here.boot, &here.namespace) && Self::find(self.id).as_ref() != Some(self)
    }

    /// The same of one that was on this machine: none outlives the system.
    pub(crate) fn is_gone_from_here(&self) -> bool {
        self.boot != Self::current().boot || self.is_gone()
    }
}

impl std::fmt::Display for Process {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}/{}/{}/{}", self.id, self.started, self.boot, self.namespace)
    }
}
