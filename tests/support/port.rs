//! Ports of this machine that nobody listens on.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long it may take until a port is closed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago, and refuses connections.
pub(crate) fn free() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    await_closed(address);
    address.port()
}

/// Waits until an address refuses connections. For a moment, it may not do so though its listener has been closed: a child
/// that another test starts has it, too, until it becomes a program of its own.
pub(crate) fn await_closed(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect(address).map_err(|error| error.kind()).err() != Some(ErrorKind::ConnectionRefused) {
        assert!(start.elapsed() < PATIENCE, "{address} should be closed");
        sleep(Duration::from_millis(20));
    }
}
