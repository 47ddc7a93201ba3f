//! One service's update: its slots, batch by batch, and what becomes of them.
//!
//! What has come in is watched for as long as the policy's `monitor` says. Old containers are kept, stopped, until all
//! is proven: only then they are removed. A failure, at once or while being watched, counts as one of a slot, and the
//! policy tells what it means for the others: a [`Course`] goes through slots under one of the two policies.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::{self, LocalBoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::condition::{can_be_steered, has_completed, is_running, is_serving};
use super::exchange::{Context, Exchange, Failed, Member};
use super::plan::{ServicePlan, Slot, Successor};
use super::roll::Broken;
use super::{naming, traffic};
use crate::compose::policy::{FailureAction, UpdatePolicy};
use crate::engine::{self, Container, Engine, State};
use crate::names::ContainerId;
use crate::report::{Event, Step};

/// An update whose slots were all begun, or that has failed.
pub(super) struct Update<'a, E> {
    context: &'a Context<'a, E>,
    plan: &'a ServicePlan,
    course: Course<'a, E>,
    begin: Instant,
}

impl<'a, E: Engine> Update<'a, E> {
    /// Exchanges slots until all are through, or one's failure ends it.
    pub(super) async fn run(
        context: &'a Context<'a, E>,
        plan: &'a ServicePlan,
        containers: &BTreeMap<&ContainerId, &Container>,
    ) -> Self {
        let begin = Instant::now();
        let service = context.services.get(&plan.service);
        let fixed = service.and_then(naming::fixed);
        let pinned = service.is_some_and(traffic::is_pinned);
        let names = naming::assign(plan, fixed, containers);
        let pairs: Vec<_> =
            plan.slots.iter().map(|slot| pair(plan, slot, containers, &names, (fixed.is_some(), pinned))).collect();
        context.reporter.report(&Event::ServiceBegun {
            service: &plan.service,
            slots: pairs.len(),
            order: plan.update.order,
        });
        let mut course = Course::new(context, plan, &plan.update, pairs.len());
        course.exchange.witness = context.witness;
        course.run(&pairs).await;
        Self { context, plan, course, begin }
    }

    /// Whether all is well so far, but not proven yet.
    pub(super) fn is_watched(&self) -> bool {
        self.course.failure().is_none() && !self.course.windows.is_empty()
    }

    /// Waits until all is proven, and leaves things as the policy asks.
    pub(super) async fn conclude(mut self) -> Result<(), Broken> {
        let Self { context, plan, .. } = self;
        self.course.settle().await;
        let rolls_back = self.course.rolls_back();
        let Course { finished, tolerated, fatal, .. } = self.course;
        let broken =
            |failed, rolled_back| Broken { service: plan.service.clone(), failed, rolled_back, untouched: Vec::new() };
        let Some(failed) = fatal.or(tolerated) else {
            commit(context, plan, &finished).await.map_err(|error| broken(Failed::Unfinished(error), false))?;
            context.reporter.report(&Event::ServiceDone { service: &plan.service, took: self.begin.elapsed() });
            return Ok(());
        };
        if rolls_back && !finished.is_empty() {
            return Err(match roll_back(context, plan, &finished).await {
                Ok(()) => broken(failed, true),
                Err(Failed::Unfit(reason)) => {
                    context.reporter.report(&Event::Warning(&format!("the rollback did not get through: {reason}")));
                    broken(failed, false)
                }
                // Neither version is to blame, so that this is what there is to tell; why it was begun is not lost.
                Err(cut_off) => {
                    if let Failed::Unfit(reason) = &failed {
                        let service = &plan.service;
                        let warning = format!("{service} was being rolled back, as its new version {reason}");
                        context.reporter.report(&Event::Warning(&warning));
                    }
                    broken(cut_off, false)
                }
            });
        }
        // What has been replaced so far is done with; the next run does the rest.
        let answers = matches!(failed, Failed::Unfit(_) | Failed::Cancelled);
        if answers && let Err(error) = commit(context, plan, &finished).await {
            context.reporter.report(&Event::Warning(&error.to_string()));
        }
        Err(broken(failed, finished.is_empty()))
    }
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

    /// The way back.
    fn reversed(&self) -> Self {
        Self {
            // What was in before this run stays in.
            outgoing: self.incoming.clone().filter(|member| !member.was_in()).map(as_running),
            // Only what served before comes back.
            incoming: self.outgoing.clone().filter(|member| member.restores),
            again: None,
        }
    }
}

