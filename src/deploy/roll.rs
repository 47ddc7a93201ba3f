//! The executor: carries out a prepared plan, service by service, batch by batch.
//!
//! Whose turn it is, [`Turns`] tells. A service whose update fails is left in the state its policy asks for; services
//! that have not begun by then are not touched. Old containers are kept, stopped, until their service has converged.

use std::collections::BTreeMap;

use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, future};
use tokio::time::{Instant, sleep};

use super::condition::{has_completed, is_serving};
use super::exchange::{Context, Exchange, Failed, Member};
use super::plan::{Plan, ServicePlan, Slot, Successor};
use super::turns::Turns;
use super::{dependencies, naming, pre_start, traffic};
use crate::compose::policy::{FailureAction, UpdatePolicy};
use crate::engine::{self, Container, Engine};
use crate::names::{ContainerId, ServiceName};
use crate::report::{Event, Step};

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

/// One replica's containers.
#[derive(Clone, Debug)]
struct Pair {
    outgoing: Option<Member>,
    incoming: Option<Member>,
    /// The container that is restarted, in which case there are no others.
    again: Option<Member>,
}

impl Pair {
    /// Whether it brings in a container that was not in before; `None` if it brings in none at all.
    fn brings_in(&self) -> Option<bool> {
        self.incoming.as_ref().map(|member| !member.was_in())
    }
}

/// Carries out a plan whose successors all exist.
pub(super) async fn roll<E: Engine>(
    context: &Context<'_, E>,
    plan: &Plan,
    containers: &[Container],
) -> Result<(), Broken> {
    let by_id = containers.iter().map(|container| (&container.id, container)).collect();
    let serves = |name: &ServiceName| containers.iter().any(|it| !it.one_off && it.service == *name && is_serving(it));
    let mut turns = Turns::new(plan, context.services, serves);
    let mut busy = FuturesUnordered::new();
    let mut updated = false;
    let mut failures: Vec<Broken> = Vec::new();
    let mut untouched = Vec::new();
    loop {
        for service in turns.begin(busy.is_empty()) {
            let turn = take_turn(context, service, &by_id);
            busy.push(async { (&service.service, turn.await) });
        }
        let Some((service, result)) = busy.next().await else { break };
        turns.end(service);
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

/// Rolls a service once what it depends on is as it has to be, and its `pre_start` hooks have run.
async fn take_turn<E: Engine>(
    context: &Context<'_, E>,
    plan: &ServicePlan,
    containers: &BTreeMap<&ContainerId, &Container>,
) -> Result<(), Broken> {
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
    roll_service(context, plan, containers).await
}

async fn roll_service<E: Engine>(
    context: &Context<'_, E>,
    plan: &ServicePlan,
    containers: &BTreeMap<&ContainerId, &Container>,
) -> Result<(), Broken> {
    let begin = Instant::now();
    let broken =
        |failed, rolled_back| Broken { service: plan.service.clone(), failed, rolled_back, untouched: Vec::new() };
    let fixed = context.services.get(&plan.service).and_then(naming::fixed);
    let names = naming::assign(plan, fixed, containers);
    let pairs: Vec<_> = plan.slots.iter().map(|slot| pair(plan, slot, containers, &names, fixed.is_some())).collect();
    context.reporter.report(&Event::ServiceBegun {
        service: &plan.service,
        slots: pairs.len(),
        order: plan.update.order,
    });
    let exchange = exchange(context, plan, &plan.update);
    let (finished, failure) = exchange_all(&exchange, &pairs).await;
    let Some(failed) = failure else {
        commit(context, plan, &finished).await.map_err(|error| broken(Failed::Unfinished(error), false))?;
        context.reporter.report(&Event::ServiceDone { service: &plan.service, took: begin.elapsed() });
        return Ok(());
    };
    let unfit = matches!(failed, Failed::Unfit(_));
    if unfit && plan.update.failure_action == FailureAction::Rollback && !finished.is_empty() {
        let rolled_back = roll_back(context, plan, &finished).await;
        return Err(broken(failed, rolled_back));
    }
    // What has been replaced so far is done with; the next run does the rest.
    let answers = unfit || matches!(failed, Failed::Cancelled);
    if answers && let Err(error) = commit(context, plan, &finished).await {
        context.reporter.report(&Event::Warning(&error.to_string()));
    }
    Err(broken(failed, finished.is_empty()))
}

fn exchange<'a, E>(context: &'a Context<'a, E>, plan: &'a ServicePlan, policy: &'a UpdatePolicy) -> Exchange<'a, E> {
    let fixed_name = context.services.get(&plan.service).and_then(naming::fixed).is_some();
    Exchange { context, service: &plan.service, policy, drain: plan.drain, steers: plan.steers, fixed_name }
}

/// Exchanges pairs batch by batch. Returns the finished ones, and the failure that ended it, if one did.
async fn exchange_all<E: Engine>(exchange: &Exchange<'_, E>, pairs: &[Pair]) -> (Vec<Pair>, Option<Failed>) {
    let policy = exchange.policy;
    let cancel = exchange.context.cancel;
    let mut finished = Vec::new();
    let mut failures = 0;
    let mut tolerated = None;
    let batch = policy.parallelism.unwrap_or(pairs.len()).max(1);
    // What goes without something coming in does so neither beside what is still to be proven, nor if that has failed.
    let groups = pairs.chunk_by(|one, next| one.brings_in() == next.brings_in());
    for (index, batch) in groups.flat_map(|group| group.chunks(batch)).enumerate() {
        if failures > 0 && batch.iter().any(|pair| pair.brings_in() != Some(true)) {
            continue;
        }
        if index > 0 && !policy.delay.is_zero() {
            tokio::select! {
                () = sleep(policy.delay) => {}
                () = cancel.requested() => {}
            }
        }
        if cancel.reason().is_some() {
            return (finished, Some(Failed::Cancelled));
        }
        let exchanges = batch.iter().map(async |pair| match &pair.again {
            Some(member) => exchange.restart(member).await,
            None => exchange.run(pair.outgoing.as_ref(), pair.incoming.as_ref()).await,
        });
        let results = future::join_all(exchanges).await;
        let mut fatal = None;
        for (pair, result) in batch.iter().zip(results) {
            match result {
                Ok(()) => finished.push(pair.clone()),
                Err(failed @ Failed::Unfit(_)) => {
                    failures += 1;
                    tolerated.get_or_insert(failed);
                }
                Err(failed) => fatal = Some(failed),
            }
        }
        let ends = !is_tolerated(failures, pairs.len(), policy.max_failure_ratio)
            && policy.failure_action != FailureAction::Continue;
        if fatal.is_some() || ends {
            return (finished, fatal.or(tolerated));
        }
    }
    (finished, tolerated)
}

/// Whether the share of failed replicas is one that the policy puts up with.
fn is_tolerated(failures: usize, total: usize, max_failure_ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "numbers of replicas are small")]
    let ratio = failures as f64 / total.max(1) as f64;
    ratio <= max_failure_ratio
}

