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
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    None,
    /// All connections break once so many bytes went towards the engine.
    CutAt(u64),
    /// Nothing moves any more, in any connection, once so many bytes went towards the engine.
    StallAt(u64),
    /// The first answer with the former text has the latter one instead, of the same length.
    Lie(String, String),
    /// Whoever has an image saved gets this archive.
    Saves(Vec<u8>),
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
    over: AtomicBool,
    /// The fault has been mended, or has happened as often as it is to.
    mended: AtomicBool,
}

impl State {
    fn is_broken(&self) -> bool {
        let sent = self.sent.load(Ordering::SeqCst);
        self.over.load(Ordering::SeqCst) || matches!(self.fault, Fault::CutAt(at) if sent >= at)
    }

    fn lie(&self, answer: &mut [u8]) {
        let Fault::Lie(from, to) = &self.fault else { return };
        let places: Vec<_> = (0..answer.len()).filter(|place| answer[*place..].starts_with(from.as_bytes())).collect();
        if places.is_empty() || self.mended.swap(true, Ordering::SeqCst) {
            return;
        }
        for place in places {
            answer[place..place + to.len()].copy_from_slice(to.as_bytes());
        }
    }

    /// The answer to a request that does not reach the engine.
    fn answer(&self, request: &[u8]) -> Option<Vec<u8>> {
        let Fault::Saves(archive) = &self.fault else { return None };
        let line = request.split(|byte| *byte == b'\r').next().map(String::from_utf8_lossy)?;
        if !line.starts_with("GET ") || !line.contains("/images/") || !line.contains("/get") {
            return None;
        }
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", archive.len());
        Some([head.as_bytes(), archive].concat())
    }

    fn hangs(&self) -> bool {
        let mended = self.mended.load(Ordering::SeqCst);
        !mended && matches!(self.fault, Fault::StallAt(at) if self.sent.load(Ordering::SeqCst) >= at)
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
            over: AtomicBool::new(false),
            mended: AtomicBool::new(false),
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
                thread::spawn(move || pump(client, engine, &towards, Way::Towards));
                thread::spawn(move || pump(copies.1, copies.0, &back, Way::Back));
            }
        });
        Self { directory, state }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("link.sock").display())
    }

    /// What hangs goes on.
    pub(crate) fn mend(&self) {
        self.state.mended.store(true, Ordering::SeqCst);
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

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Towards,
    Back,
}

fn pump(mut from: UnixStream, mut to: UnixStream, state: &State, way: Way) {
    // More than the answers that are lied about.
    let mut buffer = vec![0; 64 << 10];
    from.set_read_timeout(Some(Duration::from_millis(100))).expect("a socket");
    loop {
        let length = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
            Err(_) => break,
        };
        if let (Way::Towards, Some(answer)) = (way, state.answer(&buffer[..length])) {
            if from.write_all(&answer).is_err() {
                break;
            }
            continue;
        }
        match way {
            Way::Towards => _ = state.sent.fetch_add(length as u64, Ordering::SeqCst),
            Way::Back => state.lie(&mut buffer[..length]),
        }
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
