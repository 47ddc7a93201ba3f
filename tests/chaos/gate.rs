//! A unix socket in front of an engine's that tells one request from the next: it counts them all, of whomever, and
//! spoils the n-th.
//!
//! As much HTTP/1.1 as it takes to see where a request ends; answers pass unread.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What may become of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    /// The engine never hears of it; it is answered with status 500.
    Refused,
    /// The engine never hears of it; its connection ends.
    Cut,
    /// The engine carries it out; its connection ends without an answer.
    Unanswered,
    /// It reaches the engine late.
    Delayed,
    /// From then on, nothing moves for a while, in any connection.
    Stalled,
    /// All connections end, and new ones do at once, for a while.
    Outage,
}

impl Fault {
    pub(crate) const ALL: [Self; 6] =
        [Self::Refused, Self::Unanswered, Self::Outage, Self::Cut, Self::Stalled, Self::Delayed];

    /// How long it lasts.
    const fn duration(self) -> Duration {
        match self {
            Self::Refused | Self::Cut | Self::Unanswered => Duration::ZERO,
            Self::Delayed | Self::Outage => Duration::from_secs(2),
            Self::Stalled => Duration::from_secs(3),
        }
    }
}

/// A gate to an engine, which ends with the case.
#[derive(Debug)]
pub(crate) struct Gate {
    directory: tempfile::TempDir,
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    engine: PathBuf,
    /// Which request is spoiled, counted from 1, and how.
    spoiled: Option<(usize, Fault)>,
    /// First lines of requests.
    requests: Mutex<Vec<String>>,
    /// Both ends of all connections there have been.
    streams: Mutex<Vec<UnixStream>>,
    /// Until when nothing moves.
    stalled: Mutex<Option<Instant>>,
    /// Until when nobody gets through.
    out: Mutex<Option<Instant>>,
    over: AtomicBool,
}

impl Gate {
    pub(crate) fn to(engine: &Path, spoiled: Option<(usize, Fault)>) -> Self {
        let directory = tempfile::Builder::new().prefix("kerek-test-").tempdir_in("/tmp").expect("temporary folder");
        let listener = UnixListener::bind(directory.path().join("gate.sock")).expect("a socket");
        let state = Arc::new(State {
            engine: engine.to_owned(),
            spoiled,
            requests: Mutex::default(),
            streams: Mutex::default(),
            stalled: Mutex::default(),
            out: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.over.load(Ordering::SeqCst) {
                    break;
                }
                if lasts(&shared.out) {
                    continue;
                }
                // An engine that is not there refuses; so does a gate that lets go.
                if let Ok(engine) = UnixStream::connect(&shared.engine) {
                    shared.serve(client, engine).expect("sockets can be shared");
                }
            }
        });
        Self { directory, state }
    }

    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.directory.path().join("gate.sock").display())
    }

    /// First lines of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        lock(&self.state.requests).clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes who accepts.
        drop(UnixStream::connect(self.directory.path().join("gate.sock")));
        self.state.end_all();
    }
}

impl State {
    fn serve(self: &Arc<Self>, client: UnixStream, engine: UnixStream) -> io::Result<()> {
        let both = Pair { client, engine, unanswered: AtomicBool::new(false) };
        lock(&self.streams).extend([both.client.try_clone()?, both.engine.try_clone()?]);
        let both = Arc::new(both);
        let (towards, back) = ((Arc::clone(self), Arc::clone(&both)), (Arc::clone(self), both));
        thread::spawn(move || {
            // When one side is gone, or it is meant to end.
            if towards.0.requests_of(&towards.1).is_err() {
                towards.1.end();
            }
        });
        thread::spawn(move || back.0.answers_to(&back.1));
        Ok(())
    }

    /// Passes requests on, one by one, until the client has no more.
    fn requests_of(&self, both: &Pair) -> io::Result<()> {
        let mut client = BufReader::new(&both.client);
        while let Some(head) = Head::read(&mut client)? {
            match self.count(&head) {
                None => {}
                Some(Fault::Refused) => {
                    head.pass_body(&mut client, &mut io::sink())?;
                    (&both.client).write_all(head.refusal().as_bytes())?;
                    continue;
                }
                Some(Fault::Cut) => return Err(io::ErrorKind::ConnectionAborted.into()),
                Some(Fault::Unanswered) => both.unanswered.store(true, Ordering::SeqCst),
                Some(fault @ Fault::Delayed) => thread::sleep(fault.duration()),
                Some(fault @ Fault::Stalled) => *lock(&self.stalled) = Some(Instant::now() + fault.duration()),
                Some(fault @ Fault::Outage) => {
                    *lock(&self.out) = Some(Instant::now() + fault.duration());
                    self.end_all();
                }
            }
            self.sit_out();
            (&both.engine).write_all(&head.bytes)?;
            head.pass_body(&mut client, &mut &both.engine)?;
            if head.field("upgrade").is_some() {
                // It is not HTTP any more.
                io::copy(&mut client, &mut &both.engine)?;
            }
        }
        both.engine.shutdown(Shutdown::Write)
    }