/// Takes finished replicas back, the last one first. Returns whether all of them were. Never rolled back itself.
async fn roll_back<E: Engine>(context: &Context<'_, E>, plan: &ServicePlan, finished: &[Pair]) -> bool {
    context.reporter.report(&Event::RollingBack { service: &plan.service, slots: finished.len() });
    let exchange = exchange(context, plan, &plan.rollback);
    let reversed: Vec<_> = finished
        .iter()
        .rev()
        .map(|pair| Pair {
            // What was in before this run stays in.
            outgoing: pair.incoming.clone().filter(|member| !member.was_in()).map(as_running),
            // Only what served before comes back.
            incoming: pair.outgoing.clone().filter(|member| member.restores),
            again: None,
        })
        .collect();
    let (taken_back, failure) = exchange_all(&exchange, &reversed).await;
    if let Err(error) = commit(context, plan, &taken_back).await {
        context.reporter.report(&Event::Warning(&error.to_string()));
    }
    if let Some(Failed::Unfit(reason)) = &failure {
        context.reporter.report(&Event::Warning(&format!("the rollback did not get through: {reason}")));
    }
    failure.is_none()
}

/// A container that was created when it was observed and has been brought in since.
fn as_running(mut member: Member) -> Member {
    member.container.state = engine::State::Running;
    member.container.networks.clone_from(&member.home);
    // Should what it makes room for turn out to be worse, it serves again.
    member.restores = true;
    member
}

/// Removes the containers that were exchanged for others, or for nothing. Their volumes stay, as they hold data, unless
/// new ones were asked for; those of containers that are taken back hold none that is wanted.
async fn commit<E: Engine>(context: &Context<'_, E>, plan: &ServicePlan, finished: &[Pair]) -> engine::Result<()> {
    let outgoing = finished.iter().filter_map(|pair| Some((pair.outgoing.as_ref()?, pair.incoming.is_some())));
    let removals = outgoing.map(|(member, replaced)| async move {
        let volumes = member.blank || replaced && context.renew_volumes;
        context.engine.remove(&member.container.id, volumes).await?;
        context.reporter.report(&Event::Step {
            service: &plan.service,
            container: &member.container.name,
            step: Step::Removed,
        });
        engine::Result::Ok(())
    });
    future::join_all(removals).await.into_iter().collect::<engine::Result<()>>()?;
    // Only now are the names free that successors are to have.
    let incoming = finished.iter().filter_map(|pair| pair.incoming.as_ref());
    let renamed = incoming.filter_map(|member| {
        let name = member.name.as_ref().filter(|name| **name != member.container.name)?;
        Some(naming::give(context.engine, &member.container, name, context.reporter))
    });
    future::join_all(renamed).await;
    Ok(())
}

fn pair(
    plan: &ServicePlan,
    slot: &Slot,
    containers: &BTreeMap<&ContainerId, &Container>,
    names: &BTreeMap<ContainerId, String>,
    fixed: bool,
) -> Pair {
    let outgoing: Option<&Container> = slot.old().and_then(|id| containers.get(id).copied());
    let restarted: Option<&Container> = match slot {
        Slot::Restart(id) => containers.get(id).copied(),
        _ => None,
    };
    // What ends at once must not take over from what runs on, unless the files say that this is its nature.
    let may_complete = plan.may_complete || !outgoing.is_some_and(is_serving);
    // Work that an old version has done is not done again because a new one cannot do its own.
    let is_done = |container: &Container| plan.may_complete && has_completed(container);
    let member = |container: &Container, incoming: bool| Member {
        container: container.clone(),
        home: traffic::published(container, &plan.aliases, names.get(&container.id).map(String::as_str)),
        name: if incoming { names.get(&container.id).cloned() } else { Some(naming::proper(container, None)) },
        // One that makes room for its own successor does so when that is ready for it.
        yields: fixed && matches!(slot, Slot::Remove(_)) && names.values().any(|name| *name == container.name),
        restores: !incoming && (is_serving(container) || plan.interrupted && !is_done(container)),
        disposable: incoming,
        blank: incoming && container.state == engine::State::Created,
        may_complete,
    };
    Pair {
        outgoing: outgoing.map(|container| member(container, false)),
        incoming: match slot.successor() {
            Some(Successor::Adopted(id)) => containers.get(id).map(|container| member(container, true)),
            Some(Successor::Created) | None => None,
        },
        again: restarted.map(|container| member(container, false)),
    }
}