/// A way through slots.
struct Course<'a, E> {
    exchange: Exchange<'a, E>,
    /// The number of slots.
    total: usize,
    /// Those that are exchanged, be it that they are still watched.
    finished: Vec<Pair>,
    /// Those that are watched.
    windows: FuturesUnordered<LocalBoxFuture<'a, (Pair, Result<(), Failed>)>>,
    /// Ends watching.
    enough: CancellationToken,
    /// How many slots have failed.
    failures: usize,
    /// The first failure of which the policy tells what it means.
    tolerated: Option<Failed>,
    /// One that no policy can put up with.
    fatal: Option<Failed>,
}

impl<'a, E: Engine> Course<'a, E> {
    fn new(context: &'a Context<'a, E>, plan: &'a ServicePlan, policy: &'a UpdatePolicy, total: usize) -> Self {
        let fixed_name = context.services.get(&plan.service).and_then(naming::fixed).is_some();
        let (service, drain, steers) = (&plan.service, plan.drain, plan.steers);
        Self {
            exchange: Exchange { context, service, policy, drain, steers, fixed_name, witness: None },
            total,
            finished: Vec::new(),
            windows: FuturesUnordered::new(),
            enough: CancellationToken::new(),
            failures: 0,
            tolerated: None,
            fatal: None,
        }
    }

    /// Exchanges pairs batch by batch, until it is through or ends.
    async fn run(&mut self, pairs: &[Pair]) {
        let exchange = self.exchange;
        let policy = exchange.policy;
        let cancel = exchange.context.cancel;
        let batch = policy.parallelism.unwrap_or(pairs.len()).max(1);
        // What goes without something coming in does so neither beside what is still to be proven, nor if that has failed.
        let groups = pairs.chunk_by(|one, next| one.brings_in() == next.brings_in());
        for (index, batch) in groups.flat_map(|group| group.chunks(batch)).enumerate() {
            let takes_out = batch.iter().any(|pair| pair.brings_in() != Some(true));
            if takes_out {
                self.settle().await;
            }
            if self.ends() {
                return;
            }
            if self.failures > 0 && takes_out {
                continue;
            }
            if index > 0 && !policy.delay.is_zero() {
                self.pause(policy.delay).await;
            }
            if cancel.reason().is_some() {
                self.fail(Failed::Cancelled);
            }
            if self.ends() {
                return;
            }
            let exchanges = batch.iter().map(async |pair| match &pair.again {
                Some(member) => exchange.restart(member).await.map(|()| None),
                None => exchange.run(pair.outgoing.as_ref(), pair.incoming.as_ref()).await,
            });
            let results = self.beside_windows(future::join_all(exchanges)).await;
            for (pair, result) in batch.iter().zip(results) {
                match result {
                    Ok(started) => self.finish(pair, started),
                    Err(failed) => self.fail(failed),
                }
            }
        }
    }

    /// Waits before the next batch, unless something happens by which there is none.
    async fn pause(&mut self, delay: Duration) {
        let cancel = self.exchange.context.cancel;
        let over = sleep(delay);
        tokio::pin!(over);
        while !self.ends() {
            tokio::select! {
                () = &mut over => return,
                () = cancel.requested() => return,
                Some((pair, watched)) = self.windows.next() => self.close(&pair, watched),
            }
        }
    }

    /// Takes note of a slot that is exchanged, and opens its window if something was started that is there to stay.
    fn finish(&mut self, pair: &Pair, started: Option<Instant>) {
        self.finished.push(pair.clone());
        let aside = &self.exchange.context.aside;
        aside.borrow_mut().extend(pair.outgoing.iter().map(|member| member.container.id.clone()));
        let (Some(since), Some(incoming)) = (started, pair.incoming.clone()) else { return };
        if self.exchange.policy.monitor.is_none() {
            return;
        }
        let (exchange, pair, enough) = (self.exchange, pair.clone(), self.enough.clone());
        let window = async move {
            let watched = exchange.watch(pair.outgoing.as_ref(), &incoming, since, &enough).await;
            (pair, watched)
        };
        self.windows.push(window.boxed_local());
    }

