//! Typical deployments of good versions, with every call spoiled in every way, one at a time.
//!
//! After each spoiled run, the same, the former and a later version are deployed undisturbed, each on its own copy of
//! the world, and have to get through.

use std::time::Duration;

use super::scenario::{Mess, Part, Scenario, Wish, seconds};
use super::trial::{Lawful, Trial};
use crate::compose::Order;
use crate::compose::order::Condition;
use crate::compose::policy::{Drain, FailureAction};
use crate::engine::ErrorKind;
use crate::engine::fake::{Behaviour, Call, Fault, FaultKind, News, Phase, Process, World};

/// All that can go wrong with a call.
pub(super) fn faults(call: &Call) -> Vec<FaultKind> {
    use FaultKind::{Cancelled, FailsAfter, FailsBefore, Gone, Hangs, KilledAfter, KilledBefore};
    let mut faults =
        vec![FailsBefore(ErrorKind::Refused), FailsBefore(ErrorKind::Unreachable), Cancelled, KilledBefore, Gone];
    if call.writes {
        faults.extend([FailsAfter(ErrorKind::Refused), FailsAfter(ErrorKind::Unreachable), KilledAfter]);
    }
    faults.push(FailsAfter(ErrorKind::Garbled));
    if call.bounded {
        faults.push(Hangs);
    }
    faults
}

/// Spoils every call of a deployment in every way.
pub(super) async fn sweep(scenario: &Scenario) -> Lawful<()> {
    let calls = Trial::new(scenario).run(&scenario.new, None).await?.calls;
    for (at, call) in calls.iter().enumerate() {
        for kind in faults(call) {
            let mut trial = Trial::new(scenario);
            trial.run(&scenario.new, Some(Fault { at, kind })).await?;
            follow_up(&trial, scenario, kind).await?;
        }
    }
    Ok(())
}

/// Deploys again, undisturbed: the same, at once and later, and what was there before, and something else.
async fn follow_up(trial: &Trial, scenario: &Scenario, kind: FaultKind) -> Lawful<()> {
    let same = &scenario.new;
    trial.fork().converge(same).await?;
    if matches!(kind, FaultKind::KilledBefore | FaultKind::KilledAfter | FaultKind::Gone) {
        let mut late = trial.fork();
        late.rest().await;
        late.converge(&same.clone().unforced()).await?;
        trial.fork().converge(&scenario.old).await?;
        trial.fork().converge(&same.at("v3").unforced()).await?;
    }
    Ok(())
}

fn web() -> Part {
    Part::new("web")
}

/// From one version of a single service to the next.
fn upgrade(name: &'static str, part: Part) -> Scenario {
    let old = Wish::new([part]);
    let new = old.at("v2");
    Scenario::update(name, old, new).handing_down()
}

/// From one content of a single service's files to the next.
fn refill(name: &'static str, part: Part) -> Scenario {
    let old = Wish::new([part]);
    let new = old.clone().holding("new");
    Scenario::update(name, old, new).handing_down()
}

macro_rules! sweeps {
    ($($name:ident: $scenario:expr;)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() -> Lawful<()> {
                let scenario = $scenario;
                Trial::new(&scenario).converge(&scenario.new).await?;
                sweep(&scenario).await
            }
        )*
    };
}

