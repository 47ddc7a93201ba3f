//! Lets the `ssh` that other programs call use a given config file, where they offer no option for it.
//!
//! A [`Wrapper`] is a private folder with small scripts named `ssh`, `scp` and `sftp`, at the head of a command's
//! `PATH`. Each becomes the real program, with `-F` and the config file before all other arguments. As ssh heeds the last
//! `-F`, one that the caller gives himself wins, and so does the inner of nested wrappers.
//!
//! The folder is proven to work before the command runs: a shell that cannot run a script goes on to the next entry of
//! `PATH` without a word, and the wrong host might answer. The command then takes the place of kerek in the same process:
//! its terminal, signals, exit code and job control are its own. The folder disappears when that process ends, even by
//! SIGKILL (see [`folder`]).

mod config;
pub mod folder;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;

pub use config::ConfigFile;

use crate::error::{Failure, Kind};
use crate::process::Command;
use crate::text;

/// What is wrapped. `scp` and `sftp` are, since they call an `ssh` at a path that was fixed when they were built.
const NAMES: [&str; 3] = ["ssh", "scp", "sftp"];
/// What `execvp` searches where there is no `PATH`.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// Asks a wrapper for the path of its folder. No argument that ssh knows begins with two hyphens.
const PROBE: &str = "--kerek-probe";

/// The real programs behind the names, and where they were looked for.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The `PATH` of a command that calls them, without our folder.
    path: OsString,
    /// Name and absolute path. `ssh` is always there, the others need not be.
    found: Vec<(&'static str, PathBuf)>,
}

impl Programs {
    /// Looks for the programs in `PATH`, whose value is given. Where that is unset or empty, the usual folders stand in:
    /// the current one, which an empty entry means, is no place to take programs from.
    pub fn find(path: Option<OsString>) -> Result<Self, Failure> {
        let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into());
        let found: Vec<_> = NAMES.into_iter().filter_map(|name| Some((name, find(name, &path)?))).collect();
        if found.first().is_none_or(|(name, _)| *name != "ssh") {
            let error = anyhow!("there is no program `ssh` in PATH ({})", text::escape(&path.to_string_lossy()));
            return Err(
                Failure::from(error).hint("Install OpenSSH's client, on Debian with `apt-get install openssh-client`.")
            );
        }
        Ok(Self { path, found })
    }

    /// Name and absolute path of each program that is there, `ssh` first.
    pub fn found(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        self.found.iter().map(|(name, path)| (*name, path.as_path()))
    }
}

/// A program in the absolute folders of a `PATH`. Relative ones mean something else wherever a command goes.
fn find(name: &str, path: &OsStr) -> Option<PathBuf> {
    let runs = |file: &PathBuf| file.is_file() && rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok();
    env::split_paths(path).filter(|folder| folder.is_absolute()).map(|folder| folder.join(name)).find(runs)
}

/// A folder of wrappers that is known to work.
#[derive(Debug)]
pub struct Wrapper {
    /// The `PATH` for commands.
    path: OsString,
}

impl Wrapper {
    /// Makes the folder and proves that it works. It goes when this process ends, or what this process has become.
    pub async fn set_up(config: &ConfigFile, programs: &Programs) -> Result<Self, Failure> {
        let folder = folder::create().await?;
        let config = config.place(&folder)?;
        for (name, program) in programs.found() {
            let script = script(&folder, program, &config)?;
            write(&folder.join(name), &script)
                .with_context(|| format!("cannot write a wrapper into {}", folder.display()))?;
        }
        let mut path = folder.clone().into_os_string();
        path.push(":");
        path.push(&programs.path);
        prove(&folder, &path).await?;
        Ok(Self { path })
    }

    /// Turns this process into the command, and returns only if that is impossible: with exit code 127 if there is no
    /// such program, 126 if it cannot be run.
    #[must_use]
    pub fn become_command(&self, command: Command) -> Failure {
        let line = command.to_string();
        let error = command.env("PATH", &self.path).exec();
        let kind = if error.kind() == io::ErrorKind::NotFound { Kind::NotFound } else { Kind::NotExecutable };
        Failure::new(kind, anyhow::Error::new(error).context(format!("cannot run `{line}`")))
    }
}

