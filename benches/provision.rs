//! What provisioning costs beyond what it cannot spare: fetching and installing the packages, done by hand on a host of its
//! own in the same run. Prints Markdown; fails if a target is missed.
//!
//! Hosts are throw-away ones on this machine, whose package mirror is wherever Debian's is.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use figures::{Figure, median, seconds, timed};
use support::command;
use support::hosts::{Host, Kind};
use tempfile::TempDir;

#[path = "support/figures.rs"]
mod figures;
#[path = "../tests/support/mod.rs"]
#[expect(dead_code, reason = "the benchmark needs but a part of it")]
mod support;

/// Rounds per measurement, each on hosts of its own.
const ROUNDS: usize = 5;
/// Hosts that are provisioned at once.
const SEVERAL: usize = 4;
/// What `kerek provision` installs on these hosts.
const PACKAGES: &str = "docker.io iptables docker-cli";

fn main() -> ExitCode {
    let home = TempDir::new().expect("should make a folder");
    let [mut by_hand, mut first, mut again, mut several_by_hand, mut several] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        let host = fresh();
        by_hand.push(timed(|| install(&host)));
        drop(host);
        let host = fresh();
        first.push(timed(|| provision(&home, &[&host])));
        again.push(timed(|| provision(&home, &[&host])));
        drop(host);
        let hosts: Vec<_> = (0..SEVERAL).map(|_| fresh()).collect();
        several_by_hand.push(timed(|| {
            thread::scope(|scope| hosts.iter().for_each(|host| drop(scope.spawn(|| install(host)))));
        }));
        drop(hosts);
        let hosts: Vec<_> = (0..SEVERAL).map(|_| fresh()).collect();
        several.push(timed(|| provision(&home, &hosts.iter().collect::<Vec<_>>())));
    }
    let [by_hand, first, again] = [by_hand, first, again].map(median);
    let [several_by_hand, several] = [several_by_hand, several].map(median);
    figures::print(&[
        ratio("a fresh host, beside `apt-get update` and `apt-get install` of the same packages", first, by_hand, 1.25),
        Figure {
            what: "a second run, with nothing to change".to_owned(),
            measured: seconds(again),
            target: "2 s".to_owned(),
            met: again <= Duration::from_secs(2),
        },
        at_once(several, first, several_by_hand),
    ])
}

/// Hosts that share this machine's processors hold each other up; then what counts is what it costs by hand.
fn at_once(several: Duration, one: Duration, by_hand: Duration) -> Figure {
    let [beside_one, beside_by_hand] = [one, by_hand].map(|other| several.as_secs_f64() / other.as_secs_f64());
    Figure {
        what: format!("{SEVERAL} fresh hosts at once, beside one, and beside as many by hand at once"),
        measured: format!("{}: {beside_one:.2}×, {beside_by_hand:.2}×", seconds(several)),
        target: "1.5× one, or 1.25× by hand where hosts share processors".to_owned(),
        met: beside_one <= 1.5 || beside_by_hand <= 1.25,
    }
}

fn ratio(what: &str, time: Duration, reference: Duration, limit: f64) -> Figure {
    let ratio = time.as_secs_f64() / reference.as_secs_f64();
    Figure {
        what: what.to_owned(),
        measured: format!("{} beside {}: {ratio:.2}×", seconds(time), seconds(reference)),
        target: format!("{limit}×"),
        met: ratio <= limit,
    }
}

fn fresh() -> Host {
    Host::start(Kind::Fresh, &["--user", "deploy"])
}

fn install(host: &Host) {
    let install = format!(
        "export DEBIAN_FRONTEND=noninteractive
        apt-get -q update && apt-get -q -y install --no-install-recommends {PACKAGES}"
    );
    host.run(&["sh", "-c", &install]).success();
}

fn provision(home: &TempDir, hosts: &[&Host]) {
    for host in hosts {
        let config = host.ssh_config().display().to_string();
        // One configuration that knows them all.
        let include = format!("Include \"{config}\"\n");
        let all = home.path().join("ssh_config");
        let known = std::fs::read_to_string(&all).unwrap_or_default();
        std::fs::write(&all, known + &include).expect("should write file");
    }
    let mut kerek: Command = command::command(env!("CARGO_BIN_EXE_kerek"), home.path());
    kerek.args(["provision", "--force", "--no-context", "-F"]).arg(home.path().join("ssh_config"));
    kerek.args(hosts.iter().map(|host| host.name()));
    command::run(kerek).success();
}
