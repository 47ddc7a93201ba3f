//! A TCP proxy that makes a local connection as bad as one wishes: slow, narrow, stalled or cut.
//!
//! Each direction has its own [`Conditions`], which may be changed at any time and hold for open connections too. What is
//! under way is kept in order and comes to no more than the conditions let through, plus a few buffers of the system.
//! The proxy runs in a thread of its own, ends when dropped, and takes its connections along.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc as channel, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

/// How many bytes are taken in at once, at most.
const CHUNK: usize = 64 << 10;
/// How many chunks may be under way per connection and direction. With 20 ms of delay, 200 MB/s fit through.
const UNDER_WAY: usize = 64;
/// At a limited bandwidth, bytes come in portions of this duration.
const PORTION: Duration = Duration::from_millis(20);

/// A direction, as seen from the client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Direction {
    /// From client to server.
    Up,
    /// From server to client.
    Down,
}

/// What happens to bytes in a direction. By default, they pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Conditions {
    /// What each byte takes. New connections take that of both directions, as a handshake does.
    pub(crate) delay: Duration,
    /// Bandwidth in bytes per second, greater than 0, of all connections together.
    pub(crate) bytes_per_second: Option<u64>,
    /// Nothing comes through, new connections included, and nobody is told, until this is taken back.
    pub(crate) stalled: bool,
    /// So many bytes more come through, in all connections together. Then the connection is reset, and so is any other
    /// that has something to say.
    pub(crate) cut_after: Option<u64>,
}

/// A proxy in front of a server.
pub(crate) struct TcpProxy {
    address: SocketAddr,
    link: Arc<Link>,
    end: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl TcpProxy {
    /// A proxy with a port of its own on the loopback interface.
    pub(crate) fn start(server: SocketAddr) -> Self {
        let link = Arc::new(Link::new(server));
        let end = CancellationToken::new();
        let (sender, receiver) = mpsc::channel();
        let thread = thread::spawn({
            let (link, end) = (Arc::clone(&link), end.clone());
            move || {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("should get a runtime");
                runtime.block_on(async {
                    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("should listen");
                    sender.send(listener.local_addr().expect("should have an address")).expect("should be awaited");
                    end.run_until_cancelled(accept(listener, link)).await;
                });
            }
        });
        let address = receiver.recv().expect("proxy should start");
        Self { address, link, end, thread: Some(thread) }
    }

    /// Where clients are to connect to.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes the conditions of a direction from now on.
    pub(crate) fn change(&self, direction: Direction, change: impl FnOnce(&mut Conditions)) {
        self.link.conditions(direction).send_modify(change);
    }

    /// Changes the conditions of both directions from now on.
    pub(crate) fn change_both(&self, change: impl Fn(&mut Conditions)) {
        self.change(Direction::Up, &change);
        self.change(Direction::Down, change);
    }

    /// Resets all connections. New ones are welcome.
    pub(crate) fn cut(&self) {
        self.link.renew_cut().cancel();
    }

    /// How many connections have been made so far.
    pub(crate) fn connections(&self) -> u64 {
        self.link.connections.load(Ordering::Relaxed)
    }

    /// How many bytes have come through in a direction so far.
    pub(crate) fn passed(&self, direction: Direction) -> u64 {
        self.link.passed[direction as usize].load(Ordering::Relaxed)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.end.cancel();
        let ended = self.thread.take().is_none_or(|thread| thread.join().is_ok());
        // A second panic would hide the first.
        assert!(ended || thread::panicking(), "proxy panicked");
    }
}

/// What the connections of a proxy share. Of pairs, the first is for [`Direction::Up`].
struct Link {
    server: SocketAddr,
    conditions: [watch::Sender<Conditions>; 2],
    passed: [AtomicU64; 2],
    connections: AtomicU64,
    /// When all that was read so far would have come through, at a limited bandwidth.
    through: [Mutex<Instant>; 2],
    /// Resets the connections there are.
    cut: Mutex<CancellationToken>,
}

impl Link {
    fn new(server: SocketAddr) -> Self {
        Self {
            server,
            conditions: Default::default(),
            passed: Default::default(),
            connections: AtomicU64::new(0),
            through: [(); 2].map(|()| Mutex::new(Instant::now())),
            cut: Mutex::default(),
        }
    }

    fn conditions(&self, direction: Direction) -> &watch::Sender<Conditions> {
        &self.conditions[direction as usize]
    }

    fn delay(&self, direction: Direction) -> Duration {
        self.conditions(direction).borrow().delay
    }

    /// Waits until the direction is not stalled.
    async fn pass(&self, direction: Direction) {
        // Fails only when the sender is gone, which is ours.
        let _ = self.conditions(direction).subscribe().wait_for(|conditions| !conditions.stalled).await;
    }

