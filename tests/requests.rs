//! Does a deployment lose requests? Three proxies in their plainest DNS configuration stand before three apps (see
//! `support/projects/requests/`), under a constant load from outside, while new versions are deployed; and Traefik, which
//! follows the engine's events, before the same (see `support/projects/traefik/`). And is `--probe` right about them?
//!
//! A result counts only if the same load on the same stack loses nothing while nothing is deployed: else the run is
//! void and fails as such. That a loss would be seen is shown by `docker compose up`, which loses requests by design.

use std::fmt::{self, Display, Formatter};
use std::fs::File;
use std::io::Write as _;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{env, io};

use support::command;
use support::events::EventLog;
use support::load::{Config, Connections, Load, Method, Summary};
use support::project::{Container, Project};

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "it needs but a part of it")]
mod support;

#[path = "requests/probe.rs"]
mod probe;

/// Those that ask DNS.
const PROXIES: &[&str] = &["nginx", "haproxy", "caddy"];
/// Follows the engine's events.
const TRAEFIK: &[&str] = &["traefik"];
/// The apps, with the port of every proxy that leads to each.
const APPS: [(&str, u16); 3] = [("boots", 8001), ("graceful", 8002), ("dies", 8003)];
const REPLICAS: usize = 2;

/// What each app gets through each proxy.
const KINDS: [Kind; 4] = [
    Kind { path: "/", method: Method::Get, connections: Connections::New, rate: 6.0 },
    Kind { path: "/", method: Method::Get, connections: Connections::KeepAlive, rate: 6.0 },
    Kind { path: "/", method: Method::Post, connections: Connections::New, rate: 5.0 },
    Kind { path: "/", method: Method::Post, connections: Connections::KeepAlive, rate: 5.0 },
];
/// What `dies` gets besides: requests that are open for half a second, whatever the app would do about them.
const SLOW_KINDS: [Kind; 2] = [
    Kind { path: "/slow?ms=500", method: Method::Get, connections: Connections::New, rate: 2.0 },
    Kind { path: "/slow?ms=500", method: Method::Post, connections: Connections::KeepAlive, rate: 2.0 },
];
/// Requests per second that each proxy must have had for a run to count.
const MINIMUM_RATE: f64 = 60.0;
/// How long a run without a deployment lasts.
const CONTROL: Duration = Duration::from_secs(15);
/// Seconds of events to show before and after a failed request was due.
const CONTEXT: f64 = 4.0;

#[test]
fn deployments_lose_no_request() {
    let _turn = turn();
    let project = start_project("deploy", "tests/support/projects/requests", PROXIES);
    deploy_under_load(project, PROXIES, deployments());
}

#[test]
fn deployments_behind_traefik_lose_no_request() {
    let _turn = turn();
    let mut images = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/images.sh"));
    images.arg("traefik:v3");
    command::run(images).success();
    let project = start_project("traefik", "tests/support/projects/traefik", TRAEFIK);
    // Each takes its time: replicas are given some to be forgotten.
    deploy_under_load(project, TRAEFIK, deployments().div_ceil(5));
}

#[test]
fn compose_up_loses_requests_and_they_are_seen() {
    let _turn = turn();
    let mut project = start_project("up", "tests/support/projects/requests", PROXIES);
    control(&project, PROXIES);

    let load = start_load(&project, PROXIES);
    project.set("VERSION", "v1");
    project.compose(&["up", "--detach", "--wait"]).success();
    let outcomes = stop_load(load);

    say(&format!("docker compose up\n{}", Table(&outcomes)));
    for (app, _) in APPS {
        let failed: u64 = outcomes.iter().filter(|it| it.stream.app == app).map(|it| it.summary.failed).sum();
        assert!(failed > 0, "{app} should have lost requests");
    }
}

