//! The client of one stream of requests: addresses, connections, and what HTTP lets it ask twice.
//!
//! A server may close a persistent connection at any moment between requests, so a client that reuses one must be ready
//! to find it closed (RFC 9112, section 9.5). A connection that is known to be closed before anything was sent on it is
//! replaced, whatever the method. One that ends without a byte of an answer after the request was sent may have carried
//! it out or not: an idempotent request is asked once more on a new connection, which every browser and proxy does
//! (RFC 9110, section 9.2.2), and any other fails. Both cases are counted as reconnects, never hidden. Nothing else is
//! retried: what a first connection meets, and what is cut within an answer, is a failure.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::net::{TcpStream, lookup_host};

use super::super::http::{Connection, Error, Response};
use super::{Config, Connections, Method, Url};

/// Persistent connections of a stream. More are opened while so many are busy, and closed after their request.
const POOL: usize = 4;
/// What a POST request carries.
const CONTENT: &str = "amount=1&item=7";
/// Characters of an unexpected answer that a report quotes.
const QUOTE: usize = 80;

/// Makes requests, one like the other; several may be open at once.
pub(super) struct Client {
    url: Url,
    method: Method,
    connections: Connections,
    /// The request as it goes over the wire.
    message: String,
    /// Connections without a request, the one unused for longest first.
    idle: Mutex<VecDeque<Connection>>,
    /// Connections opened, or tried to open, so far.
    opened: AtomicUsize,
    reconnects: AtomicU64,
}

impl Client {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            url: config.url.clone(),
            method: config.method,
            connections: config.connections,
            message: message(config),
            idle: Mutex::default(),
            opened: AtomicUsize::new(0),
            reconnects: AtomicU64::new(0),
        }
    }

    /// How often the server had closed a persistent connection without saying so in an answer.
    pub(super) fn reconnects(&self) -> u64 {
        self.reconnects.load(Ordering::Relaxed)
    }

    /// Makes one request. Gives the body of its answer, or why there is none, in words.
    pub(super) async fn ask(&self) -> Result<Vec<u8>, String> {
        let response = self.respond().await?;
        if response.status >= 400 {
            let quote: String = String::from_utf8_lossy(&response.body).chars().take(QUOTE).collect();
            return Err(format!("status {}: {quote:?}", response.status));
        }
        Ok(response.body)
    }

    async fn respond(&self) -> Result<Response, String> {
        if let Some(connection) = self.reuse() {
            match self.exchange(connection).await {
                Err(Error::Nothing(_)) if self.method == Method::Get => self.count_reconnect(),
                result => return result.map_err(|error| error.to_string()),
            }
        }
        let connection = self.connect().await?;
        self.exchange(connection).await.map_err(|error| error.to_string())
    }

    /// A connection that is fit for another request, if there is one and the pool has been filled.
    fn reuse(&self) -> Option<Connection> {
        if self.opened.load(Ordering::Relaxed) < POOL {
            return None;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let connection = idle.pop_front()?;
            if connection.is_idle() {
                return Some(connection);
            }
            self.count_reconnect();
        }
    }

    /// Sends the request and receives the response; keeps the connection if both sides want to.
    async fn exchange(&self, mut connection: Connection) -> Result<Response, Error> {
        connection.send(self.message.as_bytes()).await.map_err(Error::Nothing)?;
        let response = connection.receive_response(self.method.name()).await?;
        if self.connections == Connections::KeepAlive && response.keep_alive {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < POOL {
                idle.push_back(connection);
            }
        }
        Ok(response)
    }

    /// Opens a connection to one of the host's addresses. They take turns, and none stands in for another: each is
    /// offered to clients, so each must answer.
    async fn connect(&self) -> Result<Connection, String> {
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let Url { host, port, .. } = &self.url;
        let mut addresses: Vec<_> = match lookup_host((host.as_str(), *port)).await {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(format!("cannot resolve {host}: {error}")),
        };
        // Where there are both, IPv6 may be there in name only, as for `localhost`.
        if addresses.iter().any(SocketAddr::is_ipv4) {
            addresses.retain(SocketAddr::is_ipv4);
        }
        // Resolvers shuffle.
        addresses.sort_unstable();
        let Some(address) = addresses.get(number % addresses.len().max(1)) else {
            return Err(format!("{host} has no address"));
        };
        match TcpStream::connect(address).await {
            Ok(stream) => Ok(Connection::new(stream)),
            Err(error) => Err(format!("cannot connect to {address}: {error}")),
        }
    }

    fn count_reconnect(&self) {
        self.reconnects.fetch_add(1, Ordering::Relaxed);
    }
}

impl Method {
    fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
        }
    }
}

fn message(config: &Config) -> String {
    let Url { authority, target, .. } = &config.url;
    let method = config.method.name();
    let connection = match config.connections {
        Connections::New => "close",
        Connections::KeepAlive => "keep-alive",
    };
    let head = format!("{method} {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: {connection}\r\n");
    match config.method {
        Method::Get => format!("{head}\r\n"),
        Method::Post => format!("{head}Content-Length: {}\r\n\r\n{CONTENT}", CONTENT.len()),
    }
}
