//! HTTP over a unix socket, with nothing of the Engine API in it but the shape of its refusals.
//!
//! Connections are pooled and kept alive. Transport errors come out as [`ErrorKind::Unreachable`], refusals with the
//! engine's own words as [`ErrorKind::Refused`], nonsense as [`ErrorKind::Garbled`]. No answer may take more memory
//! than [`MAX_ANSWER`]; how long it may take is up to the caller, who can drop the future.

use std::io;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::engine::{Error, ErrorKind, Result};

/// Bytes an answer may have. Labels alone may have megabytes, so be generous.
pub(super) const MAX_ANSWER: usize = 64 << 20;

/// Connections that are kept while nothing is asked. On the way to some engines each takes up an SSH session, of which
/// there are ten.
const IDLE: usize = 2;
/// The same where they take no session, but a round trip to be made: as many as are busy at a time in most deployments.
const IDLE_AFAR: usize = 8;

/// An HTTP client that talks to one unix socket. Clones share their connections.
#[derive(Clone, Debug)]
pub(super) struct Http {
    client: Client<Socket, Full<Bytes>>,
    socket: Arc<Path>,
}

impl Http {
    /// A client for the socket at a path; connects when first used.
    pub(super) fn new(socket: &Path) -> Self {
        Self::keeping(IDLE, socket.into())
    }

    /// One for a socket that leads far away.
    pub(super) fn from_afar(socket: &Path) -> Self {
        Self::keeping(IDLE_AFAR, socket.into())
    }

    /// One that keeps no connection while nothing is asked.
    pub(super) fn solitary(&self) -> Self {
        Self::keeping(0, Arc::clone(&self.socket))
    }

    fn keeping(idle: usize, socket: Arc<Path>) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).pool_max_idle_per_host(idle).build(Socket(Arc::clone(&socket)));
        Self { client, socket }
    }

    /// The path of the socket.
    pub(super) fn socket(&self) -> &Path {
        &self.socket
    }

    /// Sends `GET path` and reads the whole answer. `call` is what the user is told on failure.
    pub(super) async fn get(&self, call: &str, path: &str) -> Result<Answer> {
        let response = self.send(call, Method::GET, path, Full::default()).await?;
        Answer::read(call, response).await
    }

    /// Sends `DELETE path` and reads the whole answer.
    pub(super) async fn delete(&self, call: &str, path: &str) -> Result<Answer> {
        let response = self.send(call, Method::DELETE, path, Full::default()).await?;
        Answer::read(call, response).await
    }

    /// Sends `POST path` without a body and reads the whole answer.
    pub(super) async fn post(&self, call: &str, path: &str) -> Result<Answer> {
        let response = self.send(call, Method::POST, path, Full::default()).await?;
        Answer::read(call, response).await
    }

    /// Sends `POST path` with a JSON body and reads the whole answer.
    pub(super) async fn post_json(&self, call: &str, path: &str, body: &impl Serialize) -> Result<Answer> {
        let body = serde_json::to_vec(body).map_err(|error| garbled(call, &error))?;
        let response = self.send(call, Method::POST, path, Full::from(body)).await?;
        Answer::read(call, response).await
    }

    /// Sends `PUT path` with a tar archive, and reads the whole answer.
    pub(super) async fn put(&self, call: &str, path: &str, archive: Vec<u8>) -> Result<Answer> {
        let response = self.send(call, Method::PUT, path, Full::from(archive)).await?;
        Answer::read(call, response).await
    }

    /// Sends `POST path` with a tar archive, and reads the whole answer.
    pub(super) async fn post_archive(&self, call: &str, path: &str, archive: Vec<u8>) -> Result<Answer> {
        let response = self.send(call, Method::POST, path, Full::from(archive)).await?;
        Answer::read(call, response).await
    }

    /// Sends `HEAD path` and reads the answer, which has no body.
    pub(super) async fn head(&self, call: &str, path: &str) -> Result<Answer> {
        let response = self.send(call, Method::HEAD, path, Full::default()).await?;
        Answer::read(call, response).await
    }

    /// Sends `GET path` and returns as soon as the engine has accepted it; the body is for the caller to read.
    pub(super) async fn stream(&self, call: &str, path: &str) -> Result<Incoming> {
        let response = self.send(call, Method::GET, path, Full::default()).await?;
        accepted_body(call, response).await
    }

    /// The same for `POST path` with a JSON body.
    pub(super) async fn stream_post(&self, call: &str, path: &str, body: &impl Serialize) -> Result<Incoming> {
        let body = serde_json::to_vec(body).map_err(|error| garbled(call, &error))?;
        let response = self.send(call, Method::POST, path, Full::from(body)).await?;
        accepted_body(call, response).await
    }

    /// Sends `POST path` with a tar archive that is still being made, and reads the whole answer. The connection is used
    /// for nothing else: dropping the future ends it, and an archive that fails half-way never looks whole.
    pub(super) async fn upload<B>(&self, call: &str, path: &str, archive: B) -> Result<Answer>
    where
        B: Body<Data = Bytes, Error = io::Error> + Send + 'static,
    {
        let begin = Instant::now();
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| transport_error(call, &error))?;
        let connected = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = connected.map_err(|error| transport_error(call, &error))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, "engine")
            .header(CONTENT_TYPE, "application/x-tar")
            .body(archive)
            .map_err(|error| garbled(call, &error))?;
        let exchange = async {
            let response = sender.send_request(request).await.map_err(|error| transport_error(call, &error))?;
            Answer::read(call, response).await
        };
        let (mut exchange, mut connection) = (pin!(exchange), pin!(connection));
        let mut connected = true;
        let result = loop {
            tokio::select! {
                result = &mut exchange => break result,
                // How it has ended is told by the exchange.
                _ = &mut connection, if connected => connected = false,
            }
        };
        let status = result.as_ref().map_or(0, |answer| answer.status.as_u16());
        tracing::debug!(path, status, elapsed = ?begin.elapsed(), "{call}");
        result
    }

    async fn send(&self, call: &str, method: Method, path: &str, body: Full<Bytes>) -> Result<Response<Incoming>> {
        let begin = Instant::now();
        // The authority is a formality, see `Socket`.
        let request = Request::builder()
            .uri(format!("http://engine{path}"))
            .method(&method)
            .header(CONTENT_TYPE, if method == Method::PUT { "application/x-tar" } else { "application/json" })
            .body(body)
            .map_err(|error| garbled(call, &error))?;
        let result = self.client.request(request).await;
        let elapsed = begin.elapsed();
        match &result {
            Ok(response) => tracing::debug!(%method, path, status = response.status().as_u16(), ?elapsed, "{call}"),
            Err(error) => tracing::debug!(%method, path, error = root_cause(error), ?elapsed, "{call}"),
        }
        result.map_err(|error| transport_error(call, &error))
    }
}

