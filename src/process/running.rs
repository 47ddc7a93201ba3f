//! Children that are there for as long as they are needed, and are talked to meanwhile.
//!
//! A [`Running`] is killed with its group when dropped; [`Running::end`] gives it the time to end by itself.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;

use super::{Command, Error, Group};

/// A child that has been started.
#[derive(Debug)]
pub struct Running {
    child: tokio::process::Child,
    /// Nobody, if the child is in kerek's own group.
    group: Group,
}

/// A child's standard streams.
#[derive(Debug)]
pub struct Streams {
    /// What is written here, the child reads.
    pub stdin: ChildStdin,
    /// What the child prints.
    pub stdout: ChildStdout,
    /// What the child says besides.
    pub stderr: ChildStderr,
}

impl Command {
    /// Starts the child. Its streams are for the caller; one that is dropped is closed.
    pub fn start(self) -> Result<(Running, Streams), Error> {
        let command = self.to_string();
        tracing::debug!("start: {command}");
        let failed = |source| Error::Spawn { command: command.clone(), source };
        let mut child = self.spawn(Stdio::piped()).map_err(failed)?;
        let group = if self.asks { Group(None) } else { Group::of(&child) };
        match (child.stdin.take(), child.stdout.take(), child.stderr.take()) {
            (Some(stdin), Some(stdout), Some(stderr)) => {
                Ok((Running { child, group }, Streams { stdin, stdout, stderr }))
            }
            _ => Err(failed(std::io::Error::other("a stream is missing"))),
        }
    }
}

/// A child that lives on when kerek has ended.
#[derive(Debug)]
pub struct Detached {
    child: tokio::process::Child,
    /// Its process ID.
    pub id: u32,
    /// What it prints.
    pub stdout: ChildStdout,
}

impl Command {
    /// Starts a child for which kerek answers no more. It shares kerek's terminal, group and stderr until it leaves
    /// them, and has nothing on its stdin.
    pub fn detach(self) -> Result<Detached, Error> {
        let line = self.to_string();
        tracing::debug!("detach: {line}");
        let failed = |source| Error::Spawn { command: line.clone(), source };
        let mut command = tokio::process::Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        match (child.id(), child.stdout.take()) {
            (Some(id), Some(stdout)) => Ok(Detached { child, id, stdout }),
            _ => Err(failed(std::io::Error::other("it has no output"))),
        }
    }
}

impl Detached {
    /// Waits until the child has ended, for those who do not leave it to itself after all.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Asks the child to end.
    pub fn terminate(&self) {
        terminate(self.id);
    }
}

impl Running {
    /// Waits until the child has ended by itself. May be dropped and called again.
    pub async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Gives the child some time to end by itself, then kills it.
    pub async fn end(mut self, grace: Duration) {
        if timeout(grace, self.child.wait()).await.is_err() {
            self.group.signal(Signal::KILL);
            // It may have ended just now.
            let _ = self.child.kill().await;
        }
    }

    /// Asks the child to end.
    pub fn terminate(&self) {
        if let Some(id) = self.child.id() {
            terminate(id);
        }
    }
}

fn terminate(id: u32) {
    if let Some(id) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
        // It may have ended just now.
        let _ = rustix::process::kill_process(id, Signal::TERM);
    }
}
