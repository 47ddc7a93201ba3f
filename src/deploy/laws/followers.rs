//! What lives in containers of others: it gets a new beginning whenever these do, whatever else has failed, and is
//! never the reason why what could fail early fails late.

use std::borrow::Borrow;

use super::compose::NOWHERE;
use super::scenario::{Part, Scenario, Wish, seconds};
use super::sweeps::sweep;
use super::trial::{Lawful, Ran, Trial, prepare};
use crate::compose::Order;
use crate::compose::order::Condition;
use crate::engine::RestartPolicy;
use crate::engine::fake::{Behaviour, Phase, Record, World};
use crate::error::Kind;
use crate::names::ServiceName;

/// What never becomes healthy.
const BAD: Behaviour = Behaviour::unhealthy(seconds(4));

fn tunnel() -> Part {
    Part::new("tunnel")
}

/// Lives in the tunnel's containers.
fn app() -> Part {
    Part::new("app").joins("tunnel")
}

/// Depends on what lives there.
fn web() -> Part {
    Part::new("web").awaits("app", Condition::Healthy)
}

/// The same, with one service at another version.
fn with(wish: &Wish, service: &str, version: &str) -> Wish {
    let mut wish = wish.clone();
    let service = wish.project.services.get_mut(&ServiceName::new(service)).expect("a service of the project");
    version.clone_into(&mut service.config_hash);
    wish
}

/// The first container of a service.
fn container_of<R: Borrow<Record>>(service: &str, records: impl IntoIterator<Item = R>) -> R {
    let is_of = |record: &R| record.borrow().container.service.as_str() == service;
    records.into_iter().find(is_of).expect("a container")
}

/// Deploys once, from what has been running, and demands that nothing is cut off at the end.
async fn deploy(name: &'static str, old: Wish, new: Wish) -> Lawful<(Trial, Ran)> {
    let scenario = Scenario::update(name, old, new);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&scenario.new, None).await?;
    trial.demand_none("nothing is cut off", &ran.invariants.cut_off(&trial.world))?;
    Ok((trial, ran))
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_made_up_for() -> Lawful<()> {
    let old = Wish::new([tunnel(), app(), web()]);
    let update =
        Scenario::update("a host, its follower, and who depends on that", old.clone(), with(&old, "tunnel", "v2"));
    Trial::new(&update).converge(&update.new).await?;
    sweep(&update.leniently()).await
}

#[tokio::test(start_paused = true)]
async fn the_very_first_goes_in_order() -> Lawful<()> {
    let wish = Wish::new([tunnel(), app(), Part::new("deep").joins("app"), web()]);
    let scenario = Scenario::update("first deployment", wish.clone(), wish).from([]);
    let mut trial = Trial::new(&scenario);
    trial.converge(&scenario.new).await?;
    sweep(&scenario.leniently()).await
}

#[tokio::test(start_paused = true)]
async fn followers_of_followers_and_their_dependents_come_along() -> Lawful<()> {
    let deep = Part::new("deep").joins("app");
    let old = Wish::new([tunnel(), app(), deep, web().restarts_with("deep")]);
    let (mut trial, ran) = deploy("a chain", old.clone(), with(&old, "tunnel", "v2")).await?;
    trial.demand(ran.kind().is_none(), "it succeeds")?;
    assert_eq!(ran.invariants.replaced(&trial.world).len(), 3, "all but web, which is restarted");
    trial.converge(&with(&old, "tunnel", "v2")).await
}

#[tokio::test(start_paused = true)]
async fn what_was_cut_off_by_hand_is_restarted() -> Lawful<()> {
    let wish = Wish::new([tunnel(), app(), web()]);
    let mut before = wish.deployed();
    container_of("tunnel", before.iter_mut()).phase = Phase::Started(World::BEGIN.saturating_sub(seconds(100)));
    let scenario = Scenario::update("a host that was restarted", wish.clone(), wish.clone()).from(before);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&wish, None).await?;
    trial.demand_none("containers stay what they are", &ran.invariants.replaced(&trial.world))?;
    trial.converge(&wish).await
}

#[tokio::test(start_paused = true)]
async fn a_bad_host_that_is_taken_back_takes_its_followers_back() -> Lawful<()> {
    let deep = || Part::new("deep").joins("app");
    let old = Wish::new([tunnel(), app(), deep(), web()]);
    let new = Wish::new([tunnel().version("v2").behaving([BAD]), app().version("v2"), deep(), web()]);
    let (mut trial, ran) = deploy("a bad host", old.clone(), new).await?;
    trial.demand(ran.kind() == Some(Kind::RolledBack), "the old version serves")?;
    trial.converge(&old).await
}

#[tokio::test(start_paused = true)]
async fn an_unrelated_failure_leaves_no_follower_behind() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let old = Wish::new([tunnel(), app(), web(), Part::new("zoo").order(order)]);
        let zoo = Part::new("zoo").order(order).version("v2").behaving([BAD]);
        let new = Wish::new([tunnel().version("v2"), app(), web(), zoo]);
        let (mut trial, ran) = deploy("an unrelated failure", old.clone(), new).await?;
        trial.demand(ran.kind() == Some(Kind::Incomplete), "it stops half-way")?;
        trial.converge(&old.at("v3")).await?;
    }
    Ok(())
}

