//! Can the harness be believed? The load generator must count every loss, whatever it looks like, and invent none; the
//! app must start, end and fail as told; a project must leave nothing behind; a sweep must try what it is asked to.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::net::SendFlags;

use crate::support::chaos::{Extent, chosen};
use crate::support::events::EventLog;
use crate::support::load::{Config, Connections, Load, Method, Summary};
use crate::support::port;
use crate::support::prober::Prober;
use crate::support::process::Process;
use crate::support::project::{self, Container, Project};
use crate::support::sweep::{Lane, Verdict, sweep};

const GOOD: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nv1 a\n";
/// Bytes that a POST request carries.
const POSTED: usize = 15;

#[test]
fn time_counts_from_when_a_request_was_due() {
    let stall = Duration::from_millis(1200);
    // Begins with the first connection.
    let begin = Arc::new(OnceLock::new());
    let server = Server::start(move |mut peer| {
        sleep(stall.saturating_sub(begin.get_or_init(Instant::now).elapsed()));
        peer.answer_all(GOOD);
    });
    let summary = server.load(Method::Get, Connections::New, Duration::from_millis(1500));

    assert_eq!(summary.failed, 0, "{summary}");
    assert!((120..=225).contains(&summary.sent), "{summary}");
    // More than half of the requests fell into the stall, each later one into less of it.
    assert!((50.0..1000.0).contains(&summary.latency.p50), "{summary}");
    assert!((1000.0..3000.0).contains(&summary.latency.max), "{summary}");
}

#[test]
fn good_answers_are_good_however_they_are_delimited() {
    for answer in [
        GOOD,
        "HTTP/1.1 200 OK\r\n\r\nv1 until the end",
        "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nv1",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nv1",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;a=b\r\nv\r\n1\r\n1\r\n0\r\nTrailer: x\r\n\r\n",
        "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 2\r\n\r\nv1",
    ] {
        for connections in [Connections::New, Connections::KeepAlive] {
            let server = Server::start(|peer| peer.answer_once(answer));
            let summary = server.load(Method::Get, connections, Duration::from_millis(100));

            assert_eq!(summary.failed, 0, "{answer}: {summary}");
            assert_eq!(summary.versions["v1"].count, summary.sent, "{answer}: {summary}");
        }
    }
}

#[test]
fn every_kind_of_loss_is_counted_and_told() {
    for (answer, reason) in [
        ("HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops", "status 500: \"oops\""),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "status 404: \"\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nv1", "connection closed within the message"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nv1\r\n", "connection closed within the message"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nv1\r\n0\r\n\r\n", "not understood: "),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "not understood: content length \"-1\""),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "not understood: a body of more than"),
        ("HTTP/1.1 100 Continue\r\n\r\n", "connection closed within the message"),
        ("HTTP/1.1 20", "connection closed within the message"),
        ("SSH-2.0-OpenSSH_9.9\r\n", "not understood: "),
        ("", "connection closed before the first byte"),
    ] {
        let server = Server::start(move |peer| peer.answer_once(answer));
        let summary = server.load(Method::Get, Connections::New, Duration::from_millis(100));
        assert_lost(&summary, reason);
    }
}

#[test]
fn no_answer_is_a_loss() {
    let refused = SocketAddr::from(([127, 0, 0, 1], port::free()));
    assert_lost(&load(config(refused)), &format!("cannot connect to {refused}: Connection refused"));

    let url = "http://nowhere.invalid/".parse().expect("should be a URL");
    assert_lost(&load(Config::new(url, Connections::New, 100.0)), "cannot resolve nowhere.invalid: ");

    let server = Server::start(|_peer| sleep(Duration::from_secs(5)));
    let config = Config { timeout: Duration::from_millis(300), ..config(server.address) };
    let summary = load(config);
    assert_lost(&summary, "no answer within 300ms");
    assert!((0.3..4.0).contains(&summary.failures[0].after), "{summary}");
}

