//! A provisioning under way, so that something can come in between.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a run may take to end once something has come in between.
const PATIENCE: Duration = Duration::from_secs(90);

/// Kerek, of whose output nobody reads on; what it writes from here is lost, as with a closed terminal.
pub(crate) struct Running {
    child: Child,
    /// What it has said so far, line by line.
    said: Vec<String>,
    /// Whether it has come to the line that was waited for; if not, it has said all it had to.
    pub(crate) came: bool,
}

impl Running {
    /// Starts a run, and waits for a line of its progress; all of them are shown to `is_it`, one by one.
    pub(crate) fn until(mut command: Command, mut is_it: impl FnMut(&str) -> bool) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("should start kerek");
        let lines = BufReader::new(child.stderr.take().expect("should have a stderr")).lines();
        let (mut said, mut came) = (Vec::new(), false);
        for line in lines {
            said.push(line.expect("should read"));
            came = said.last().is_some_and(|line| is_it(line));
            if came {
                break;
            }
        }
        Self { child, said, came }
    }

    /// The same for a line with some words, which has to come.
    #[track_caller]
    pub(crate) fn until_words(command: Command, words: &str) -> Self {
        let running = Self::until(command, |line| line.contains(words));
        assert!(running.came, "no line with {words}: {:#?}", running.said);
        running
    }

    /// Sends a signal. The run may have ended by itself; nobody else has the number of a process that was not waited for.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("should signal");
    }

    /// Waits for the end, and returns the exit code.
    #[track_caller]
    pub(crate) fn end(mut self) -> Option<i32> {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("should wait") {
                return status.code();
            }
            assert!(begin.elapsed() < PATIENCE, "it should end: {:#?}", self.said);
            sleep(Duration::from_millis(50));
        }
    }
}
