//! A folder of a test's own, kerek in it, and proof that nothing stays there.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::command::{command, run};
use crate::support::process::TIDY;

/// A config that knows what no other does.
pub(crate) const KNOWN: &str = "Host only\n  HostName known.example\n";
/// Prints what ssh has read from its config.
pub(crate) const ASK: &[&str] = &["ssh", "-G", "only"];

/// Home, current and temporary folder of all that a test runs.
pub(crate) struct Place {
    folder: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        for name in ["tmp", "run"] {
            fs::create_dir(folder.path().join(name)).expect("a new folder");
        }
        Self { folder }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with its folders, and gives its absolute path.
    pub(crate) fn write(&self, name: impl AsRef<Path>, content: &str) -> PathBuf {
        let path = self.path().join(name);
        let parent = path.parent().expect("it is in our folder");
        // `a/../b` needs `a` to be there.
        fs::create_dir_all(parent.components().filter(|part| part.as_os_str() != "..").collect::<PathBuf>())
            .expect("new");
        fs::write(&path, content).expect("a new file");
        path
    }

    pub(crate) fn write_program(&self, name: &str, content: &str) {
        let path = self.write(name, content);
        fs::set_permissions(path, Permissions::from_mode(0o755)).expect("it is ours");
    }

    /// A command in this place.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = command(program, self.path());
        let [temporary, runtime] = ["tmp", "run"].map(|name| self.path().join(name));
        command.current_dir(self.path()).env("TMPDIR", temporary).env("XDG_RUNTIME_DIR", runtime);
        command
    }

    /// `kerek run-with-ssh-config` with a config and a command. What heeds no signal, as jobs in the background of scripts do
    /// not, hands that down: so it is undone.
    pub(crate) fn kerek(&self, config: impl AsRef<OsStr>, words: &[&str]) -> Command {
        // By its path: some commands have another `PATH`.
        let mut kerek = self.command("/usr/bin/env");
        kerek
            .args(["--default-signal", env!("CARGO_BIN_EXE_kerek"), "run-with-ssh-config", "--"])
            .arg(config)
            .args(words);
        kerek
    }

    /// Asserts that a command that runs [`ASK`] has been told what only [`KNOWN`] says, and that nothing is left.
    #[track_caller]
    pub(crate) fn assert_known(&self, command: Command, case: &str) {
        let output = run(command);
        assert_eq!(output.code, Some(0), "{case}: {output}");
        let names: Vec<_> = output.stdout.lines().filter(|line| line.starts_with("hostname ")).collect();
        assert_eq!(names, ["hostname known.example"], "{case}: {output}");
        self.assert_nothing_left();
    }

    /// Asserts that, soon enough, no folder and no process of kerek is left.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        let deadline = Instant::now() + TIDY;
        loop {
            let mut left: Vec<_> =
                ["tmp", "run"].into_iter().flat_map(|name| entries(&self.path().join(name))).collect();
            left.extend(self.processes("").into_iter().map(|id| format!("process {id}")));
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "{left:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The processes that have the path of this place and `word` in their command line.
    pub(crate) fn processes(&self, word: &str) -> Vec<u32> {
        let place = self.path().to_str().expect("it is text");
        let ids = entries(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok());
        ids.filter(|id| {
            // Processes may end meanwhile.
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let line = String::from_utf8_lossy(&line);
            line.contains(place) && line.contains(word)
        })
        .collect()
    }
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("it is a folder");
    entries.map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned()).collect()
}

/// Sends a signal by name.
#[track_caller]
pub(crate) fn send(signal: &str, process: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{signal} {process}")]).status().expect("a shell");
    assert!(status.success(), "{signal} to {process}: {status}");
}
