//! What comes in between: kerek, the script on the host, or the link between them ends after one step or another.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::ground::Ground;
use crate::support::tcp_proxy::TcpProxy;

/// A provisioning that has come to a line with some words.
fn start_until(mut command: Command, words: &str) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("should start kerek");
    let mut lines = BufReader::new(child.stderr.take().expect("should have a stderr")).lines();
    let mut read = Vec::new();
    while !read.last().is_some_and(|line: &String| line.contains(words)) {
        match lines.next() {
            Some(line) => read.push(line.expect("should read")),
            None => panic!("{:?}, and no line with {words}: {read:#?}", child.wait()),
        }
    }
    // Nobody reads on; what is written from here is lost, as with a closed terminal.
    child
}

/// Sends a signal, and returns the exit code.
fn end(mut child: Child, signal: &str) -> Option<i32> {
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("sh").args(["-c", &kill]).status().expect("should run").success());
    child.wait().expect("should wait").code()
}

/// Kills, on the host, the script and all that it has started.
fn kill_script(ground: &Ground) {
    ground.host.run(&["pkill", "-KILL", "--full", "kerek-provision|apt-get|dpkg|/usr/bin/apt"]);
}

#[test]
fn whatever_ends_in_between_the_next_run_goes_on() {
    let ground = Ground::new(&["--user", "deploy"], false);
    let force = || ground.command(&["--force"]);

    // The script ends, too.
    for (words, signal, code) in [
        (": changed: settings", "INT", Some(130)),
        (": fetching the lists", "TERM", Some(143)),
        (": installing", "KILL", None),
    ] {
        let child = start_until(force(), words);
        if words == ": installing" {
            // To the middle of it.
            let begin = Instant::now();
            let unpacked = ["sh", "-c", "dpkg --audit | grep -q ."];
            while ground.host.run(&unpacked).code != Some(0) && begin.elapsed() < Duration::from_secs(60) {
                sleep(Duration::from_millis(50));
            }
        }
        kill_script(&ground);
        let ended = end(child, signal);
        assert!(ended == code || ended == Some(5), "{ended:?} after {words}");
    }
    let audit = ground.host.run(&["dpkg", "--audit"]).success().stdout;
    assert_ne!(audit, "", "the installation should be half done");

    // The link ends, and nothing else: the script goes on.
    let proxy = TcpProxy::start(ground.host.address());
    let config = ground.host.ssh_config_via(proxy.address());
    let config = config.to_string_lossy();
    let cut = ground.plain(&["provision", "--force", "-F", &config, ground.host.name()]);
    let mut child = start_until(cut, ": finishing an interrupted installation");
    proxy.cut();
    assert_eq!(child.wait().expect("should wait").code(), Some(3));
    let begin = Instant::now();
    while ground.host.run(&["sh", "-c", "ls -d /tmp/kerek-provision.*"]).code == Some(0) {
        assert!(begin.elapsed() < Duration::from_secs(120), "the script should come to its end");
        sleep(Duration::from_millis(200));
    }
    assert!(ground.host.run(&["id", "-nG", "deploy"]).success().stdout.contains("docker"));

    let done = ground.provision(&["--force"]).success();
    assert!(done.stderr.contains("Docker 2"), "{done}");
    ground.assert_done(&[]);
    ground.host.load(&["busybox:1.37"]);
    ground.deploy_by_context("1").success();
    assert_eq!(ground.running(), ["1"; 3]);
}

#[test]
fn a_second_run_waits_for_the_first() {
    let ground = Ground::new(&[], false);
    let child = start_until(ground.command(&["--force"]), ": fetching the lists");
    assert_eq!(end(child, "INT"), Some(130));
    let done = ground.provision(&["--force"]).success();
    assert!(done.stderr.contains("waiting for another run on this host"), "{done}");
    // The first one has done it all.
    assert!(done.stderr.contains(": 0 changes, Docker"), "{done}");
    ground.assert_done(&[]);
}
