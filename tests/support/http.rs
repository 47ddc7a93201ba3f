//! HTTP/1.1 on a TCP connection, as much of it as the test programs speak: no TLS, no upgrades, bodies held in memory.
//!
//! Both sides use it: the app receives requests, the load generator receives responses. It promises to tell a message
//! that never began from one that was cut (see [`Error`]), because only the former may be asked for again.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes a head (start line and fields) may take.
const MAX_HEAD: usize = 16 * 1024;
/// Fields a head may have.
const MAX_FIELDS: usize = 64;
/// Bytes a body may take.
const MAX_BODY: usize = 1024 * 1024;

/// Why no message was received.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The connection ended, orderly or by a reset, before the first byte of the message.
    #[error("{0} before the first byte")]
    Nothing(io::Error),
    /// The connection ended within the message.
    #[error("{0} within the message")]
    Cut(io::Error),
    /// This is not HTTP as understood here.
    #[error("not understood: {0}")]
    Malformed(String),
}

/// A received request; its body is dropped.
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// Whether the client may send another request on this connection.
    pub(crate) keep_alive: bool,
}

/// A received response.
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
    /// Whether the server would answer another request on this connection.
    pub(crate) keep_alive: bool,
}

/// A connection that messages come in on, and anything goes out on.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Received and not yet consumed.
    received: Vec<u8>,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream) -> Self {
        // Where this is refused, small messages are merely late.
        let _ = stream.set_nodelay(true);
        Self { stream, received: Vec::new() }
    }

    /// Whether the peer has neither closed the connection nor said anything unasked, as far as is known here.
    pub(crate) fn is_idle(&self) -> bool {
        let would_block = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
        self.received.is_empty() && self.stream.try_read(&mut [0]).is_err_and(would_block)
    }

    /// Waits until the next message begins or the connection ends. May be dropped without losing anything.
    pub(crate) async fn begins(&self) {
        if self.received.is_empty() {
            // An error shows again as soon as the message is read.
            let _ = self.stream.readable().await;
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Receives a request whole.
    pub(crate) async fn receive_request(&mut self) -> Result<Request, Error> {
        let Head { message, body, .. } = self.receive_head(parse_request).await?;
        self.receive_body(body).await?;
        Ok(message)
    }

    /// Receives the response to a request of the given method.
    pub(crate) async fn receive_response(&mut self, method: &str) -> Result<Response, Error> {
        let mut head = self.receive_head(parse_response).await?;
        while (100..200).contains(&head.message.status) {
            // An interim response was a beginning already.
            head = self.receive_head(parse_response).await.map_err(|error| match error {
                Error::Nothing(error) => Error::Cut(error),
                error => error,
            })?;
        }
        let mut response = head.message;
        if method != "HEAD" && !matches!(response.status, 204 | 304) {
            response.body = self.receive_body(head.body).await?;
        }
        Ok(response)
    }

    async fn receive_head<T>(
        &mut self,
        parse: impl Fn(&[u8]) -> Result<Option<Head<T>>, Error>,
    ) -> Result<Head<T>, Error> {
        loop {
            if let Some(head) = parse(&self.received)? {
                self.received.drain(..head.length);
                return Ok(head);
            }
            if self.received.len() > MAX_HEAD {
                return Err(Error::Malformed(format!("a head of more than {MAX_HEAD} bytes")));
            }
            let none_yet = self.received.is_empty();
            self.receive().await.map_err(if none_yet { Error::Nothing } else { Error::Cut })?;
        }
    }

    async fn receive_body(&mut self, body: Body) -> Result<Vec<u8>, Error> {
        match body {
            Body::Length(length) => self.take(length).await,
            Body::Chunked => self.receive_chunks().await,
            Body::UntilClose => self.receive_rest().await,
        }
    }

    async fn receive_chunks(&mut self) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        loop {
            let size = self.receive_chunk_size().await?;
            if size == 0 {
                while !self.take_line().await?.is_empty() {}
                return Ok(body);
            }
            check_body(body.len().saturating_add(size))?;
            body.extend(self.take(size).await?);
            if !self.take_line().await?.is_empty() {
                return Err(Error::Malformed("a chunk longer than its size".to_owned()));
            }
        }
    }

    async fn receive_chunk_size(&mut self) -> Result<usize, Error> {
        let mut line = self.take_line().await?;
        line.extend(b"\r\n");
        match httparse::parse_chunk_size(&line) {
            Ok(httparse::Status::Complete((_, size))) => Ok(usize::try_from(size).unwrap_or(usize::MAX)),
            _ => Err(Error::Malformed("a chunk without a size".to_owned())),
        }
    }

    async fn receive_rest(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            match self.receive().await {
                Ok(()) => check_body(self.received.len())?,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return Ok(std::mem::take(&mut self.received));
                }
                Err(error) => return Err(Error::Cut(error)),
            }
        }
    }

    /// Consumes that many bytes of a body.
    async fn take(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        check_body(length)?;
        while self.received.len() < length {
            self.receive().await.map_err(Error::Cut)?;
        }
        Ok(self.received.drain(..length).collect())
    }

    /// Consumes a line and gives it without its end.
    async fn take_line(&mut self) -> Result<Vec<u8>, Error> {
        loop {
            if let Some(length) = self.received.windows(2).position(|window| window == b"\r\n") {
                return Ok(self.received.drain(..length + 2).take(length).collect());
            }
            if self.received.len() > MAX_HEAD {
                return Err(Error::Malformed(format!("a line of more than {MAX_HEAD} bytes")));
            }
            self.receive().await.map_err(Error::Cut)?;
        }
    }

    /// Receives at least one byte; the end of the connection is an error of kind `UnexpectedEof`.
    async fn receive(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.received).await? {
            0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "connection closed")),
            _ => Ok(()),
        }
    }
}

