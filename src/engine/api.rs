//! The Engine API, as Docker and podman serve it, over a unix socket.
//!
//! [`Api`] sends plain requests in the newest version that both sides know, and reads only the fields it needs, so
//! that old engines, podman and engines of tomorrow are one to the rest of kerek. It neither retries nor watches the
//! clock: that is [`super::patient::Patient`]'s job.
//!
//! It is a thin client of our own on purpose. Generated models of the whole API (bollard 0.21 was tried) reject an
//! inspection for one unknown word in a field that nobody reads, ask in no version whatever was negotiated, and do not
//! tell when an endless answer has begun; kerek reads some thirty fields of several hundred.

mod addresses;
mod archive;
pub mod content;
mod copy;
mod events;
mod http;
pub mod images;
mod logs;
mod notes;
mod paths;
#[cfg(test)]
mod tests;
mod trial;
mod wire;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream, TryStreamExt};
use http_body_util::{BodyExt, Limited};
use hyper::StatusCode;
use hyper::body::Incoming;
use hyper::header::{DATE, HeaderMap};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use self::archive::Stat;
use self::copy::Creation;
use self::events::{Lines, Message};
use self::http::{Answer, Http, garbled, transport_error};
use self::logs::Tail;
pub use self::paths::{Run, Shell};
use self::wire::{Connect, Created, Disconnect, Ended, Inspection, Listed, PROJECT_LABEL, SERVICE_LABEL, Stats};
use super::{
    Action, Attachment, Container, Definitions, Engine, Error, Event, Exec, ExecOutcome, File, Found, Image, Result,
    Variation,
};
use crate::names::{ContainerId, NetworkName, ProjectName, VolumeName};

/// The newest version of the API this code was written for and tested with (Docker 28.5); an older engine is spoken to
/// in its own version, down to [`MIN_VERSION`].
const MAX_VERSION: Version = Version(1, 51);
/// The oldest version with everything that is needed here (Docker 20.10, podman).
const MIN_VERSION: Version = Version(1, 41);
/// Since then a container can be created on several networks (Docker 25).
const SEVERAL_NETWORKS: Version = Version(1, 44);
/// How long a log may take that is read from its beginning only because its end cannot be had alone.
const WHOLE_LOG: Duration = Duration::from_secs(5);
/// Lines kept of the output of a command that ran in a container.
const EXEC_LINES: usize = 100;
/// Inspections under way at once.
const CONCURRENT_INSPECTIONS: usize = 16;
/// How often to look whether a removal that someone else has begun is over, and the pause between: 30 s altogether.
const REMOVAL_LOOKS: usize = 300;
const REMOVAL_PAUSE: Duration = Duration::from_millis(100);
/// How often a container that is between two states is asked for once more, and the pauses between.
const SETTLING_TRIES: usize = 20;
const SETTLING_PAUSE: Duration = Duration::from_millis(50);

/// What is escaped in a name, wherever it is put.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_');
/// What is escaped in an image reference, which is a path of its own and is sent as one, as Docker's client does.
const REFERENCE: &AsciiSet = &NAME.remove(b'/').remove(b':').remove(b'@');

/// An engine at the other end of a unix socket. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Api {
    http: Http,
    version: Version,
    podman: bool,
    /// Runs commands on the engine's host, where that is possible.
    shell: Option<Shell>,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Version(u16, u16);

impl Api {
    /// The same engine, over connections that end with each answer: for ways to it that have few of them at a time.
    #[must_use]
    pub fn solitary(&self) -> Self {
        Self { http: self.http.solitary(), ..self.clone() }
    }

    /// Connects to the engine behind a socket and agrees on a version of the API, in one round trip.
    ///
    /// Fails with `Unreachable` if there is no engine, `Refused` if it is too old, `Garbled` if it is something else.
    pub async fn connect(socket: &Path) -> Result<Self> {
        Self::over(Http::new(socket)).await
    }

    /// The same where a connection costs a round trip to make, and nothing to keep.
    pub async fn connect_from_afar(socket: &Path) -> Result<Self> {
        Self::over(Http::from_afar(socket)).await
    }