    /// Passes what the engine says, until it has said all, or nobody wants to hear.
    fn answers_to(&self, both: &Pair) {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = match (&both.engine).read(&mut buffer) {
                Ok(0) => {
                    // The client may be gone.
                    let _ = both.client.shutdown(Shutdown::Write);
                    return;
                }
                Ok(length) if !both.unanswered.load(Ordering::SeqCst) => length,
                _ => return both.end(),
            };
            self.sit_out();
            if (&both.client).write_all(&buffer[..length]).is_err() {
                return both.end();
            }
        }
    }

    /// Counts a request; returns what is to become of it.
    fn count(&self, head: &Head) -> Option<Fault> {
        let mut requests = lock(&self.requests);
        requests.push(head.line());
        self.spoiled.filter(|(at, _)| *at == requests.len()).map(|(_, fault)| fault)
    }

    fn sit_out(&self) {
        while lasts(&self.stalled) && !self.over.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end_all(&self) {
        for stream in lock(&self.streams).drain(..) {
            // It may have ended long ago.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// A connection.
#[derive(Debug)]
struct Pair {
    client: UnixStream,
    engine: UnixStream,
    /// Ends when the engine begins to answer.
    unanswered: AtomicBool,
}

impl Pair {
    fn end(&self) {
        let _ = (self.client.shutdown(Shutdown::Both), self.engine.shutdown(Shutdown::Both));
    }
}

/// The head of a request.
struct Head {
    bytes: Vec<u8>,
}

impl Head {
    /// The next one; `None` when the client is done.
    fn read(client: &mut impl BufRead) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        while !bytes.ends_with(b"\r\n\r\n") {
            if client.read_until(b'\n', &mut bytes)? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(Self { bytes }))
    }

    /// Such as `POST /v1.47/containers/…/start`.
    fn line(&self) -> String {
        let text = String::from_utf8_lossy(&self.bytes);
        text.split(" HTTP/").next().unwrap_or_default().to_owned()
    }

    /// The value of a field, whose name is given in small letters.
    fn field(&self, name: &str) -> Option<String> {
        let text = String::from_utf8_lossy(&self.bytes);
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        let mut values = fields.filter(|(field, _)| field.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value.trim().to_owned())
    }

    fn pass_body(&self, client: &mut impl BufRead, engine: &mut impl Write) -> io::Result<()> {
        if let Some(length) = self.field("content-length") {
            let length = length.parse().map_err(|_| io::ErrorKind::InvalidData)?;
            io::copy(&mut client.take(length), engine)?;
        } else if self.field("transfer-encoding").is_some() {
            pass_chunks(client, engine)?;
        }
        Ok(())
    }

    /// What an engine says that does not want to.
    fn refusal(&self) -> String {
        let body = "{\"message\":\"spoiled by the test\"}";
        let shown = if self.bytes.starts_with(b"HEAD ") { "" } else { body };
        let length = body.len();
        let fields = format!("Content-Type: application/json\r\nContent-Length: {length}");
        format!("HTTP/1.1 500 Internal Server Error\r\n{fields}\r\n\r\n{shown}")
    }
}

fn pass_chunks(client: &mut impl BufRead, engine: &mut impl Write) -> io::Result<()> {
    loop {
        let mut line = Vec::new();
        client.read_until(b'\n', &mut line)?;
        engine.write_all(&line)?;
        let size = String::from_utf8_lossy(&line);
        let size = size.trim().split(';').next().unwrap_or_default();
        match u64::from_str_radix(size, 16).map_err(|_| io::ErrorKind::InvalidData)? {
            // Nobody sends trailers here.
            0 => return io::copy(&mut client.take(2), engine).map(drop),
            size => io::copy(&mut client.take(size + 2), engine)?,
        };
    }
}

/// Whether a time is yet to come.
fn lasts(until: &Mutex<Option<Instant>>) -> bool {
    lock(until).is_some_and(|until| Instant::now() < until)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
