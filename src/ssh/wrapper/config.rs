//! The SSH config file as the user names it, and as ssh can be given it.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::error::Failure;
use crate::text;

/// More than any config has: somebody named an endless device.
const LARGEST: u64 = 16 << 20;

/// A config file that can be read.
///
/// What its relative `Include`s mean does not depend on where it is: for ssh, they are in `~/.ssh`.
#[derive(Debug)]
pub struct ConfigFile {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// A file, by its canonical path: a command may change directories, and `/dev/stdin` is a file only for us.
    File,
    /// What can be read only once (a pipe, `<(…)`), while ssh may run many times.
    Content(Vec<u8>),
}

impl ConfigFile {
    /// Makes sure that there is such a file, and reads it if it can be read only once.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let shown = text::escape(&path.to_string_lossy());
        let cannot_read = || format!("cannot read the SSH config {shown}");
        let file = File::open(path).with_context(cannot_read)?;
        let metadata = file.metadata().with_context(cannot_read)?;
        if metadata.is_dir() {
            return Err(Failure::from(anyhow!("the SSH config {shown} is a folder")).hint("Name a file in it."));
        }
        if metadata.is_file() {
            // One that is deleted, but open as standard input, has no path any more.
            if let Ok(path) = fs::canonicalize(path) {
                return Ok(Self { path, source: Source::File });
            }
        }
        let mut content = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut content).with_context(cannot_read)?;
        if content.len() as u64 > LARGEST {
            return Err(anyhow!("the SSH config {shown} does not end within {} MiB", LARGEST >> 20).into());
        }
        Ok(Self { path: path.to_owned(), source: Source::Content(content) })
    }

    /// The file as the user knows it: absolute unless it can be read only once.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path of the file that ssh can be given, in `folder` if need be, which has to be plain itself.
    pub(super) fn place(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let place = folder.join("config");
        match &self.source {
            // Better not a path in our folder: ssh names it when the file has errors.
            Source::File if is_plain(&self.path) => return Ok(self.path.clone()),
            Source::File => symlink(&self.path, &place),
            Source::Content(content) => write_private(&place, content),
        }
        .with_context(|| format!("cannot put the SSH config into {}", folder.display()))?;
        Ok(place)
    }
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?.write_all(content)
}

/// Whether a path is the same to a shell without quotes, and to `PATH`: ssh puts the path of its config into the command
/// line of a `ProxyJump` as it is.
pub(super) fn is_plain(path: &Path) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,@".contains(byte);
    path.is_absolute() && path.as_os_str().as_bytes().iter().all(is_plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_path_is_used_as_it_is_and_another_by_a_link() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let home = folder.path().canonicalize().expect("it is there");
        for (name, place) in [("ssh.conf", "ssh.conf"), ("my $ssh.conf", "config")] {
            fs::write(home.join(name), "Host x\n").expect("a file");
            let config = ConfigFile::open(&home.join(".").join(name)).expect("it can be read");
            assert_eq!(config.path(), home.join(name));
            let placed = config.place(&home).expect("there is room");
            assert_eq!(placed, home.join(place));
            assert_eq!(fs::read_to_string(placed).expect("ssh reads it, too"), "Host x\n");
        }
    }

    #[test]
    fn what_is_no_file_is_copied_or_refused() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let placed = ConfigFile::open(Path::new("/dev/null")).expect("empty").place(folder.path()).expect("room");
        assert_eq!(fs::read(placed).expect("a copy"), b"");
        let refusal = |path: &Path| ConfigFile::open(path).expect_err("no config").to_string();
        assert!(refusal(Path::new("/dev/zero")).ends_with("does not end within 16 MiB"));
        assert!(refusal(folder.path()).ends_with("is a folder"));
        assert!(refusal(&folder.path().join("\u{1b}")).contains("\\x1b: No such file"));
    }
}