async fn accepted_body(call: &str, response: Response<Incoming>) -> Result<Incoming> {
    if response.status().is_success() {
        Ok(response.into_body())
    } else {
        Err(Answer::read(call, response).await?.refusal())
    }
}

/// An engine's complete answer, whatever its status.
#[derive(Debug)]
pub(super) struct Answer {
    call: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    async fn read(call: &str, response: Response<Incoming>) -> Result<Self> {
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                garbled(call, &format_args!("the answer has more than {MAX_ANSWER} bytes"))
            } else {
                transport_error(call, error.as_ref())
            }
        })?;
        Ok(Self { call: call.to_owned(), status: head.status, headers: head.headers, body: body.to_bytes() })
    }

    /// Itself, unless the engine refused.
    pub(super) fn accepted(self) -> Result<Self> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// The body as it came.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body as JSON of the given type.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body).map_err(|error| garbled(&self.call, &error))
    }

    /// The engine's words for why it refused: the field `message` of its JSON, else the body as text.
    pub(super) fn message(&self) -> String {
        #[derive(serde::Deserialize)]
        struct Refusal {
            message: String,
        }

        match serde_json::from_slice::<Refusal>(&self.body) {
            Ok(refusal) if !refusal.message.is_empty() => refusal.message,
            _ if self.body.is_empty() => format!("answered with status {}", self.status),
            _ => {
                let end = self.body.len().min(1024);
                let text = String::from_utf8_lossy(&self.body[..end]);
                format!("answered with status {}: {}", self.status, text.trim_end())
            }
        }
    }

    /// The answer as an error.
    pub(super) fn refusal(&self) -> Error {
        Error { kind: ErrorKind::Refused, call: self.call.clone(), message: self.message() }
    }
}

/// An answer that cannot be understood, for a reason.
pub(super) fn garbled(call: &str, reason: &dyn std::fmt::Display) -> Error {
    Error { kind: ErrorKind::Garbled, call: call.to_owned(), message: format!("unexpected answer: {reason}") }
}

/// Sorts out what went wrong between us and the engine: anything that is not plainly bad HTTP means "no answer".
pub(super) fn transport_error(call: &str, error: &(dyn std::error::Error + 'static)) -> Error {
    let cause = root_cause(error);
    if chain(error).any(|error| error.downcast_ref().is_some_and(hyper::Error::is_parse)) {
        return garbled(call, &cause);
    }
    Error { kind: ErrorKind::Unreachable, call: call.to_owned(), message: cause }
}

/// The innermost error's words: the outer ones only repeat that it was a client's or a connection's.
fn root_cause(error: &(dyn std::error::Error + 'static)) -> String {
    chain(error).last().unwrap_or(error).to_string()
}

fn chain<'a>(
    error: &'a (dyn std::error::Error + 'static),
) -> impl Iterator<Item = &'a (dyn std::error::Error + 'static)> {
    std::iter::successors(Some(error), |error| error.source())
}

/// Makes every connection to the same unix socket, whatever the URI.
#[derive(Clone)]
struct Socket(Arc<Path>);

impl tower_service::Service<Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let path = Arc::clone(&self.0);
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}
