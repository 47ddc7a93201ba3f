//! The one connection to a host: the user's own `ssh`, with their config, keys, agent, jump hosts and known hosts.
//!
//! A [`Connection`] is a master in the sense of OpenSSH: one login, over which commands run and sockets are forwarded as
//! often as needed. It asks on the terminal if there is one, notices within `SILENCE` that the other end is gone, and
//! ends with kerek, however that ends: the master is a child of kerek's own and not, as ssh has it by default, a process
//! that puts itself into the background. The crate `openssh` talks to it.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::slice;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, anyhow};
use openssh::{ForwardType, Session, Socket, Stdio};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::destination::Destination;
use super::diagnosis::{Target, is_changed_key};
use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::process::running::{Running, Streams};
use crate::process::{self as children, Command};
use crate::text;

/// A host that has been silent for this many seconds is asked whether it is there.
const SILENCE: u32 = 3;
/// How often it is asked before it is given up: after 12 s altogether.
const QUESTIONS: u32 = 3;
/// Seconds that each of the first steps may take: to connect, to agree on keys.
const CONNECT: u32 = 15;
/// What a login may take where nobody can be asked; a key may have to be touched or confirmed nonetheless.
const LOGIN: Duration = Duration::from_secs(60);
/// What a command on the host may take, see [`Connection::run`].
const COMMAND: Duration = Duration::from_secs(30);
/// Bytes that it may answer.
pub(super) const LONGEST_ANSWER: u64 = 1 << 20;
/// How often to look whether the login has succeeded.
const LOOK: Duration = Duration::from_millis(3);
/// What the master may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(1);

/// A host that has let us in.
#[derive(Debug)]
pub struct Connection {
    target: Target,
    said: Said,
    session: Arc<Session>,
    master: JoinHandle<()>,
    /// Tells the master's keeper that the connection is not needed any more.
    closing: CancellationToken,
    /// Tells everybody else that it is gone.
    lost: CancellationToken,
}

/// The streams of a command on the host. The command learns of their end; nothing else ends it.
#[derive(Debug)]
pub struct Remote {
    /// What is written here, the command reads.
    pub stdin: openssh::ChildStdin,
    /// What the command prints.
    pub stdout: openssh::ChildStdout,
    /// What the command says besides.
    pub stderr: openssh::ChildStderr,
    /// Lets go of the command when dropped.
    pub child: openssh::Child<Arc<Session>>,
}

impl Connection {
    /// Logs in. `config` takes the place of the user's SSH config. The private `folder`, whose path must be plain and
    /// short, must be there for as long as the connection is.
    ///
    /// Fails with what ssh said; the kind is `Unreachable` unless a signal came.
    pub async fn open(
        destination: &Destination,
        config: Option<&Path>,
        folder: &Path,
        cancel: &Cancel,
    ) -> Result<Self, Failure> {
        let target = Target { destination: destination.clone(), config: config.map(Path::to_owned) };
        let cancelled = async {
            cancel.requested().await;
            interrupted(cancel)
        };
        Self::log_in(target, folder, may_ask(), cancelled).await
    }

    /// Logs in where that has been done before. Nobody is asked anything.
    pub async fn again(target: &Target, folder: &Path) -> Result<Self, Failure> {
        Self::log_in(target.clone(), folder, false, std::future::pending()).await
    }

    async fn log_in(
        target: Target,
        folder: &Path,
        asks: bool,
        cancelled: impl Future<Output = Failure>,
    ) -> Result<Self, Failure> {
        let mut cancelled = pin!(cancelled);
        let directory = tempfile::Builder::new().prefix("ssh-").tempdir_in(folder);
        let directory = directory.with_context(|| format!("cannot make a folder in {}", folder.display()))?;
        let log = directory.path().join("log");
        let control = directory.path().join("master");
        let (mut running, streams) = master(&target, &control, &log, asks).start().map_err(not_started)?;
        let said = Said { log, stderr: Arc::default() };
        let listening = tokio::spawn(said.clone().listen(streams));
        let limit = if asks { None } else { Some(Instant::now() + LOGIN) };
        while fs::symlink_metadata(&control).is_err() {
            tokio::select! {
                _ = running.wait() => {
                    // All that it said is to be heard.
                    let _ = timeout(GOODBYE, listening).await;
                    return Err(target.explain(&said.lines()));
                }
                failure = &mut cancelled => {
                    // If it is asking, it puts the terminal in order.
                    running.terminate();
                    running.end(GOODBYE).await;
                    return Err(failure);
                }
                () = sleep(LOOK) => {}
            }
            if limit.is_some_and(|limit| Instant::now() > limit) {
                running.end(Duration::ZERO).await;
                return Err(target.explain(&[format!("no login within {} s", LOGIN.as_secs())]));
            }
        }
        // A lenient configuration would let this pass.
        if is_changed_key(&said.lines()) {
            running.end(Duration::ZERO).await;
            return Err(target.explain(&said.lines()));
        }
        let closing = CancellationToken::new();
        let lost = CancellationToken::new();
        // A master that may have asked is deaf to polite words.
        let grace = if asks { Duration::ZERO } else { GOODBYE };
        let master = tokio::spawn(keep(running, grace, closing.clone(), lost.clone()));
        let session = Arc::new(Session::new_native_mux(directory));
        Ok(Self { target, said, session, master, closing, lost })
    }