/// Whether it comes with the host, or the host is there already and they have been cut off by hand.
#[tokio::test(start_paused = true)]
async fn a_bad_follower_leaves_no_other_behind() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        let other = || Part::new("other").joins("tunnel").order(order);
        // Stopped, the old one could not be put back: its host is gone.
        let old = Wish::new([app().start_first(), other(), tunnel(), web()]);
        let bad = || app().version("v2").behaving([BAD]);
        let new = Wish::new([bad().start_first(), other(), tunnel().version("v2"), web()]);
        let scenario = Scenario::update("a bad follower", old.clone(), new.clone());
        let mut trial = Trial::new(&scenario);
        for _ in 0..2 {
            let ran = trial.run(&new, None).await?;
            trial.demand(ran.kind().is_some(), "it does not get through")?;
            trial.demand_none("the other is fine", &others_cut_off(&trial, &ran))?;
        }
        trial.converge(&old.at("v3")).await?;

        let old = Wish::new([app().order(order), other(), tunnel(), web()]);
        let mut before = old.deployed();
        container_of("tunnel", before.iter_mut()).phase = Phase::Started(World::BEGIN.saturating_sub(seconds(100)));
        let new = Wish::new([bad().order(order), other(), tunnel(), web()]);
        let scenario = Scenario::update("a bad follower of a host that was restarted", old.clone(), new).from(before);
        let mut trial = Trial::new(&scenario);
        let ran = trial.run(&scenario.new, None).await?;
        trial.demand(ran.kind().is_some(), "it is bad")?;
        trial.demand_none("the other is fine", &others_cut_off(&trial, &ran))?;
        trial.converge(&old.at("v3")).await?;
    }
    Ok(())
}

/// What is cut off, but for the old container of a follower whose new version is bad: nothing can be done for that.
fn others_cut_off(trial: &Trial, ran: &Ran) -> Vec<String> {
    let mut cut_off = ran.invariants.cut_off(&trial.world);
    cut_off.retain(|it| !it.starts_with("app-"));
    cut_off
}

/// A host that is put back was started again.
#[tokio::test(start_paused = true)]
async fn what_has_ended_is_not_started_by_a_failure() -> Lawful<()> {
    let job = || Part::new("job").joins("tunnel").one_shot().restart(RestartPolicy::No);
    let old = Wish::new([tunnel(), app(), job()]);
    let new = Wish::new([tunnel().version("v2").behaving([BAD]), app(), job()]);
    let (trial, ran) = deploy("a job that has ended", old, new).await?;
    trial.demand(ran.kind() == Some(Kind::RolledBack), "the old version serves")?;
    let records = trial.world.records();
    let job = container_of("job", records.values());
    trial.demand(job.phase == Phase::started_ago(seconds(10_000)), "it does not run again")
}

/// What it depends on has become unwell, or has gone.
#[tokio::test(start_paused = true)]
async fn what_was_cut_off_waits_for_nobody() -> Lawful<()> {
    let needy = || app().awaits("sick", Condition::Healthy);
    let sick = || Part::new("sick");
    let old = Wish::new([tunnel(), needy(), sick()]);
    let mut before = old.deployed();
    container_of("sick", before.iter_mut()).behaviour = BAD;
    let new = Wish::new([tunnel().version("v2").behaving([BAD]), needy(), sick()]).only(&["tunnel"]);
    let scenario = Scenario::update("a dependency that is unwell", old, new).from(before);
    let mut trial = Trial::new(&scenario);
    let ran = trial.run(&scenario.new, None).await?;
    trial.demand(ran.kind() == Some(Kind::RolledBack), "the old version serves")?;
    trial.demand_none("nothing is cut off", &ran.invariants.cut_off(&trial.world))
}

#[tokio::test(start_paused = true)]
async fn an_image_that_nobody_has_is_missed_early() -> Lawful<()> {
    let old = Wish::new([tunnel(), app(), web()]);
    let new = Wish::new([tunnel().version("v2"), app().version("v2").image(NOWHERE), web()]);
    let (trial, ran) = deploy("a mistyped image", old, new).await?;
    trial.demand(ran.kind() == Some(Kind::Unchanged), "nothing is begun")
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_is_not_called_an_early_one() -> Lawful<()> {
    let old = Wish::new([tunnel(), app(), web()]);
    let new = Wish::new([tunnel().version("v2"), app().version("v2"), web().version("v2").behaving([BAD])]);
    let (mut trial, ran) = deploy("a bad dependent", old.clone(), new).await?;
    trial.demand(ran.kind() == Some(Kind::Incomplete), "what was updated before stays so")?;
    trial.converge(&old.at("v3")).await
}

#[tokio::test(start_paused = true)]
async fn more_of_a_host_disturbs_nobody() -> Lawful<()> {
    let old = Wish::new([tunnel(), app(), web()]);
    let new = Wish::new([tunnel().replicas(2), app(), web()]);
    let (trial, ran) = deploy("scaling up", old, new).await?;
    trial.demand_none("all containers stay", &ran.invariants.replaced(&trial.world))
}

#[tokio::test(start_paused = true)]
async fn only_what_can_be_created_is_prepared() {
    let old = Wish::new([tunnel(), app(), web()]);
    let mut new = old.at("v2");
    new.request.no_start = true;
    let update = Scenario::update("--no-start", old, new);
    let first = update.clone().from([]);
    assert_eq!(prepare(&Trial::new(&update).world, &update.new).await, (2, 2), "tunnel and web");
    assert_eq!(prepare(&Trial::new(&first).world, &first.new).await, (3, 3), "all");
}