    async fn over(http: Http) -> Result<Self> {
        let socket = http.socket();
        let call = format!("connect to the engine at {}", socket.display());
        let answer = http.get(&call, "/_ping").await?.accepted()?;
        let version = offered_version(&answer.headers)
            .ok_or_else(|| garbled(&call, &"it names no API version; is this a container engine?"))?;
        if version < MIN_VERSION {
            return Err(Error {
                kind: super::ErrorKind::Refused,
                call,
                message: format!(
                    "it speaks API {}.{}, but at least {}.{} (Docker 20.10, podman 4) is needed",
                    version.0, version.1, MIN_VERSION.0, MIN_VERSION.1
                ),
            });
        }
        let podman = answer.headers.contains_key("libpod-api-version");
        Ok(Self { http, version: version.min(MAX_VERSION), podman, shell: None })
    }

    /// Lets it run commands on the engine's host, as the one whose engine it is: the API does not tell everything.
    #[must_use]
    pub fn with_shell(self, shell: Shell) -> Self {
        Self { shell: Some(shell), ..self }
    }

    /// A path of the API, under the agreed version.
    fn path(&self, path: &str) -> String {
        let Version(major, minor) = self.version;
        format!("/v{major}.{minor}{path}")
    }

    fn container_path(&self, id: &ContainerId, rest: &str) -> String {
        self.path(&format!("/containers/{}{rest}", escape(id.as_str())))
    }

    async fn inspect(&self, id: &ContainerId) -> Result<Option<Container>> {
        let call = format!("inspect container {}", id.short());
        let answer = self.http.get(&call, &self.container_path(id, "/json")).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let mut container = answer.accepted()?.json::<Inspection>()?.into_container(&call)?;
        if self.podman {
            // It lists all volumes among those that were wished for.
            container.volumes.values_mut().for_each(|volume| volume.wished &= !volume.anonymous);
            name_network_mode(&mut container);
        }
        Ok(Some(container))
    }

    async fn log(&self, id: &ContainerId, selection: &str) -> Result<Tail> {
        let call = format!("get logs of container {}", id.short());
        let path = self.container_path(id, &format!("/logs?stdout=true&stderr=true{selection}"));
        let body = self.http.stream(&call, &path).await?;
        read_output(&call, body).await
    }

    /// Makes a call that ends a container. Podman refuses it at the very moment in which the container ends by itself, or is
    /// started again by its policy; asked once more, it goes on.
    async fn once_settled(&self, attempt: impl AsyncFn() -> Result<Answer>) -> Result<Answer> {
        for _ in 0..SETTLING_TRIES {
            let answer = attempt().await?;
            if !(self.podman && is_in_between(&answer)) {
                return Ok(answer);
            }
            tokio::time::sleep(SETTLING_PAUSE).await;
        }
        attempt().await
    }

    /// Waits until a container is gone whose removal was begun by someone else; `busy` is the engine's refusal.
    async fn wait_until_gone(&self, id: &ContainerId, busy: &Answer) -> Result<()> {
        for _ in 0..REMOVAL_LOOKS {
            if self.inspect(id).await?.is_none() {
                return Ok(());
            }
            tokio::time::sleep(REMOVAL_PAUSE).await;
        }
        Err(busy.refusal())
    }

    /// The engine's clock as it puts it into its answers, in whole seconds since 1970.
    async fn clock(&self, call: &str) -> Result<Option<u64>> {
        let answer = self.http.get(call, "/_ping").await?.accepted()?;
        let date = date(&answer.headers);
        Ok(date.and_then(|date| date.duration_since(SystemTime::UNIX_EPOCH).ok()).map(|age| age.as_secs()))
    }

    /// Turns a message into an event, asking for the verdict where the message lacks it.
    async fn event(&self, message: Message) -> Result<Event> {
        let (container, action) = match message {
            Message::Happened(container, action) => (container, action),
            Message::Probed(container) => {
                let health = self.inspect(&container).await?.and_then(|container| container.health);
                (container, health.map_or(Action::Other, Action::Health))
            }
        };
        Ok(Event { container, action })
    }
}

