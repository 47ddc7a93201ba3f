//! The client against a scripted engine: what it asks for, and how it takes every kind of answer. What real engines
//! answer is tested in `tests/engine.rs`.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;
use crate::engine::{ErrorKind, Health, State};

type Answer = dyn Fn(&str) -> Vec<u8> + Send + Sync;

/// An engine that says what a function tells it to, given a request such as `GET /v1.41/containers/c1/json`, and then
/// hangs up.
struct Script {
    directory: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Script {
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let listener = UnixListener::bind(directory.path().join("engine.sock")).expect("socket");
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let log = Arc::clone(&requests);
        let answer: Arc<Answer> = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { directory, requests }
    }

    /// Answers all requests, but the one for connecting, the same.
    fn always(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::new(move |request| if request == PING { pong("1.41", "") } else { answer.clone() })
    }

    async fn connect(&self) -> Result<Api> {
        Api::connect(&self.directory.path().join("engine.sock")).await
    }

    /// The requests since the last time, bodies included.
    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("no panic"))
    }
}

/// Serves one request.
async fn serve(mut stream: UnixStream, log: Arc<Mutex<Vec<String>>>, answer: Arc<Answer>) {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await.expect("request") == 0 {
            return;
        }
        if let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") {
            // Archives hold anything.
            let [head, body] = [&request[..end], &request[end + 4..]].map(String::from_utf8_lossy);
            let length = head.to_lowercase().split_once("content-length: ").map_or(0, |(_, rest)| {
                rest.split("\r\n").next().and_then(|length| length.parse().ok()).expect("length")
            });
            if request.len() == end + 4 + length {
                break (head.into_owned(), body.into_owned());
            }
        }
    };
    let (line, _) = head.split_once(" HTTP/1.1\r\n").expect("HTTP");
    log.lock().expect("no panic").push(format!("{line} {body}").trim_end().to_owned());
    // The client may have read enough before the end of a long answer.
    stream.write_all(&answer(line)).await.ok();
}

const PING: &str = "GET /_ping";

fn pong(version: &str, headers: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nApi-Version: {version}\r\n\
         Date: Mon, 23 Nov 2026 05:50:00 GMT\r\n{headers}Content-Length: 2\r\n\r\nOK"
    )
    .into_bytes()
}

fn status(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn refuse(code: u16, message: &str) -> Vec<u8> {
    status(code, &json!({ "message": message }).to_string())
}

fn inspection(id: &str) -> Vec<u8> {
    let inspection = json!({
        "Id": id, "Name": "/x", "Image": "i", "State": {"Status": "running", "Health": {"Status": "healthy"}},
        "Config": {"Healthcheck": {"Test": ["CMD", "true"]}},
    });
    status(200, &inspection.to_string())
}

fn id() -> ContainerId {
    ContainerId::new("c1")
}

fn project() -> ProjectName {
    ProjectName::new("shop")
}

fn network() -> NetworkName {
    NetworkName::new("shop_default")
}

#[tokio::test]
async fn speaks_the_newest_version_both_know() {
    for (offered, spoken) in [("1.41", "v1.41"), ("1.51", "v1.51"), ("1.99", "v1.51"), ("2.0", "v1.51")] {
        let script = Script::new(move |request| if request == PING { pong(offered, "") } else { status(404, "") });
        let api = script.connect().await.expect("a connection");
        assert_eq!(api.container(&id()).await.expect("an answer"), None);
        assert_eq!(script.requests(), [PING.to_owned(), format!("GET /{spoken}/containers/c1/json")]);
    }
}

#[tokio::test]
async fn refuses_what_is_no_engine_of_today() {
    for (answer, kind, message) in [
        (pong("1.40", ""), ErrorKind::Refused, "it speaks API 1.40, but at least 1.41"),
        (pong("fish", ""), ErrorKind::Garbled, "it names no API version"),
        (status(200, "OK"), ErrorKind::Garbled, "it names no API version"),
        (status(500, "<html>broken</html>"), ErrorKind::Refused, "500 Internal Server Error: <html>broken</html>"),
        (b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), ErrorKind::Garbled, "unexpected answer"),
        (Vec::new(), ErrorKind::Unreachable, "connection closed before message completed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK".to_vec(), ErrorKind::Unreachable, ""),
    ] {
        let script = Script::new(move |_| answer.clone());
        let error = script.connect().await.expect_err("no engine");
        assert_eq!(error.kind, kind, "{error}");
        assert!(error.message.contains(message), "{error}");
        assert!(error.call.starts_with("connect to the engine at /"), "{error}");
    }
}

