//! How fast and how small kerek is, beside Compose in the same run. Prints Markdown; fails if a target is missed.
//!
//! Times are medians. What the engine itself needs to start, bring to health, stop and remove the same containers is
//! measured call by call on the same socket and taken off, since no tool can be faster than the engine.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use figures::{Figure, median, seconds, timed};
use kerek::engine::api::Api;
use kerek::engine::{Engine, Health};
use kerek::names::ProjectName;
use support::project::Project;

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the benchmark needs but a part of it")]
mod support;

const COMPOSE: &str = r#"
services:
  web:
    image: kerek-test-app
    scale: ${REPLICAS}
    environment: {VERSION: "${VERSION}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 200ms, start_period: 30s}
    deploy: {update_config: {order: start-first}}
    x-kerek: {drain: 0s}
"#;

/// Rounds per measurement of an update.
const ROUNDS: usize = 5;

fn main() -> ExitCode {
    // `cargo bench` passes `--bench`; there is nothing to choose.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("should start");
    let mut figures = Vec::new();
    for replicas in [3, 10] {
        figures.extend(update(&runtime, replicas));
    }
    figures.push(no_change());
    figures.push(memory());
    figures.push(version());
    figures.push(size());

    figures::print(&figures)
}

/// Replacing all replicas of a service one by one, over what the engine itself needs for it.
fn update(runtime: &tokio::runtime::Runtime, replicas: u32) -> Vec<Figure> {
    let (mut kerek, mut engine, mut compose) = (Vec::new(), Vec::new(), Vec::new());
    let mut project = Project::new("bench", COMPOSE);
    project.set("REPLICAS", &replicas.to_string());
    project.set("VERSION", "first");
    project.kerek(&["deploy"]).success();
    for round in 0..ROUNDS {
        project.set("VERSION", &format!("kerek-{round}"));
        kerek.push(timed(|| drop(project.kerek(&["deploy"]).success())));
        project.set("VERSION", &format!("compose-{round}"));
        compose.push(timed(|| drop(project.docker(&["compose", "up", "--detach", "--wait"]).success())));
        engine.push(runtime.block_on(engine_alone(project.name(), replicas)));
        // The engine's part has removed them.
        project.compose(&["up", "--detach", "--wait"]).success();
    }
    let (kerek, engine, compose) = (median(kerek), median(engine), median(compose));
    let over = kerek.saturating_sub(engine);
    let allowed = Duration::from_millis(u64::from(250 * replicas + 600));
    vec![Figure {
        what: format!(
            "update of {replicas} replicas one by one: {} (`docker compose up -d --wait`, which stops first, all at \
             once: {}); beyond the engine's own {}",
            seconds(kerek),
            seconds(compose),
            seconds(engine)
        ),
        measured: seconds(over),
        target: format!("≤ {}", seconds(allowed)),
        met: over <= allowed,
    }]
}

/// The sum of the engine's calls to start, bring to health, stop and remove as many containers, one after the other.
async fn engine_alone(project: &str, replicas: u32) -> Duration {
    let api = Api::connect(Path::new("/var/run/docker.sock")).await.expect("should connect");
    let containers = api.containers(&ProjectName::new(project)).await.expect("should list");
    assert_eq!(containers.len(), replicas as usize);
    for container in &containers {
        api.stop(&container.id, None).await.expect("should stop");
    }
    let mut sum = Duration::ZERO;
    for container in &containers {
        let begin = Instant::now();
        api.start(&container.id).await.expect("should start");
        loop {
            let now = api.container(&container.id).await.expect("should inspect").expect("is there");
            if now.health == Some(Health::Healthy) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        api.stop(&container.id, None).await.expect("should stop");
        api.remove(&container.id, true).await.expect("should remove");
        sum += begin.elapsed();
    }
    sum
}

/// Finding out that there is nothing to do.
fn no_change() -> Figure {
    let mut project = Project::new("bench", COMPOSE);
    project.set("REPLICAS", "3");
    project.set("VERSION", "only");
    project.kerek(&["deploy"]).success();
    let (mut kerek, mut compose) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        kerek.push(timed(|| drop(project.kerek(&["deploy"]).success())));
        compose.push(timed(|| drop(project.docker(&["compose", "up", "--detach"]).success())));
    }
    let (kerek, compose) = (median(kerek), median(compose));
    let ratio = kerek.as_secs_f64() / compose.as_secs_f64();
    Figure {
        what: format!(
            "nothing to change: {} ms against {} ms of `docker compose up -d`",
            kerek.as_millis(),
            compose.as_millis()
        ),
        measured: format!("{ratio:.2} ×"),
        target: "≤ 2.2 ×".into(),
        met: ratio <= 2.2,
    }
}

/// The most memory kerek itself (not Compose) ever has in the course of an update, as the kernel counts it.
fn memory() -> Figure {
    let mut project = Project::new("bench", COMPOSE);
    project.set("REPLICAS", "10");
    project.set("VERSION", "first");
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "second");
    let mut command = project.kerek_command(&["deploy"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("should start");
    let mut peak = 0;
    while child.try_wait().expect("should wait").is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
        let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = high.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
        peak = peak.max(kilobytes.unwrap_or(0_u64));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(peak > 0, "the kernel should tell the peak");
    Figure {
        what: "peak memory of kerek, update of 10 replicas".into(),
        measured: format!("{:.1} MB", to_megabytes(peak * 1024)),
        target: "≤ 30 MB".into(),
        met: peak * 1024 <= 30_000_000,
    }
}

fn version() -> Figure {
    let run = || {
        let status = Command::new(env!("CARGO_BIN_EXE_kerek")).arg("--version").stdout(Stdio::null()).status();
        assert!(status.expect("should run").success());
    };
    let median = median((0..101).map(|_| timed(run)).collect());
    Figure {
        what: "`kerek --version`".into(),
        measured: format!("{:.1} ms", median.as_secs_f64() * 1000.0),
        target: "≤ 5 ms".into(),
        met: median <= Duration::from_millis(5),
    }
}

fn size() -> Figure {
    let bytes = fs::metadata(env!("CARGO_BIN_EXE_kerek")).expect("is there").len();
    Figure {
        what: "size of the release binary".into(),
        measured: format!("{:.1} MB", to_megabytes(bytes)),
        target: "≤ 12 MB".into(),
        met: bytes <= 12_000_000,
    }
}

#[expect(clippy::cast_precision_loss, reason = "to one decimal")]
fn to_megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
