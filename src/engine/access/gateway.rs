//! A local socket in front of an engine that only a program can reach: each connection gets a run of the program, whose
//! standard streams are the connection to the engine.
//!
//! Where only so many runs are possible at a time, as in sessions of an SSH connection, further connections wait.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::process;

/// What a program that has closed its output may take to say its last words.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How long to wait for another connection to end, before a new try.
const PAUSE: Duration = Duration::from_millis(250);
/// How often to try, where there is no other connection to wait for.
const TRIES: usize = 8;
/// How long to wait for another connection to end which may be waiting for this one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of what programs say that are kept.
const TAIL: usize = 10;

/// One run of the program.
pub(super) struct Line {
    /// To the engine.
    pub(super) input: Box<dyn AsyncWrite + Send + Unpin>,
    /// From the engine.
    pub(super) output: Box<dyn AsyncRead + Send + Unpin>,
    /// What the program says besides.
    pub(super) words: Box<dyn AsyncRead + Send + Unpin>,
    /// Ends the program when dropped.
    pub(super) run: Box<dyn Any + Send>,
}

/// Why the program could not be started.
pub(super) struct NotNow {
    /// In words.
    pub(super) words: String,
    /// Whether those who have a run may be waiting for those who have none.
    pub(super) short: bool,
}

impl NotNow {
    /// A reason that passes, if the end of another run is waited for.
    pub(super) fn passing(words: String) -> Self {
        Self { words, short: false }
    }
}

/// Starts the program, or says why not now.
pub(super) type Dial = Box<dyn Fn() -> BoxFuture<'static, Result<Line, NotNow>> + Send + Sync>;

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Gateway {
    task: JoinHandle<()>,
    words: Words,
}

/// What programs have said last.
#[derive(Clone, Debug, Default)]
struct Words(Arc<Mutex<Vec<String>>>);

struct Shared {
    dial: Dial,
    words: Words,
    /// Told whenever a run has ended.
    freed: Notify,
    /// Runs under way.
    runs: Mutex<usize>,
}

impl Gateway {
    /// Serves a socket, which is made.
    pub(super) fn listen(socket: &Path, dial: Dial) -> io::Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let words = Words::default();
        let shared = Shared { dial, words: words.clone(), freed: Notify::new(), runs: Mutex::new(0) };
        Ok(Self { task: tokio::spawn(accept(listener, Arc::new(shared))), words })
    }

    /// The last lines that programs have said, escaped.
    pub(super) fn words(&self) -> Vec<String> {
        self.words.lock().clone()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Words {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: String) {
        let mut lines = self.lock();
        if lines.last() == Some(&line) {
            return;
        }
        if lines.len() == TAIL {
            lines.remove(0);
        }
        lines.push(line);
    }
}

