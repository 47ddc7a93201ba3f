//! Docker's containerd store from within: content by its digest, listed and read without a registry.
//!
//! The engine lets its clients speak gRPC on a connection that they upgrade, and serves containerd's content service
//! there, read-only. Kerek asks for three calls of it, with the few fields that it needs; the messages are put together
//! by hand for that. Engines without such a store, and those that have given this up, say no to the upgrade.

use std::path::Path;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONNECTION, CONTENT_TYPE, TE, UPGRADE};
use hyper::{HeaderMap, Method, Request, StatusCode, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::UnixStream;

use super::http::{garbled, transport_error};
use crate::engine::{Error, ErrorKind, Result};

const SERVICE: &str = "/containerd.services.content.v1.Content";
/// Where containerd keeps what belongs to Docker.
const NAMESPACE: (&str, &str) = ("containerd-namespace", "moby");
/// By which containerd names what content is when it is not compressed.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// The most bytes of one message: four times what containerd puts into one.
const LARGEST_MESSAGE: usize = 16 << 20;
/// The most content that a list may have.
const LONGEST_LIST: usize = 1 << 20;
/// Bytes that may be under way before we have taken those before, so that a long way does not slow down.
const WINDOW: u32 = 4 << 20;

/// Content of a store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Blob {
    /// Its digest, as the engine says.
    pub digest: String,
    /// Its bytes.
    pub size: u64,
    /// What it is when it is not compressed, if containerd knows.
    pub uncompressed: Option<String>,
}

/// A connection to the content service of an engine.
#[derive(Clone, Debug)]
pub struct Content {
    sender: http2::SendRequest<Full<Bytes>>,
}

impl Content {
    /// Connects; `None` if the engine has no such service.
    pub(super) async fn connect(socket: &Path) -> Result<Option<Self>> {
        let call = "open the engine's content store";
        let unreachable = |error: &std::io::Error| transport_error(call, error);
        let stream = UnixStream::connect(socket).await.map_err(|error| unreachable(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| transport_error(call, &error))?;
        drop(tokio::spawn(connection.with_upgrades()));
        let request = Request::builder()
            .method(Method::POST)
            .uri("/grpc")
            .header("Host", "engine")
            .header(CONNECTION, "Upgrade")
            .header(UPGRADE, "h2c")
            .body(Full::<Bytes>::default())
            .map_err(|error| garbled(call, &error))?;
        let response = sender.send_request(request).await.map_err(|error| transport_error(call, &error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Ok(None);
        }
        let upgraded = hyper::upgrade::on(response).await.map_err(|error| transport_error(call, &error))?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .handshake(upgraded)
            .await
            .map_err(|error| transport_error(call, &error))?;
        drop(tokio::spawn(connection));
        Ok(Some(Self { sender }))
    }

    /// All content; `None` if the service is not there after all.
    pub async fn list(&self) -> Result<Option<Vec<Blob>>> {
        let call = "list the content of the engine's store";
        let mut messages = match self.call(call, "List", &[]).await {
            Ok(messages) => messages,
            Err(error) if error.kind == ErrorKind::Refused => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut blobs = Vec::new();
        loop {
            match messages.next().await {
                Ok(None) => return Ok(Some(blobs)),
                Ok(Some(message)) => {
                    for field in fields(&message) {
                        let (1, Value::Bytes(info)) = field.ok_or_else(|| garbled(call, &"a broken message"))? else {
                            continue;
                        };
                        blobs.push(blob(info).ok_or_else(|| garbled(call, &"a broken message"))?);
                    }
                    if blobs.len() > LONGEST_LIST {
                        return Err(garbled(call, &"an endless list"));
                    }
                }
                Err(error) if error.kind == ErrorKind::Refused && blobs.is_empty() => return Ok(None),
                Err(error) => return Err(error),
            }
        }
    }

    /// Bytes of some content from its beginning, at most `limit`.
    pub async fn read(&self, digest: &str, limit: usize) -> Result<Vec<u8>> {
        let mut reading = self.open(digest, limit).await?;
        let mut content = Vec::new();
        while let Some(piece) = reading.next().await? {
            content.extend_from_slice(&piece);
            if content.len() > limit {
                content.truncate(limit);
                break;
            }
        }
        Ok(content)
    }

    /// Begins to read content, at most `limit` bytes of it (0 for all).
    pub async fn open(&self, digest: &str, limit: usize) -> Result<Reading> {
        let call = format!("read {} from the engine's store", crate::text::escape(digest));
        let mut request = Vec::new();
        put_bytes(&mut request, 1, digest.as_bytes());
        if limit > 0 {
            put_number(&mut request, 3, limit as u64);
        }
        Ok(Reading(self.call(&call, "Read", &request).await?))
    }

    async fn call(&self, call: &str, method: &str, message: &[u8]) -> Result<Messages> {
        let mut body = vec![0];
        let length = u32::try_from(message.len()).map_err(|error| garbled(call, &error))?;
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(message);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("http://engine{SERVICE}/{method}"))
            .version(Version::HTTP_2)
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(NAMESPACE.0, NAMESPACE.1)
            .body(Full::from(body))
            .map_err(|error| garbled(call, &error))?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(|error| transport_error(call, &error))?;
        let response = sender.send_request(request).await.map_err(|error| transport_error(call, &error))?;
        tracing::debug!(method, status = response.status().as_u16(), "{call}");
        if let Some(refusal) = refusal(call, response.headers()) {
            return Err(refusal);
        }
        Ok(Messages { call: call.to_owned(), body: response.into_body(), buffer: Vec::new() })
    }
}

/// Content on its way.
#[derive(Debug)]
pub struct Reading(Messages);

impl Reading {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(message) = self.0.next().await? {
            for field in fields(&message) {
                match field.ok_or_else(|| garbled(&self.0.call, &"a broken message"))? {
                    (2, Value::Bytes(data)) if !data.is_empty() => return Ok(Some(Bytes::copy_from_slice(data))),
                    _ => {}
                }
            }
        }
        Ok(None)
    }
}

/// The messages of an answer.
#[derive(Debug)]
struct Messages {
    call: String,
    body: Incoming,
    buffer: Vec<u8>,
}

impl Messages {
    async fn next(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            let Some(frame) = self.body.frame().await else {
                // A good end says so.
                return Err(transport_error(&self.call, &std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
            };
            let frame = frame.map_err(|error| transport_error(&self.call, &error))?;
            match frame.into_data() {
                Ok(data) => self.buffer.extend_from_slice(&data),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    return refusal(&self.call, &trailers).map_or(Ok(None), Err);
                }
            }
        }
    }

