//! Configs and secrets, whose content no config hash tells of: another content is a reason to replace containers, the same
//! one is none, and neither is what containers have written themselves.

use super::scenario::{Part, Scenario, Wish};
use super::trial::{Lawful, Trial};
use crate::compose::Order;

fn web(order: Order) -> Part {
    Part::new("web").order(order).replicas(3).file("motd", "old").file("key", "old")
}

/// Deploys another content, beside a service without files. Returns how many containers are replaced by that, by the same
/// again, and by the old one.
async fn refill(part: Part) -> Lawful<[usize; 3]> {
    let old = Wish::new([part, Part::new("db")]);
    let new = old.clone().holding("new");
    let scenario = Scenario::update("another content", old, new);
    let mut trial = Trial::new(&scenario);
    let mut replaced = [0; 3];
    for (wish, replaced) in [&scenario.new, &scenario.new, &scenario.old].into_iter().zip(&mut replaced) {
        let ran = trial.run(wish, None).await?;
        trial.demand(ran.planned_nothing != ran.calls.iter().any(|call| call.writes), "what is planned is done")?;
        *replaced = ran.invariants.replaced(&trial.world).len();
    }
    trial.converge(&scenario.new.at("v2")).await?;
    Ok(replaced)
}

#[tokio::test(start_paused = true)]
async fn another_content_replaces_and_the_same_does_not() -> Lawful<()> {
    for order in [Order::StartFirst, Order::StopFirst] {
        assert_eq!(refill(web(order)).await?, [3, 0, 3], "{order:?}");
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_containers_write_themselves_stays() -> Lawful<()> {
    assert_eq!(refill(web(Order::StartFirst).rewriting()).await?, [0, 0, 0]);
    Ok(())
}