impl Engine for Api {
    async fn containers(&self, project: &ProjectName) -> Result<Vec<Container>> {
        let call = format!("list containers of project {project}");
        // Whatever carries the project's label without being of a service was not made by Compose.
        let labels = [format!("{PROJECT_LABEL}={project}"), SERVICE_LABEL.to_owned()];
        let filters = escape(&json!({ "label": labels }).to_string());
        let path = self.path(&format!("/containers/json?all=true&filters={filters}"));
        let listed: Vec<Listed> = self.http.get(&call, &path).await?.accepted()?.json()?;
        stream::iter(listed)
            .map(async |listed| self.inspect(&ContainerId::new(listed.id)).await)
            .buffer_unordered(CONCURRENT_INSPECTIONS)
            // A container may vanish between list and inspection.
            .try_filter_map(async |container| Ok(container))
            .try_collect()
            .await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<Container>> {
        self.inspect(id).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let call = format!("start container {}", id.short());
        let answer = self.http.post(&call, &self.container_path(id, "/start")).await?;
        unless_status(answer, &[StatusCode::NOT_MODIFIED])
    }

    async fn stop(&self, id: &ContainerId, timeout: Option<Duration>) -> Result<()> {
        let call = format!("stop container {}", id.short());
        let query = timeout.map_or_else(String::new, |timeout| format!("?t={}", stop_seconds(timeout)));
        let path = self.container_path(id, &format!("/stop{query}"));
        let answer = self.once_settled(async || self.http.post(&call, &path).await).await?;
        unless_status(answer, &[StatusCode::NOT_MODIFIED, StatusCode::NOT_FOUND])
    }

    async fn remove(&self, id: &ContainerId, volumes: bool) -> Result<()> {
        let call = format!("remove container {}", id.short());
        let path = self.container_path(id, &format!("?force=true&v={volumes}"));
        let answer = self.once_settled(async || self.http.delete(&call, &path).await).await?;
        if answer.status == StatusCode::CONFLICT && answer.message().contains("already in progress") {
            return self.wait_until_gone(id, &answer).await;
        }
        unless_status(answer, &[StatusCode::NOT_FOUND])
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let call = format!("rename container {} to {name}", id.short());
        let path = self.container_path(id, &format!("/rename?name={}", escape(name)));
        unless_status(self.http.post(&call, &path).await?, &[])
    }

    async fn copy(&self, id: &ContainerId, variation: &Variation) -> Result<ContainerId> {
        let call = format!("copy container {}", id.short());
        let original = self.http.get(&call, &self.container_path(id, "/json")).await?.accepted()?.json()?;
        let several = self.podman || self.version >= SEVERAL_NETWORKS;
        let copy = Creation::like(original, variation, several).ok_or_else(|| garbled(&call, &"it lacks settings"))?;
        let path = self.path(&format!("/containers/create?name={}", escape(&variation.name)));
        let created: Created = self.http.post_json(&call, &path, &copy.body).await?.accepted()?.json()?;
        let created = ContainerId::new(created.id);
        for (network, endpoint) in copy.later {
            let path = self.path(&format!("/networks/{}/connect", escape(&network)));
            let body = json!({ "Container": created.as_str(), "EndpointConfig": endpoint });
            let connected =
                self.http.post_json(&call, &path, &body).await.and_then(|answer| unless_status(answer, &[]));
            if let Err(error) = connected {
                self.remove(&created, true).await?;
                return Err(error);
            }
        }
        Ok(created)
    }

    async fn connect(&self, id: &ContainerId, network: &NetworkName, attachment: &Attachment) -> Result<()> {
        let call = format!("connect container {} to network {network}", id.short());
        let path = self.path(&format!("/networks/{}/connect", escape(network.as_str())));
        let body = Connect::new(id, attachment, self.podman);
        let answer = self.http.post_json(&call, &path, &body).await?;
        unless_status(answer, &[])
    }

    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<()> {
        let call = format!("disconnect container {} from network {network}", id.short());
        let path = self.path(&format!("/networks/{}/disconnect", escape(network.as_str())));
        let body = Disconnect { container: id.as_str() };
        let answer = self.http.post_json(&call, &path, &body).await?;
        // Docker answers 500 with "container … is not connected to (the) network …", podman 500 or 404 with the same
        // words. Other 404s say that the container or the network is gone, which comes to the same.
        if answer.message().contains("is not connected to") {
            return Ok(());
        }
        unless_status(answer, &[StatusCode::NOT_FOUND])
    }

    async fn hold_below(&self, network: &NetworkName, address: &str) -> Result<Vec<ContainerId>> {
        self.hold_addresses_below(network, address).await
    }

    async fn release(&self, holders: &[ContainerId]) -> Result<()> {
        self.release_addresses(holders).await
    }

    async fn definitions(&self, project: &ProjectName) -> Result<Definitions> {
        let filters = escape(&json!({ "label": [format!("{PROJECT_LABEL}={project}")] }).to_string());
        let networks = async {
            let call = format!("list networks of project {project}");
            let listed: Vec<wire::Labelled> =
                self.http.get(&call, &self.path(&format!("/networks?filters={filters}"))).await?.accepted()?.json()?;
            Ok(listed)
        };
        let volumes = async {
            let call = format!("list volumes of project {project}");
            let listed: wire::Volumes =
                self.http.get(&call, &self.path(&format!("/volumes?filters={filters}"))).await?.accepted()?.json()?;
            Ok(listed.volumes.unwrap_or_default())
        };
        let (networks, volumes) = tokio::try_join!(networks, volumes)?;
        let networks = networks.into_iter().filter_map(wire::Labelled::definition);
        let volumes = volumes.into_iter().filter_map(wire::Labelled::definition);
        Ok(Definitions {
            networks: networks.map(|(name, hash)| (NetworkName::new(name), hash)).collect(),
            volumes: volumes.map(|(name, hash)| (VolumeName::new(name), hash)).collect(),
        })
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let call = format!("inspect image {reference}");
        let path = self.path(&format!("/images/{}/json", utf8_percent_encode(reference, REFERENCE)));
        let answer = self.http.get(&call, &path).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        Ok(Some(answer.accepted()?.json::<wire::Image>()?.into()))
    }

    async fn received(&self, id: &ContainerId) -> Result<Option<u64>> {
        let call = format!("get statistics of container {}", id.short());
        let path = self.container_path(id, "/stats?stream=false&one-shot=true");
        let answer = self.http.get(&call, &path).await?;
        // Gone, in no state to be measured, or no controllers mounted to measure with (Docker's 500).
        if matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::CONFLICT) || lacks_metrics(&answer) {
            return Ok(None);
        }
        // Docker lists no network for a stopped container; podman sends an error with status 200.
        Ok(answer.accepted()?.json::<Stats>()?.received())
    }

