//! What must not begin: services whose dependencies are not as they have to be, or whose `pre_start` hooks fail.

use super::scenario::{Part, Scenario, Wish, seconds};
use super::trial::{Lawful, Ran, Trial};
use crate::compose::Order;
use crate::compose::order::{Condition, Dependency};
use crate::engine::fake::Behaviour;
use crate::error::Kind;

/// Updates `job` and `web`, which depends on it, to versions in which the job fails.
async fn fail_job(behaviour: Behaviour, order: Order, optional: bool) -> Lawful<(Option<Kind>, usize)> {
    let dependency = Dependency { condition: Condition::Completed, optional, ..Dependency::default() };
    let job = || Part::new("job").one_shot();
    let web = || Part::new("web").order(order).asks("job", dependency);
    let old = Wish::new([job(), web()]);
    let new = Wish::new([job().version("v2").behaving([behaviour]), web().version("v2")]);
    let scenario = Scenario::update("failing job", old, new);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&scenario.new, None).await?;
    let result = (ran.kind(), ran.invariants.replaced(&trial.world).len());
    trial.converge(&scenario.old.at("v3")).await?;
    Ok(result)
}

#[tokio::test(start_paused = true)]
async fn a_failing_job_keeps_its_dependents_from_their_turn() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        // The second one takes longer than what runs on is watched for.
        for after in [1, 600] {
            let job = Behaviour::exits(seconds(after), 7);
            assert_eq!(fail_job(job, order, false).await?, (Some(Kind::RolledBack), 0), "{order:?}, {after}");
            assert_eq!(fail_job(job, order, true).await?, (Some(Kind::Incomplete), 1), "{order:?}, {after}");
        }
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_has_no_healthcheck_is_never_healthy() -> Lawful<()> {
    let db = Part::new("db").behaving([Behaviour::plain()]);
    let old = Wish::new([db, Part::new("web").awaits("db", Condition::Healthy)]);
    let mut new = old.clone();
    new.project.services.get_mut(&crate::names::ServiceName::new("web")).expect("web").config_hash = "v2".to_owned();
    let scenario = Scenario::update("a condition that cannot hold", old, new);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&scenario.new, None).await?;
    trial.demand(ran.kind() == Some(Kind::RolledBack), "the new version never begins")?;
    trial.demand_none("the old version serves", &ran.invariants.replaced(&trial.world))
}

/// How often hooks are run.
fn hooks_run(ran: &Ran) -> usize {
    ran.calls.iter().filter(|call| call.line.starts_with("compose run ")).count()
}

#[tokio::test(start_paused = true)]
async fn hooks_run_once_for_each_version() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let old = Wish::new([Part::new("web").order(order).replicas(3).pre_start()]);
        let scenario = Scenario::update("pre_start", old.clone(), old.at("v2"));
        let mut trial = Trial::new(&scenario);
        for (wish, times) in [(&scenario.new, 1), (&scenario.new, 0), (&scenario.old, 1)] {
            let ran = trial.run(wish, None).await?;
            trial.demand(hooks_run(&ran) == times, &format!("the hook runs {times} times"))?;
        }
        let more = Wish::new([Part::new("web").order(order).replicas(5).pre_start()]);
        let ran = trial.run(&more, None).await?;
        trial.demand(hooks_run(&ran) == 0, "more of the same need no hook")?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_failing_hook_stops_nothing() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let part = Part::new("web").order(order).replicas(2).pre_start();
        let old = Wish::new([part.clone()]);
        let scenario = Scenario::update("bad hook", old, Wish::new([part.version("v2").hooks_ending_with(3)]));
        let mut trial = Trial::new(&scenario);
        let ran = trial.run(&scenario.new, None).await?;
        trial.demand(ran.kind() == Some(Kind::RolledBack), "a version whose hook fails is bad")?;
        let stops = ran.calls.iter().filter(|call| call.line.starts_with("stop ")).count();
        trial.demand(stops == 0, "nothing is stopped")?;
        trial.demand_none("the old version serves", &ran.invariants.replaced(&trial.world))?;
        trial.demand_none("all containers that are left serve", &ran.invariants.idle(&trial.world))?;
        trial.converge(&scenario.new.at("v3")).await?;
    }
    Ok(())
}