/// What a wrapper consists of.
fn script(folder: &Path, program: &Path, config: &Path) -> anyhow::Result<Vec<u8>> {
    let [folder, program, config] = [folder, program, config].map(quote);
    let (folder, program, config) = (folder?, program?, config?);
    let mut script = b"#!/bin/sh\n# Written by `kerek run-with-ssh-config`, which also removes it.\n".to_vec();
    write!(script, "[ \"${{1-}}\" != {PROBE} ] || {{ printf %s ")?;
    script.extend(folder);
    script.extend(b"; exit; }\nexec ");
    script.extend(program);
    script.extend(b" -F ");
    script.extend(config);
    script.extend(b" \"$@\"\n");
    Ok(script)
}

/// A path as a word of a shell.
fn quote(path: &Path) -> anyhow::Result<Vec<u8>> {
    let quoted = shlex::bytes::try_quote(path.as_os_str().as_bytes());
    Ok(quoted.with_context(|| format!("{} cannot stand in a script", path.display()))?.into_owned())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o700).open(path)?;
    file.write_all(content)
}

/// Makes sure that programs and shells that look for `ssh` in `path` come across the wrapper.
async fn prove(folder: &Path, path: &OsStr) -> Result<(), Failure> {
    let ways = [Command::new("ssh").arg(PROBE), Command::new("/bin/sh").args(["-c", &format!("ssh {PROBE}")])];
    for way in ways {
        let answer = way.env("PATH", path).run(&CancellationToken::new(), |_| {}).await;
        let reached = match answer {
            Ok(output) if output.stdout == folder.as_os_str().as_bytes() => continue,
            Ok(_) => anyhow!("another `ssh` was found"),
            Err(error) => anyhow::Error::new(error),
        };
        let error = reached.context(format!("the wrapper of ssh in {} is not used; nothing was run", folder.display()));
        return Err(Failure::from(error)
            .hint("Set TMPDIR to a folder in which programs can be run: `TMPDIR=$HOME kerek run-with-ssh-config …`."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_and_empty_entries_of_path_are_no_place_for_ssh() {
        let folder = tempfile::tempdir().expect("temporary directory");
        write(&folder.path().join("ssh"), b"#!/bin/sh\n").expect("a file");
        let path = |entries: &[&Path]| Some(env::join_paths(entries).expect("no colons"));
        let empty = Path::new("");
        let found = |path| Programs::find(path).map(|programs| programs.found[0].1.clone());
        let ssh = folder.path().join("ssh");
        assert_eq!(found(path(&[empty, Path::new("bin"), Path::new("."), folder.path()])).expect("it is there"), ssh);
        let error = found(path(&[empty, Path::new("bin")])).expect_err("nothing is there");
        assert!(error.to_string().contains("no program `ssh` in PATH (:bin)"), "{error}");
    }

    #[test]
    fn what_cannot_be_run_is_passed_over() {
        let folder = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(folder.path().join("ssh")).expect("a folder of that name");
        fs::write(folder.path().join("scp"), "no program").expect("a file");
        assert_eq!(find("ssh", folder.path().as_os_str()), None);
        assert_eq!(find("scp", folder.path().as_os_str()), None);
    }

    #[test]
    fn odd_paths_are_single_words_of_the_script() {
        let odd = Path::new("/a b/'q'/$x/\n/\"");
        let script = script(Path::new("/tmp/f"), odd, odd).expect("it can be quoted");
        let text = String::from_utf8(script).expect("it is text");
        let last = text.split_once("exec ").expect("it ends so").1;
        assert_eq!(
            shlex::split(last).expect("it is quoted well"),
            [odd.to_str().expect("text"), "-F", odd.to_str().expect("text"), "$@"]
        );
    }

    #[tokio::test]
    async fn a_wrapper_that_is_passed_over_is_noticed() {
        let [folder, other] = [(), ()].map(|()| tempfile::tempdir().expect("temporary directory"));
        let path = env::join_paths([folder.path(), other.path()]).expect("no colons");
        let answer = |text: &str| format!("#!/bin/sh\necho {text}\n").into_bytes();
        write(&other.path().join("ssh"), &answer("mine")).expect("a file");
        // As where programs cannot be run: the file is there, but does not count.
        fs::write(folder.path().join("ssh"), answer("ours")).expect("a file");
        let error = prove(folder.path(), &path).await.expect_err("the other one answers");
        assert!(error.to_string().ends_with("is not used; nothing was run: another `ssh` was found"), "{error}");
        fs::remove_file(other.path().join("ssh")).expect("it was there");
        prove(folder.path(), &path).await.expect_err("none answers");
    }
}