    /// How many of some bytes may pass, and whether the connection is then to be cut.
    fn allow(&self, direction: Direction, bytes: usize) -> (usize, bool) {
        let mut allowed = (bytes, false);
        self.conditions(direction).send_if_modified(|conditions| {
            if let Some(left) = &mut conditions.cut_after {
                let most = usize::try_from(*left).unwrap_or(usize::MAX);
                allowed = (bytes.min(most), bytes >= most);
                *left = u64::try_from(most - allowed.0).unwrap_or_default();
            }
            false
        });
        allowed
    }

    /// When so much time's worth of bytes will have come through, after all that was read before.
    fn through(&self, direction: Direction, takes: Duration) -> Instant {
        let mut through = self.through[direction as usize].lock().unwrap_or_else(PoisonError::into_inner);
        // Sleeping takes a little too long. That is made up for, but not the time in which nothing came.
        *through = through.max(Instant::now().checked_sub(PORTION).unwrap_or(*through)) + takes;
        *through
    }

    fn cut(&self) -> CancellationToken {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the former one.
    fn renew_cut(&self) -> CancellationToken {
        std::mem::take(&mut *self.cut.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn accept(listener: TcpListener, link: Arc<Link>) {
    while let Ok((client, _)) = listener.accept().await {
        link.connections.fetch_add(1, Ordering::Relaxed);
        // Ends with the runtime at the latest.
        tokio::spawn(connect(client, Arc::clone(&link)));
    }
}

/// Serves a client until both sides have said all, or either is gone, or the connection is cut.
async fn connect(mut client: TcpStream, link: Arc<Link>) {
    let cut = link.cut();
    let handshake = async {
        sleep(link.delay(Direction::Up) + link.delay(Direction::Down)).await;
        link.pass(Direction::Up).await;
        TcpStream::connect(link.server).await
    };
    let Some(Ok(mut server)) = cut.run_until_cancelled(handshake).await else {
        reset(&client);
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);

    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let both = async {
        tokio::try_join!(
            relay(from_client, to_server, &link, Direction::Up),
            relay(from_server, to_client, &link, Direction::Down),
        )
    };
    if !matches!(cut.run_until_cancelled(both).await, Some(Ok(_))) {
        reset(&client);
        reset(&server);
    }
}

/// Makes that the peer is told of a connection reset, rather than of an end, when the stream is dropped.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Carries bytes in one direction until there are no more; fails if either side is gone, or by [`Conditions::cut_after`].
async fn relay(from: ReadHalf<'_>, to: WriteHalf<'_>, link: &Link, direction: Direction) -> io::Result<()> {
    let (sender, receiver) = channel::channel(UNDER_WAY);
    tokio::try_join!(take_in(from, sender, link, direction), let_out(receiver, to, link, direction))?;
    Ok(())
}

/// Bytes, and when they came; none at the end.
type Chunk = (Instant, Vec<u8>);

/// Reads as fast as the bandwidth allows.
async fn take_in(
    mut from: ReadHalf<'_>,
    chunks: channel::Sender<Chunk>,
    link: &Link,
    direction: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let rate = link.conditions(direction).borrow().bytes_per_second;
        let portion = rate.map_or(CHUNK, portion);
        let length = from.read(&mut buffer[..portion]).await?;
        if let Some(rate) = rate {
            sleep_until(link.through(direction, duration(length, rate))).await;
        }
        let sent = chunks.send((Instant::now(), buffer[..length].to_vec())).await;
        if sent.is_err() || length == 0 {
            return Ok(());
        }
    }
}

/// How many bytes go through in [`PORTION`].
fn portion(rate: u64) -> usize {
    let portions_per_second = 1000 / u64::try_from(PORTION.as_millis()).unwrap_or(u64::MAX);
    usize::try_from(rate / portions_per_second).unwrap_or(CHUNK).clamp(1, CHUNK)
}

fn duration(bytes: usize, rate: u64) -> Duration {
    let nanoseconds = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(1_000_000_000) / rate.max(1);
    Duration::from_nanos(nanoseconds)
}

/// Writes what is due.
async fn let_out(
    mut chunks: channel::Receiver<Chunk>,
    mut to: WriteHalf<'_>,
    link: &Link,
    direction: Direction,
) -> io::Result<()> {
    while let Some((came, bytes)) = chunks.recv().await {
        sleep_until(came + link.delay(direction)).await;
        link.pass(direction).await;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let (allowed, cut) = link.allow(direction, bytes.len());
        // Beforehand: who has got the bytes finds them counted.
        link.passed[direction as usize].fetch_add(u64::try_from(allowed).unwrap_or_default(), Ordering::Relaxed);
        to.write_all(&bytes[..allowed]).await?;
        if cut {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
    }
    Ok(())
}