    /// Does some work while windows are open.
    async fn beside_windows<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                result = &mut work => return result,
                Some((pair, watched)) = self.windows.next() => self.close(&pair, watched),
            }
        }
    }

    /// Waits until no window is open any more. If all is to be taken back anyway, there is nothing to watch.
    async fn settle(&mut self) {
        loop {
            if self.rolls_back() {
                self.enough.cancel();
            }
            let Some((pair, watched)) = self.windows.next().await else { return };
            self.close(&pair, watched);
        }
    }

    /// Takes note of how a window has ended.
    fn close(&mut self, pair: &Pair, watched: Result<(), Failed>) {
        let Err(failed) = watched else { return };
        // One that was not watched to the end has come in all the same.
        if !matches!(failed, Failed::Cancelled) {
            let id = |pair: &Pair| pair.incoming.as_ref().map(|member| member.container.id.clone());
            self.finished.retain(|other| id(other) != id(pair));
            let aside = &self.exchange.context.aside;
            aside.borrow_mut().retain(|id| pair.outgoing.as_ref().is_none_or(|member| member.container.id != *id));
        }
        self.fail(failed);
    }

    fn fail(&mut self, failed: Failed) {
        if matches!(failed, Failed::Unfit(_)) {
            self.failures += 1;
            self.tolerated.get_or_insert(failed);
        } else {
            self.fatal.get_or_insert(failed);
        }
    }

    fn failure(&self) -> Option<&Failed> {
        self.fatal.as_ref().or(self.tolerated.as_ref())
    }

    /// Whether no more slots are to be begun.
    fn ends(&self) -> bool {
        let policy = self.exchange.policy;
        let tolerates = is_tolerated(self.failures, self.total, policy.max_failure_ratio)
            || policy.failure_action == FailureAction::Continue;
        self.fatal.is_some() || !tolerates
    }

    /// Whether what is finished is to be taken back.
    fn rolls_back(&self) -> bool {
        self.fatal.is_none() && self.ends() && self.exchange.policy.failure_action == FailureAction::Rollback
    }
}

/// Whether the share of failed replicas is one that the policy puts up with.
fn is_tolerated(failures: usize, total: usize, max_failure_ratio: f64) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "numbers of replicas are small")]
    let ratio = failures as f64 / total.max(1) as f64;
    ratio <= max_failure_ratio
}

/// Takes finished replicas back, the last one first. Fails if not all of them were. Never rolled back itself.
async fn roll_back<E: Engine>(context: &Context<'_, E>, plan: &ServicePlan, finished: &[Pair]) -> Result<(), Failed> {
    context.reporter.report(&Event::RollingBack { service: &plan.service, slots: finished.len() });
    let reversed: Vec<_> = finished.iter().rev().map(Pair::reversed).collect();
    let mut course = Course::new(context, plan, &plan.rollback, reversed.len());
    course.run(&reversed).await;
    course.settle().await;
    if let Err(error) = commit(context, plan, &course.finished).await {
        context.reporter.report(&Event::Warning(&error.to_string()));
    }
    course.fatal.or(course.tolerated).map_or(Ok(()), Err)
}

/// A container that was created when it was observed and has been brought in since.
fn as_running(mut member: Member) -> Member {
    member.container.state = State::Running;
    member.container.networks.clone_from(&member.home);
    // Should what it makes room for turn out to be worse, it serves again, for which it has to be started again.
    member.restores = true;
    member.disposable = false;
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
    (fixed, pinned): (bool, bool),
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
    // A healthcheck may be wrong.
    let serves = |container: &Container| is_serving(container) || plan.unserved && is_running(container);
    let member = |container: &Container, incoming: bool| Member {
        container: container.clone(),
        home: if pinned || !incoming && !can_be_steered(container) {
            container.networks.clone()
        } else if incoming {
            traffic::published(container, &plan.aliases, names.get(&container.id).map(String::as_str))
        } else {
            traffic::found(container, &plan.service, &plan.aliases)
        },
        name: if incoming { names.get(&container.id).cloned() } else { Some(naming::proper(container, None)) },
        // One that makes room for its own successor does so when that is ready for it.
        yields: fixed && matches!(slot, Slot::Remove(_)) && names.values().any(|name| *name == container.name),
        restores: !incoming && (serves(container) || plan.interrupted && !is_done(container)),
        disposable: incoming,
        blank: incoming && container.state == State::Created,
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