sweeps! {
    one_replica_start_first: upgrade("1 start-first", web().start_first());

    three_replicas_start_first: upgrade("3 start-first", web().start_first().replicas(3)).news(News::Silent);

    one_replica_stop_first: upgrade("1 stop-first", web()).news(News::Ending);

    one_replica_stop_first_without_healthcheck:
        upgrade("1 stop-first, no healthcheck", web().behaving([Behaviour::plain()]));

    three_replicas_stop_first: upgrade("3 stop-first", web().replicas(3));

    two_at_a_time_start_first: upgrade(
        "3 start-first, parallelism 2, delay",
        web().start_first().replicas(3).updating(|update| {
            update.parallelism = Some(2);
            update.delay = seconds(10);
        }),
    );

    all_at_once_stop_first: upgrade("3 stop-first, parallelism 0", web().replicas(3).parallelism(None));

    all_at_once_start_first:
        upgrade("2 start-first, parallelism 0", web().start_first().replicas(2).parallelism(None));

    watching_traffic: upgrade("1 start-first, default drain", web().start_first().drain(Drain::default()));

    without_drain: upgrade("2 start-first, no drain", web().start_first().replicas(2).drain(Drain::fixed(Duration::ZERO)));

    on_two_networks: upgrade("1 start-first, 2 networks", web().start_first().network("shop_back", "backend"));

    with_published_ports: upgrade("2 start-first, ports", web().start_first().replicas(2).publishing_ports());

    watched_start_first: upgrade("2 start-first, monitor", web().start_first().replicas(2).monitor(seconds(10)));

    watched_stop_first:
        upgrade("3 stop-first, parallelism 2, monitor", web().replicas(3).parallelism(Some(2)).monitor(seconds(15)))
            .news(News::Silent);

    watched_one_after_the_other: {
        let old = Wish::new([Part::new("db").monitor(seconds(30)), web().start_first().monitor(seconds(6))]);
        Scenario::update("db and web, monitor", old.clone(), old.at("v2")).handing_down()
    };

    with_hooks_start_first: upgrade("2 start-first, hooks", web().start_first().replicas(2).hooks());

    with_hooks_stop_first: upgrade("1 stop-first, hooks", web().hooks());

    with_volumes_start_first: upgrade("2 start-first, volumes", web().start_first().replicas(2).volume("/data"));

    with_volumes_stop_first: upgrade("2 stop-first, volumes", web().replicas(2).parallelism(None).volume("/data"));

    with_a_config_start_first: refill("2 start-first, config", web().start_first().replicas(2).file("motd", "old"));

    with_a_config_stop_first: refill("1 stop-first, config", web().file("motd", "old"));

    with_two_files_and_volume: refill(
        "1 stop-first, config, secret, volume",
        web().file("motd", "old").file("key", "old").volume("/data"),
    );

    with_another_version_and_config: {
        let old = Wish::new([web().start_first().file("motd", "old")]);
        let new = old.at("v2").holding("new");
        Scenario::update("1 start-first, other version and config", old, new).handing_down()
    };

    with_container_name: upgrade("1 stop-first, container_name", web().container_name("the-web"));

    with_container_name_and_volume:
        upgrade("1 stop-first, container_name, volume", web().container_name("the-web").volume("/data"));

    scaled_by_hand: upgrade("any start-first", web().start_first().scaled(1));

    scaled_by_hand_to_three: upgrade("3 by hand, start-first", web().start_first().scaled(3));

    scaled_by_hand_stop_first: upgrade("3 by hand, stop-first", web().scaled(3));

    scaled_by_hand_with_another_name: {
        let old = Wish::new([web().start_first().scaled(3)]);
        let new = Wish::new([web().start_first().scaled(3).alias("www").version("v2")]);
        Scenario::update("3 by hand, start-first, another alias", old, new)
    };

    scaled_by_hand_and_given_up: {
        let old = Wish::new([web().scaled(4)]);
        let [olds, news] = [old.deployed(), old.at("v2").deployed()];
        let news = news.into_iter().take(2).map(|mut record| {
            // It has the name of its predecessor.
            record.container.number += 4;
            record
        });
        let containers: Vec<_> = olds.into_iter().skip(2).chain(news).collect();
        let new = old.at("v3");
        Scenario::update("4 by hand, after an update that paused", old, new).from(containers)
    };

    the_very_first: {
        let old = Wish::new([web().replicas(2).start_first(), Part::new("db").behaving([Behaviour::plain()])]);
        let new = old.at("v2");
        Scenario::update("first deployment", old, new).from([])
    };

    two_services: {
        let db = || Part::new("db").stopping_with(137);
        let web = || web().start_first().depends_on("db");
        let old = Wish::new([db().replicas(3), web()]);
        let new = Wish::new([db().version("v2"), web().replicas(3)]);
        Scenario::update("db 3 to 1, web 1 to 3", old, new)
    };

    with_conditions: {
        let db = || Part::new("db").replicas(2);
        let job = || Part::new("job").one_shot();
        let web = || web().awaits("db", Condition::Healthy).awaits("job", Condition::Completed).start_first();
        let old = Wish::new([db(), job(), web()]);
        let new = old.at("v2");
        Scenario::update("web after db is healthy and job is done", old, new)
    };

    the_very_first_with_conditions: {
        let db = Part::new("db").awaits("job", Condition::Completed);
        let web = web().awaits("db", Condition::Healthy).start_first();
        let old = Wish::new([db, Part::new("job").one_shot(), web, Part::new("alone")]);
        let new = old.at("v2");
        Scenario::update("first deployment in order", old, new).from([])
    };

    with_a_job_that_is_never_healthy: {
        let work = Process::Exits { after: seconds(200), code: 0 };
        let job = Part::new("job").one_shot().behaving([Behaviour::failing_probes(seconds(5), work)]);
        let old = Wish::new([job, web().awaits("job", Condition::Completed).start_first()]);
        let new = old.at("v2");
        Scenario::update("web after a job with the healthcheck of its image", old, new)
    };

    dependents_are_restarted: {
        let old = Wish::new([Part::new("db"), web().replicas(2).restarts_with("db")]);
        let new = Wish::new([Part::new("db").version("v2"), web().replicas(2).restarts_with("db")]);
        Scenario::update("db, and web restarts", old, new)
    };

    dependents_are_replaced: {
        let web = || web().replicas(2).start_first().restarts_with("db");
        let old = Wish::new([Part::new("db"), web()]);
        let new = Wish::new([Part::new("db").version("v2"), web()]);
        Scenario::update("db, and web is replaced", old, new)
    };

    with_pre_start: upgrade("2 start-first, pre_start", web().start_first().replicas(2).pre_start());

    with_pre_start_stop_first: upgrade("1 stop-first, pre_start", web().pre_start()).news(News::Silent);

    only_some_services: {
        let job = Part::new("job").one_shot();
        let old = Wish::new([web().start_first().depends_on("job"), job, Part::new("other")]);
        let new = old.at("v2").only(&["web"]);
        Scenario::update("web and the job it depends on", old.only(&["web"]), new)
    };

    scaling_down: {
        let old = Wish::new([web().start_first().replicas(3)]);
        let new = Wish::new([web().start_first().replicas(1)]);
        Scenario::update("3 to 1 start-first", old, new)
    };

    scaling_to_zero: {
        let old = Wish::new([web().replicas(2)]);
        let new = Wish::new([web().replicas(0).version("v2")]);
        Scenario::update("2 to 0 stop-first", old, new)
    };

    forced_start_first: {
        let old = Wish::new([web().start_first().replicas(2)]);
        Scenario::update("2 start-first, forced", old.clone(), old.forced())
    };

    forced_stop_first: {
        let old = Wish::new([web()]);
        Scenario::update("1 stop-first, forced", old.clone(), old.forced())
    };

    forced_stop_first_without_healthcheck: {
        let old = Wish::new([web().replicas(2).behaving([Behaviour::plain()])]);
        Scenario::update("2 stop-first, no healthcheck, forced", old.clone(), old.forced())
    };

    leftovers_start_first: leftovers(Order::StartFirst);

    leftovers_stop_first: leftovers(Order::StopFirst);
}

