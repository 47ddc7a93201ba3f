//! Signals become cancellation: the first INT or TERM asks kerek to come to a good end, the second to end at once.
//!
//! [`Cancel`] is handed to everything that waits. Whoever sees it decides what a good end is; nobody else handles
//! signals. As a plugin of the Docker CLI, kerek gets no signal when the CLI does: instead, the CLI closes a socket. That
//! and a closed terminal (HUP) ask for a good end, however often; where HUP was ignored from the start, as `nohup` has it, it
//! stays ignored.

use std::cell::Cell;
use std::fs;
use std::future::pending;
use std::io;
use std::os::unix::net;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::Kind;

/// Whether and why kerek is to end.
#[derive(Clone, Debug, Default)]
pub struct Cancel {
    /// Asked to come to an end.
    graceful: CancellationToken,
    /// Asked to end at once.
    now: CancellationToken,
    /// The first signal.
    reason: Rc<Cell<Option<Reason>>>,
}

/// What asked kerek to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// SIGINT: a person at the keyboard.
    Interrupt,
    /// SIGTERM or SIGHUP: a machine, or a closed terminal.
    Terminate,
}

impl Reason {
    /// The kind of failure a run ends with.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Interrupt => Kind::Interrupted,
            Self::Terminate => Kind::Terminated,
        }
    }
}

impl Cancel {
    /// Never cancelled unless [`Cancel::request`] is called.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a signal does: the first call asks for a good end, the second for an immediate one.
    pub fn request(&self, reason: Reason) {
        if self.graceful.is_cancelled() {
            self.now.cancel();
        } else {
            self.reason.set(Some(reason));
            self.graceful.cancel();
        }
    }

    /// Why kerek is to end, if it is.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason.get()
    }

    /// The kind of failure that a run ends with which was cancelled.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.reason().map_or(Kind::Interrupted, Reason::kind)
    }

    /// Cancelled by the first signal.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.graceful
    }

    /// Returns when the first signal has come.
    pub async fn requested(&self) {
        self.graceful.cancelled().await;
    }

    /// Returns when the second signal has come.
    pub async fn insisted(&self) {
        self.now.cancelled().await;
    }

    /// Runs `work` while listening to signals. Returns `None` if a second signal came before it had ended; `work` is
    /// dropped then.
    pub async fn listen<T>(&self, work: impl Future<Output = T>) -> io::Result<Option<T>> {
        let mut signals = Signals::listen()?;
        let mut plugin = PluginSocket::connect();
        let signals = async {
            let mut first = None;
            loop {
                let call = tokio::select! {
                    call = signals.next() => call,
                    () = plugin.closed() => match timeout(ECHO, signals.next()).await {
                        Ok(call) => call,
                        Err(_) => Call { reason: Reason::Terminate, insists: false },
                    },
                };
                if self.heeds(call, *first.get_or_insert_with(Instant::now)) {
                    self.request(call.reason);
                }
            }
        };
        tokio::select! {
            result = work => Ok(Some(result)),
            () = self.insisted() => Ok(None),
            () = signals => Ok(None),
        }
    }

    /// Whether a call is a request of its own, neither an echo of the one that came `first` nor less than that.
    fn heeds(&self, call: Call, first: Instant) -> bool {
        self.reason().is_none() || call.insists && first.elapsed() >= ECHO
    }
}

/// One Ctrl-C may reach kerek more than once: as a signal and, by way of the Docker CLI, as a closed socket; from the
/// terminal and from a wrapper such as `npm` or `timeout` that passes on what it gets itself. All within so long is one
/// request.
const ECHO: Duration = Duration::from_millis(200);

/// What comes from outside.
#[derive(Clone, Copy, Debug)]
struct Call {
    reason: Reason,
    /// Whether somebody wants it now who has wanted it before.
    insists: bool,
}

/// The signals that ask for an end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// `None` if it is to be ignored.
    hang_up: Option<Signal>,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let hang_up = SignalKind::hangup();
        Ok(Self {
            // Even if ignored from the start, as shells have it for what they run in the background of a script: whoever
            // sends it to kerek alone means it.
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: (!is_ignored(hang_up)).then(|| signal(hang_up)).transpose()?,
        })
    }

    async fn next(&mut self) -> Call {
        tokio::select! {
            _ = self.interrupt.recv() => Call { reason: Reason::Interrupt, insists: true },
            _ = self.terminate.recv() => Call { reason: Reason::Terminate, insists: true },
            () = came(&mut self.hang_up) => Call { reason: Reason::Terminate, insists: false },
        }
    }
}

async fn came(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}

/// Whether kerek was started so that it ignores a signal. Only Linux tells.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    // A bit each, the first one for signal 1.
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask >> (kind.as_raw_value() - 1) & 1 == 1
}

/// The socket by which the Docker CLI tells a plugin that it is asked to end (docker/cli, `cli-plugins/socket`).
struct PluginSocket(Option<UnixStream>);

impl PluginSocket {
    /// Connects to the socket that the environment names; without one, or without success, it is never closed.
    fn connect() -> Self {
        let stream = std::env::var(PLUGIN_SOCKET).ok().and_then(|address| {
            let stream = connect(&address).inspect_err(|error| tracing::debug!("no plugin socket: {error}")).ok()?;
            stream.set_nonblocking(true).ok()?;
            UnixStream::from_std(stream).ok()
        });
        Self(stream)
    }

    /// Returns when the socket is closed, once; never after that.
    async fn closed(&mut self) {
        if let Some(stream) = &mut self.0 {
            let mut buffer = [0; 64];
            while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
            self.0 = None;
        } else {
            pending::<()>().await;
        }
    }
}

/// Where the Docker CLI says which socket that is. A leading `@` stands for Linux' abstract namespace.
pub const PLUGIN_SOCKET: &str = "DOCKER_CLI_PLUGIN_SOCKET";

fn connect(address: &str) -> io::Result<net::UnixStream> {
    #[cfg(target_os = "linux")]
    if let Some(name) = address.strip_prefix('@') {
        use std::os::linux::net::SocketAddrExt;
        return net::UnixStream::connect_addr(&net::SocketAddr::from_abstract_name(name)?);
    }
    net::UnixStream::connect(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn echoes_and_closed_terminals_insist_on_nothing() {
        let call = |insists| Call { reason: Reason::Terminate, insists };
        let cancel = Cancel::new();
        let first = Instant::now();
        assert!(cancel.heeds(call(false), first));
        cancel.request(Reason::Interrupt);
        assert!(!cancel.heeds(call(true), first));
        tokio::time::advance(ECHO).await;
        assert!(cancel.heeds(call(true), first));
        assert!(!cancel.heeds(call(false), first));
    }
}
