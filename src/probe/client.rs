//! One request on a connection of its own, as from somebody who comes for the first time.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::Url;

const AGENT: &str = concat!("kerek/", env!("CARGO_PKG_VERSION"));

/// How requests get to the host of the URL.
#[derive(Clone, Debug)]
pub enum Way {
    /// From this machine.
    Direct,
    /// Through a socket on this machine that is forwarded there.
    Socket(PathBuf),
}

/// Knows all that a request takes.
#[derive(Clone)]
pub(super) struct Client {
    url: Url,
    end: End,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Where connections lead.
#[derive(Clone)]
enum End {
    Addresses(Vec<SocketAddr>),
    Socket(PathBuf),
}

/// A connection, whatever it is made of.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Client {
    /// Looks the host's name up and, if need be, reads the certificates that this machine trusts: once, as neither belongs
    /// to what is measured.
    pub(super) async fn prepare(url: &Url, way: Way) -> anyhow::Result<Self> {
        let end = match way {
            Way::Socket(path) => End::Socket(path),
            Way::Direct => {
                let addresses = lookup_host((url.host(), url.port())).await;
                let addresses = addresses.with_context(|| format!("cannot look up {}", url.host()))?;
                End::Addresses(addresses.collect())
            }
        };
        let tls = if url.is_secure() { Some((connector()?, server_name(url)?)) } else { None };
        Ok(Self { url: url.clone(), end, tls })
    }

    /// Makes a request and reads the whole answer. Anything but a status below 400 is a failure, told in a few words.
    pub(super) async fn ask(&self) -> Result<(), String> {
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(words)?;
        let exchange = async {
            let request = Request::get(self.url.path())
                .header(HOST, self.url.authority())
                .header(USER_AGENT, AGENT)
                .body(Empty::<Bytes>::new())
                .map_err(|error| error.to_string())?;
            let mut response = sender.send_request(request).await.map_err(words)?;
            while let Some(frame) = response.frame().await {
                frame.map_err(words)?;
            }
            judge(response.status())
        };
        tokio::pin!(exchange, connection);
        let mut connected = true;
        loop {
            tokio::select! {
                result = &mut exchange => return result,
                // How it has ended is told by the exchange.
                _ = &mut connection, if connected => connected = false,
            }
        }
    }

    async fn connect(&self) -> Result<Box<dyn Stream>, String> {
        let stream: Box<dyn Stream> = match &self.end {
            End::Addresses(addresses) => Box::new(TcpStream::connect(addresses.as_slice()).await.map_err(io_words)?),
            End::Socket(path) => Box::new(UnixStream::connect(path).await.map_err(io_words)?),
        };
        let Some((connector, name)) = &self.tls else { return Ok(stream) };
        let secure = connector.connect(name.clone(), stream).await;
        Ok(Box::new(secure.map_err(|error| format!("no TLS: {error}"))?))
    }
}

fn judge(status: StatusCode) -> Result<(), String> {
    if status.as_u16() < 400 { Ok(()) } else { Err(format!("status {}", status.as_str())) }
}

fn connector() -> anyhow::Result<TlsConnector> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!("certificates that this machine trusts: {error}");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(anyhow!("there are no certificates on this machine that it trusts"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn server_name(url: &Url) -> anyhow::Result<ServerName<'static>> {
    let name = ServerName::try_from(url.host().to_owned());
    name.with_context(|| format!("{} is no name that a certificate can be for", url.host()))
}

/// What went wrong, in the words that are left when those of the layers above are taken away.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn words(error: hyper::Error) -> String {
    if error.is_incomplete_message() {
        return "the connection was closed without an answer".to_owned();
    }
    match std::error::Error::source(&error).and_then(|source| source.downcast_ref::<std::io::Error>()) {
        Some(error) => kind_words(error),
        None => error.to_string(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn io_words(error: std::io::Error) -> String {
    kind_words(&error)
}

/// Without the numbers that systems have for errors.
fn kind_words(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::Other => error.to_string(),
        kind => kind.to_string(),
    }
}