/// How a body is delimited (RFC 9112, section 6.3).
#[derive(Clone, Copy)]
enum Body {
    Length(usize),
    Chunked,
    UntilClose,
}

/// A complete head.
struct Head<T> {
    /// What it is the head of.
    message: T,
    body: Body,
    /// Bytes that it takes.
    length: usize,
}

/// The head at the beginning of these bytes, once it is complete.
fn parse_request(bytes: &[u8]) -> Result<Option<Head<Request>>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Request::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let message = Request {
        method: head.method.unwrap_or_default().to_owned(),
        target: head.path.unwrap_or_default().to_owned(),
        keep_alive: persists(head.version, head.headers),
    };
    let body = delimiter(head.headers)?.unwrap_or(Body::Length(0));
    Ok(Some(Head { message, body, length }))
}

/// The head at the beginning of these bytes, once it is complete.
fn parse_response(bytes: &[u8]) -> Result<Option<Head<Response>>, Error> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let httparse::Status::Complete(length) = head.parse(bytes).map_err(malformed)? else {
        return Ok(None);
    };
    let body = delimiter(head.headers)?.unwrap_or(Body::UntilClose);
    let message = Response {
        status: head.code.unwrap_or_default(),
        body: Vec::new(),
        keep_alive: persists(head.version, head.headers) && !matches!(body, Body::UntilClose),
    };
    Ok(Some(Head { message, body, length }))
}

/// How the fields say that the body is delimited, if they do.
fn delimiter(fields: &[httparse::Header<'_>]) -> Result<Option<Body>, Error> {
    if let Some(coding) = members(fields, "transfer-encoding").last() {
        return if coding.eq_ignore_ascii_case("chunked") {
            Ok(Some(Body::Chunked))
        } else {
            Err(Error::Malformed(format!("transfer coding {coding:?}")))
        };
    }
    let mut lengths = members(fields, "content-length");
    let Some(length) = lengths.next() else {
        return Ok(None);
    };
    match length.parse() {
        Ok(bytes) if lengths.all(|other| other == length) => Ok(Some(Body::Length(bytes))),
        _ => Err(Error::Malformed(format!("content length {length:?}"))),
    }
}

/// Whether the sender keeps the connection open after this message (RFC 9112, section 9.3); `minor` is the version's.
fn persists(minor: Option<u8>, fields: &[httparse::Header<'_>]) -> bool {
    let says = |option: &str| members(fields, "connection").any(|it| it.eq_ignore_ascii_case(option));
    match minor {
        Some(0) => says("keep-alive"),
        _ => !says("close"),
    }
}

/// The members of a list-valued field, over all lines of that name.
fn members<'a>(fields: &'a [httparse::Header<'a>], name: &'a str) -> impl Iterator<Item = &'a str> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .filter_map(|field| std::str::from_utf8(field.value).ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn check_body(length: usize) -> Result<(), Error> {
    if length > MAX_BODY {
        return Err(Error::Malformed(format!("a body of more than {MAX_BODY} bytes")));
    }
    Ok(())
}

fn malformed(error: httparse::Error) -> Error {
    Error::Malformed(error.to_string())
}
