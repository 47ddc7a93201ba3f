//! Whatever ends after whichever line of progress: the next run goes on, and the one after it has nothing to do.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ground::Ground;
use crate::support::chaos::{cases, tell};
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

fn sweep(podman: bool, default: usize) {
    let engine = if podman { "podman" } else { "docker" };
    let lines = {
        let ground = Ground::new(&["--user", "deploy"], podman);
        let done = ground.provision(&["--force", "--container-engine", engine]).success();
        progress(done.stderr.lines(), ground.host.name()).count()
    };
    assert!(lines >= FEWEST, "{lines} lines of progress");
    let (all, cases) = (lines * KINDS.len(), cases(&KINDS, lines, default));
    let tried = cases.len();
    let begin = Instant::now();
    for (kind, line) in cases {
        tell(&format!("{engine}: {kind:?} after line {line} of {lines}"));
        try_one(engine, podman, kind, line);
    }
    let seconds = begin.elapsed().as_secs();
    tell(&format!("| provisioning with {engine} | {all} | {tried} | {tried} | {tried} | – | – | {seconds} |"));
}

fn try_one(engine: &str, podman: bool, kind: Kind, line: usize) {
    let ground = Ground::new(&["--user", "deploy"], podman);
    let proxy = TcpProxy::start(ground.host.address());
    let config = ground.host.ssh_config_via(proxy.address());
    let config = config.to_string_lossy();
    let options = ["--container-engine", engine, "--force"];
    let first = [&["provision", "-F", &config], &options[..], &[ground.host.name()]].concat();
    let mut child = start_until(ground.plain(&first), ground.host.name(), line);
    match kind {
        Kind::Int => signal(&child, "INT"),
        Kind::Term => signal(&child, "TERM"),
        Kind::Kill => signal(&child, "KILL"),
        Kind::Cut => proxy.cut(),
        Kind::Script => {
            ground.host.run(&["pkill", "-KILL", "--full", "kerek-provision|apt-get|dpkg|/usr/bin/apt"]);
        }
    }
    let begin = Instant::now();
    while child.try_wait().expect("should wait").is_none() {
        assert!(begin.elapsed() < Duration::from_secs(90), "{kind:?} after line {line}: it should end");
        sleep(Duration::from_millis(50));
    }
    // The next one waits for what still goes on.
    ground.provision(&options).success();
    ground.assert_done(&options[..2]);
}

/// A provisioning that has come to that line of its progress.
fn start_until(mut command: Command, host: &str, line: usize) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("should start kerek");
    let mut stderr = BufReader::new(child.stderr.take().expect("should have a stderr"));
    let mut seen = 0;
    while seen < line {
        let mut text = String::new();
        if stderr.read_line(&mut text).expect("should read") == 0 {
            break;
        }
        seen += progress(std::iter::once(text.as_str()), host).count();
    }
    // Nobody reads on; what is written from here is lost, as with a closed terminal.
    child
}

/// The lines that tell of a step.
fn progress<'a>(lines: impl Iterator<Item = &'a str>, host: &str) -> impl Iterator<Item = &'a str> {
    let mark = format!("{host}: ");
    lines.filter(move |line| line.contains(&mark))
}

fn signal(child: &Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    // It may have ended just now.
    let _ = Command::new("sh").args(["-c", &kill]).stderr(Stdio::null()).status();
}

#[test]
fn docker() {
    sweep(false, 2);
}

#[test]
fn podman() {
    sweep(true, 1);
}
