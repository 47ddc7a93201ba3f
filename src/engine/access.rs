//! The way to an engine, wherever it is: in the end, every engine is a unix socket on this machine.
//!
//! An [`Access`] knows the path of that socket from the beginning, so that others can prepare to use it; nobody may before
//! [`Access::connect`] has made it. For an engine on another host there is one SSH connection, over which the engine's
//! socket is forwarded; where that is not possible, a `gateway` runs the engine's own program over it. The same, but on
//! this machine, serves all other endpoints. Whatever is made lives in a private folder and goes with kerek.

mod explain;
mod gateway;
pub mod room;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use tokio_util::sync::CancellationToken;

use self::gateway::{Dial, Gateway, Line, NotNow};
use self::room::Room;
use super::api::{Api, Run, Shell};
use super::endpoint::{Endpoint, Selection};
use super::{Error, ErrorKind};
use crate::cancel::Cancel;
use crate::error::{Failure, Kind};
use crate::process::Command;
use crate::ssh::connection::{Connection, Remote};
use crate::ssh::destination::Destination;
use crate::ssh::remote_socket::RemoteSocket;
use crate::ssh::sessions::{Counted, Sessions};
use crate::ssh::wrapper::folder;

/// Bytes that leave room for the names of sockets in the folder: systems take 103 altogether.
const LONGEST_FOLDER: usize = 64;

/// How long a connection that is about to end may take to do so.
const MOMENT: Duration = Duration::from_millis(200);

/// An engine, and what its socket on this machine will be.
#[derive(Debug)]
pub struct Access {
    endpoint: Endpoint,
    podman: bool,
    /// The engine's own program, with the user's options: it finds its engine as the endpoint was found.
    client: Vec<OsString>,
    /// The user's SSH config, if not the usual one.
    ssh_config: Option<PathBuf>,
    /// For sockets, unless the engine's own is there.
    folder: Option<PathBuf>,
    socket: PathBuf,
}

/// An engine's socket, for as long as this is there.
#[derive(Debug)]
pub struct Link {
    gateway: Option<Gateway>,
    /// Those over the connection.
    sessions: Option<Arc<Sessions>>,
    connection: Option<Connection>,
    lost: CancellationToken,
}

impl Access {
    /// Decides which engine is meant, and where its socket will be. `ssh_config` takes the place of the user's own.
    pub async fn prepare(selection: &Selection, ssh_config: Option<&Path>) -> Result<Self, Failure> {
        let endpoint = Endpoint::resolve(selection)?;
        let (folder, socket) = match &endpoint {
            Endpoint::Unix(socket) => (None, socket.clone()),
            Endpoint::Tcp(address) if address.starts_with("tcp:///") => {
                let path = crate::text::escape(address.trim_start_matches("tcp://"));
                let error = anyhow!("{endpoint} names no host");
                return Err(Failure::new(Kind::Usage, error).hint(format!("Say unix://{path} to mean a socket.")));
            }
            Endpoint::Ssh(_) | Endpoint::Tcp(_) | Endpoint::Other(_) => {
                let folder = folder::create().await?;
                if folder.as_os_str().len() > LONGEST_FOLDER {
                    let error = anyhow!("the path {} is too long for sockets", folder.display());
                    return Err(Failure::from(error).hint("Set TMPDIR to a folder with a shorter path, such as /tmp."));
                }
                let socket = folder.join("engine.sock");
                (Some(folder), socket)
            }
        };
        let podman = selection.is_podman();
        let client = if podman { podman_client(selection, &endpoint) } else { docker_client(selection) };
        let ssh_config = ssh_config.map(Path::to_owned);
        Ok(Self { endpoint, podman, client, ssh_config, folder, socket })
    }

    /// Puts the socket of an engine that is elsewhere at a path of the caller's choice, where nothing may be yet.
    #[must_use]
    pub fn at(self, socket: PathBuf) -> Self {
        if self.folder.is_some() { Self { socket, ..self } } else { self }
    }

    /// The path of the socket.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Which engine it is.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Connects to the engine.
    pub async fn connect(&self, cancel: &Cancel) -> Result<(Api, Link), Failure> {
        match (&self.endpoint, &self.folder) {
            (Endpoint::Ssh(destination), Some(folder)) => self.connect_ssh(destination, folder, cancel).await,
            (Endpoint::Unix(_), _) | (_, None) => match Api::connect(&self.socket).await {
                Ok(api) => Ok((api, Link::direct())),
                Err(error) => Err(explain::local(error, &self.socket).await),
            },
            (Endpoint::Tcp(_) | Endpoint::Other(_), Some(_)) => self.connect_by_client(cancel).await,
        }
    }

