//! The executor: carries out a prepared plan, service by service.
//!
//! Whose turn it is, [`Turns`] tells; [`Update`] is what is done then. A turn is over when all slots are exchanged: what
//! has come in may still be watched while others have their turns. A service whose update fails is left in the state its
//! policy asks for; services that have not begun by then are not touched.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::condition::is_serving;
use super::exchange::{Context, Failed};
use super::plan::{Plan, ServicePlan, Slot};
use super::turns::Turns;
use super::update::Update;
use super::{dependencies, followers, pre_start};
use crate::engine::{Container, Engine};
use crate::names::{ContainerId, ServiceName};
use crate::report::Event;

/// Why a roll did not get through.
#[derive(Debug)]
pub(super) struct Broken {
    /// The service whose turn it was.
    pub(super) service: ServiceName,
    /// What happened.
    pub(super) failed: Failed,
    /// Whether what had been finished was taken back, if anything was, so that only old containers serve.
    pub(super) rolled_back: bool,
    /// The services that would have been next and were not touched.
    pub(super) untouched: Vec<ServiceName>,
}

/// Carries out a plan whose successors all exist.
pub(super) async fn roll<E: Engine>(
    context: &Context<'_, E>,
    plan: &Plan,
    containers: &[Container],
) -> Result<(), Broken> {
    let by_id = containers.iter().map(|container| (&container.id, container)).collect();
    let serves = |name: &ServiceName| {
        let mut own = containers.iter().filter(|it| !it.one_off && it.service == *name);
        own.any(|it| is_serving(it) && !followers::is_cut_off(context.services, it, containers))
    };
    let mut turns = Turns::new(plan, context.services, serves);
    let mut busy = FuturesUnordered::new();
    let mut watched = FuturesUnordered::new();
    let mut updated = false;
    let mut failures: Vec<Broken> = Vec::new();
    let mut untouched = Vec::new();
    loop {
        for service in turns.begin(busy.is_empty()) {
            let turn = take_turn(context, service, &by_id);
            busy.push(async { (&service.service, turn.await) });
        }
        let (service, result) = tokio::select! {
            Some((service, turn)) = busy.next() => {
                turns.end(service);
                match turn {
                    Ok(Some(update)) => {
                        watched.push(async move { (service, update.conclude().await) });
                        continue;
                    }
                    Ok(None) => (service, Ok(())),
                    Err(broken) => (service, Err(broken)),
                }
            }
            Some(concluded) = watched.next() => concluded,
            else => break,
        };
        let Err(broken) = result else {
            updated = true;
            continue;
        };
        context.failed.borrow_mut().insert(service.clone());
        if broken.is_bad_version() && turns.is_optional(service) {
            let warning = format!("{service} is not fit; what depends on it can do without it, and goes on");
            context.reporter.report(&Event::Warning(&warning));
        } else {
            untouched.extend(turns.call_off());
        }
        failures.push(broken);
    }
    // What has been updated stays so.
    let rolled_back = !updated && failures.iter().all(|broken| broken.rolled_back);
    let Some(worst) = failures.iter().position(Broken::is_unreachable).or_else(|| (!failures.is_empty()).then_some(0))
    else {
        return Ok(());
    };
    let worst = failures.swap_remove(worst);
    for other in &failures {
        if let Failed::Unfit(reason) | Failed::Stranded(reason) | Failed::Unmet(reason) = &other.failed {
            let service = &other.service;
            context.reporter.report(&Event::Warning(&format!("{service} has failed, too: it {reason}")));
        }
    }
    Err(Broken { rolled_back, untouched, ..worst })
}

impl Broken {
    /// Whether a version is to blame, neither the engine nor the user.
    fn is_bad_version(&self) -> bool {
        matches!(self.failed, Failed::Unfit(_) | Failed::Unmet(_))
    }
}

/// Updates a service once what it depends on is as it has to be, and its `pre_start` hooks have run. Returns the update if
/// it is not through, as something is still watched.
async fn take_turn<'a, E: Engine>(
    context: &'a Context<'a, E>,
    plan: &'a ServicePlan,
    containers: &BTreeMap<&ContainerId, &Container>,
) -> Result<Option<Update<'a, E>>, Broken> {
    let starts = |slot: &Slot| slot.successor().is_some() || matches!(slot, Slot::Restart(_));
    let prepared = async {
        if plan.slots.iter().any(starts) {
            dependencies::wait(context, &plan.service).await?;
        }
        pre_start::run(context, plan, containers).await
    };
    if let Err(failed) = prepared.await {
        return Err(Broken { service: plan.service.clone(), failed, rolled_back: true, untouched: Vec::new() });
    }
    let update = Update::run(context, plan, containers).await;
    if update.is_watched() { Ok(Some(update)) } else { update.conclude().await.map(|()| None) }
}