#[test]
fn connections_are_made_or_kept_as_asked() {
    for method in [Method::Get, Method::Post] {
        let server = Server::start(|mut peer| peer.answer_all(GOOD));
        let summary = server.load(method, Connections::New, Duration::from_millis(500));
        assert_eq!(server.connections(), summary.sent, "{summary}");

        let server = Server::start(|mut peer| peer.answer_all(GOOD));
        let summary = server.load(method, Connections::KeepAlive, Duration::from_millis(500));
        assert_eq!((summary.failed, summary.reconnects), (0, 0), "{summary}");
        assert_eq!(server.requests(), summary.sent, "{summary}");
        // As many as there were open requests at a time, and that depends on the machine.
        assert!(
            (2..summary.sent / 2).contains(&server.connections()),
            "{} connections, {summary}",
            server.connections()
        );
    }
}

/// A connection that is closed while nothing is asked on it does no harm to any request.
#[test]
fn connections_closed_between_requests_are_replaced() {
    for method in [Method::Get, Method::Post] {
        let server = Server::start(|peer| peer.answer_once(GOOD));
        let summary = server.load(method, Connections::KeepAlive, Duration::from_millis(500));

        assert_eq!(summary.failed, 0, "{summary}");
        assert!(summary.reconnects > 0, "{summary}");
        assert_eq!(server.requests(), summary.sent, "{summary}");
    }
}

/// Only what may be repeated is repeated if a connection is closed on a request.
#[test]
fn requests_without_an_answer_are_repeated_if_idempotent() {
    let answer_one_of_two = |mut peer: Peer| {
        peer.answer(GOOD);
        peer.receive();
    };
    let server = Server::start(answer_one_of_two);
    let summary = server.load(Method::Get, Connections::KeepAlive, Duration::from_millis(500));
    assert_eq!(summary.failed, 0, "{summary}");
    assert!(summary.reconnects > 0, "{summary}");
    assert_eq!(server.requests(), summary.sent + summary.reconnects, "{summary}");

    let server = Server::start(answer_one_of_two);
    let summary = server.load(Method::Post, Connections::KeepAlive, Duration::from_millis(500));
    assert!(summary.failed > 0, "{summary}");
    assert_eq!(summary.failures[0].reason, "connection closed before the first byte", "{summary}");
    assert_eq!(server.requests(), summary.sent, "{summary}");
}

#[test]
fn apps_start_and_fail_as_told() {
    let project = Project::new(
        "app",
        r"
x-app: &app
  image: kerek-test-app
  healthcheck: &healthcheck
    test: [CMD, /app, healthcheck]
    interval: 1s
    timeout: 10s
    retries: 2
services:
  good:
    <<: *app
  late:
    <<: *app
    environment: {BOOT_MS: 1500}
    healthcheck: {<<: *healthcheck, start_period: 20s}
  bad:
    <<: *app
    environment: {HEALTH: bad}
  mute:
    <<: *app
    environment: {HEALTH: never}
    healthcheck: {<<: *healthcheck, timeout: 1s}
  crash:
    <<: *app
    environment: {CRASH_AFTER_MS: 100, EXIT_CODE: 7}
  done:
    <<: *app
    environment: {CRASH_AFTER_MS: 0, EXIT_CODE: 0}
  hungry:
    <<: *app
    environment: {ALLOCATE_MIB: 256}
    mem_limit: 32m
  wrong:
    <<: *app
    environment: {ON_TERM: perhaps}
",
    );
    let start = Instant::now();
    project.compose(&["up", "--detach", "--wait", "good", "late"]).success();
    assert!(start.elapsed() > Duration::from_millis(1500));
    project.compose(&["up", "--detach", "bad", "mute", "crash", "done", "hungry", "wrong"]).success();
    let found = || -> Vec<_> {
        let containers = project.containers().into_iter();
        let state = |it: Container| match it.state.as_str() {
            "running" => (it.service, it.health.unwrap_or_default()),
            state => (it.service, format!("{state} {}", it.exit_code)),
        };
        containers.map(state).collect()
    };
    let expected = [
        ("bad", "unhealthy"),
        ("crash", "exited 7"),
        ("done", "exited 0"),
        ("good", "healthy"),
        ("hungry", "exited 137"),
        ("late", "healthy"),
        ("mute", "unhealthy"),
        ("wrong", "exited 2"),
    ];
    let expected = expected.map(|(service, state)| (service.to_owned(), state.to_owned()));
    let deadline = Instant::now() + Duration::from_secs(60);
    while found() != expected && Instant::now() < deadline {
        sleep(Duration::from_millis(200));
    }
    assert_eq!(found(), expected);
}