/// Takes connections. All of them end with this.
async fn accept(listener: UnixListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&shared)))),
                Err(error) => {
                    // Such as too many open files: it passes.
                    tracing::debug!("cannot accept a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: UnixStream, shared: Arc<Shared>) {
    if let Some(line) = shared.line().await {
        transfer(stream, line, &shared.words).await;
        shared.end();
    }
}

impl Shared {
    /// A run of the program. `None` if it cannot be had.
    async fn line(&self) -> Option<Line> {
        let mut tries = 0;
        let begin = Instant::now();
        loop {
            let freed = self.freed.notified();
            self.count(|runs| runs + 1);
            let refusal = match (self.dial)().await {
                Ok(line) => return Some(line),
                Err(refusal) => refusal,
            };
            let others = self.count(|runs| runs.saturating_sub(1));
            let NotNow { words, short } = refusal;
            tracing::debug!(others, "cannot dial: {words}");
            if others == 0 {
                tries += 1;
            }
            if tries == TRIES || short && begin.elapsed() > PATIENCE {
                self.words.add(words);
                return None;
            }
            // It may end without us being told, too.
            let _ = timeout(PAUSE, freed).await;
        }
    }

    fn end(&self) {
        self.count(|runs| runs.saturating_sub(1));
        self.freed.notify_waiters();
    }

    fn count(&self, change: impl FnOnce(usize) -> usize) -> usize {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = change(*runs);
        *runs
    }
}

/// Carries bytes to and fro until the engine has ended the connection, or the client is gone.
async fn transfer(stream: UnixStream, line: Line, words: &Words) {
    let Line { mut input, mut output, words: said, run } = line;
    let (mut from_client, mut to_client) = stream.into_split();
    let up = async {
        // The engine is told of the end of requests, and may answer still.
        let _ = copy(&mut from_client, &mut input).await;
        drop(input);
        std::future::pending::<()>().await;
    };
    let mut listen = std::pin::pin!(process::each_line(said, |line| {
        tracing::debug!("dial: {line}");
        words.add(line);
    }));
    let mut heard = false;
    let down = async {
        let copied = tokio::select! {
            copied = copy(&mut output, &mut to_client) => copied,
            never = async { let _ = (&mut listen).await; heard = true; std::future::pending().await } => never,
        };
        // Who finds the connection closed is to find out why.
        if copied.is_ok() && !heard {
            let _ = timeout(LAST_WORDS, &mut listen).await;
        }
    };
    tokio::select! {
        () = up => {}
        () = down => {}
    }
    let _ = to_client.shutdown().await;
    drop(run);
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;
    use crate::process::Command;

    /// Runs a shell script a connection.
    fn shell(script: &'static str) -> Dial {
        Box::new(move || {
            Box::pin(async move {
                let (running, streams) =
                    Command::new("sh").args(["-c", script]).start().map_err(|it| NotNow::passing(it.to_string()))?;
                Ok(Line {
                    input: Box::new(streams.stdin),
                    output: Box::new(streams.stdout),
                    words: Box::new(streams.stderr),
                    run: Box::new(running),
                })
            })
        })
    }

    async fn talk(socket: &Path, words: &str) -> String {
        let mut stream = UnixStream::connect(socket).await.expect("connection");
        stream.write_all(words.as_bytes()).await.expect("write");
        stream.shutdown().await.expect("shutdown");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    #[tokio::test]
    async fn carries_both_ways_and_passes_on_the_end_of_requests() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let socket = folder.path().join("s");
        let _gateway = Gateway::listen(&socket, shell("cat; echo bye")).expect("listen");
        let (one, two) = tokio::join!(talk(&socket, "hello\n"), talk(&socket, "you\n"));
        assert_eq!((one.as_str(), two.as_str()), ("hello\nbye\n", "you\nbye\n"));
    }

    #[tokio::test]
    async fn tells_why_there_is_no_answer() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let socket = folder.path().join("s");
        let gateway = Gateway::listen(&socket, shell("exec >&-; sleep 0.1; echo no such engine >&2")).expect("listen");
        assert_eq!(talk(&socket, "").await, "");
        assert_eq!(gateway.words(), ["no such engine"]);
    }

    #[tokio::test]
    async fn connections_wait_for_their_turn() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let socket = folder.path().join("s");
        let turn = Arc::new(tokio::sync::Semaphore::new(1));
        let run = shell("cat");
        let dial: Dial = Box::new(move || {
            let permit = Arc::clone(&turn).try_acquire_owned();
            let run = run();
            Box::pin(async move {
                let permit = permit.map_err(|_| NotNow::passing("one at a time".to_owned()))?;
                let line = run.await?;
                Ok(Line { run: Box::new((line.run, permit)), ..line })
            })
        });
        let _gateway = Gateway::listen(&socket, dial).expect("listen");
        let (one, two, three) = tokio::join!(talk(&socket, "1"), talk(&socket, "2"), talk(&socket, "3"));
        assert_eq!([one, two, three], ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn who_may_be_waited_for_does_not_wait_for_ever() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let socket = folder.path().join("s");
        let first = std::sync::atomic::AtomicBool::new(true);
        let run = shell("cat");
        let dial: Dial = Box::new(move || {
            let first = first.swap(false, std::sync::atomic::Ordering::Relaxed);
            let run = run();
            Box::pin(async move {
                if first { run.await } else { Err(NotNow { words: "only one".to_owned(), short: true }) }
            })
        });
        let gateway = Gateway::listen(&socket, dial).expect("listen");
        let mut holder = UnixStream::connect(&socket).await.expect("connection");
        holder.write_all(b"1").await.expect("write");
        holder.read_exact(&mut [0]).await.expect("read");
        assert_eq!(talk(&socket, "").await, "");
        assert_eq!(gateway.words(), ["only one"]);
    }
}
