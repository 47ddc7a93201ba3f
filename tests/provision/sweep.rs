//! Whatever ends after whichever line of progress: the next run goes on, and the one after it has nothing to do.

use rustix::process::Signal;

use super::ground::Ground;
use super::running::Running;
use crate::support::sweep::{Lane, Verdict, sweep};
use crate::support::tcp_proxy::TcpProxy;

/// What ends.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// Kerek, by a signal; what it has begun on the host goes on.
    Int,
    Term,
    Kill,
    /// The link to the host.
    Cut,
    /// All that runs on the host for it.
    Script,
}

const KINDS: [Kind; 5] = [Kind::Int, Kind::Term, Kind::Kill, Kind::Cut, Kind::Script];

/// Lines of progress that a whole run has at least, on a bare host.
const FEWEST: usize = 6;

fn go(lane: &mut Lane<'_>, podman: bool, default: usize) {
    let engine = if podman { "podman" } else { "docker" };
    let lines = {
        let ground = Ground::new(&["--user", "deploy"], podman);
        let done = ground.provision(&["--force", "--container-engine", engine]).success();
        done.stderr.lines().filter(|line| is_progress(line, ground.host.name())).count()
    };
    assert!(lines >= FEWEST, "{lines} lines of progress");
    lane.each(&KINDS, lines, default, |kind, line, _| Verdict {
        met: survives(engine, podman, kind, line),
        // Anything else is a panic.
        problems: Vec::new(),
    });
}

/// Returns whether the run came to that line, and so met what ends it.
fn survives(engine: &str, podman: bool, kind: Kind, line: usize) -> bool {
    let ground = Ground::new(&["--user", "deploy"], podman);
    let proxy = TcpProxy::start(ground.host.address());
    let config = ground.host.ssh_config_via(proxy.address());
    let config = config.to_string_lossy();
    let options = ["--container-engine", engine, "--force"];
    let first = [&["provision", "-F", &config], &options[..], &[ground.host.name()]].concat();
    let mut seen = 0;
    let running = Running::until(ground.plain(&first), |said| {
        seen += usize::from(is_progress(said, ground.host.name()));
        seen >= line
    });
    match kind {
        Kind::Int => running.signal(Signal::INT),
        Kind::Term => running.signal(Signal::TERM),
        Kind::Kill => running.signal(Signal::KILL),
        Kind::Cut => proxy.cut(),
        Kind::Script => ground.kill_script(),
    }
    let came = running.came;
    running.end();
    // The next one waits for what still goes on.
    ground.provision(&options).success();
    ground.assert_done(&options[..2]);
    came
}

/// Whether a line tells of a step.
fn is_progress(line: &str, host: &str) -> bool {
    line.contains(&format!("{host}: "))
}

#[test]
fn docker() {
    sweep("provisioning with Docker", |lane| go(lane, false, 2));
}

#[test]
fn podman() {
    sweep("provisioning with Podman", |lane| go(lane, true, 1));
}
