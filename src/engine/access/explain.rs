//! Why a socket on this machine gives no engine.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::UnixStream;

use super::{Error, ErrorKind};
use crate::error::{Failure, Kind};
use crate::text::escape;

/// Makes a failed connection to an engine a failure with hints, by trying the socket once more.
pub(super) async fn local(error: Error, socket: &Path) -> Failure {
    if error.kind != ErrorKind::Unreachable {
        return Failure::new(Kind::Unchanged, error);
    }
    let failure = Failure::new(Kind::Unreachable, error);
    let shown = escape(&socket.to_string_lossy());
    let unit = if shown.contains("podman") { "podman.socket" } else { "docker" };
    let probe = tokio::time::timeout(Duration::from_secs(1), UnixStream::connect(socket)).await;
    match probe {
        Ok(Err(error)) => match error.kind() {
            io::ErrorKind::NotFound => failure
                .hint(format!(
                    "There is no socket {shown}. Is the engine installed and running? Try `systemctl status {unit}`."
                ))
                .hint("Choose another engine with --host or --context."),
            io::ErrorKind::PermissionDenied if unit == "docker" => failure.hint(format!(
                "You may not use {shown}. Join the group `docker` (`sudo usermod -aG docker $USER`, then log in again)."
            )),
            io::ErrorKind::PermissionDenied => {
                failure.hint(format!("You may not use {shown}. A user's own engine has a socket in $XDG_RUNTIME_DIR."))
            }
            io::ErrorKind::ConnectionRefused => failure
                .hint(format!("Nobody listens at {shown}. Is the engine running? Try `systemctl status {unit}`.")),
            _ => failure,
        },
        Ok(Ok(_)) | Err(_) => failure.hint(format!(
            "Something listens at {shown} but does not answer as an engine. Try `journalctl -u {unit}`."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn explains_why_there_is_no_connection() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let missing = directory.path().join("missing.sock");
        let stale = directory.path().join("stale.sock");
        // Bound only: a child that another test has just forked might for a moment still listen at one that was dropped.
        let bound = tokio::net::UnixSocket::new_stream().expect("socket");
        bound.bind(&stale).expect("socket");
        let mute = directory.path().join("mute.sock");
        let _listener = std::os::unix::net::UnixListener::bind(&mute).expect("socket");
        let error = |kind| Error { kind, call: "connect".to_owned(), message: "failed".to_owned() };
        for (socket, hint) in
            [(&missing, "There is no socket"), (&stale, "Nobody listens"), (&mute, "Something listens")]
        {
            let failure = local(error(ErrorKind::Unreachable), socket).await;
            assert_eq!(failure.kind, Kind::Unreachable);
            assert!(failure.hints[0].starts_with(hint), "{:?}", failure.hints);
        }
        let failure = local(error(ErrorKind::Refused), &mute).await;
        assert_eq!((failure.kind, failure.hints.len()), (Kind::Unchanged, 0));
    }
}