    /// The first message, if it is there as a whole.
    fn take(&mut self) -> Result<Option<Vec<u8>>> {
        let Some((head, rest)) = self.buffer.split_first_chunk::<5>() else { return Ok(None) };
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if head[0] != 0 || length > LARGEST_MESSAGE {
            return Err(garbled(&self.call, &"a broken message"));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let message = rest[..length].to_vec();
        self.buffer.drain(..5 + length);
        Ok(Some(message))
    }
}

/// What gRPC says against it, in headers or trailers.
fn refusal(call: &str, headers: &HeaderMap) -> Option<Error> {
    let status = headers.get("grpc-status")?;
    if status == "0" {
        return None;
    }
    let message = headers.get("grpc-message").map(|message| String::from_utf8_lossy(message.as_bytes()).into_owned());
    let message = message.unwrap_or_else(|| format!("status {}", String::from_utf8_lossy(status.as_bytes())));
    Some(Error { kind: ErrorKind::Refused, call: call.to_owned(), message })
}

/// Reads what the list says about some content.
fn blob(info: &[u8]) -> Option<Blob> {
    let mut blob = Blob::default();
    for field in fields(info) {
        match field? {
            (1, Value::Bytes(digest)) => blob.digest = String::from_utf8(digest.to_vec()).ok()?,
            (2, Value::Number(size)) => blob.size = size,
            (5, Value::Bytes(label)) => {
                let (mut key, mut value) = ("", "");
                for field in fields(label) {
                    match field? {
                        (1, Value::Bytes(text)) => key = std::str::from_utf8(text).ok()?,
                        (2, Value::Bytes(text)) => value = std::str::from_utf8(text).ok()?,
                        _ => {}
                    }
                }
                if key == UNCOMPRESSED {
                    blob.uncompressed = Some(value.to_owned());
                }
            }
            _ => {}
        }
    }
    Some(blob)
}

#[derive(Debug, Eq, PartialEq)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a fixed width, which nothing here needs.
    Fixed,
}

/// The fields of a message in protobuf's encoding; `None` at the first that is broken, and nothing after it.
fn fields(mut message: &[u8]) -> impl Iterator<Item = Option<(u64, Value<'_>)>> {
    std::iter::from_fn(move || {
        if message.is_empty() {
            return None;
        }
        let field = field(&mut message);
        if field.is_none() {
            message = &[];
        }
        Some(field)
    })
}

fn field<'a>(message: &mut &'a [u8]) -> Option<(u64, Value<'a>)> {
    let key = number(message)?;
    let mut take = |length: usize| {
        let (taken, rest) = message.split_at_checked(length)?;
        *message = rest;
        Some(taken)
    };
    let value = match key & 7 {
        1 => take(8).map(|_| Value::Fixed)?,
        5 => take(4).map(|_| Value::Fixed)?,
        0 => Value::Number(number(message)?),
        2 => {
            let length = usize::try_from(number(message)?).ok()?;
            let (bytes, rest) = message.split_at_checked(length)?;
            *message = rest;
            Value::Bytes(bytes)
        }
        _ => return None,
    };
    Some((key >> 3, value))
}

fn number(message: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        number |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn put_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put(message, field << 3 | 2);
    put(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn put_number(message: &mut Vec<u8>, field: u64, value: u64) {
    put(message, field << 3);
    put(message, value);
}

fn put(message: &mut Vec<u8>, mut number: u64) {
    loop {
        let [lowest, ..] = number.to_le_bytes();
        number >>= 7;
        if number == 0 {
            return message.push(lowest & 0x7f);
        }
        message.push(lowest | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_a_store_lists() {
        let mut label = Vec::new();
        put_bytes(&mut label, 1, UNCOMPRESSED.as_bytes());
        put_bytes(&mut label, 2, b"sha256:2");
        let mut info = Vec::new();
        put_bytes(&mut info, 1, b"sha256:1");
        put_number(&mut info, 2, 300);
        put_bytes(&mut info, 3, b"\x08\x01");
        put_bytes(&mut info, 5, &label);
        let expected = Blob { digest: "sha256:1".into(), size: 300, uncompressed: Some("sha256:2".into()) };
        assert_eq!(blob(&info), Some(expected));
        assert_eq!(blob(&info[..info.len() - 1]), None);
    }

    proptest! {
        #[test]
        fn broken_messages_do_no_harm(message: Vec<u8>) {
            let _ = blob(&message);
            prop_assert!(fields(&message).count() <= message.len());
        }

        #[test]
        fn numbers_come_back(value: u64, text: Vec<u8>) {
            let mut message = Vec::new();
            put_number(&mut message, 7, value);
            put_bytes(&mut message, 300, &text);
            let read: Vec<_> = fields(&message).collect();
            prop_assert_eq!(read, vec![Some((7, Value::Number(value))), Some((300, Value::Bytes(&text)))]);
        }
    }
}