#[test]
fn apps_end_as_told() {
    // What a request takes, in seconds, and the time until an app is killed.
    const SLOW: f64 = 2.5;
    const GRACE: f64 = 9.0;
    let project = Project::new(
        "end",
        r"
x-app: &app
  image: kerek-test-app
  ports: [127.0.0.1::8080]
  stop_grace_period: 9s
services:
  graceful:
    <<: *app
    environment: {VERSION: v1}
  dies:
    <<: *app
    environment: {VERSION: v1, ON_TERM: die}
  ignores:
    <<: *app
    environment: {VERSION: v1, ON_TERM: ignore}
",
    );
    project.compose(&["up", "--detach", "--wait"]).success();
    let events = EventLog::start(&project);
    let services = ["graceful", "dies", "ignores"];
    let summaries = services.map(|service| {
        let url = format!("http://{}/slow?ms={}", project.published(service, 8080), SLOW * 1000.0);
        let load = Load::start(Config::new(url.parse().expect("should be a URL"), Connections::New, 1.0));
        // Two requests or three are open from now on.
        sleep(Duration::from_millis(2500));
        project.compose(&["stop", service]).success();
        load.stop()
    });
    let codes = services.map(|service| project.service(service)[0].exit_code);
    assert_eq!(codes, [0, 143, 137]);
    let happened = events.end(&project);
    for (service, summary) in services.iter().zip(&summaries) {
        let at = |action: &str| {
            let event = happened.iter().find(|it| it.what.starts_with(action) && it.what.contains(service));
            event.unwrap_or_else(|| panic!("no {action} of {service}: {happened:#?}")).at - summary.began
        };
        let (told, ended) = (at("container kill "), at("container die "));
        let context = format!("{service}, told to end at {told:.1} s, ended at {ended:.1} s: {summary}");
        // What is due at about that time may be on either side of it.
        let margin = 0.5 + summary.lag / 1000.0;
        let answered = summary.versions.get("v1").map_or(f64::NEG_INFINITY, |seen| seen.last);
        let lost = summary.failures.first().map(|failure| failure.at).expect("it is away in the end");
        match *service {
            // What is open is answered, and nothing else.
            "graceful" => assert!(answered < told + margin && lost > told - margin, "{context}"),
            "dies" => assert!(answered < told - SLOW + margin, "{context}"),
            // It goes on until the kill, which comes in time.
            _ => {
                assert!(answered > told + margin && lost > ended - SLOW - margin, "{context}");
                assert!(ended - told >= GRACE - 0.1, "{context}");
            }
        }
    }
}

