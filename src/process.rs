//! The only place that spawns local children.
//!
//! Children run in process groups of their own, so that a Ctrl-C reaches kerek alone and kerek decides what becomes of
//! them. None outlives kerek: a cancelled or dropped child is ended with its group, and where the system can do it
//! (Linux), the kernel kills a child whose kerek was killed.
//!
//! [`Command::run`] is for children that do a job and end; [`running`] has those that are there for longer.

pub mod running;

use std::borrow::Cow;
use std::cell::RefCell;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio_util::sync::CancellationToken;

use crate::text;

/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// Lines of a failed child's stderr that its error shows.
const TAIL: usize = 20;

/// Bytes of a line that are read, see [`each_line`].
const LONGEST_LINE: u64 = 4096;

/// Bytes that a child may print on stdout: far more than Compose's model of any project.
const LONGEST_OUTPUT: u64 = 64 << 20;

/// Becomes the program in its arguments, without ears for signals that are meant for kerek.
const DEAF: &str = r#"trap "" HUP INT QUIT TERM; exec "$@""#;

/// First argument that makes the executable become one of its own children, see [`become_child`].
const CHILD_ARGUMENT: &str = "__child";

/// The executable that spawns children on behalf of this process, see [`supervise_with`].
static SUPERVISOR: OnceLock<PathBuf> = OnceLock::new();

/// A child to be: program, arguments, environment, input. Errors show it as the user could type it.
#[derive(Clone, Debug)]
pub struct Command {
    program: OsString,
    shown_as: Option<&'static str>,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    input: Option<Vec<u8>>,
    tells_all: bool,
    asks: bool,
}

/// What a child that succeeded has printed.
#[derive(Debug)]
pub struct Output {
    /// Everything on stdout.
    pub stdout: Vec<u8>,
}

/// Why a child did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It could not be started.
    #[error("cannot run `{command}`: {source}")]
    Spawn {
        /// The command line.
        command: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It ended with another exit code than 0 or by a signal.
    #[error("`{command}` failed ({status}){}", said(stderr))]
    Failed {
        /// The command line.
        command: String,
        /// Exit code or signal.
        status: ExitStatus,
        /// The last lines it printed on stderr, escaped.
        stderr: Vec<String>,
    },
    /// It was ended because kerek was interrupted.
    #[error("`{command}` was interrupted")]
    Cancelled {
        /// The command line.
        command: String,
    },
}

fn said(stderr: &[String]) -> String {
    if stderr.is_empty() { String::new() } else { format!(":\n{}", stderr.join("\n")) }
}

impl Command {
    /// A child that runs `program` as found in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            shown_as: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            input: None,
            tells_all: false,
            asks: false,
        }
    }

    /// Shows other words, already quoted, in place of the program.
    #[must_use]
    pub fn shown_as(mut self, words: &'static str) -> Self {
        self.shown_as = Some(words);
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<T: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), Some(value.into())));
        self
    }

    /// Keeps an environment variable from the child.
    #[must_use]
    pub fn env_remove(mut self, name: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// What the child reads on its stdin; it is empty otherwise.
    #[must_use]
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// Treats stdout like stderr: [`Command::run`] hands out its lines as they come, and returns nothing of it.
    #[must_use]
    pub fn tell_all(mut self) -> Self {
        self.tells_all = true;
        self
    }

    /// Lets the child ask on the terminal: it stays in kerek's own process group, since others are stopped when they
    /// read from a terminal. The signals that a terminal sends are kerek's business nonetheless; the child is deaf to
    /// them, and to SIGTERM.
    #[must_use]
    pub fn ask(mut self) -> Self {
        self.asks = true;
        self
    }

    /// Runs the child to its end. Each line on its stderr is handed to `on_line`, escaped, as it comes.
    pub async fn run(self, cancel: &CancellationToken, on_line: impl FnMut(&str)) -> Result<Output, Error> {
        let command = self.to_string();
        tracing::debug!("run: {command}");
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let mut child = self.spawn(stdin).map_err(|source| Error::Spawn { command: command.clone(), source })?;
        let group = Group::of(&child);
        let stdin = child.stdin.take();
        let input = self.input.unwrap_or_default();
        let mut stdout = Vec::new();
        let mut stderr = Vec::new();
        let on_line = RefCell::new(on_line);
        let talk = async {
            let write = async {
                if let Some(mut stdin) = stdin {
                    // A child that does not read its input says why by its exit code.
                    let _ = stdin.write_all(&input).await;
                }
                std::io::Result::Ok(())
            };
            let read = async {
                match child.stdout.take() {
                    Some(pipe) if self.tells_all => each_line(pipe, |line| on_line.borrow_mut()(&line)).await?,
                    Some(pipe) => stdout = read_all(pipe, LONGEST_OUTPUT).await?,
                    None => {}
                }
                std::io::Result::Ok(())
            };
            let listen = async {
                if let Some(pipe) = child.stderr.take() {
                    each_line(pipe, |line| {
                        on_line.borrow_mut()(&line);
                        if stderr.len() == TAIL {
                            stderr.remove(0);
                        }
                        stderr.push(line);
                    })
                    .await?;
                }
                std::io::Result::Ok(())
            };
            tokio::try_join!(write, read, listen)?;
            child.wait().await
        };
        let status = tokio::select! {
            status = talk => status.map_err(|source| Error::Spawn { command: command.clone(), source })?,
            () = cancel.cancelled() => {
                group.end(&mut child).await;
                return Err(Error::Cancelled { command });
            }
        };
        drop(group);
        if status.success() { Ok(Output { stdout }) } else { Err(Error::Failed { command, status, stderr }) }
    }

    /// Turns this process into the child, with the standard streams of this process; returns only if that fails. What
    /// signals and destructors do is for the caller to think of: from here on there is no kerek any more.
    pub fn exec(self) -> std::io::Error {
        tracing::debug!("become: {self}");
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        std::os::unix::process::CommandExt::exec(&mut command)
    }

    fn spawn(&self, stdin: Stdio) -> std::io::Result<tokio::process::Child> {
        let mut words: Vec<&OsStr> = Vec::new();
        let parent = std::process::id().to_string();
        if let Some(supervisor) = SUPERVISOR.get() {
            words.extend([supervisor.as_os_str(), CHILD_ARGUMENT.as_ref(), parent.as_ref()]);
        }
        if self.asks {
            // What a shell ignores, the program that it becomes ignores, too.
            words.extend(["sh", "-c", DEAF, "sh"].map(OsStr::new));
        }
        words.push(&self.program);
        let mut command = tokio::process::Command::new(words[0]);
        command.args(&words[1..]);
        // A plugin's socket is for the plugin, not for its children.
        command.args(&self.arguments).env_remove(crate::cancel::PLUGIN_SOCKET);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if !self.asks {
            command.process_group(0);
        }
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true).spawn()
    }
}