    /// The way to a port as the engine's host knows it: a socket on this machine, or none if that host is this machine.
    pub async fn way_to(&self, link: &Link, host: &str, port: u16) -> Result<Option<PathBuf>, Failure> {
        let (Some(folder), Some(connection)) = (&self.folder, &link.connection) else {
            return match &self.endpoint {
                Endpoint::Unix(_) => Ok(None),
                other => {
                    Err(Failure::new(Kind::Usage, anyhow!("{other} is not reached by SSH: nothing leads to its host")))
                }
            };
        };
        let socket = folder.join("port.sock");
        connection.forward_port(&socket, host, port).await?;
        Ok(Some(socket))
    }

    async fn connect_ssh(
        &self,
        destination: &Destination,
        folder: &Path,
        cancel: &Cancel,
    ) -> Result<(Api, Link), Failure> {
        let connection = Connection::open(destination, self.ssh_config.as_deref(), folder, cancel).await?;
        let sessions = Arc::new(Sessions::new(&connection, folder.to_owned()));
        let lost = connection.lost().clone();
        let mut link =
            Link { gateway: None, sessions: Some(Arc::clone(&sessions)), lost, connection: Some(connection) };
        let connected = tokio::select! {
            connected = self.reach(&mut link, &sessions) => connected,
            () = cancel.requested() => Err(interrupted(cancel)),
        };
        match connected {
            Ok(api) => Ok((api, link)),
            Err(failure) => {
                let failure = link.explain(failure);
                link.close().await;
                Err(failure)
            }
        }
    }

    /// Forwards the engine's socket, or dials it, whichever works.
    async fn reach(&self, link: &mut Link, sessions: &Arc<Sessions>) -> Result<Api, Failure> {
        let Some(connection) = &link.connection else { return Err(no_answer(&self.endpoint, &[])) };
        let target = connection.target();
        let question = RemoteSocket::question(target.destination.socket(), self.podman);
        let remote = RemoteSocket::parse(&connection.run(&question).await?, target)?;
        let shell = shell(sessions, remote.prefix());
        if let Some(path) = remote.to_forward() {
            connection.forward(&self.socket, path).await?;
            match Api::connect_from_afar(&self.socket).await {
                Err(error) if error.kind == ErrorKind::Unreachable => {
                    tracing::debug!("the socket cannot be forwarded: {error}");
                    connection.unforward(&self.socket, path).await;
                }
                Ok(api) => return Ok(api.with_shell(shell)),
                Err(error) => return Err(Failure::new(Kind::Unchanged, error)),
            }
        }
        let command = remote.dial(target)?;
        tracing::debug!("dialling with `{command}`");
        let sessions = Arc::clone(sessions);
        let dial: Dial = Box::new(move || {
            let (sessions, command) = (Arc::clone(&sessions), command.clone());
            Box::pin(async move {
                let started = sessions.start(&command).await;
                started.map(remote_line).map_err(|words| NotNow { words, short: sessions.shortage().is_some() })
            })
        });
        Ok(self.dial(link, dial).await?.with_shell(shell))
    }

    async fn connect_by_client(&self, cancel: &Cancel) -> Result<(Api, Link), Failure> {
        let mut link = Link::direct();
        let words = self.client.clone();
        let dial: Dial = Box::new(move || {
            let mut words = words.iter().cloned();
            let command = Command::new(words.next().unwrap_or_default()).args(words);
            Box::pin(async move { local_line(command) })
        });
        tokio::select! {
            connected = self.dial(&mut link, dial) => Ok((connected?, link)),
            () = cancel.requested() => Err(interrupted(cancel)),
        }
    }

    async fn dial(&self, link: &mut Link, dial: Dial) -> Result<Api, Failure> {
        let gateway = link.gateway.insert(Gateway::listen(&self.socket, dial).context("cannot make a socket")?);
        match Api::connect(&self.socket).await {
            Err(error) if error.kind == ErrorKind::Unreachable => Err(no_answer(&self.endpoint, &gateway.words())),
            result => result.map_err(|error| Failure::new(Kind::Unchanged, error)),
        }
    }
}

impl Link {
    /// To an engine whose socket needs nobody.
    fn direct() -> Self {
        Self { gateway: None, sessions: None, connection: None, lost: CancellationToken::new() }
    }

    /// Cancelled when nothing can be reached any more.
    #[must_use]
    pub fn lost(&self) -> &CancellationToken {
        &self.lost
    }

    /// Whether ssh watches over the way to the engine, so that [`Link::lost`] is cancelled soon after it is cut.
    #[must_use]
    pub fn is_watched(&self) -> bool {
        self.connection.is_some()
    }