#[test]
fn probers_see_what_clients_in_the_network_see() {
    let mut project = Project::new(
        "prober",
        r"
services:
  web:
    image: kerek-test-app
    environment:
      VERSION: v1
      BOOT_MS: ${BOOT_MS:-0}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 1s, start_interval: 100ms, start_period: 20s}
",
    );
    project.compose(&["up", "--detach", "--wait"]).success();
    let events = EventLog::start(&project);
    let prober = Prober::start(&project, "http://web:8080/");
    sleep(Duration::from_secs(2));
    let summary = prober.stop();
    assert_eq!(summary.failed, 0, "{summary}");
    assert!(summary.versions["v1"].count >= 30, "{summary}");

    // A second replica is known to clients while it boots.
    project.set("BOOT_MS", "1500");
    let prober = Prober::start(&project, "http://web:8080/");
    project.compose(&["up", "--detach", "--wait", "--no-recreate", "--scale", "web=2"]).success();
    let summary = prober.stop();
    assert!(summary.failed > 0, "{summary}");
    assert!(summary.failures[0].reason.starts_with("cannot connect to "), "{summary}");

    let [first, second] = &project.service("web")[..] else { panic!("should be two replicas") };
    assert!(first.is_known_as("web") && second.is_known_as("web"));
    let happened = events.between(0.0, f64::INFINITY);
    let started = format!("container start {}", second.name);
    let connected = format!("network connect {}", second.name);
    assert!(happened.iter().any(|event| event.what == started), "{happened:#?}");
    assert!(happened.iter().any(|event| event.what == connected), "{happened:#?}");
}

#[test]
fn projects_of_killed_runs_are_swept() {
    let own = Project::new("kept", "services: {web: {image: kerek-test-app}}");
    own.compose(&["up", "--detach"]).success();
    let left =
        Project::new("left", "services: {web: {image: kerek-test-app, volumes: [data:/data]}}\nvolumes: {data: }");
    left.compose(&["up", "--detach"]).success();
    let folder = left.path();
    let mut sleeper = Command::new("sleep").arg("60").spawn().expect("should run");
    let process = Process::find(sleeper.id()).expect("should be there");
    fs::write(folder.with_file_name("process"), process.to_string()).expect("should write");

    project::sweep();
    assert!(folder.exists(), "whose process runs");
    assert_eq!(left.containers().len(), 1);
    sleeper.kill().and_then(|()| sleeper.wait()).expect("should end");
    project::sweep();
    assert!(!folder.exists());
    let filter = format!("name={}", left.name());
    for what in ["container", "network", "volume"] {
        let all: &[_] = if what == "container" { &["--all"] } else { &[] };
        let listed = own.docker(&[&[what, "ls", "--quiet", "--filter", &filter], all].concat()).success().stdout;
        assert_eq!(listed, "", "no {what}");
    }
    assert_eq!(own.containers().len(), 1);
    // There is nothing left that it could remove.
    std::mem::forget(left);
}

#[test]
fn projects_leave_nothing_behind() {
    let project = Project::new(
        "leave",
        r"
services:
  web:
    image: kerek-test-app
    environment: {ON_TERM: ignore}
    volumes: [data:/data, /anonymous]
volumes: {data: {}}
",
    );
    let name = project.name().to_owned();
    project.compose(&["up", "--detach"]).success();
    project.compose(&["run", "--detach", "web"]).success();
    project.docker(&["volume", "create", &format!("kerek-lock-{name}")]).success();
    let _prober = std::mem::ManuallyDrop::new(Prober::start(&project, "http://web:8080/"));
    // What is left must be found without the file.
    project.write("compose.yaml", "not: [even, YAML");
    let path = project.path();
    let list = |project: &Project| {
        let container = format!("label=com.docker.compose.project={name}");
        let filter = format!("name={name}");
        let probers = format!("label=kerek.test.project={name}");
        [
            project.docker(&["ps", "--all", "--quiet", "--filter", &container]),
            project.docker(&["ps", "--all", "--quiet", "--filter", &probers]),
            project.docker(&["network", "ls", "--quiet", "--filter", &filter]),
            project.docker(&["volume", "ls", "--quiet", "--filter", &filter]),
        ]
        .map(|output| output.success().stdout.lines().count())
    };
    assert_eq!(list(&project), [2, 1, 1, 2]);
    drop(project);

    assert_eq!(list(&Project::new("look", "services: {}")), [0, 0, 0, 0]);
    assert!(!path.exists());
}