/// What a run that was killed might leave behind, and then some.
fn leftovers(order: Order) -> Scenario {
    let old = Wish::new([web().order(order).replicas(6)]);
    let new = old.at("v2");
    let mut olds = old.deployed().into_iter();
    let mut news = new.deployed().into_iter().map(|mut record| {
        // Numbers come after those of the old ones.
        record.container.number += 6;
        record
    });
    let mut old_one = || olds.next().expect("enough");
    let mut new_one = || news.next().expect("enough");
    let just_now = Phase::Started(World::BEGIN);
    let containers = [
        old_one(),
        old_one(),
        old_one().phase(Phase::Stopped),
        old_one().withdrawn(),
        old_one().phase(Phase::Created),
        old_one().detached(),
        new_one(),
        new_one().phase(just_now),
        new_one().withdrawn().phase(just_now),
        new_one().withdrawn().phase(Phase::Created),
        new_one().detached().phase(Phase::Created),
        new_one().behaviour(Behaviour::exits(seconds(1), 1)),
    ];
    Scenario::update("leftovers", old, new).from(containers)
}

/// Faults while a bad version is being deployed: the way back can be spoiled as well.
async fn sweep_bad(name: &'static str, part: Part, behaviours: &[Behaviour]) -> Lawful<()> {
    let old = Wish::new([part.clone()]);
    let bad = Wish::new([part.version("v2").behaving(behaviours.iter().copied())]);
    let scenario = Scenario::update(name, old, bad).leniently();
    let calls = Trial::new(&scenario).run(&scenario.new, None).await?.calls;
    for (at, call) in calls.iter().enumerate() {
        for kind in faults(call) {
            let mut trial = Trial::new(&scenario);
            let disturbed = trial.run(&scenario.new, Some(Fault { at, kind })).await?;
            trial.fork().converge(&scenario.old).await?;
            trial.fork().converge(&scenario.new.at("v3")).await?;
            // If all its replicas are bad, trying again is no better, and does no harm.
            for late in [false, true].into_iter().filter(|_| behaviours.len() == 1) {
                let mut again = trial.fork();
                if late {
                    again.rest().await;
                }
                let ran = again.run(&scenario.new, None).await?;
                again.demand(matches!(ran.result, Some(Err(_))), "what was bad stays bad")?;
                let missed = disturbed.invariants.replaced(&again.world);
                again.demand_none("the old version serves, however often the bad one is tried", &missed)?;
            }
        }
    }
    Ok(())
}