/// As many as `KEREK_TEST_DEPLOYS` says.
fn deployments() -> usize {
    let deployments = env::var("KEREK_TEST_DEPLOYS").map_or(10, |number| number.parse().expect("should be a number"));
    assert!(deployments > 0, "nothing would be shown");
    deployments
}

/// Deploys so many versions, and fails if a request is lost.
fn deploy_under_load(mut project: Project, proxies: &[&'static str], deployments: usize) {
    control(&project, proxies);

    let events = EventLog::start(&project);
    let load = start_load(&project, proxies);
    let mut before = apps(&project);
    for number in 1..=deployments {
        let version = format!("v{number}");
        project.set("VERSION", &version);
        let start = Instant::now();
        project.kerek(&["deploy", "--wait"]).success();
        say(&format!("{version} deployed in {:.1} s", start.elapsed().as_secs_f64()));
        let after = apps(&project);
        assert_replaced(&before, &after, &version);
        before = after;
    }
    // The last version alone serves for a while.
    sleep(Duration::from_secs(3));
    let outcomes = stop_load(load);

    say(&format!("{deployments} deployments\n{}", Table(&outcomes)));
    assert_eq!(failures(&outcomes), 0, "{}", Failures(&outcomes, &events));
    assert_rate(&outcomes, proxies);
    for Outcome { stream, summary } in &outcomes {
        assert_eq!(summary.versions.len(), deployments + 1, "{stream}: {summary}");
        // The proxies stay up, and would say if they were to close a connection.
        assert_eq!(summary.reconnects, 0, "{stream}: {summary}");
    }
}

/// These tests are about time and need the machine for themselves. The lock goes with the file.
fn turn() -> File {
    let file = File::create(concat!(env!("CARGO_TARGET_TMPDIR"), "/requests.lock")).expect("should create file");
    file.lock().expect("should lock file");
    file
}

/// Puts the first version up, and waits until every proxy has found every app.
fn start_project(label: &str, folder: &str, proxies: &[&'static str]) -> Project {
    let project = Project::copy(label, folder);
    project.compose(&["up", "--detach", "--wait"]).success();
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let load = start_load(&project, proxies);
        sleep(Duration::from_secs(1));
        let outcomes = stop_load(load);
        if failures(&outcomes) == 0 {
            return project;
        }
        assert!(Instant::now() < deadline, "proxies should find the apps:\n{}", Table(&outcomes));
    }
}

/// Fails if the load alone, without any deployment, loses a request.
fn control(project: &Project, proxies: &[&'static str]) {
    let events = EventLog::start(project);
    let load = start_load(project, proxies);
    sleep(CONTROL);
    let outcomes = stop_load(load);
    say(&format!("control\n{}", Table(&outcomes)));
    assert_eq!(failures(&outcomes), 0, "the run is void, as the control failed\n{}", Failures(&outcomes, &events));
    assert_rate(&outcomes, proxies);
}

/// A kind of request.
#[derive(Clone, Copy)]
struct Kind {
    path: &'static str,
    method: Method,
    connections: Connections,
    rate: f64,
}

/// A stream of requests through one proxy to one app.
#[derive(Clone, Copy)]
struct Stream {
    proxy: &'static str,
    app: &'static str,
    kind: Kind,
}

impl Display for Stream {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self { proxy, app, kind: Kind { path, method, connections, .. } } = self;
        write!(formatter, "{proxy} {app} {method:?} {path} {connections:?}")
    }
}

/// What became of a stream.
struct Outcome {
    stream: Stream,
    summary: Summary,
}

fn start_load(project: &Project, proxies: &[&'static str]) -> Vec<(Stream, Load)> {
    let mut streams = Vec::new();
    for &proxy in proxies {
        for (app, port) in APPS {
            let address = project.published(proxy, port);
            let slow = if app == "dies" { SLOW_KINDS.as_slice() } else { &[] };
            for &kind in KINDS.iter().chain(slow) {
                let url = format!("http://{address}{}", kind.path).parse().expect("should be a URL");
                let config = Config { method: kind.method, ..Config::new(url, kind.connections, kind.rate) };
                streams.push((Stream { proxy, app, kind }, Load::start(config)));
            }
        }
    }
    streams
}

fn stop_load(streams: Vec<(Stream, Load)>) -> Vec<Outcome> {
    streams.into_iter().map(|(stream, load)| Outcome { stream, summary: load.stop() }).collect()
}

fn failures(outcomes: &[Outcome]) -> u64 {
    outcomes.iter().map(|outcome| outcome.summary.failed).sum()
}

/// Asserts that each proxy was under the load that counts.
fn assert_rate(outcomes: &[Outcome], proxies: &[&str]) {
    for proxy in proxies {
        let of_proxy = outcomes.iter().filter(|outcome| outcome.stream.proxy == *proxy);
        let rate: f64 = of_proxy.map(|Outcome { summary, .. }| count(summary.sent) / summary.duration).sum();
        assert!(rate >= MINIMUM_RATE, "{proxy} should have had more than {rate:.1} requests/s");
    }
}

fn apps(project: &Project) -> Vec<Container> {
    let mut containers = project.containers();
    containers.retain(|container| APPS.iter().any(|(app, _)| *app == container.service));
    containers
}

/// Asserts that every replica of every app is another container than before, runs, is healthy and of the version.
fn assert_replaced(before: &[Container], after: &[Container], version: &str) {
    assert_eq!(after.len(), APPS.len() * REPLICAS, "{after:#?}");
    for container in after {
        assert!(before.iter().all(|old| old.id != container.id), "{container:#?}");
        assert_eq!(container.variable("VERSION"), version, "{container:#?}");
        assert_eq!(container.state, "running", "{container:#?}");
        assert_eq!(container.health.as_deref(), Some("healthy"), "{container:#?}");
    }
}

/// Outcomes by proxy, app and path.
struct Table<'a>(&'a [Outcome]);

impl Display for Table<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "proxy    app      path            sent failed   p99 ms   max ms   lag ms")?;
        let key = |Stream { proxy, app, kind }: Stream| (proxy, app, kind.path);
        for row in self.0.chunk_by(|left, right| key(left.stream) == key(right.stream)) {
            let (proxy, app, path) = key(row[0].stream);
            let sent: u64 = row.iter().map(|it| it.summary.sent).sum();
            let failed = failures(row);
            let worst = |of: fn(&Summary) -> f64| row.iter().map(|it| of(&it.summary)).fold(0.0, f64::max);
            let (p99, max, lag) = (worst(|it| it.latency.p99), worst(|it| it.latency.max), worst(|it| it.lag));
            writeln!(formatter, "{proxy:8} {app:8} {path:12} {sent:7} {failed:6} {p99:8.1} {max:8.1} {lag:8.1}")?;
        }
        let sent: u64 = self.0.iter().map(|it| it.summary.sent).sum();
        writeln!(formatter, "{:30} {sent:7} {:6}", "total", failures(self.0))
    }
}

/// Failed requests, each with what the engine did to the app at about that time, relative to when it was due.
struct Failures<'a>(&'a [Outcome], &'a EventLog);

impl Display for Failures<'_> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let Self(outcomes, events) = self;
        for Outcome { stream, summary } in *outcomes {
            for failure in &summary.failures {
                let at = summary.began + failure.at;
                writeln!(formatter, "{stream}, {:.3} s after it was due: {}", failure.after, failure.reason)?;
                let replica = format!("-{}-", stream.app);
                for event in events.between(at - CONTEXT, at + CONTEXT) {
                    if !event.what.contains(&replica) {
                        continue;
                    }
                    writeln!(formatter, "    {:+.3} s {}", event.at - at, event.what)?;
                }
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "no run has that many requests")]
fn count(number: u64) -> f64 {
    number as f64
}

/// Tells a person who waits, without being captured.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
