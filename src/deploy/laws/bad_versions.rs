//! Versions that cannot work: each kind of badness, in both orders, in the first or a later replica.
//!
//! The old version has to serve: start-first throughout (the invariants see to that), stop-first again at the end.

use super::scenario::{Part, Scenario, Wish, seconds};
use super::trial::{Lawful, Trial};
use crate::compose::Order;
use crate::compose::policy::FailureAction;
use crate::engine::RestartPolicy;
use crate::engine::fake::{Behaviour, Phase, Process, Record};
use crate::error::Kind;

/// What is bad about a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Badness {
    pub(super) behaviour: Behaviour,
    pub(super) restart: RestartPolicy,
}

/// All kinds.
pub(super) const BADNESSES: [Badness; 12] = {
    use RestartPolicy::{Always, No, OnFailure, UnlessStopped};
    const fn bad(behaviour: Behaviour, restart: RestartPolicy) -> Badness {
        Badness { behaviour, restart }
    }
    [
        bad(Behaviour::unchecked(Process::RefusesToStart), No),
        bad(Behaviour::exits(seconds(0), 1), No),
        bad(Behaviour::exits(seconds(3), 1), No),
        bad(Behaviour::checked(Process::Exits { after: seconds(3), code: 1 }), UnlessStopped),
        bad(Behaviour::exits(seconds(2), 137), No),
        // Ending well is bad for what is to take over from what runs on.
        bad(Behaviour::exits(seconds(1), 0), No),
        bad(Behaviour::exits(seconds(1), 0), OnFailure),
        bad(Behaviour::checked(Process::Exits { after: seconds(1), code: 0 }), No),
        bad(Behaviour::unchecked(Process::CrashLoops { every: seconds(1) }), Always),
        bad(Behaviour::checked(Process::CrashLoops { every: seconds(2) }), Always),
        bad(Behaviour::unhealthy(seconds(10)), No),
        bad(Behaviour::never_healthy(), Always),
    ]
};

/// What seems good at first.
const FALLING: [Badness; 2] = [
    Badness { behaviour: Behaviour::falling_ill(seconds(2), seconds(60)), restart: RestartPolicy::No },
    Badness { behaviour: Behaviour::falling_down(seconds(2), seconds(60)), restart: RestartPolicy::UnlessStopped },
];

/// A version of which the first `good` replicas are good, and all further ones bad.
#[derive(Clone, Copy, Debug)]
struct Case {
    order: Order,
    replicas: u32,
    good: usize,
    badness: Badness,
}

/// Deploys it. Returns what kind of failure that is, and how many old containers do not serve any more.
async fn deploy(case: Case, change: impl FnOnce(Part) -> Part) -> Lawful<(Option<Kind>, usize)> {
    let Case { order, replicas, good, badness } = case;
    let part = change(Part::new("web").order(order).replicas(replicas));
    let old = Wish::new([part.clone()]);
    let mut behaviours = vec![Behaviour::healthy(seconds(2)); good];
    behaviours.push(badness.behaviour);
    let new = Wish::new([part.version("v2").behaving(behaviours).restart(badness.restart)]);
    let scenario = Scenario::update("bad version", old, new);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&scenario.new, None).await?;
    trial.demand(!matches!(ran.result, Some(Ok(()))), "a bad version does not count as a success")?;
    trial.demand_none("all containers that are left serve", &ran.invariants.idle(&trial.world))?;
    let replaced = ran.invariants.replaced(&trial.world).len();
    trial.converge(&scenario.new.at("v3")).await?;
    Ok((ran.kind(), replaced))
}

/// All cases there are with some kinds of badness.
fn cases(badnesses: &[Badness]) -> impl Iterator<Item = Case> {
    let orders = [Order::StartFirst, Order::StopFirst].into_iter();
    let replicas = orders.flat_map(|order| (1..=3).map(move |replicas| (order, replicas)));
    let good = replicas.flat_map(|(order, replicas)| (0..replicas as usize).map(move |good| (order, replicas, good)));
    good.flat_map(move |(order, replicas, good)| {
        badnesses.iter().map(move |&badness| Case { order, replicas, good, badness })
    })
}

