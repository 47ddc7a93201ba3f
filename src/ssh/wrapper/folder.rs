//! A private folder of programs that goes when this process ends, however it ends.
//!
//! Kerek is to become another program, which knows nothing of our folder, and may be killed. So the folder belongs to a
//! keeper: a process in a session of its own that creates the folder, waits for the end of the process it was told, and
//! removes it. It is no child of that process, which may wait for all children it has, and ignores what ends
//! a whole group or job (INT, TERM, HUP).

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::process::Pid;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::config::is_plain;
use crate::error::Failure;
use crate::process::Command;

/// First argument that makes the executable a keeper.
const KEEPER_ARGUMENT: &str = "__keep-folder";
/// Starts what it is given in the background, deaf to the signals that end jobs. What runs so has no parent that waits.
const DETACH: &str = r#"trap '' HUP INT TERM; "$0" "$@" &"#;

/// Creates a folder with a plain path, in which programs can be run, for as long as this process lives.
pub(crate) async fn create() -> Result<PathBuf, Failure> {
    let executable = env::current_exe().context("cannot find kerek's own executable")?;
    let id = rustix::process::getpid().as_raw_nonzero().to_string();
    let keeper = Command::new("/bin/sh")
        .args(["-c", DETACH])
        .arg(executable)
        .arg(KEEPER_ARGUMENT)
        .arg(id)
        .args(candidates(|name| env::var_os(name)));
    let mut complaints = Vec::new();
    let output = keeper
        .run(&CancellationToken::new(), |line| complaints.push(line.to_owned()))
        .await
        .context("cannot start the keeper of a temporary folder")?;
    if output.stdout.is_empty() {
        let error = anyhow!("there is no temporary folder for a wrapper of ssh:\n{}", complaints.join("\n"));
        return Err(Failure::from(error).hint(
            "Set TMPDIR to a folder in which programs can be run, with a path of letters, digits and any of / . _ -.",
        ));
    }
    Ok(OsString::from_vec(output.stdout).into())
}

/// Where the folder may be: wherever a path can stand in `PATH` (a colon cannot) and in a shell's command line.
fn candidates(variable: impl Fn(&str) -> Option<OsString>) -> Vec<PathBuf> {
    let named = ["TMPDIR", "XDG_RUNTIME_DIR"].into_iter().filter_map(|name| {
        let path = variable(name).filter(|path| !path.is_empty())?;
        std::path::absolute(path).ok()
    });
    named.chain(["/tmp", "/var/tmp"].map(PathBuf::from)).filter(|path| is_plain(path)).collect()
}

/// If the arguments ask for it, makes this process a keeper, and returns its exit code when all is done. It prints the
/// path of the folder, and nothing after that.
pub fn become_keeper(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != KEEPER_ARGUMENT {
        return None;
    }
    let owner = arguments.next().and_then(|id| Pid::from_raw(id.to_str()?.parse().ok()?))?;
    let created = arguments.find_map(|candidate| {
        let folder = create_in(Path::new(&candidate));
        folder.inspect_err(|error| complain(&candidate, error)).ok()
    });
    Some(match created.map(|folder| keep(folder, owner)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(_)) | None => ExitCode::FAILURE,
    })
}

fn complain(candidate: &OsStr, error: &io::Error) {
    crate::report::console::err(&format!("{}: {error}\n", candidate.to_string_lossy()));
}

/// A new folder for the user alone, if programs can be run there.
fn create_in(parent: &Path) -> io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    let folder = tempfile::Builder::new().prefix("kerek-ssh-").permissions(private.clone()).tempdir_in(parent)?;
    let trial = folder.path().join("trial");
    fs::write(&trial, "#!/bin/sh\n")?;
    fs::set_permissions(&trial, private)?;
    rustix::fs::access(&trial, rustix::fs::Access::EXEC_OK)
        .map_err(|_| io::Error::new(io::ErrorKind::PermissionDenied, "programs cannot be run there"))?;
    fs::remove_file(trial)?;
    Ok(folder)
}

/// Tells of the folder, and removes it when the owner has ended.
fn keep(folder: TempDir, owner: Pid) -> io::Result<()> {
    // A session of our own: the terminal and the owner's process group are not for us any more.
    rustix::process::setsid()?;
    // Where it holds nobody up that this process lives on.
    env::set_current_dir("/")?;
    let watch = Watch::on(owner);
    io::stdout().write_all(folder.path().as_os_str().as_bytes())?;
    io::stdout().flush()?;
    // Whoever reads our output waits for its end.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    watch.until_end();
    folder.close()
}

/// A process, to be waited for although it is not our child.
enum Watch {
    #[cfg(target_os = "linux")]
    Handle(std::os::fd::OwnedFd),
    Id(Pid),
}

impl Watch {
    fn on(process: Pid) -> Self {
        #[cfg(target_os = "linux")]
        if let Ok(handle) = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()) {
            return Self::Handle(handle);
        }
        Self::Id(process)
    }

    fn until_end(&self) {
        match self {
            #[cfg(target_os = "linux")]
            Self::Handle(handle) => {
                use rustix::event::{PollFd, PollFlags, poll};
                // Anything but an interruption by a signal tells that the process has ended, or cannot be watched.
                while poll(&mut [PollFd::new(handle, PollFlags::IN)], None) == Err(rustix::io::Errno::INTR) {}
            }
            Self::Id(process) => {
                while rustix::process::test_kill_process(*process) != Err(rustix::io::Errno::SRCH) {
                    thread::sleep(Duration::from_millis(500));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_folders_are_no_candidates() {
        for odd in ["/a:b", "/a b", "/a'b", "/$a", "/a\nb", "/ä", ""] {
            let named = candidates(|name| (name == "TMPDIR").then(|| odd.into()));
            assert_eq!(named, [Path::new("/tmp"), Path::new("/var/tmp")], "{odd:?}");
        }
        let named = candidates(|name| Some(format!("/run/{name}").into()));
        assert_eq!(named[..2], ["/run/TMPDIR", "/run/XDG_RUNTIME_DIR"].map(PathBuf::from));
    }

    #[test]
    fn folders_are_private_and_empty() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let folder = create_in(parent.path()).expect("programs can be run here");
        let mode = folder.path().metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(fs::read_dir(folder.path()).expect("it is a folder").count(), 0);
        create_in(&parent.path().join("missing")).expect_err("there is no such folder");
    }

    #[test]
    fn the_end_of_a_process_is_noticed_both_ways() {
        let ended = Pid::from_raw(i32::MAX).expect("not 0");
        Watch::on(ended).until_end();
        Watch::Id(ended).until_end();
    }

    #[test]
    fn other_arguments_make_no_keeper() {
        assert!(become_keeper(["kerek".into(), "deploy".into()]).is_none());
        assert!(become_keeper(["kerek".into()]).is_none());
    }
}
