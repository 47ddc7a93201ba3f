//! The SSH connection to the engine's host is cut, or says nothing any more, after every line of progress.

use super::shop::{self, Order, Shop};
use crate::support::command;
use crate::support::hosts::{Host, Kind};
use crate::support::project::Project;
use crate::support::sweep::{Lane, sweep};
use crate::support::tcp_proxy::TcpProxy;

/// Cases that are tried by default.
const SAMPLE: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Break {
    Cut,
    Silence,
}

#[test]
fn links_start_first() {
    sweep("SSH link, start-first", |lane| go(lane, Order::StartFirst, [Break::Cut, Break::Silence]));
}

#[test]
fn links_stop_first() {
    sweep("SSH link, stop-first", |lane| go(lane, Order::StopFirst, [Break::Silence, Break::Cut]));
}

fn go(lane: &mut Lane<'_>, order: Order, kinds: [Break; 2]) {
    // Goes last.
    let host = Host::start(Kind::Docker, &[]);
    let mut project = Project::new("chaos-links", &shop::compose(order, shop::INTERVAL));
    host.load(&["kerek-test-app"]);
    // The way there for all but kerek.
    project.set("DOCKER_HOST", &format!("unix:///proc/{}/root/run/docker.sock", host.process()));
    let proxy = TcpProxy::start(host.address());
    let config = host.ssh_config_via(proxy.address());
    let shop = Shop::open(&project, order);
    let way = ["--host", &format!("ssh://{}", host.name()), "--ssh-config", &config.to_string_lossy()];
    let shop = shop.reached_by(&way);

    let mut lines = 0;
    let verdict = shop.survive("undisturbed", &[Some(0)], |deploy| {
        let output = command::run(deploy);
        lines = output.stderr.lines().count();
        (output, true)
    });
    assert!(verdict.problems.is_empty(), "{verdict:#?}");

    lane.each(&kinds, lines, SAMPLE, |kind, at, case| {
        let verdict = shop.survive(case, &[Some(0), Some(3)], |deploy| {
            let fail = |_| match kind {
                Break::Cut => proxy.cut(),
                Break::Silence => proxy.change_both(|conditions| conditions.stalled = true),
            };
            let outcome = shop::run(deploy, |said| said.lines().count() >= at, fail);
            // What the old connection still has to say is not for the host any more.
            proxy.cut();
            proxy.change_both(|conditions| conditions.stalled = false);
            outcome
        });
        host.assert_left_alone();
        verdict
    });
    lane.hear(shop.close());
}