#[tokio::test(start_paused = true)]
async fn pausing_keeps_the_good_replicas() -> Lawful<()> {
    for case in cases(&BADNESSES) {
        let kind = if case.good == 0 { Kind::RolledBack } else { Kind::Incomplete };
        assert_eq!(deploy(case, |part| part).await?, (Some(kind), case.good), "{case:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn rolling_back_takes_the_good_replicas_back() -> Lawful<()> {
    for case in cases(&BADNESSES) {
        for parallelism in [Some(1), Some(2), None] {
            let change = |part: Part| part.on_failure(FailureAction::Rollback).parallelism(parallelism);
            assert_eq!(deploy(case, change).await?, (Some(Kind::RolledBack), 0), "{case:?}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_falls_while_it_is_watched_has_failed() -> Lawful<()> {
    for case in cases(&FALLING) {
        for (action, replaced) in
            [(FailureAction::Pause, case.good), (FailureAction::Continue, case.good), (FailureAction::Rollback, 0)]
        {
            let kind = if replaced == 0 { Kind::RolledBack } else { Kind::Incomplete };
            let change = |part: Part| part.on_failure(action).monitor(seconds(90));
            assert_eq!(deploy(case, change).await?, (Some(kind), replaced), "{case:?}, {action:?}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_few_bad_replicas_can_be_put_up_with() -> Lawful<()> {
    use FailureAction::{Pause, Rollback};
    let case = |ratio, action| {
        let part = Part::new("web").start_first().replicas(4).on_failure(action);
        let part = part.updating(|update| update.max_failure_ratio = ratio);
        let old = Wish::new([part.clone()]);
        let (good, bad) = (Behaviour::healthy(seconds(2)), Behaviour::unhealthy(seconds(2)));
        Scenario::update("a bad one among good ones", old, Wish::new([part.version("v2").behaving([good, bad, good])]))
    };
    let rows =
        [(0.0, Pause, 1), (0.2, Pause, 1), (0.25, Pause, 3), (1.0, Pause, 3), (0.2, Rollback, 0), (0.25, Rollback, 3)];
    for (ratio, action, replaced) in rows {
        let scenario = case(ratio, action);
        let mut trial = Trial::new(&scenario);
        let ran = trial.run(&scenario.new, None).await?;
        let law = format!("{ratio}, {action:?} replaces {replaced}");
        trial.demand(ran.invariants.replaced(&trial.world).len() == replaced, &law)?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn continuing_tries_all_replicas() -> Lawful<()> {
    for action in [FailureAction::Pause, FailureAction::Continue] {
        let part = Part::new("web").replicas(3).on_failure(action);
        let old = Wish::new([part.clone()]);
        let (good, bad) = (Behaviour::healthy(seconds(2)), Behaviour::unhealthy(seconds(2)));
        let new = Wish::new([part.version("v2").behaving([bad, good])]);
        let scenario = Scenario::update("the first one bad", old, new);
        let mut trial = Trial::new(&scenario);
        let ran = trial.run(&scenario.new, None).await?;
        let replaced = if action == FailureAction::Continue { 2 } else { 0 };
        trial.demand(ran.invariants.replaced(&trial.world).len() == replaced, &format!("replaces {replaced}"))?;
        trial.converge(&scenario.new.at("v3")).await?;
    }
    Ok(())
}

/// A healthcheck may be wrong, while what it is about serves.
#[tokio::test(start_paused = true)]
async fn what_was_unwell_runs_again() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        for replicas in [1, 3] {
            let part = Part::new("web").order(order).replicas(replicas).behaving([Behaviour::unhealthy(seconds(2))]);
            let old = Wish::new([part.clone()]);
            let old_ones = old.deployed();
            let scenario = Scenario::update("unwell, and no better", old, Wish::new([part.version("v2")]));
            let mut trial = Trial::new(&scenario);
            let ran = trial.run(&scenario.new, None).await?;
            trial.demand(ran.kind() == Some(Kind::RolledBack), "a version that is no better is bad")?;
            let mut ours = old_ones.iter();
            let runs = |record: &Record| {
                let records = trial.world.records();
                matches!(records.get(&record.container.id).map(|it| it.phase), Some(Phase::Started(_)))
            };
            trial.demand(ours.all(runs), "what ran before runs again")?;
            trial.converge(&scenario.new.at("v3")).await?;
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_hook_is_bad() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let part = Part::new("web").order(order).replicas(2).hooks();
        let old = Wish::new([part.clone()]);
        let scenario = Scenario::update("bad hook", old, Wish::new([part.version("v2").hooks_ending_with(1)]));
        let mut trial = Trial::new(&scenario);
        let ran = trial.run(&scenario.new, None).await?;
        trial.demand(ran.kind() == Some(Kind::RolledBack), "a version whose hook fails is bad")?;
        trial.demand_none("the old version serves", &ran.invariants.replaced(&trial.world))?;
        trial.demand_none("all containers that are left serve", &ran.invariants.idle(&trial.world))?;
        trial.converge(&scenario.new.at("v3")).await?;
    }
    Ok(())
}