    /// Whether each connection to the engine is a run of its own program, of which only so many may be possible at a time.
    #[must_use]
    pub fn is_dialled(&self) -> bool {
        self.gateway.is_some()
    }

    /// Who to ask for the room on the engine's host, if ssh leads there.
    #[must_use]
    pub fn room(&self) -> Option<Room> {
        self.sessions.as_ref().map(Room::on)
    }

    /// Says so if a failure is due to a lost connection, or to one that is too narrow.
    fn explain(&self, failure: Failure) -> Failure {
        if let Some(shortage) = self.sessions.as_ref().and_then(|sessions| sessions.shortage()) {
            return failure.hint(format!(
                "The host forwards no sockets and allows too few sessions, and {shortage}. In its sshd_config, allow \
                 `AllowStreamLocalForwarding`, or raise `MaxSessions` to 10."
            ));
        }
        let Some(connection) = self.connection.as_ref().filter(|_| self.lost.is_cancelled()) else {
            return failure;
        };
        if matches!(failure.kind, Kind::Interrupted | Kind::Terminated) {
            return failure;
        }
        let Failure { error, hints, .. } = connection.why_lost();
        let mut lost = Failure::new(Kind::Unreachable, failure.error.context(format!("{error:#}")));
        lost.hints = hints;
        lost.hints.extend(failure.hints);
        lost
    }

    /// Ends what a command did over the link. A failure that is due to a lost connection says so.
    pub async fn end<T>(self, result: Result<T, Failure>) -> Result<T, Failure> {
        let result = match result {
            Ok(value) => Ok(value),
            Err(failure) => {
                if failure.kind == Kind::Unreachable && self.connection.is_some() {
                    // Sockets end a moment before ssh does.
                    let _ = tokio::time::timeout(MOMENT, self.lost.cancelled()).await;
                }
                Err(self.explain(failure))
            }
        };
        self.close().await;
        result
    }

    /// Ends connections, and waits for that a moment.
    pub async fn close(self) {
        drop(self.gateway);
        if let Some(sessions) = self.sessions {
            sessions.close().await;
        }
        if let Some(connection) = self.connection {
            connection.close().await;
        }
    }
}

/// A call of docker with the options that choose its engine.
fn docker_client(selection: &Selection) -> Vec<OsString> {
    let mut words = vec![selection.program.clone()];
    let options = [
        ("--config", selection.config.as_ref().map(|path| path.clone().into_os_string())),
        ("--context", selection.context.clone().map(Into::into)),
        ("--host", selection.host.clone().map(Into::into)),
    ];
    words.extend(options.into_iter().filter_map(|(name, value)| Some([name.into(), value?])).flatten());
    words.extend(selection.tls.iter().cloned());
    words.extend(["system".into(), "dial-stdio".into()]);
    words
}

/// The same for podman, which knows no contexts of docker's.
fn podman_client(selection: &Selection, endpoint: &Endpoint) -> Vec<OsString> {
    let url = endpoint.to_string();
    vec![selection.program.clone(), "--url".into(), url.into(), "system".into(), "dial-stdio".into()]
}

/// Runs commands on the host, preceded by a prefix.
fn shell(sessions: &Arc<Sessions>, prefix: &'static str) -> Shell {
    let sessions = Arc::clone(sessions);
    let run: Box<Run> = Box::new(move |command, input| {
        let sessions = Arc::clone(&sessions);
        Box::pin(async move { sessions.ask(&command, &input).await })
    });
    Shell { prefix, run: run.into() }
}

fn remote_line(counted: Counted) -> Line {
    let Counted { remote: Remote { stdin, stdout, stderr, child }, place } = counted;
    Line { input: Box::new(stdin), output: Box::new(stdout), words: Box::new(stderr), run: Box::new((child, place)) }
}

fn local_line(command: Command) -> Result<Line, NotNow> {
    let (running, streams) = command.start().map_err(|error| NotNow::passing(error.to_string()))?;
    Ok(Line {
        input: Box::new(streams.stdin),
        output: Box::new(streams.stdout),
        words: Box::new(streams.stderr),
        run: Box::new(running),
    })
}

fn no_answer(endpoint: &Endpoint, words: &[String]) -> Failure {
    let words = if words.is_empty() { "no engine answers".to_owned() } else { words.join("\n") };
    let failure = Failure::new(Kind::Unreachable, anyhow!("cannot reach the engine at {endpoint}: {words}"));
    if words.contains("permission denied") {
        failure.hint("The user may not use the engine there. Where it is Docker, members of the group `docker` may.")
    } else {
        failure.hint("Is the engine running there? Choose another one with --host or --context.")
    }
}

fn interrupted(cancel: &Cancel) -> Failure {
    Failure::new(cancel.kind(), anyhow!("interrupted while connecting"))
}
