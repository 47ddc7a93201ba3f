//! What `--probe` tells of a deploy agrees with what somebody else has seen who has asked at the same time.

use std::time::Duration;

use crate::support::json_lines::{event, number};
use crate::support::load::{Config, Connections, Load};
use crate::support::port;
use crate::support::project::Project;

/// A service that is away for some seconds while it is updated.
const AWAY: &str = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-1}", BOOT_MS: 3000}
    ports: ["127.0.0.1:$PORT:8080"]
    healthcheck: {test: [CMD, /app, healthcheck], interval: 2s, start_period: 20s, start_interval: 200ms}
"#;

/// Whether two numbers differ by at most one per cent, and what chance may do.
fn agree(one: f64, other: f64, chance: f64) -> bool {
    (one - other).abs() <= 0.01 * one.max(other) + chance
}

#[test]
fn numbers_agree_with_those_of_an_independent_load() {
    let _turn = crate::turn();
    let mut project = Project::new("probe-away", AWAY);
    let port = port::free();
    project.set("PORT", &port.to_string());
    project.kerek(&["deploy", "--wait"]).success();
    let url = format!("http://127.0.0.1:{port}/slow?ms=400");
    let rate = 50.0;
    let config = Config::new(url.parse().expect("a URL"), Connections::New, rate);
    let load = Load::start(Config { timeout: Duration::from_secs(10), ..config });
    project.set("VERSION", "2");
    let deploy = ["deploy", "--progress", "json", "--probe", &url, "--probe-rate", "50"];
    let output = project.kerek(&deploy).success();
    let load = load.stop();
    let probed = event(&output, "probed");
    let phases = ["before", "during", "after"].map(|phase| &probed[phase]);
    let failed: f64 = phases.iter().map(|phase| number(&phase["failed"])).sum();
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let seen = load.failed as f64;
    assert!(seen > rate, "the service was away for more than a second: {load}");
    // A few requests fall on either side of the moment when it goes or comes back.
    assert!(agree(failed, seen, 4.0), "{failed} and {seen} failed: {probed}");
    for phase in phases {
        assert!(agree(number(&phase["p50_ms"]), load.latency.p50, 20.0), "{load}{probed}");
    }
    assert_eq!(phases[0]["failed"], 0);
    assert_eq!(phases[2]["failed"], 0);
    let away = seen / rate * 1000.0;
    assert!(agree(number(&phases[1]["outage_ms"]), away, 100.0), "{away} ms: {probed}");
}
