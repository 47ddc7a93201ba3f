//! What comes in between: kerek, the script on the host, or the link between them ends after one step or another.

use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::ground::Ground;
use super::running::Running;
use crate::support::tcp_proxy::TcpProxy;

#[test]
fn whatever_ends_in_between_the_next_run_goes_on() {
    let ground = Ground::new(&["--user", "deploy"], false);
    let force = || ground.command(&["--force"]);

    // The script ends, too.
    for (words, signal, code) in [
        (": changed: settings", Signal::INT, Some(130)),
        (": fetching the lists", Signal::TERM, Some(143)),
        (": installing", Signal::KILL, None),
    ] {
        let running = Running::until_words(force(), words);
        if words == ": installing" {
            // To the middle of it.
            let begin = Instant::now();
            let unpacked = ["sh", "-c", "dpkg --audit | grep -q ."];
            while ground.host.run(&unpacked).code != Some(0) {
                assert!(begin.elapsed() < Duration::from_secs(300), "it should begin to install");
                sleep(Duration::from_millis(50));
            }
        }
        ground.kill_script();
        running.signal(signal);
        let ended = running.end();
        assert!(ended == code || ended == Some(5), "{ended:?} after {words}");
    }
    let audit = ground.host.run(&["dpkg", "--audit"]).success().stdout;
    assert_ne!(audit, "", "the installation should be half done");

    // The link ends, and nothing else: the script goes on.
    let proxy = TcpProxy::start(ground.host.address());
    let config = ground.host.ssh_config_via(proxy.address());
    let config = config.to_string_lossy();
    let cut = ground.plain(&["provision", "--force", "-F", &config, ground.host.name()]);
    let running = Running::until_words(cut, ": finishing an interrupted installation");
    proxy.cut();
    assert_eq!(running.end(), Some(3));
    let begin = Instant::now();
    while ground.host.run(&["sh", "-c", "ls -d /tmp/kerek-provision.*"]).code == Some(0) {
        assert!(begin.elapsed() < Duration::from_secs(500), "the script should come to its end");
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
    let running = Running::until_words(ground.command(&["--force"]), ": fetching the lists");
    running.signal(Signal::INT);
    assert_eq!(running.end(), Some(130));
    let done = ground.provision(&["--force"]).success();
    assert!(done.stderr.contains("waiting for another run on this host"), "{done}");
    // The first one has done it all.
    assert!(done.stderr.contains(": 0 changes, Docker"), "{done}");
    ground.assert_done(&[]);
}
