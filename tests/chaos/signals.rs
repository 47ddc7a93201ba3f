//! Kerek is interrupted, terminated or killed on the spot at every event of the engine.

use rustix::process::kill_process;

use super::shop::{self, Order, Shop};
use crate::support::project::Project;
use crate::support::sweep::{Lane, sweep};

/// Cases that are tried by default.
const SAMPLE: usize = 3;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Signal {
    Int,
    Term,
    Kill,
}

impl Signal {
    /// How a run may end that gets it: as it would without, if it was through before.
    const fn codes(self) -> [Option<i32>; 2] {
        match self {
            Self::Int => [Some(0), Some(130)],
            Self::Term => [Some(0), Some(143)],
            Self::Kill => [Some(0), None],
        }
    }

    const fn number(self) -> rustix::process::Signal {
        match self {
            Self::Int => rustix::process::Signal::INT,
            Self::Term => rustix::process::Signal::TERM,
            Self::Kill => rustix::process::Signal::KILL,
        }
    }
}

#[test]
fn signals_start_first() {
    sweep("signals, start-first", |lane| go(lane, Order::StartFirst));
}

#[test]
fn signals_stop_first() {
    sweep("signals, stop-first", |lane| go(lane, Order::StopFirst));
}

fn go(lane: &mut Lane<'_>, order: Order) {
    let project = Project::new("chaos-signals", &shop::compose(order, shop::INTERVAL));
    let shop = Shop::open(&project, order);
    let events = shop.undisturbed();
    let kinds = [Signal::Int, Signal::Term, Signal::Kill];
    lane.each(&kinds, events, SAMPLE, |signal, at, case| {
        let at = shop.events() + at;
        shop.survive(case, &signal.codes(), |deploy| {
            // Nobody else has the number of a process that was not waited for.
            shop::run(
                deploy,
                |_| shop.events() >= at,
                |kerek| kill_process(kerek, signal.number()).expect("should signal"),
            )
        })
    });
    lane.hear(shop.close());
}