/// A first replica that is fine, and further ones that are not.
const MIXED: [Behaviour; 2] = [Behaviour::healthy(seconds(2)), Behaviour::unhealthy(seconds(4))];

/// Replicas that are fine, and others that fall while they are watched.
const FALLING: [Behaviour; 2] = [Behaviour::healthy(seconds(2)), Behaviour::falling_ill(seconds(2), seconds(15))];

#[tokio::test(start_paused = true)]
async fn falling_while_watched() -> Lawful<()> {
    let web = || web().replicas(2).monitor(seconds(20));
    sweep_bad("second falls, start-first", web().start_first(), &FALLING).await?;
    sweep_bad("second falls, stop-first", web(), &FALLING).await?;
    let part = web().start_first().on_failure(FailureAction::Rollback);
    sweep_bad("second falls, rollback, start-first", part, &FALLING).await
}

#[tokio::test(start_paused = true)]
async fn on_the_way_back_start_first() -> Lawful<()> {
    sweep_bad("bad, start-first", web().start_first(), &MIXED[1..]).await?;
    sweep_bad("bad second, pause, start-first", web().replicas(3).start_first(), &MIXED).await?;
    let part = web().replicas(3).start_first().on_failure(FailureAction::Rollback);
    sweep_bad("bad second, rollback, start-first", part, &MIXED).await
}

#[tokio::test(start_paused = true)]
async fn on_the_way_back_stop_first() -> Lawful<()> {
    sweep_bad("bad, stop-first", web(), &MIXED[1..]).await?;
    sweep_bad(
        "bad, stop-first, no healthcheck",
        web().behaving([Behaviour::plain()]),
        &[Behaviour::exits(seconds(2), 1)],
    )
    .await?;
    sweep_bad("bad, container_name, volume", web().container_name("the-web").volume("/data"), &MIXED[1..]).await?;
    sweep_bad("bad second, pause, stop-first", web().replicas(2), &MIXED).await?;
    let part = web().replicas(3).on_failure(FailureAction::Rollback);
    sweep_bad("bad second, rollback, stop-first", part, &MIXED).await
}

/// An engine may carry out what it gives no answer to.
#[tokio::test(start_paused = true)]
async fn what_was_disconnected_is_connected() -> Lawful<()> {
    let scenario = upgrade("1 start-first", web().start_first());
    let calls = Trial::new(&scenario).run(&scenario.new, None).await?.calls;
    for (at, call) in calls.iter().enumerate().filter(|(_, call)| call.line.starts_with("disconnect ")) {
        let mut trial = Trial::new(&scenario);
        let kind = FaultKind::FailsAfter(ErrorKind::Unreachable);
        let ran = trial.run(&scenario.new, Some(Fault { at, kind })).await?;
        let whom = call.line.split(' ').nth(1).unwrap_or_default();
        let next = ran.calls.iter().skip(at + 1).find(|call| call.writes && call.line.contains(whom));
        let is_connected = next.is_some_and(|call| call.line.starts_with("connect "));
        trial.demand(is_connected, &format!("after a {} without an answer comes a connect", call.line))?;
    }
    Ok(())
}
