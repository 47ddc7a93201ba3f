//! The engine ends or crashes, and comes back, at every event of a deploy. Its containers live on meanwhile.
//!
//! It is an engine of the sweep's own. While it is away nobody can look up names, so that what is lost then is its own
//! business, and counted apart.

use std::cell::RefCell;
use std::fs;

use rustix::process::Signal;

use super::requests::CODES;
use super::shop::{self, Order, Shop};
use crate::support::engines::OtherEngine;
use crate::support::events::EventLog;
use crate::support::project::Project;
use crate::support::sweep::{Lane, sweep};

/// Cases that are tried by default.
const SAMPLE: usize = 1;
/// An engine that comes back knows of no container's health until it has probed it, which it does so often, in seconds.
const INTERVAL: u32 = 5;

#[derive(Clone, Copy, Debug)]
enum End {
    Orderly,
    Crash,
}

#[test]
fn restarts_start_first() {
    sweep("engine restarts, start-first", |lane| go(lane, Order::StartFirst, [End::Orderly, End::Crash]));
}

#[test]
fn restarts_stop_first() {
    sweep("engine restarts, stop-first", |lane| go(lane, Order::StopFirst, [End::Crash, End::Orderly]));
}

fn go(lane: &mut Lane<'_>, order: Order, ends: [End; 2]) {
    // Goes last.
    let engine = RefCell::new(OtherEngine::lasting());
    let mut project = Project::new("chaos-restarts", &shop::compose(order, INTERVAL));
    load_image(&project, &engine.borrow());
    project.set("DOCKER_HOST", &engine.borrow().host());
    let shop = Shop::open(&project, order);
    let events = shop.undisturbed();
    lane.each(&ends, events, SAMPLE, |end, at, case| {
        // The shop's own has ended with the engine.
        let log = EventLog::start(&project);
        let at = log.len() + at;
        shop.survive(case, &CODES, |deploy| {
            let signal = match end {
                End::Orderly => Signal::TERM,
                End::Crash => Signal::KILL,
            };
            let restart = |_| shop.without_engine(|| engine.borrow_mut().restart(signal));
            shop::run(deploy, |_| log.len() >= at, restart)
        })
    });
    lane.hear(shop.close());
}

/// Copies the image of the tests' engine.
fn load_image(project: &Project, engine: &OtherEngine) {
    let file = project.path().join("image.tar");
    project.docker(&["save", "--output", &file.to_string_lossy(), "kerek-test-app"]).success();
    engine.docker(&["load"], &fs::read(&file).expect("an archive")).success();
}
