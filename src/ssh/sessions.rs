//! Programs that run on a host, several at a time.
//!
//! An sshd allows so many sessions a login (ten, unless it is told otherwise). That is enough for kerek. Where it allows but
//! a few, [`Sessions`] logs in again, without a question, until there are `ENOUGH` altogether, and not more often than that
//! takes if each login gives but one; beyond that, who wants one more has to wait for another one's end.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openssh::Session;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, LONGEST_ANSWER, Remote, start};
use super::diagnosis::Target;
use crate::text::escape;

/// Sessions with which nobody who has one waits for somebody who has none: a stream of events and two idle connections
/// of kerek's own, and for a child of its one for each of its two processes and one to spare.
const ENOUGH: usize = 6;
/// What a session that has ended may take to be forgotten by the host.
const MOMENT: Duration = Duration::from_millis(150);
/// What a command may take that is [asked](Sessions::ask).
const COMMAND: Duration = Duration::from_secs(20);

/// Sessions on a host.
#[derive(Debug)]
pub struct Sessions {
    /// The one that there always is.
    first: Arc<Session>,
    target: Target,
    /// Cancelled when the first one has ended.
    lost: CancellationToken,
    state: Mutex<State>,
    /// Held by who logs in.
    growing: tokio::sync::Mutex<()>,
    /// For sockets of further logins.
    folder: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    /// Further ones.
    connections: Vec<Connection>,
    /// Sessions that there are.
    open: usize,
    /// The most there have been at a time.
    peak: usize,
    /// Why there are no more, should there be too few.
    refusal: Option<String>,
}

/// A program on the host, which counts as a session.
#[derive(Debug)]
pub struct Counted {
    /// Its streams.
    pub remote: Remote,
    /// Counted for as long as this is there.
    pub place: Place,
}

/// A session's place among all.
#[derive(Debug)]
pub struct Place(Arc<Sessions>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

impl Sessions {
    /// Sessions over a connection, and over further ones if need be, whose sockets are put into a folder.
    #[must_use]
    pub fn new(connection: &Connection, folder: PathBuf) -> Self {
        Self {
            first: connection.session(),
            target: connection.target().clone(),
            lost: connection.lost().clone(),
            state: Mutex::default(),
            growing: tokio::sync::Mutex::default(),
            folder,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts a command, through the user's login shell, whichever that is. Fails with the reason why not now.
    pub async fn start(self: &Arc<Self>, command: &str) -> Result<Counted, String> {
        let known = match self.attempt(command).await {
            Err((_, known)) if self.is_short() => known,
            result => return result.map_err(|(refusal, _)| refusal),
        };
        sleep(MOMENT).await;
        // By now all are counted that were let in before.
        match self.attempt(command).await {
            Err((refusal, _)) if self.is_short() => {
                self.grow(known).await.map_err(|words| format!("{refusal}; {words}"))?;
                self.attempt(command).await.map_err(|(refusal, _)| refusal)
            }
            result => result.map_err(|(refusal, _)| refusal),
        }
    }

    /// Runs a command that reads `input` to its end. Returns what it prints.
    pub async fn ask(self: &Arc<Self>, command: &str, input: &str) -> Result<Vec<u8>, String> {
        let answer = async {
            let Counted { remote, place: _place } = self.start(command).await?;
            let Remote { mut stdin, stdout, stderr: _stderr, child: _child } = remote;
            let failed = |error: std::io::Error| error.to_string();
            stdin.write_all(input.as_bytes()).await.map_err(failed)?;
            drop(stdin);
            let mut output = Vec::new();
            stdout.take(LONGEST_ANSWER).read_to_end(&mut output).await.map_err(failed)?;
            Ok(output)
        };
        timeout(COMMAND, answer).await.unwrap_or_else(|_| Err(format!("no answer within {} s", COMMAND.as_secs())))
    }

    /// Why there are too few sessions for all that is to be done, if that is so.
    #[must_use]
    pub fn shortage(&self) -> Option<String> {
        self.state().refusal.clone()
    }

    /// Ends the further connections, and waits for that a moment.
    pub async fn close(&self) {
        let connections = std::mem::take(&mut self.state().connections);
        futures_util::future::join_all(connections.into_iter().map(Connection::close)).await;
    }

    /// Whether there may be too few of them. A host that is slow to forget sessions that have ended looks like that, too.
    fn is_short(&self) -> bool {
        let state = self.state();
        state.peak < ENOUGH && state.connections.len() + 1 < ENOUGH
    }

    /// Tries all connections. Fails with the last refusal, and how many further ones there were.
    async fn attempt(self: &Arc<Self>, command: &str) -> Result<Counted, (String, usize)> {
        let more: Vec<_> = self.state().connections.iter().map(Connection::session).collect();
        let known = more.len();
        let mut refusal = String::new();
        for session in std::iter::once(Arc::clone(&self.first)).chain(more) {
            match start(session, command).await {
                Ok(remote) => {
                    let mut state = self.state();
                    state.open += 1;
                    state.peak = state.peak.max(state.open);
                    return Ok(Counted { remote, place: Place(Arc::clone(self)) });
                }
                Err(error) => refusal = escape(&error.to_string()),
            }
        }
        Err((refusal, known))
    }

    /// Logs in once more, unless somebody has since there were `known` further connections, or in vain.
    async fn grow(&self, known: usize) -> Result<(), String> {
        let _turn = self.growing.lock().await;
        {
            let state = self.state();
            if let Some(refusal) = &state.refusal {
                return Err(refusal.clone());
            }
            if state.connections.len() != known {
                return Ok(());
            }
        }
        tracing::debug!("too few sessions: logging in again");
        let again = Connection::again(&self.target, &self.folder);
        match self.lost.run_until_cancelled(again).await {
            None => Err("the connection has ended".to_owned()),
            Some(Ok(connection)) => {
                self.state().connections.push(connection);
                Ok(())
            }
            Some(Err(failure)) => {
                let failure = failure.to_string();
                let lines: Vec<_> = failure.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                let words = format!("a further login failed: {}", lines.join("; "));
                self.state().refusal = Some(words.clone());
                Err(words)
            }
        }
    }
}