    async fn logs(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>> {
        if self.podman {
            // Its `tail` leaves out all but the end of a line that was not written in one go, as unbuffered output is.
            if let Ok(whole) = tokio::time::timeout(WHOLE_LOG, self.log(id, "")).await {
                return Ok(whole?.into_lines(lines));
            }
        }
        Ok(self.log(id, &format!("&tail={lines}")).await?.into_lines(lines))
    }

    async fn exec(&self, id: &ContainerId, exec: &Exec) -> Result<ExecOutcome> {
        let call = format!("run a command in container {}", id.short());
        let path = self.container_path(id, "/exec");
        let created: Created = self.http.post_json(&call, &path, &wire::exec(exec)).await?.accepted()?.json()?;
        let path = self.path(&format!("/exec/{}", escape(&created.id)));
        let start = json!({ "Detach": false, "Tty": false });
        let body = self.http.stream_post(&call, &format!("{path}/start"), &start).await?;
        // The engine ends the stream when the command has ended.
        let output = read_output(&call, body).await?.into_lines(EXEC_LINES);
        let ended: Ended = self.http.get(&call, &format!("{path}/json")).await?.accepted()?.json()?;
        let code = ended.code().ok_or_else(|| garbled(&call, &"it ended without an exit code"))?;
        Ok(ExecOutcome { code, output })
    }

    async fn write_file(&self, id: &ContainerId, file: &File) -> Result<()> {
        let call = format!("write {} in container {}", file.path, id.short());
        let archive = archive::pack(file).map_err(|error| Error {
            kind: super::ErrorKind::Refused,
            call: call.clone(),
            message: error.to_string(),
        })?;
        // To ask for an owner is to ask for the owner to be kept; the engine has its own idea of which.
        let owned = file.uid.is_some() || file.gid.is_some();
        let query = if owned { "&copyUIDGID=true" } else { "" };
        let path = self.container_path(id, &format!("/archive?path=%2F{query}"));
        unless_status(self.http.put(&call, &path, archive).await?, &[])
    }

    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Result<Option<Found>> {
        let call = format!("read {path} in container {}", id.short());
        let path = self.container_path(id, &format!("/archive?path={}", escape(path)));
        let head = self.http.head(&call, &path).await?;
        if head.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let headers = head.accepted()?.headers;
        let Some(stat) = Stat::from_headers(&headers) else {
            return Err(garbled(&call, &"it does not tell what is there"));
        };
        // Taken from the same answer, the engine's clock costs no request. One that tells none is taken to be right here.
        let now = date(&headers).map_or_else(SystemTime::now, |second| second + Duration::from_secs(1));
        let fits = usize::try_from(stat.size).is_ok_and(|size| size <= limit);
        if limit == 0 || !stat.regular || !fits {
            return Ok(Some(Found { modified: stat.modified, now, content: None }));
        }
        let body = self.http.stream(&call, &path).await?;
        let archive = Limited::new(body, limit.saturating_add(archive::OVERHEAD)).collect().await;
        let archive = archive.map_err(|error| transport_error(&call, error.as_ref()))?.to_bytes();
        let content = archive::unpack(&archive, limit).map_err(|error| garbled(&call, &error))?;
        Ok(Some(Found { modified: stat.modified, now, content }))
    }

    async fn lacking(&self, paths: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        match &self.shell {
            Some(shell) if self.podman => Ok(shell.lacking(paths).await),
            None if self.podman => Ok(BTreeSet::new()),
            _ => self.refused_to_mount(paths).await,
        }
    }

    async fn events(&self, project: &ProjectName) -> Result<LocalBoxStream<'static, Result<Event>>> {
        let call = format!("watch events of project {project}");
        // Engines answer just before they subscribe. Asking for what happened since a moment before the request closes
        // that gap, at the price of repeating the events of up to a second.
        let since = self.clock(&call).await?;
        let since = since.map_or_else(String::new, |seconds| format!("since={seconds}&"));
        let label = format!("{PROJECT_LABEL}={project}");
        let filters = escape(&json!({ "label": [label], "type": ["container"] }).to_string());
        let path = self.path(&format!("/events?{since}filters={filters}"));
        let lines = Lines::new(&call, self.http.stream(&call, &path).await?);
        let api = self.clone();
        Ok(stream::try_unfold(lines, async move |mut lines| {
            let message = lines.next().await?;
            Ok(message.map(|message| (message, lines)))
        })
        .and_then(move |message| {
            let api = api.clone();
            async move { api.event(message).await }
        })
        .boxed_local())
    }
}