    /// Runs a command on the host, through the user's login shell, whichever that is. Returns what it prints on stdout,
    /// whatever its exit code.
    pub async fn run(&self, command: &str) -> Result<Vec<u8>, Failure> {
        let mut call = self.session.raw_command(command);
        call.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let answer = async {
            let mut child = call.spawn().await?;
            let pipe = child.stdout().take().ok_or_else(|| io::Error::other("a stream is missing"));
            let read = async { children::read_all(pipe?, LONGEST_ANSWER).await };
            let output = read.await.map_err(openssh::Error::ChildIo)?;
            child.wait().await?;
            Ok(output)
        };
        match timeout(COMMAND, answer).await {
            Ok(Ok(output)) => Ok(output),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.target.explain(&[format!("a command gave no answer within {} s", COMMAND.as_secs())])),
        }
    }

    /// Starts a command, through the user's login shell, whichever that is.
    pub async fn start(&self, command: &str) -> Result<Remote, openssh::Error> {
        start(self.session(), command).await
    }

    /// To start commands with, see [`super::sessions`].
    pub(super) fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    /// Forwards the local socket `local`, which is made, to `remote`. Whether that one can be reached shows only when
    /// somebody connects.
    pub async fn forward(&self, local: &Path, remote: &Path) -> Result<(), Failure> {
        self.forward_to(local, Socket::UnixSocket { path: remote.into() }).await
    }

    /// The same to a port of a host as the other end knows it, which may be itself.
    pub async fn forward_port(&self, local: &Path, host: &str, port: u16) -> Result<(), Failure> {
        self.forward_to(local, Socket::TcpSocket { host: host.into(), port }).await
    }

    async fn forward_to(&self, local: &Path, connect: Socket<'_>) -> Result<(), Failure> {
        let listen = Socket::UnixSocket { path: local.into() };
        let request = self.session.request_port_forward(ForwardType::Local, listen, connect);
        match timeout(COMMAND, request).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(self.broken(&error)),
            Err(_) => Err(self.target.explain(&["it does not forward a socket".to_owned()])),
        }
    }

    /// Ends a forwarding. Whoever is connected stays so.
    pub async fn unforward(&self, local: &Path, remote: &Path) {
        let [listen, connect] = [local, remote].map(|path| Socket::UnixSocket { path: path.into() });
        let request = self.session.close_port_forward(ForwardType::Local, listen, connect);
        if let Ok(Err(error)) = timeout(COMMAND, request).await {
            tracing::debug!("cannot end forwarding: {error}");
        }
        let _ = fs::remove_file(local);
    }

    /// Cancelled when the connection has ended.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Why the connection is lost, in the words of ssh.
    #[must_use]
    pub fn why_lost(&self) -> Failure {
        self.target.explain_loss(&self.said.lines())
    }

    /// The host, and how to get there by hand.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Takes leave of the host, and waits for that a moment.
    pub async fn close(self) {
        let Self { session, master, closing, .. } = self;
        closing.cancel();
        let _ = master.await;
        // Its folder goes now.
        drop(session);
    }

    fn broken(&self, error: &openssh::Error) -> Failure {
        let mut lines = self.said.lines();
        lines.push(chain(error));
        self.target.explain(&lines)
    }
}

/// Starts a command on the host, through the user's login shell, whichever that is.
pub(super) async fn start(session: Arc<Session>, command: &str) -> Result<Remote, openssh::Error> {
    let mut call = Session::to_raw_command(session, command);
    call.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = call.spawn().await?;
    match (child.stdin().take(), child.stdout().take(), child.stderr().take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Remote { stdin, stdout, stderr, child }),
        _ => Err(openssh::Error::ChildIo(std::io::Error::other("a stream is missing"))),
    }
}

