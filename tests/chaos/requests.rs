//! Every request to the engine goes wrong once, in every way, be it kerek's own or that of Compose.

use std::path::Path;

use super::gate::{Fault, Gate};
use super::shop::{self, Order, Shop};
use crate::support::command;
use crate::support::project::Project;
use crate::support::sweep::{Lane, sweep};

/// As documented: done, nothing changed, unreachable, the old version serves, half-way.
pub(crate) const CODES: [Option<i32>; 5] = [Some(0), Some(1), Some(3), Some(4), Some(5)];

/// Cases that are tried by default.
const SAMPLE: usize = 3;

#[test]
fn requests_start_first() {
    sweep("spoiled requests, start-first", |lane| go(lane, Order::StartFirst));
}

#[test]
fn requests_stop_first() {
    sweep("spoiled requests, stop-first", |lane| go(lane, Order::StopFirst));
}

fn go(lane: &mut Lane<'_>, order: Order) {
    let project = Project::new("chaos-requests", &shop::compose(order, shop::INTERVAL));
    let shop = Shop::open(&project, order);
    let engine = Path::new(command::socket());
    let undisturbed = Gate::to(engine, None);
    let verdict = shop.survive("undisturbed", &CODES[..1], |mut deploy| {
        deploy.env("DOCKER_HOST", undisturbed.host());
        (command::run(deploy), true)
    });
    assert!(verdict.problems.is_empty(), "{verdict:#?}");

    lane.each(&Fault::ALL, undisturbed.requests().len(), SAMPLE, |fault, at, case| {
        let gate = Gate::to(engine, Some((at, fault)));
        let mut verdict = shop.survive(case, &CODES, |mut deploy| {
            deploy.env("DOCKER_HOST", gate.host());
            (command::run(deploy), gate.requests().len() >= at)
        });
        for problem in &mut verdict.problems {
            problem.insert_str(0, &format!("at {}, ", gate.requests().get(at - 1).map_or("none", String::as_str)));
        }
        verdict
    });
    lane.hear(shop.close());
}