impl std::fmt::Display for Command {
    /// The command line, quoted for a shell.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted = |word: &OsString| {
            let word = text::escape(&word.to_string_lossy());
            shlex::try_quote(&word).map_or_else(|_| word.clone(), Cow::into_owned)
        };
        match self.shown_as {
            Some(words) => formatter.write_str(words)?,
            None => formatter.write_str(&quoted(&self.program))?,
        }
        self.arguments.iter().try_for_each(|argument| write!(formatter, " {}", quoted(argument)))
    }
}

/// Reads lines until the end, tolerating any bytes. Very long lines are cut, and what is cut off is held nowhere.
pub(crate) async fn each_line(pipe: impl AsyncRead + Unpin, mut handle: impl FnMut(String)) -> std::io::Result<()> {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    while (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await? > 0 {
        let decoded = String::from_utf8_lossy(&line);
        let trimmed = decoded.trim_end();
        if !trimmed.is_empty() {
            handle(text::escape(trimmed));
        }
        if !line.ends_with(b"\n") {
            skip_line(&mut reader).await?;
        }
        line.clear();
    }
    Ok(())
}

/// Reads to the end of the line that has begun, and forgets it.
async fn skip_line(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<()> {
    loop {
        let piece = reader.fill_buf().await?;
        let end = piece.iter().position(|byte| *byte == b'\n');
        let length = end.map_or(piece.len(), |end| end + 1);
        reader.consume(length);
        if end.is_some() || length == 0 {
            return Ok(());
        }
    }
}

/// Reads all there is; fails if that is more than `limit` bytes.
pub(crate) async fn read_all(pipe: impl AsyncRead + Unpin, limit: u64) -> std::io::Result<Vec<u8>> {
    let mut all = Vec::new();
    pipe.take(limit + 1).read_to_end(&mut all).await?;
    if all.len() as u64 > limit {
        return Err(std::io::Error::other(format!("it prints more than {limit} bytes")));
    }
    Ok(all)
}

/// A child's process group, killed when this is dropped: whatever a child leaves running ends with it.
#[derive(Debug)]
struct Group(Option<rustix::process::Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(rustix::process::Pid::from_raw))
    }

    fn signal(&self, signal: rustix::process::Signal) {
        if let Some(group) = self.0 {
            // The group is gone when all went well.
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Asks the group to end, and waits until the child has, at most for the grace period.
    async fn end(&self, child: &mut tokio::process::Child) {
        self.signal(rustix::process::Signal::TERM);
        if tokio::time::timeout(GRACE, child.wait()).await.is_err() {
            self.signal(rustix::process::Signal::KILL);
            let _ = child.wait().await;
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(rustix::process::Signal::KILL);
    }
}

/// Lets the running executable, which must call [`become_child`] first thing, spawn all children from now on.
///
/// The kernel can be told to kill a process when its parent dies, but only by that process itself, between `fork` and
/// `exec`. Code there has to be `unsafe`; going through our own executable once more does the same safely.
pub fn supervise_with(executable: PathBuf) {
    if cfg!(target_os = "linux") {
        // Set once per process; a second call would name the same executable.
        let _ = SUPERVISOR.set(executable);
    }
}

/// If the arguments ask for it, turns this process into the wanted child and does not return unless that fails.
/// Returns what went wrong and the exit code a shell would give, or `None` if nothing was asked for.
pub fn become_child(arguments: impl IntoIterator<Item = OsString>) -> Option<(String, u8)> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != OsStr::new(CHILD_ARGUMENT) {
        return None;
    }
    let parent = arguments.next()?;
    let program = arguments.next()?;
    die_with_parent(&parent);
    let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(&program).args(arguments));
    let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
    Some((format!("{}: {error}", program.to_string_lossy()), code))
}

#[cfg(target_os = "linux")]
fn die_with_parent(parent: &OsStr) {
    use rustix::process::{Signal, getppid, set_parent_process_death_signal};
    let _ = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have died before we asked to hear of it.
    let now = getppid().map(|id| id.as_raw_nonzero().to_string());
    if now.as_deref().map(OsStr::new) != Some(parent) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::KILL);
    }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(_: &OsStr) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        Command::new("sh").args(["-c", script])
    }

    #[tokio::test]
    async fn gives_input_and_takes_output() {
        let output =
            Command::new("cat").input("hello").run(&CancellationToken::new(), |_| {}).await.expect("cat succeeds");
        assert_eq!(output.stdout, b"hello");
    }

    #[tokio::test]
    async fn failure_names_command_code_and_words() {
        let mut lines = Vec::new();
        let error = shell("printf 'no \\033[1mway\\nreally\\n' >&2; exit 3")
            .run(&CancellationToken::new(), |line| lines.push(line.to_owned()))
            .await
            .expect_err("exit 3");
        assert_eq!(lines, ["no \\x1b[1mway", "really"]);
        let message = error.to_string();
        assert!(message.ends_with("failed (exit status: 3):\nno \\x1b[1mway\nreally"), "{message}");
    }

    #[tokio::test]
    async fn long_lines_are_cut_while_they_are_read() {
        let mut lines = Vec::new();
        let long = "x".repeat(10_000);
        let text = format!("short\n{long}\n\n{}\nlast", "y".repeat(4096));
        each_line(text.as_bytes(), |line| lines.push(line)).await.expect("readable");
        assert_eq!(lines, ["short", &"x".repeat(4096), &"y".repeat(4096), "last"]);

        // The beginning of a line that has no end is told before that.
        let begin = std::cell::Cell::new(false);
        let endless = each_line(tokio::io::repeat(b'x'), |_| begin.set(true));
        assert!(tokio::time::timeout(Duration::from_millis(50), endless).await.is_err());
        assert!(begin.get());
    }

    #[tokio::test]
    async fn output_has_a_limit() {
        assert_eq!(read_all(&b"1234"[..], 4).await.expect("few enough"), b"1234");
        assert!(read_all(&b"12345"[..], 4).await.is_err());
        // The child has ended by then, though it would not by itself.
        let cancel = CancellationToken::new();
        let endless = shell("trap '' PIPE; echo words >&2; exec cat /dev/zero").run(&cancel, |_| {});
        let error = endless.await.expect_err("too much");
        assert!(error.to_string().contains("more than"), "{error}");
    }

    #[tokio::test]
    async fn missing_program_is_named() {
        let error = Command::new("no-such-program-anywhere")
            .run(&CancellationToken::new(), |_| {})
            .await
            .expect_err("no such program");
        assert!(matches!(&error, Error::Spawn { .. }), "{error}");
        assert!(error.to_string().contains("no-such-program-anywhere"), "{error}");
    }

    #[tokio::test]
    async fn cancelling_ends_the_whole_group() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("pid");
        let script = format!("sleep 600 & echo $! > '{0}.tmp'; mv '{0}.tmp' '{0}'; wait", file.display());
        let cancel = CancellationToken::new();
        let run = shell(&script).run(&cancel, |_| {});
        let stop = async {
            while !file.exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            cancel.cancel();
        };
        let (result, ()) = tokio::join!(run, stop);
        assert!(matches!(result, Err(Error::Cancelled { .. })), "{result:?}");
        let pid = std::fs::read_to_string(&file).expect("pid").trim().to_owned();
        for _ in 0..100 {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if state.is_empty() || state.contains(") Z ") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the grandchild {pid} still runs");
    }
}
