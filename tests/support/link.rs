//! A unix socket that leads to another one: it counts what goes through, and breaks or hangs where it is told to.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// What happens to a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// All connections break once so many bytes went towards the engine.
    CutAt(u64),
    /// Nothing moves any more, in any connection, once so many bytes went towards the engine.
    StallAt(u64),
}

/// A link to an engine, which ends with the test.
#[derive(Debug)]
pub(crate) struct Link {
    directory: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    target: PathBuf,
    fault: Fault,
    sent: AtomicU64,
    received: AtomicU64,
    over: AtomicBool,
}

impl State {
    fn is_broken(&self) -> bool {
        let sent = self.sent.load(Ordering::SeqCst);
        self.over.load(Ordering::SeqCst) || matches!(self.fault, Fault::CutAt(at) if sent >= at)
    }

    fn hangs(&self) -> bool {
        matches!(self.fault, Fault::StallAt(at) if self.sent.load(Ordering::SeqCst) >= at)
    }
}

impl Link {
    pub(crate) fn to(target: &Path, fault: Fault) -> Self {
        let directory = tempfile::Builder::new().prefix("kerek-test-").tempdir_in("/tmp").expect("temporary folder");
        let listener = UnixListener::bind(directory.path().join("link.sock")).expect("a socket");
        let state = Arc::new(State {
            target: target.to_owned(),
            fault,
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { break };
                if shared.over.load(Ordering::SeqCst) {
                    break;
                }
                let Ok(engine) = UnixStream::connect(&shared.target) else { continue };
                let copies = (client.try_clone().expect("a socket"), engine.try_clone().expect("a socket"));
                let (towards, back) = (Arc::clone(&shared), Arc::clone(&shared));
                thread::spawn(move || pump(client, engine, &towards, |state| &state.sent));
                thread::spawn(move || pump(copies.1, copies.0, &back, |state| &state.received));
            }
        });
        Self { directory, state }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("link.sock").display())
    }

    /// Bytes that went towards the engine.
    pub(crate) fn sent(&self) -> u64 {
        self.state.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes who accepts.
        drop(UnixStream::connect(self.directory.path().join("link.sock")));
    }
}

fn pump(mut from: UnixStream, mut to: UnixStream, state: &State, counter: fn(&State) -> &AtomicU64) {
    let mut buffer = [0; 16 << 10];
    from.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => break,
        };
        counter(state).fetch_add(length as u64, Ordering::SeqCst);
        while state.hangs() && !state.is_broken() {
            thread::sleep(Duration::from_millis(20));
        }
        if state.is_broken() {
            let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
            return;
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Half-closed, as who sends is done but may still want to hear.
    let _ = to.shutdown(Shutdown::Write);
}