/// The engine's clock, as an answer tells it: cut to a whole second.
fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

/// Gives a container of podman the network mode that it would have on Docker.
///
/// Docker calls the mode by the container's first network, and its default network, which has no DNS, "bridge". Podman
/// says "bridge" whatever the network, and calls the default one "podman".
fn name_network_mode(container: &mut Container) {
    if container.network_mode != "bridge" || container.networks.contains_key(&NetworkName::new("podman")) {
        return;
    }
    // One that is on no network at all has been disconnected.
    let network = container.networks.keys().next().map_or("disconnected", NetworkName::as_str);
    container.network_mode = network.to_owned();
}

/// The end of what a stream of output holds.
async fn read_output(call: &str, mut body: Incoming) -> Result<Tail> {
    let mut tail = Tail::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| transport_error(call, &error))?;
        tail.push(frame.data_ref().map(AsRef::as_ref).unwrap_or_default());
    }
    Ok(tail)
}

fn offered_version(headers: &HeaderMap) -> Option<Version> {
    let version = headers.get("api-version")?.to_str().ok()?;
    let (major, minor) = version.split_once('.')?;
    Some(Version(major.parse().ok()?, minor.parse().ok()?))
}

/// Fine if the engine did it, or has one of the given reasons not to.
fn unless_status(answer: Answer, fine: &[StatusCode]) -> Result<()> {
    if fine.contains(&answer.status) {
        return Ok(());
    }
    answer.accepted().map(drop)
}

fn lacks_metrics(answer: &Answer) -> bool {
    answer.status.is_server_error() && answer.message().contains("no metrics")
}

/// Whether podman found a container in another state than it had seen a moment before.
fn is_in_between(answer: &Answer) -> bool {
    !answer.status.is_success() && answer.message().contains("container state improper")
}

/// Whole seconds, rounded up so that nothing gets less time than it was promised.
fn stop_seconds(timeout: Duration) -> u64 {
    let timeout = timeout.min(wire::MAX_STOP_TIMEOUT);
    timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)
}

/// Escapes text for one place in a path or query.
fn escape(text: &str) -> String {
    utf8_percent_encode(text, NAME).to_string()
}
