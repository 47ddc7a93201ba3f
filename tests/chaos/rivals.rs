//! Several deploys of the same at once: one of them does it, the others leave and name it.

use std::process::{Child, Command, Stdio};

use super::shop::{self, Order, Shop};
use crate::support::command::Output;
use crate::support::project::Project;
use crate::support::sweep::{Lane, sweep};

/// Rounds that are tried for each number of rivals, and by default in all.
const ROUNDS: usize = 7;
const SAMPLE: usize = 1;

#[derive(Clone, Copy, Debug)]
enum Rivals {
    Two = 2,
    Three,
    Four,
}

#[test]
fn rivals() {
    sweep("concurrent deploys, start-first", go);
}

fn go(lane: &mut Lane<'_>) {
    let project = Project::new("chaos-rivals", &shop::compose(Order::StartFirst, shop::INTERVAL));
    let shop = Shop::open(&project, Order::StartFirst);
    lane.each(&[Rivals::Two, Rivals::Three, Rivals::Four], ROUNDS, SAMPLE, |rivals, _, case| {
        shop.survive(case, &[Some(0)], |_| {
            let all: Vec<_> = (0..rivals as usize).map(|_| start(shop.deploy())).collect();
            let (done, left): (Vec<_>, Vec<_>) = all.into_iter().map(finish).partition(|output| output.code == Some(0));
            let is_update = |output: &&Output| output.stderr.contains("2 services updated");
            // One that comes late finds nothing to do.
            let updates: Vec<_> = done.iter().filter(is_update).collect();
            assert_eq!(updates.len(), 1, "{done:#?}, {left:#?}");
            for output in &left {
                let names = output.stderr.contains("is being changed by") && output.stderr.contains("`kerek deploy");
                assert!(output.code == Some(6) && names, "{output}");
            }
            (updates[0].clone(), !left.is_empty())
        })
    });
    lane.hear(shop.close());
}

fn start(mut deploy: Command) -> Child {
    deploy.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("should run kerek")
}

fn finish(child: Child) -> Output {
    let output = child.wait_with_output().expect("should end");
    Output::new("kerek deploy", output.status.code(), String::new(), String::from_utf8_lossy(&output.stderr).into())
}