/// A server that does as a script says, on a thread for each connection. It goes with the test's process.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Server {
    fn start(script: impl Fn(Peer) + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("should listen");
        let server = Self {
            address: listener.local_addr().expect("should have an address"),
            connections: Arc::default(),
            requests: Arc::default(),
        };
        let (connections, requests) = (Arc::clone(&server.connections), Arc::clone(&server.requests));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                connections.fetch_add(1, Ordering::Relaxed);
                let peer = Peer { stream: BufReader::new(stream), requests: Arc::clone(&requests) };
                let script = script.clone();
                thread::spawn(move || script(peer));
            }
        });
        server
    }

    /// Puts 100 requests per second on the server.
    fn load(&self, method: Method, connections: Connections, duration: Duration) -> Summary {
        let load = Load::start(Config { method, connections, ..config(self.address) });
        sleep(duration);
        load.stop()
    }

    fn connections(&self) -> u64 {
        self.connections.load(Ordering::Relaxed)
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

/// The server's end of a connection.
struct Peer {
    stream: BufReader<TcpStream>,
    requests: Arc<AtomicU64>,
}

impl Peer {
    fn answer_all(&mut self, answer: &str) {
        while self.answer(answer) {}
    }

    /// Answers a request and closes the connection, both in one packet: nobody can ask again in between.
    fn answer_once(mut self, answer: &str) {
        if self.receive() {
            let sent = rustix::net::send(self.stream.get_ref(), answer.as_bytes(), SendFlags::MORE);
            assert_eq!(sent, Ok(answer.len()), "should send");
        }
    }

    /// Answers a request; `false` if there is none any more.
    fn answer(&mut self, answer: &str) -> bool {
        self.receive() && self.stream.get_mut().write_all(answer.as_bytes()).is_ok()
    }

    fn receive(&mut self) -> bool {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if !matches!(self.stream.read_line(&mut head), Ok(1..)) {
                return false;
            }
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        !head.starts_with("POST") || self.stream.read_exact(&mut [0; POSTED]).is_ok()
    }
}

/// 100 GET requests per second.
fn config(address: SocketAddr) -> Config {
    let url = format!("http://{address}/").parse().expect("should be a URL");
    Config::new(url, Connections::New, 100.0)
}

fn load(config: Config) -> Summary {
    let load = Load::start(config);
    sleep(Duration::from_millis(100));
    load.stop()
}

/// Asserts that all requests were lost for the same reason.
fn assert_lost(summary: &Summary, reason: &str) {
    assert!(summary.sent > 0 && summary.failed == summary.sent, "{reason}: {summary}");
    assert!(summary.failures.iter().all(|failure| failure.reason.starts_with(reason)), "{reason}: {summary}");
    assert!(summary.versions.is_empty(), "{reason}: {summary}");
}

#[test]
fn parts_of_a_sweep_make_up_all_of_it() {
    let of = |text: &str| chosen(&["a", "b", "c"], 5, Extent::parse(text).expect("an extent"));
    let mut parts = [of("1/2"), of("2/2")].concat();
    parts.sort_by_key(|(kind, point)| (*point, *kind));
    assert_eq!(parts, of("all"));
    assert_eq!(of("2"), [("a", 2), ("b", 4)]);
    for wrong in ["", "some", "0/2", "3/2", "1/0", "-1"] {
        assert_eq!(Extent::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn a_sweep_fails_if_anything_in_it_does() {
    let fails = |go: fn(&mut Lane<'_>)| catch_unwind(|| sweep("a sweep", go)).is_err();
    assert!(!fails(|lane| lane.each(&['a'], 2, 2, |_, _, _| Verdict { met: true, problems: vec![] })));
    assert!(fails(|lane| lane.each(&['a'], 2, 2, |_, _, _| Verdict { met: false, problems: vec![] })));
    assert!(fails(|lane| lane.each(&['a'], 2, 2, |_, _, _| Verdict { met: true, problems: vec!["bad".into()] })));
    assert!(fails(|lane| lane.each(&['a'], 2, 2, |_, _, _| panic!("in a case"))));
    assert!(fails(|lane| {
        lane.each(&['a'], 2, 2, |_, _, _| Verdict { met: true, problems: vec![] });
        panic!("when all is tried");
    }));
}