/// Owns the master: waits for its end, or brings it about.
async fn keep(mut running: Running, grace: Duration, closing: CancellationToken, lost: CancellationToken) {
    tokio::select! {
        status = running.wait() => {
            tracing::debug!("ssh has ended: {status:?}");
            lost.cancel();
        }
        () = closing.cancelled() => {
            lost.cancel();
            running.terminate();
            running.end(grace).await;
        }
    }
}

/// The call of ssh. What the user's config says about other uses of a connection than ours is switched off.
fn master(target: &Target, control: &Path, log: &Path, asks: bool) -> Command {
    let batch = if asks { None } else { Some("BatchMode=yes".to_owned()) };
    let options = [
        "ControlMaster=yes".to_owned(),
        "ControlPersist=no".to_owned(),
        "ClearAllForwardings=yes".to_owned(),
        "ExitOnForwardFailure=no".to_owned(),
        "ForwardAgent=no".to_owned(),
        "ForwardX11=no".to_owned(),
        "PermitLocalCommand=no".to_owned(),
        "RemoteCommand=none".to_owned(),
        "StreamLocalBindMask=0177".to_owned(),
        "Tunnel=no".to_owned(),
        // Refusals are told from this level on.
        "LogLevel=INFO".to_owned(),
        format!("ConnectTimeout={CONNECT}"),
        format!("ServerAliveInterval={SILENCE}"),
        format!("ServerAliveCountMax={QUESTIONS}"),
    ];
    let options = options.into_iter().chain(batch).map(|option| format!("-o{option}"));
    let command = Command::new("ssh").args(["-N", "-n", "-T"]).args(options);
    let command = command.arg("-S").arg(control).arg("-E").arg(log).args(target.words());
    if asks { command.ask() } else { command }
}

/// Whether there is a terminal where ssh can ask: one whose keyboard is ours.
fn may_ask() -> bool {
    let Ok(terminal) = File::open("/dev/tty") else {
        return false;
    };
    rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// What the master says: a log of its own, and besides, on stderr, what jump hosts and banners say.
#[derive(Clone, Debug)]
struct Said {
    log: PathBuf,
    stderr: Arc<Mutex<Tail>>,
}

impl Said {
    async fn listen(self, streams: Streams) {
        let Streams { stdin, stdout, stderr } = streams;
        drop((stdin, stdout));
        // A stream that cannot be read any more has ended.
        let _ = children::each_line(stderr, |line| {
            tracing::debug!("ssh: {line}");
            self.stderr.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        })
        .await;
    }

    /// The last lines so far, escaped, and whatever was said of a changed key.
    fn lines(&self) -> Vec<String> {
        let file = fs::read(&self.log).unwrap_or_default();
        let file = String::from_utf8_lossy(&file);
        let mut log = Tail::default();
        for line in file.lines().map(str::trim_end).filter(|line| !line.is_empty()) {
            log.push(text::escape(line));
        }
        let stderr = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        stderr.lines().chain(log.lines()).cloned().collect()
    }
}

/// The last lines of something. That a key has changed is not forgotten, however long a banner comes after it.
#[derive(Debug, Default)]
struct Tail {
    changed_key: Option<String>,
    last: VecDeque<String>,
}

impl Tail {
    /// Lines that are kept.
    const LENGTH: usize = 20;

    fn push(&mut self, line: String) {
        if self.last.len() == Self::LENGTH
            && let Some(first) = self.last.pop_front()
            && is_changed_key(slice::from_ref(&first))
        {
            self.changed_key = Some(first);
        }
        self.last.push_back(line);
    }

    fn lines(&self) -> impl Iterator<Item = &String> {
        self.changed_key.iter().chain(&self.last)
    }
}

fn not_started(error: children::Error) -> Failure {
    Failure::new(Kind::Unreachable, error)
        .hint("Install OpenSSH's client, on Debian with `apt-get install openssh-client`.")
}

fn interrupted(cancel: &Cancel) -> Failure {
    Failure::new(cancel.kind(), anyhow!("interrupted while connecting"))
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    text::escape(&causes.map(ToString::to_string).collect::<Vec<_>>().join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_banner_hides_a_changed_key() {
        let warning = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @";
        let mut tail = Tail::default();
        tail.push(warning.to_owned());
        for line in 0..50 {
            tail.push(line.to_string());
        }
        let lines: Vec<_> = tail.lines().cloned().collect();
        assert_eq!(lines.len(), 1 + Tail::LENGTH);
        assert_eq!((lines[0].as_str(), lines[1].as_str(), lines[20].as_str()), (warning, "30", "49"));
        assert!(is_changed_key(&lines));
    }
}
