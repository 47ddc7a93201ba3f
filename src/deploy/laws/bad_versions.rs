//! Versions that cannot work: each kind of badness, in both orders, in the first or a later replica.
//!
//! The old version has to serve: start-first throughout (the invariants see to that), stop-first again at the end.

use super::scenario::{Part, Scenario, Wish, seconds};
use super::trial::{Lawful, Ran, Trial};
use crate::compose::Order;
use crate::compose::policy::FailureAction;
use crate::engine::fake::{Behaviour, Call, Fault, FaultKind, Phase, Process, Record};
use crate::engine::{ErrorKind, RestartPolicy};
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

/// Three replicas of which the last one is bad, so that the first two are taken back.
fn rolling_back(order: Order) -> Scenario {
    let part = Part::new("web").order(order).replicas(3).on_failure(FailureAction::Rollback);
    let old = Wish::new([part.clone()]);
    let (good, bad) = (Behaviour::healthy(seconds(2)), Behaviour::unhealthy(seconds(2)));
    Scenario::update("the last one bad", old, Wish::new([part.version("v2").behaving([good, good, bad])]))
}

/// The calls of its way back that change something.
fn way_back(ran: &Ran) -> impl Iterator<Item = (usize, &Call)> {
    let is_start = |call: &Call| call.line.starts_with("start ");
    let starts = ran.calls.iter().enumerate().filter(|(_, call)| is_start(call)).map(|(at, _)| at);
    // That of the bad one, after which come those of old ones.
    let begin = starts.take(3).last().expect("three starts") + 1;
    ran.calls.iter().enumerate().skip(begin).filter(|(_, call)| call.writes)
}

/// Whoever interrupts the way back is told so, not what it was begun for.
#[tokio::test(start_paused = true)]
async fn an_interrupted_rollback_is_told() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let scenario = rolling_back(order);
        let calm = Trial::new(&scenario).run(&scenario.new, None).await?;
        let mut interrupted = 0;
        for (at, _) in way_back(&calm) {
            let mut trial = Trial::new(&scenario);
            let ran = trial.run(&scenario.new, Some(Fault { at, kind: FaultKind::Cancelled })).await?;
            let told = matches!(ran.kind(), Some(Kind::Interrupted | Kind::RolledBack));
            trial.demand(told, "it was interrupted, or has come to its end")?;
            interrupted += usize::from(ran.kind() == Some(Kind::Interrupted));
            trial.converge(&scenario.new.at("v3")).await?;
        }
        assert!(interrupted > 5, "{interrupted}");
    }
    Ok(())
}

/// What the engine says when it cuts the way back off is told.
#[tokio::test(start_paused = true)]
async fn what_cuts_a_rollback_off_is_told() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let scenario = rolling_back(order);
        let calm = Trial::new(&scenario).run(&scenario.new, None).await?;
        let stops = way_back(&calm).filter(|(_, call)| call.line.starts_with("stop ")).map(|(at, _)| at);
        // The first one is that of the bad one, in `stop-first` order.
        for at in stops.skip(usize::from(order == Order::StopFirst)) {
            for (kind, expected) in
                [(FaultKind::FailsBefore(ErrorKind::Refused), Kind::Incomplete), (FaultKind::Gone, Kind::Unreachable)]
            {
                let mut trial = Trial::new(&scenario);
                let ran = trial.run(&scenario.new, Some(Fault { at, kind })).await?;
                let Some(Err(failure)) = &ran.result else { return trial.demand(false, "it cannot succeed") };
                trial.demand(failure.kind == expected, "it is neither version's fault")?;
                trial.demand(!failure.to_string().contains("not fit"), "the engine's reason is told")?;
            }
        }
    }
    Ok(())
}

/// What falls while the next batch is waited for is acted upon at once.
#[tokio::test(start_paused = true)]
async fn no_delay_is_sat_out_for_a_batch_that_does_not_come() -> Lawful<()> {
    let delay = seconds(100_000);
    for action in [FailureAction::Pause, FailureAction::Rollback] {
        let part = Part::new("web").start_first().replicas(3).on_failure(action).monitor(seconds(90));
        let part = part.updating(|update| update.delay = delay);
        let old = Wish::new([part.clone()]);
        let new = part.version("v2").behaving([Behaviour::falling_ill(seconds(2), seconds(60))]);
        let scenario = Scenario::update("falls in the delay", old, Wish::new([new]));
        // A run may last a day.
        let ran = Trial::new(&scenario).run(&scenario.new, None).await?;
        assert_eq!(ran.kind(), Some(Kind::RolledBack), "{action:?}");
    }
    Ok(())
}

/// A healthcheck may have been wrong, so what is unwell is left by traffic before it is stopped.
#[tokio::test(start_paused = true)]
async fn what_was_unwell_is_withdrawn() -> Lawful<()> {
    for (order, replicas) in [(Order::StartFirst, 1), (Order::StartFirst, 2), (Order::StopFirst, 2)] {
        let part = Part::new("web").order(order).replicas(replicas).behaving([Behaviour::unhealthy(seconds(2))]);
        let old = Wish::new([part.clone()]);
        let new = Wish::new([part.version("v2").behaving([Behaviour::healthy(seconds(2))])]);
        let scenario = Scenario::update("unwell before", old, new);
        let mut trial = Trial::new(&scenario);
        trial.rest().await;
        let ran = trial.run(&scenario.new, None).await?;
        let at = |line: &str| ran.calls.iter().position(|call| call.line.starts_with(line));
        for record in &scenario.before {
            let id = &record.container.id;
            let Some(stop) = at(&format!("stop {id}")) else { continue };
            let withdrawn = at(&format!("disconnect {id} ")).is_some_and(|withdrawn| withdrawn < stop);
            trial.demand(withdrawn, &format!("{id} is withdrawn before it is stopped"))?;
        }
        trial.demand(matches!(ran.result, Some(Ok(()))), "the update succeeds")?;
    }
    Ok(())
}
