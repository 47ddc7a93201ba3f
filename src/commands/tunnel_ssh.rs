//! `tunnel-ssh`: brings the socket of a host's engine to this machine, for any program that speaks to one.

use std::fs;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, anyhow};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, TunnelSshOptions};
use crate::engine::access::Access;
use crate::engine::endpoint::Selection;
use crate::error::{Failure, Kind};
use crate::process::Command;
use crate::report::console;
use crate::ssh::destination::Destination;
use crate::text::escape;

/// Runs the command: to the end of the tunnel, or with `--detach` to its beginning.
pub(super) async fn run(global: &GlobalOptions, options: &TunnelSshOptions) -> Result<(), Failure> {
    if global.dry_run {
        return console::out(&preview(options)?).map_err(console::cannot_write);
    }
    let cancel = Cancel::new();
    let work = async {
        if options.detach && !options.detached { detach(&cancel).await } else { tunnel(options, &cancel).await }
    };
    match cancel.listen(work).await.context("cannot listen to signals")? {
        Some(result) => result,
        // The tunnel is gone, as it was asked to be.
        None => Ok(()),
    }
}

/// What would be done, in words. The host is not asked.
fn preview(options: &TunnelSshOptions) -> Result<String, Failure> {
    let destination = destination(options)?;
    let Some(socket) = &options.local_socket else {
        return Ok(format!("would bring the engine of {destination} to a socket in a private folder\n"));
    };
    let shown = escape(&socket.to_string_lossy());
    let stale = if is_stale(socket)? { ", in place of one that nobody serves" } else { "" };
    Ok(format!("would bring the engine of {destination} to {shown}{stale}\n"))
}

/// Holds the tunnel until a signal comes, which is how it is meant to end.
async fn tunnel(options: &TunnelSshOptions, cancel: &Cancel) -> Result<(), Failure> {
    let destination = destination(options)?;
    let selection = Selection { host: Some(destination.to_string()), ..Selection::from_env(&options.container_engine) };
    let mut access = Access::prepare(&selection, options.ssh_config.as_deref()).await?;
    if let Some(socket) = &options.local_socket {
        let socket = std::path::absolute(socket).context("cannot tell the current directory")?;
        if is_stale(&socket)? {
            fs::remove_file(&socket).with_context(|| escape(&socket.to_string_lossy()))?;
        }
        access = access.at(socket);
    }
    let (_, link) = access.connect(cancel).await?;
    let _socket = Socket(access.socket().to_owned());
    let address = format!("unix://{}", escape(&access.socket().to_string_lossy()));
    if options.detached {
        // Signals of the terminal are for others from now on, as is the terminal itself.
        rustix::process::setsid().map_err(io::Error::from).context("cannot leave the terminal")?;
    } else {
        console::err(&format!("The engine of {destination} is at {address} until you press Ctrl-C.\n"));
    }
    console::out(&format!("{address}\n")).map_err(console::cannot_write)?;
    if options.detached {
        let nothing = fs::File::options().read(true).write(true).open("/dev/null").context("/dev/null")?;
        rustix::stdio::dup2_stdout(&nothing).map_err(io::Error::from).context("standard output")?;
        rustix::stdio::dup2_stderr(&nothing).map_err(io::Error::from).context("standard error")?;
    }
    tokio::select! {
        () = cancel.requested() => link.end(Ok(())).await,
        () = link.lost().cancelled() => link.end(Err(Failure::new(Kind::Unreachable, anyhow!("the tunnel is cut")))).await,
    }
}

/// The host, with the socket that is meant there.
fn destination(options: &TunnelSshOptions) -> Result<Destination, Failure> {
    let destination = &options.destination;
    let usage = |error| Failure::new(Kind::Usage, error);
    match &options.remote_socket {
        None => Ok(destination.clone()),
        Some(_) if destination.socket().is_some() => {
            Err(usage(anyhow!("--remote-socket and the path in {destination} exclude each other")))
        }
        Some(socket) => {
            let with_socket = format!("{destination}{socket}");
            with_socket.parse().map_err(|error| usage(anyhow!("--remote-socket: {error}")))
        }
    }
}

/// Starts this program once more, for the tunnel, and comes back when it is there.
async fn detach(cancel: &Cancel) -> Result<(), Failure> {
    let executable = std::env::current_exe().context("cannot find kerek's own executable")?;
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let own = arguments.iter().position(|argument| argument == "tunnel-ssh").map_or(0, |at| at + 1);
    let (general, own) = arguments.split_at(own);
    let command = Command::new(executable).args(general).arg("--detached").args(own);
    let mut child = command.detach().map_err(anyhow::Error::new)?;
    let mut address = String::new();
    let begun = async {
        BufReader::new(&mut child.stdout).read_line(&mut address).await.context("cannot read from the tunnel")?;
        if address.is_empty() { Err(ended(child.wait().await)) } else { Ok(()) }
    };
    tokio::select! {
        begun = begun => begun?,
        () = cancel.requested() => {
            // A terminal has told it, too.
            child.terminate();
            return Err(Failure::new(cancel.kind(), anyhow!("interrupted before there was a tunnel")));
        }
    }
    console::err(&format!("The tunnel stays until `kill {}`.\n", child.id));
    console::out(&address).map_err(console::cannot_write)
}

/// Why there is no tunnel. What had failed by itself has said so, and its exit code is the one to end with.
fn ended(status: io::Result<ExitStatus>) -> Failure {
    match status.map(|status| (status, status.code().and_then(Kind::of_exit_code))) {
        Ok((_, Some(kind))) => Failure::told(kind),
        Ok((status, None)) => Failure::new(Kind::Unreachable, anyhow!("there is no tunnel: kerek ended with {status}")),
        Err(error) => anyhow::Error::new(error).context("cannot tell how the tunnel ended").into(),
    }
}

/// Whether there is a socket that nobody serves any more; anything else in its place is refused.
fn is_stale(socket: &Path) -> Result<bool, Failure> {
    let shown = || escape(&socket.to_string_lossy());
    let there = match fs::symlink_metadata(socket) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(anyhow::Error::new(error).context(shown()).into()),
    };
    let refused = |why: &str| {
        Failure::from(anyhow!("{} {why}", shown()))
            .hint("Choose another path with --local-socket, or remove what is there.")
    };
    if !there.file_type().is_socket() {
        return Err(refused("exists and is no socket"));
    }
    match UnixStream::connect(socket) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        _ => Err(refused("is in use")),
    }
}

/// A socket file that goes with the tunnel.
struct Socket(PathBuf);

impl Drop for Socket {
    fn drop(&mut self) {
        // In a private folder, it goes with that.
        let _ = fs::remove_file(&self.0);
    }
}