#[tokio::test]
async fn tells_why_there_is_no_connection() {
    let error = Api::connect(Path::new("/nonexistent/x.sock")).await.expect_err("no socket");
    assert_eq!(error.kind, ErrorKind::Unreachable);
    assert!(error.message.starts_with("No such file or directory"), "{error}");
}

#[tokio::test]
async fn lists_a_project() {
    let script = Script::new(|request| match request {
        PING => pong("1.41", ""),
        "GET /v1.41/containers/c2/json" => refuse(404, "No such container: c2"),
        "GET /v1.41/containers/c1/json" => inspection("c1"),
        "GET /v1.41/containers/c3/json" => inspection("c3"),
        _ => status(200, r#"[{"Id": "c1"}, {"Id": "c2"}, {"Id": "c3", "State": "new to us"}]"#),
    });
    let api = script.connect().await.expect("a connection");
    let containers = api.containers(&ProjectName::new("a \"b\"&c")).await.expect("containers");
    let mut ids: Vec<_> = containers.iter().map(|container| container.id.as_str()).collect();
    ids.sort_unstable();
    // c2 has vanished between list and inspection.
    assert_eq!(ids, ["c1", "c3"]);
    assert_eq!(containers[0].state, State::Running);

    let filters = r#"{"label":["com.docker.compose.project=a \"b\"&c","com.docker.compose.service"]}"#;
    let expected = format!("GET /v1.41/containers/json?all=true&filters={}", escape(filters));
    assert_eq!(script.requests()[1], expected);
    assert!(!expected.contains([' ', '"', '&']) || expected.matches('&').count() == 1, "{expected}");
}

#[tokio::test]
async fn one_bad_inspection_spoils_the_list() {
    for (bad, kind) in [
        (status(200, "{}"), ErrorKind::Garbled),
        (refuse(500, "disk on fire"), ErrorKind::Refused),
        (Vec::new(), ErrorKind::Unreachable),
    ] {
        let script = Script::new(move |request| match request {
            PING => pong("1.41", ""),
            "GET /v1.41/containers/c1/json" => inspection("c1"),
            "GET /v1.41/containers/c2/json" => bad.clone(),
            _ => status(200, r#"[{"Id": "c1"}, {"Id": "c2"}]"#),
        });
        let error = script.connect().await.expect("a connection").containers(&project()).await;
        let error = error.expect_err("a bad inspection");
        assert_eq!((error.kind, error.call.as_str()), (kind, "inspect container c2"), "{error}");
    }
}

#[tokio::test]
async fn hostile_names_stay_in_their_place() {
    let script = Script::always(status(404, ""));
    let api = script.connect().await.expect("a connection");
    api.container(&ContainerId::new("../x?y#z\r\n %2e")).await.expect("an answer");
    api.image("registry:5000/a/b:1@sha256:0?x=#\n").await.expect("an answer");
    api.disconnect(&id(), &NetworkName::new("n&m=Ü")).await.expect("an answer");
    assert_eq!(
        script.requests()[1..],
        [
            "GET /v1.41/containers/..%2Fx%3Fy%23z%0D%0A%20%252e/json",
            "GET /v1.41/images/registry:5000/a/b:1@sha256:0%3Fx%3D%23%0A/json",
            r#"POST /v1.41/networks/n%26m%3D%C3%9C/disconnect {"Container":"c1"}"#,
        ]
    );
}

#[tokio::test]
async fn what_is_done_already_is_fine() {
    let not_modified = || Script::always(status(304, ""));
    let not_found = || Script::always(refuse(404, "No such container: c1"));
    let engine = async |script: &Script| script.connect().await.expect("a connection");

    assert!(engine(&not_modified()).await.start(&id()).await.is_ok());
    assert!(engine(&not_modified()).await.stop(&id(), None).await.is_ok());
    assert!(engine(&not_found()).await.stop(&id(), None).await.is_ok());
    assert!(engine(&not_found()).await.remove(&id(), false).await.is_ok());
    assert!(engine(&not_found()).await.disconnect(&id(), &network()).await.is_ok());
    assert!(engine(&not_found()).await.container(&id()).await.is_ok_and(|container| container.is_none()));
    assert!(engine(&not_found()).await.image("x").await.is_ok_and(|image| image.is_none()));
    assert!(engine(&not_found()).await.received(&id()).await.is_ok_and(|bytes| bytes.is_none()));
    // But a container that is gone cannot be started, connected, or read.
    assert!(engine(&not_found()).await.start(&id()).await.is_err());
    assert!(engine(&not_found()).await.connect(&id(), &network(), &Attachment::default()).await.is_err());
    assert!(engine(&not_found()).await.logs(&id(), 1).await.is_err());
}

#[tokio::test]
async fn passes_on_what_the_engine_refuses() {
    let script = Script::always(refuse(500, "driver failed: port is already allocated"));
    let api = script.connect().await.expect("a connection");
    let attachment = Attachment::default();
    for (result, call) in [
        (api.start(&id()).await, "start container c1"),
        (api.stop(&id(), None).await, "stop container c1"),
        (api.remove(&id(), true).await, "remove container c1"),
        (api.connect(&id(), &network(), &attachment).await, "connect container c1 to network shop_default"),
        (api.disconnect(&id(), &network()).await, "disconnect container c1 from network shop_default"),
        (api.container(&id()).await.map(drop), "inspect container c1"),
        (api.containers(&project()).await.map(drop), "list containers of project shop"),
        (api.image("busybox").await.map(drop), "inspect image busybox"),
        (api.received(&id()).await.map(drop), "get statistics of container c1"),
        (api.logs(&id(), 1).await.map(drop), "get logs of container c1"),
        (api.events(&project()).await.map(drop), "watch events of project shop"),
    ] {
        let error = result.expect_err("refused");
        assert_eq!(error.kind, ErrorKind::Refused);
        assert_eq!(error.to_string(), format!("{call}: driver failed: port is already allocated"));
    }
}

#[tokio::test]
async fn a_refusal_without_words_names_the_status() {
    let long = "x".repeat(5000);
    for (body, expected) in [
        ("", "answered with status 503 Service Unavailable"),
        ("{}", "answered with status 503 Service Unavailable: {}"),
        (r#"{"message":""}"#, r#"answered with status 503 Service Unavailable: {"message":""}"#),
        (&long, &format!("answered with status 503 Service Unavailable: {}", &long[..1024])),
    ] {
        let script = Script::always(status(503, body));
        let error = script.connect().await.expect("a connection").start(&id()).await.expect_err("refused");
        assert_eq!(error.message, expected);
    }
}

#[tokio::test]
async fn writes_down_what_is_wanted() {
    let script = Script::always(status(204, ""));
    let api = script.connect().await.expect("a connection");
    api.start(&id()).await.expect("started");
    api.stop(&id(), None).await.expect("stopped");
    api.stop(&id(), Some(Duration::ZERO)).await.expect("stopped");
    api.stop(&id(), Some(Duration::from_millis(1001))).await.expect("stopped");
    api.stop(&id(), Some(Duration::MAX)).await.expect("stopped");
    api.remove(&id(), true).await.expect("removed");
    api.remove(&id(), false).await.expect("removed");
    assert_eq!(
        script.requests()[1..],
        [
            "POST /v1.41/containers/c1/start",
            "POST /v1.41/containers/c1/stop",
            "POST /v1.41/containers/c1/stop?t=0",
            "POST /v1.41/containers/c1/stop?t=2",
            "POST /v1.41/containers/c1/stop?t=2147483647",
            "DELETE /v1.41/containers/c1?force=true&v=true",
            "DELETE /v1.41/containers/c1?force=true&v=false",
        ]
    );
}

#[tokio::test]
async fn podman_is_asked_for_the_same_address() {
    for (headers, config) in [
        ("", ""),
        ("Libpod-Api-Version: 5.4.2\r\n", r#","IPAMConfig":{"IPv4Address":"10.0.0.5"},"MacAddress":"02::5""#),
    ] {
        let script =
            Script::new(move |request| if request == PING { pong("1.41", headers) } else { status(200, "OK") });
        let attachment = Attachment {
            aliases: vec!["web".to_owned()],
            address: "10.0.0.5".to_owned(),
            hardware_address: "02::5".to_owned(),
            ..Attachment::default()
        };
        let api = script.connect().await.expect("a connection");
        api.connect(&id(), &network(), &attachment).await.expect("connected");
        let settings = format!(r#""Aliases":["web"],"GwPriority":0{config}"#);
        let body = format!(r#"{{"Container":"c1","EndpointConfig":{{{settings}}}}}"#);
        assert_eq!(script.requests()[1], format!("POST /v1.41/networks/shop_default/connect {body}"));
    }
}

/// Another run that is done with the image of holders removes it when it has just been imported, so many times.
#[tokio::test]
async fn addresses_are_held_though_another_run_removes_the_image() {
    for (removals, expected) in [(0, Some("h1")), (1, Some("h1")), (2, Some("h1")), (99, None)] {
        let (imports, creations) = (Arc::new(AtomicUsize::new(0)), AtomicUsize::new(0));
        let imported = Arc::clone(&imports);
        let script = Script::new(move |request| match request.split(['?', ' ']).nth(1).unwrap_or_default() {
            "/_ping" => pong("1.41", ""),
            "/v1.41/version" => status(200, r#"{"Arch": "amd64"}"#),
            "/v1.41/networks/shop_default" => {
                status(200, r#"{"IPAM": {"Config": [{"Subnet": "10.0.0.0/24", "Gateway": "10.0.0.1"}]}}"#)
            }
            "/v1.41/images/create" => {
                imported.fetch_add(1, Ordering::Relaxed);
                status(200, "{}")
            }
            "/v1.41/containers/create" if creations.fetch_add(1, Ordering::Relaxed) <= removals => {
                refuse(404, "No such image: kerek-holder:latest")
            }
            "/v1.41/containers/create" => status(201, r#"{"Id": "h1"}"#),
            "/v1.41/containers/h1/start" => status(204, ""),
            _ => status(500, request),
        });
        let api = script.connect().await.expect("a connection");
        let holders = api.hold_below(&network(), "10.0.0.3").await.expect("an answer");
        assert_eq!(holders, expected.map(ContainerId::new).as_slice(), "{removals}: {:#?}", script.requests());
        // Some time it has to end.
        assert_eq!(imports.load(Ordering::Relaxed), 3.min(removals + 1), "{removals}");
    }
}

#[tokio::test]
async fn the_network_mode_of_podman_is_called_as_that_of_docker() {
    for (headers, networks, expected) in [
        ("", r#"{"shop_default": {}}"#, "bridge"),
        ("Libpod-Api-Version: 5.4.2\r\n", r#"{"shop_default": {}, "shop_front": {}}"#, "shop_default"),
        ("Libpod-Api-Version: 5.4.2\r\n", r#"{"podman": {}}"#, "bridge"),
        ("Libpod-Api-Version: 5.4.2\r\n", "{}", "disconnected"),
    ] {
        let body = format!(
            r#"{{"Id": "c1", "Name": "/web", "Image": "i1", "State": {{"Status": "running"}},
                "HostConfig": {{"NetworkMode": "bridge"}}, "NetworkSettings": {{"Networks": {networks}}}}}"#
        );
        let script =
            Script::new(move |request| if request == PING { pong("1.41", headers) } else { status(200, &body) });
        let api = script.connect().await.expect("a connection");
        let container = api.container(&id()).await.expect("an answer").expect("a container");
        assert_eq!(container.network_mode, expected, "{networks}");
    }
}

#[tokio::test]
async fn a_container_that_is_not_connected_is_disconnected() {
    for (code, message) in [
        (500, "container c1 is not connected to the network shop_default"),
        (500, "container c1 is not connected to network shop_default"),
        (404, "container c1 is not connected to network shop_default: network not found"),
        (404, "unable to find network with name or ID shop_default: network not found"),
    ] {
        let script = Script::always(refuse(code, message));
        let api = script.connect().await.expect("a connection");
        assert!(api.disconnect(&id(), &network()).await.is_ok(), "{message}");
    }
}

#[tokio::test(start_paused = true)]
async fn waits_for_the_end_of_a_removal_by_another() {
    let in_progress = || refuse(409, "removal of container c1 is already in progress");
    let inspections = AtomicUsize::new(0);
    let script = Script::new(move |request| match request {
        PING => pong("1.41", ""),
        "GET /v1.41/containers/c1/json" if inspections.fetch_add(1, Ordering::Relaxed) < 3 => inspection("c1"),
        "GET /v1.41/containers/c1/json" => status(404, ""),
        _ => in_progress(),
    });
    script.connect().await.expect("a connection").remove(&id(), true).await.expect("removed");
    assert_eq!(script.requests().iter().filter(|request| request.ends_with("/json")).count(), 4);

    // But not for ever, and only for a removal.
    let script = Script::new(move |request| match request {
        PING => pong("1.41", ""),
        "GET /v1.41/containers/c1/json" => inspection("c1"),
        _ => in_progress(),
    });
    let error = script.connect().await.expect("a connection").remove(&id(), true).await.expect_err("refused");
    assert_eq!(error.message, "removal of container c1 is already in progress");
    let script = Script::always(refuse(409, "container is frozen"));
    assert!(script.connect().await.expect("a connection").remove(&id(), true).await.is_err());
}

#[tokio::test]
async fn knows_where_nothing_is_measured() {
    for (answer, expected) in [
        (status(200, r#"{"networks": {"eth0": {"rx_bytes": 5}, "eth1": {"rx_bytes": 7}}}"#), Some(12)),
        // Docker: a stopped container, or one on the host's network.
        (status(200, r#"{"id": "c1", "memory_stats": {}}"#), None),
        (status(200, r#"{"cause":"container is stopped","message":"container is stopped","response":500}"#), None),
        (refuse(409, "container c1 is not running"), None),
        (refuse(500, "no metrics received"), None),
    ] {
        let script = Script::always(answer);
        let api = script.connect().await.expect("a connection");
        assert_eq!(api.received(&id()).await.expect("an answer"), expected);
    }
}

/// With the time of the answer, so that no other request is needed to compare the two.
#[tokio::test]
async fn tells_when_a_file_was_written_to_and_what_the_clock_says() {
    let stat = r#"{"name":"f","size":6,"mode":420,"mtime":"2001-09-09T01:46:39.5Z","linkTarget":""}"#;
    let answer = |date: &str| {
        let stat = STANDARD.encode(stat);
        format!("HTTP/1.1 200 OK\r\n{date}Connection: close\r\nX-Docker-Container-Path-Stat: {stat}\r\n\r\n")
    };
    let second = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let found = async |date: &str| {
        let script = Script::always(answer(date));
        let api = script.connect().await.expect("a connection");
        script.requests();
        let found = api.read_file(&id(), "/f", 0).await.expect("an answer").expect("a file");
        assert_eq!(script.requests().len(), 1);
        found
    };
    let told = found("Date: Sun, 09 Sep 2001 01:46:39 GMT\r\n").await;
    assert_eq!(told.modified, second(999_999_999) + Duration::from_millis(500));
    assert_eq!(told.now, second(1_000_000_000), "the end of the second that it tells");
    for untold in ["", "Date: yesterday\r\n"] {
        let now = found(untold).await.now;
        let off = SystemTime::now().duration_since(now).expect("not from the future");
        assert!(off < Duration::from_secs(60), "{off:?}");
    }
}

#[tokio::test]
async fn no_answer_is_too_broken() {
    for (answer, kind) in [
        (status(200, "{\"Id\":"), ErrorKind::Garbled),
        (status(200, "[]"), ErrorKind::Garbled),
        (status(200, "\u{0}"), ErrorKind::Garbled),
        (status(200, &"[".repeat(1 << 20)), ErrorKind::Garbled),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"Id\":".to_vec(), ErrorKind::Unreachable),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(), ErrorKind::Unreachable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n".to_vec(), ErrorKind::Garbled),
        (b"\x16\x03\x01 TLS?".to_vec(), ErrorKind::Garbled),
    ] {
        let script = Script::always(answer.clone());
        let api = script.connect().await.expect("a connection");
        let error = api.container(&id()).await.expect_err("a broken answer");
        assert_eq!(error.kind, kind, "{error} {:?}", String::from_utf8_lossy(&answer[..answer.len().min(80)]));
    }
}

#[tokio::test]
async fn an_endless_answer_ends() {
    let length = http::MAX_ANSWER + 1;
    let mut answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n").into_bytes();
    answer.resize(answer.len() + length, b' ');
    let script = Script::always(answer);
    let error = script.connect().await.expect("a connection").container(&id()).await.expect_err("too long");
    assert_eq!(error.kind, ErrorKind::Garbled);
    assert!(error.message.contains("more than 67108864 bytes"), "{error}");
}

fn events(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n").into_bytes()
}

#[tokio::test]
async fn follows_events_from_a_moment_before_the_request() {
    let body = concat!(
        r#"{"Type":"container","Action":"start","Actor":{"ID":"c1"}}"#,
        "\n\r\n",
        r#"{"Type":"container","Action":"exec_start: true","Actor":{"ID":"c1"}}"#,
        "\n",
        // Podman keeps the verdict to itself.
        r#"{"Type":"container","Action":"health_status","Actor":{"ID":"c1"}}"#,
        "\n",
        r#"{"Type":"container","Action":"health_status","Actor":{"ID":"gone"}}"#,
        "\n",
        r#"{"Type":"container","Action":"die","Actor":{"ID":"c1"}}"#,
        "\n",
    );
    let end = b"0\r\n\r\n";
    let script = Script::new(move |request| match request {
        PING => pong("1.41", ""),
        "GET /v1.41/containers/c1/json" => inspection("c1"),
        request if request.starts_with("GET /v1.41/containers") => status(404, ""),
        _ => [events(body).as_slice(), end].concat(),
    });
    let events = script.connect().await.expect("a connection").events(&project()).await.expect("events");
    let events: Vec<_> = events.try_collect().await.expect("events");
    let event = |id: &str, action| Event { container: ContainerId::new(id), action };
    assert_eq!(
        events,
        [
            event("c1", Action::Started),
            event("c1", Action::Health(Health::Healthy)),
            event("gone", Action::Other),
            event("c1", Action::Died),
        ]
    );
    let filters = r#"{"label":["com.docker.compose.project=shop"],"type":["container"]}"#;
    assert_eq!(script.requests()[2], format!("GET /v1.41/events?since=1795413000&filters={}", escape(filters)));
}

#[tokio::test]
async fn events_end_with_an_error_where_the_engine_breaks_off() {
    for (rest, kind) in [("", ErrorKind::Unreachable), ("9\r\n{garbled\n\r\n", ErrorKind::Garbled)] {
        let event = "{\"Action\":\"die\",\"Actor\":{\"ID\":\"c1\"}}\n";
        let script = Script::always([events(event).as_slice(), rest.as_bytes()].concat());
        let mut events = script.connect().await.expect("a connection").events(&project()).await.expect("events");
        assert_eq!(events.next().await.expect("an event").expect("an event").action, Action::Died);
        assert_eq!(events.next().await.expect("an end").expect_err("an error").kind, kind);
        assert!(events.next().await.is_none());
    }
}
