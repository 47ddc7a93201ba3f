//! One replica's replacement: the steps by which an old container makes room for a new one, and the way back.
//!
//! An [`Exchange`] works in both directions: an update exchanges old for new, a rollback new for old. Until the incoming
//! container is ready, a failure is undone: it is removed, and the outgoing one serves, still or again. From then on
//! there is no way back, only forward: what cannot be finished is left for the next run. But where the policy has a
//! `monitor`, a finished exchange is watched for so long, and undone all the same if the incoming container fails.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::sync::RwLock;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::condition::{can_be_steered, is_serving};
use super::evidence::{self, Culprit};
use super::hooks::Runner;
use super::naming;
use super::pre_start::Launch;
use super::ready::{self, Expectation, FOREVER, Fit, SETTLE, Unready};
use super::traffic::{self, Attachments};
use super::watch::Hub;
use super::witness::Witness;
use crate::cancel::Cancel;
use crate::compose::policy::{Drain, UpdatePolicy};
use crate::compose::{Order, Service};
use crate::engine::{self, Container, Engine, State};
use crate::names::{ContainerId, ProjectName, ServiceName};
use crate::report::{Event, Reporter, Step};

/// What is wrong with a container that has done its work although it was to run on.
const ENDED: &str = "ended by itself, unlike the container it was to replace";

/// What all exchanges of a run share.
#[derive(Debug)]
pub(super) struct Context<'a, E> {
    pub(super) engine: &'a E,
    pub(super) project: &'a ProjectName,
    /// Starts the containers of `pre_start` hooks.
    pub(super) launcher: &'a dyn Launch,
    /// Services whose turn has ended badly: there is nothing of them to wait for.
    pub(super) failed: &'a RefCell<BTreeSet<ServiceName>>,
    /// Old containers that are stopped and kept until their successors are proven: nobody waits for them.
    pub(super) aside: RefCell<BTreeSet<ContainerId>>,
    /// Services to which something came when they were to be drained.
    pub(super) busy: RefCell<BTreeSet<ServiceName>>,
    /// Held alone while a container is reconnected, and together while containers are started: an address that is free for
    /// that moment goes to whoever comes first.
    pub(super) addresses: RwLock<()>,
    /// The dependencies that are waited for; all if `None`.
    pub(super) awaited: Option<&'a BTreeSet<ServiceName>>,
    pub(super) hub: &'a Hub,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancel: &'a Cancel,
    /// What the containers are to be: tells their hooks.
    pub(super) services: &'a BTreeMap<ServiceName, Service>,
    /// `--wait-timeout`.
    pub(super) wait_timeout: Option<Duration>,
    /// `--timeout`.
    pub(super) stop_timeout: Option<Duration>,
    /// Whether anonymous volumes are replaced with the containers (`--renew-anon-volumes`).
    pub(super) renew_volumes: bool,
    /// Who is heard before a replica counts as replaced.
    pub(super) witness: Option<&'a dyn Witness>,
}

/// What the exchanges of one service share.
#[derive(Debug)]
pub(super) struct Exchange<'a, E> {
    pub(super) context: &'a Context<'a, E>,
    pub(super) service: &'a ServiceName,
    pub(super) policy: &'a UpdatePolicy,
    pub(super) drain: Drain,
    /// Whether containers move in and out of DNS names.
    pub(super) steers: bool,
    /// Whether the files name the service's container.
    pub(super) fixed_name: bool,
    /// Who is heard about what has come in.
    pub(super) witness: Option<&'a dyn Witness>,
}

// By hand: an engine need not be copied for this.
impl<E> Clone for Exchange<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Exchange<'_, E> {}

/// A container in an exchange.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Member {
    /// As last observed.
    pub(super) container: Container,
    /// Its attachments when it serves.
    pub(super) home: Attachments,
    /// The name it is to have when it serves, if that is to be seen to.
    pub(super) name: Option<String>,
    /// Whether another one is to have the name that it has, which the files give.
    pub(super) yields: bool,
    /// Whether it is to serve again if the exchange is undone.
    pub(super) restores: bool,
    /// Whether it is removed if the exchange is undone after it came in (otherwise it is stopped and kept).
    pub(super) disposable: bool,
    /// Whether it has never run before this run, so that its own volumes hold nothing that anybody wants.
    pub(super) blank: bool,
    /// Whether it may end by itself, its work being done.
    pub(super) may_complete: bool,
}

impl Member {
    /// Whether it comes in but was in already, thanks to an earlier run: this one only proves it.
    pub(super) fn was_in(&self) -> bool {
        self.disposable && is_serving(&self.container) && self.container.networks == self.home
    }

    /// Whether it stays although its exchange has failed: it was in already, and is not to blame.
    fn stays_after(&self, failed: &Failed) -> bool {
        self.was_in() && !matches!(failed, Failed::Unfit(_))
    }
}

/// An exchange that did not succeed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was begun since a dependency is not as it has to be, and why.
    Unmet(String),
    /// The incoming container is not fit, and why. Undone.
    Unfit(String),
    /// The incoming container is not in, and the outgoing one, which was to serve again, is not fit either, and why.
    Stranded(String),
    /// The user interrupted. Undone.
    Cancelled,
    /// The engine failed before the incoming container served; undone as far as the engine let us.
    Undone(engine::Error),
    /// The engine failed after the incoming container served, so that the outgoing one may serve, too; or in the way
    /// back, so that it may not.
    Unfinished(engine::Error),
}

impl<E: Engine> Exchange<'_, E> {
    /// Exchanges one container for another; either may be missing. Returns when the incoming one was started, if it is
    /// there to stay.
    pub(super) async fn run(
        &self,
        outgoing: Option<&Member>,
        incoming: Option<&Member>,
    ) -> Result<Option<Instant>, Failed> {
        let started = match self.policy.order {
            Order::StartFirst => self.start_first(outgoing, incoming).await,
            Order::StopFirst => self.stop_first(outgoing, incoming).await,
        }?;
        if let Some(incoming) = incoming.filter(|_| started.is_some()) {
            self.hear_witness(outgoing, incoming).await?;
        }
        Ok(started)
    }

    async fn start_first(
        &self,
        outgoing: Option<&Member>,
        incoming: Option<&Member>,
    ) -> Result<Option<Instant>, Failed> {
        let mut started = None;
        if let Some(incoming) = incoming {
            match self.bring_in(incoming, self.context.cancel).await {
                Ok(since) => started = since,
                Err(failed) => {
                    if !incoming.stays_after(&failed) {
                        self.show_failure(incoming, &failed).await;
                        self.discard(incoming).await;
                    }
                    return Err(failed);
                }
            }
        }
        if let Some(outgoing) = outgoing {
            self.take_out(outgoing).await.map_err(Failed::Unfinished)?;
        }
        Ok(started)
    }

    async fn stop_first(
        &self,
        outgoing: Option<&Member>,
        incoming: Option<&Member>,
    ) -> Result<Option<Instant>, Failed> {
        if let Some(outgoing) = outgoing
            && let Err(error) = self.take_out(outgoing).await
        {
            if incoming.is_none() {
                return Err(Failed::Unfinished(error));
            }
            self.restore(outgoing).await?;
            return Err(Failed::Undone(error));
        }
        let Some(incoming) = incoming else { return Ok(None) };
        let named = self.hand_over(outgoing, incoming).await;
        let brought_in = match named {
            Ok(()) => self.bring_in(incoming, self.context.cancel).await,
            Err(error) => Err(Failed::Undone(error)),
        };
        let failed = match brought_in {
            Ok(started) => return Ok(started),
            Err(failed) => failed,
        };
        let stays = incoming.stays_after(&failed);
        if !stays {
            self.show_failure(incoming, &failed).await;
            // The old container may need what the new one has, such as a port. But only when the old one serves is the
            // new one removed: should kerek be killed in between, the next run sees that there is something to put back.
            self.halt(incoming).await;
        }
        if let Some(outgoing) = outgoing
            && (!stays || is_active(&outgoing.container))
        {
            self.put_back(outgoing, incoming).await?;
        }
        if !stays {
            self.discard(incoming).await;
        }
        Err(failed)
    }

    /// Hears the witness, if there is one, about an exchange that is through. If it has seen requests fail, the exchange is
    /// undone.
    async fn hear_witness(&self, outgoing: Option<&Member>, incoming: &Member) -> Result<(), Failed> {
        let Some(witness) = self.witness else { return Ok(()) };
        let verdict = tokio::select! {
            verdict = witness.verdict() => verdict,
            // What has come in by then stays.
            () = self.context.cancel.requested() => Ok(()),
        };
        let Err(reason) = verdict else { return Ok(()) };
        let failed = Failed::Unfit(reason);
        self.show_failure(incoming, &failed).await;
        self.undo(outgoing, incoming).await?;
        Err(failed)
    }

    /// Watches what has come in, and was started at `since`, until the policy's `monitor` is over, or until it is `enough`.
    /// Should it turn out not to be fit, the exchange is undone.
    pub(super) async fn watch(
        &self,
        outgoing: Option<&Member>,
        incoming: &Member,
        since: Instant,
        enough: &CancellationToken,
    ) -> Result<(), Failed> {
        let Some(window) = self.policy.monitor else { return Ok(()) };
        let context = self.context;
        let remaining = window.saturating_sub(since.elapsed());
        if !remaining.is_zero() {
            self.step(incoming, Step::Watched { remaining });
        }
        let events = context.hub.subscribe(&incoming.container.id);
        let until = (since + window, self.works());
        let watched = tokio::select! {
            watched = ready::watch(context.engine, &incoming.container, events, until, context.cancel) => watched,
            () = enough.cancelled() => return Ok(()),
        };
        let failed = match watched {
            Ok(true) if !incoming.may_complete => Failed::Unfit(ENDED.into()),
            Ok(_) => return Ok(()),
            Err(Unready::Unfit(reason)) => Failed::Unfit(reason),
            Err(Unready::Cancelled) => return Err(Failed::Cancelled),
            Err(Unready::Engine(error)) => return Err(Failed::Unfinished(error)),
        };
        self.show_failure(incoming, &failed).await;
        self.undo(outgoing, incoming).await?;
        Err(failed)
    }

    /// Undoes an exchange after which the incoming container was in: the outgoing one serves again, and the other one goes.
    async fn undo(&self, outgoing: Option<&Member>, incoming: &Member) -> Result<(), Failed> {
        let now = self.context.engine.container(&incoming.container.id).await.map_err(Failed::Unfinished)?;
        // One that is gone needs no stopping, just as one that was never started.
        let incoming = &Member { container: now.unwrap_or_else(|| incoming.container.clone()), ..incoming.clone() };
        let stopped = match (self.policy.order, outgoing) {
            (Order::StartFirst, Some(outgoing)) => {
                self.restore(outgoing).await?;
                self.take_out(incoming).await
            }
            (Order::StopFirst, Some(outgoing)) => {
                let stopped = self.take_out(incoming).await;
                self.put_back(outgoing, incoming).await?;
                stopped
            }
            (_, None) => self.take_out(incoming).await,
        };
        self.discard(incoming).await;
        stopped.map_err(Failed::Unfinished)
    }

    /// Puts the outgoing container in the place of the incoming one, which does not run any more.
    async fn put_back(&self, outgoing: &Member, incoming: &Member) -> Result<(), Failed> {
        if let Err(error) = self.hand_over(Some(incoming), outgoing).await {
            self.warn(&error.to_string());
        }
        self.restore(outgoing).await
    }

    /// Stops a container and starts it again, which is not to be interrupted. Whatever goes wrong, it ends up started.
    pub(super) async fn restart(&self, member: &Member) -> Result<(), Failed> {
        let stopped = self.take_out(member).await;
        let mut back = self.bring_back(member).await;
        // It ran before, so it is likely to run again; and there is nothing else to put in its place.
        if back.is_err() {
            back = self.bring_back(member).await;
        }
        back?;
        stopped.map_err(Failed::Undone)
    }

    /// Starts a container, waits until it is ready, and publishes it. Returns when it was started, unless it has done its
    /// work.
    async fn bring_in(&self, member: &Member, cancel: &Cancel) -> Result<Option<Instant>, Failed> {
        let id = &member.container.id;
        let context = self.context;
        let healthcheck = member.container.healthcheck.is_some();
        // Others wait for its work to be done, however long that takes.
        let awaited = member.disposable && self.works();
        let settle = if awaited { FOREVER } else { self.policy.monitor.unwrap_or(SETTLE) };
        let limit = ready::deadline(&member.container, context.wait_timeout, settle);
        let events = context.hub.subscribe(id);
        if !self.steers && member.container.state == State::Created && member.container.networks != member.home {
            // It is found from its start on, so it is not to be reconnected later.
            self.move_to(member, None, &member.home, false).await.map_err(Failed::Undone)?;
        }
        self.step(member, Step::Starting);
        let started = if member.was_in() {
            Ok(())
        } else {
            let _others_may_start = context.addresses.read().await;
            context.engine.start(id).await
        };
        match started {
            Ok(()) => {}
            // The engine refuses to start what cannot run: a missing command, a taken port.
            Err(error) if error.kind == engine::ErrorKind::Refused => {
                return Err(Failed::Unfit(format!("cannot be started: {}", error.message)));
            }
            Err(error) => return Err(Failed::Undone(error)),
        }
        // Not from before: the engine may have taken its time, in which the container did not run.
        let begin = Instant::now();
        let ready = async {
            let hooks_took = self.post_start(member, cancel).await?;
            self.step(member, if awaited { Step::Working } else { Step::Waiting { healthcheck, deadline: limit } });
            let deadline = limit.saturating_add(hooks_took);
            let expected = Expectation { settle, deadline, works: self.works() };
            ready::wait(context.engine, &member.container, events, begin, expected, cancel).await
        };
        let seen = match ready.await {
            Ok(Fit::Ready(seen)) => seen,
            Ok(Fit::Completed) if member.may_complete => {
                self.step(member, Step::Completed);
                return Ok(None);
            }
            Ok(Fit::Completed) => return Err(Failed::Unfit(ENDED.into())),
            Err(Unready::Unfit(reason)) => return Err(Failed::Unfit(reason)),
            Err(Unready::Cancelled) => return Err(Failed::Cancelled),
            Err(Unready::Engine(error)) => return Err(Failed::Undone(error)),
        };
        self.step(member, Step::Ready { took: begin.elapsed() });
        // An earlier run may have left it withdrawn even if this one does not steer.
        let published = !self.steers && member.container.networks == member.home;
        if !published {
            self.publish(member, Some(*seen)).await.map_err(Failed::Undone)?;
        }
        Ok(Some(begin))
    }

    /// Whether the service's containers are there to do some work that others wait for.
    fn works(&self) -> bool {
        self.context.services.get(self.service).is_some_and(|service| service.must_complete)
    }

    /// Gives a container the name that the files give to the only container of its service, before it starts: it may need
    /// to find itself by it. Another one that still has it steps aside. What they are called is looked at, not
    /// remembered: an exchange can go either way, and be cut off at any step.
    async fn hand_over(&self, from: Option<&Member>, to: &Member) -> engine::Result<()> {
        let Some(name) = to.name.as_ref().filter(|_| self.fixed_name) else { return Ok(()) };
        let engine = self.context.engine;
        let id = &to.container.id;
        let Some(now) = engine.container(id).await? else { return Ok(()) };
        if now.name == *name {
            return Ok(());
        }
        if let Some(from) = from {
            self.step_aside(from, name).await?;
        }
        engine.rename(id, name).await
    }

    /// Takes a name from a container that has it.
    async fn step_aside(&self, member: &Member, name: &str) -> engine::Result<()> {
        match self.context.engine.container(&member.container.id).await? {
            Some(now) if now.name == name => self.context.engine.rename(&now.id, &naming::aside(&now)).await,
            _ => Ok(()),
        }
    }

    /// Runs the hooks that follow a start. Returns how long they took, which is not for the container to answer for.
    async fn post_start(&self, member: &Member, cancel: &Cancel) -> Result<Duration, Unready> {
        let Some(service) = self.context.services.get(self.service) else { return Ok(Duration::ZERO) };
        let begin = Instant::now();
        self.runner(member).run("post_start", &service.hooks.post_start, cancel).await?;
        Ok(begin.elapsed())
    }

    /// Runs the hooks that precede a stop. One that fails does not keep the container from being stopped: it is about
    /// to go, its successor may serve already, and a hook may be new in the files and unknown to an old container.
    async fn pre_stop(&self, member: &Member) -> engine::Result<()> {
        let Some(service) = self.context.services.get(self.service) else { return Ok(()) };
        match self.runner(member).run("pre_stop", &service.hooks.pre_stop, &Cancel::new()).await {
            Ok(()) | Err(Unready::Cancelled) => {}
            Err(Unready::Unfit(reason)) => {
                self.warn(&format!("{} {reason}; it is stopped all the same", member.container.name));
            }
            Err(Unready::Engine(error)) => return Err(error),
        }
        Ok(())
    }

    fn runner<'b>(&'b self, member: &'b Member) -> Runner<'b, E> {
        Runner { context: self.context, service: self.service, container: &member.container }
    }

    /// Lets the service's names lead to a container, which may have been `seen` just now.
    async fn publish(&self, member: &Member, seen: Option<Container>) -> engine::Result<()> {
        // Nobody has found the way to a new one yet.
        if self.move_to(member, seen, &member.home, is_serving(&member.container)).await? {
            self.step(member, Step::Published);
        }
        Ok(())
    }

    /// Withdraws a container, leaves it alone until traffic has ceased, and stops it.
    async fn take_out(&self, member: &Member) -> engine::Result<()> {
        let engine = self.context.engine;
        let id = &member.container.id;
        if member.yields
            && let Err(error) = self.step_aside(member, &member.container.name).await
        {
            self.warn(&error.to_string());
        }
        if !is_active(&member.container) {
            // It may have been started since it was looked at.
            return engine.stop(id, self.context.stop_timeout).await;
        }
        // An old one that is unhealthy may serve all the same: healthchecks can be wrong.
        let may_serve = is_serving(&member.container) || !member.disposable && member.container.state == State::Running;
        let withdraws = self.steers && !self.drain.is_off() && may_serve;
        if withdraws && self.move_to(member, None, &traffic::withdrawn(&member.container), true).await? {
            self.step(member, Step::Withdrawn);
            self.step(member, Step::Draining);
            let begin = Instant::now();
            let busy = traffic::drain(engine, id, self.drain).await;
            self.step(member, Step::Drained { took: begin.elapsed(), busy });
            if busy {
                self.note_busy();
            }
        }
        self.pre_stop(member).await?;
        self.step(member, Step::Stopping);
        let begin = Instant::now();
        engine.stop(id, self.context.stop_timeout).await?;
        self.step(member, Step::Stopped { took: begin.elapsed() });
        Ok(())
    }

    /// Reconnects a container so that it has the wanted attachments; if it `is_known`, connections to it live on. It is
    /// looked at first, unless it was `seen` just now. Returns whether anything had to be done.
    async fn move_to(
        &self,
        member: &Member,
        seen: Option<Container>,
        wanted: &Attachments,
        is_known: bool,
    ) -> engine::Result<bool> {
        let engine = self.context.engine;
        let id = &member.container.id;
        if !can_be_steered(&member.container) {
            return Ok(false);
        }
        let _alone = self.context.addresses.write().await;
        let current = match seen {
            Some(seen) => Some(seen),
            None => engine.container(id).await?,
        };
        let Some(current) = current else { return Ok(false) };
        if !traffic::reconnect(engine, id, &current.networks, wanted, is_known).await? {
            return Ok(false);
        }
        if is_known && let Some(after) = engine.container(id).await? {
            for (network, now) in &after.networks {
                let before = current.networks.get(network).map_or("", |before| &before.address);
                if !before.is_empty() && !now.address.is_empty() && before != now.address {
                    self.step(member, Step::AddressChanged { from: before, to: &now.address });
                }
            }
        }
        Ok(true)
    }

    /// Stops at once what is not fit, or is not wanted any more. It does not serve, so that there is nothing to wait for.
    async fn halt(&self, member: &Member) {
        if let Err(error) = self.context.engine.stop(&member.container.id, Some(Duration::ZERO)).await {
            self.warn(&error.to_string());
        }
    }

    /// Undoes [`Exchange::bring_in`]. A container that served before (a rollback's) is stopped and kept.
    async fn discard(&self, member: &Member) {
        if !member.disposable {
            return self.halt(member).await;
        }
        match self.context.engine.remove(&member.container.id, member.blank).await {
            Ok(()) => self.step(member, Step::Removed),
            Err(error) => self.warn(&format!("{error}; it is left behind, the next deploy removes it")),
        }
    }

    /// Undoes [`Exchange::take_out`]. Fails if the container does not serve as it did before.
    async fn restore(&self, member: &Member) -> Result<(), Failed> {
        if !member.restores {
            return Ok(());
        }
        self.bring_back(member).await?;
        self.step(member, Step::Restored);
        Ok(())
    }

    /// Starts a container that was stopped, so that it serves as it did before.
    async fn bring_back(&self, member: &Member) -> Result<(), Failed> {
        if !is_serving(&member.container) && is_active(&member.container) {
            return self.bring_back_unwell(member).await;
        }
        // Whoever interrupts wants to leave, but not without this.
        match self.bring_in(member, &Cancel::new()).await {
            Ok(_) => Ok(()),
            Err(Failed::Unfit(reason)) => {
                // It is all there is: let traffic reach it however unwell it is.
                let published = self.publish(member, None).await;
                let name = &member.container.name;
                let stranded = format!("{name} was to serve again but {reason}");
                self.warn(&stranded);
                if let Err(error) = published {
                    self.warn(&error.to_string());
                }
                Err(Failed::Stranded(stranded))
            }
            Err(Failed::Undone(error)) => Err(Failed::Unfinished(error)),
            Err(failed) => Err(failed),
        }
    }

    /// Starts a container that ran but was not healthy. Nobody waits for it to become better than it was.
    async fn bring_back_unwell(&self, member: &Member) -> Result<(), Failed> {
        let started = {
            let _others_may_start = self.context.addresses.read().await;
            self.context.engine.start(&member.container.id).await
        };
        started.map_err(Failed::Unfinished)?;
        match self.post_start(member, &Cancel::new()).await {
            Ok(_) | Err(Unready::Cancelled) => {}
            Err(Unready::Unfit(reason)) => self.warn(&format!("{}: {reason}", member.container.name)),
            Err(Unready::Engine(error)) => self.warn(&error.to_string()),
        }
        self.publish(member, None).await.map_err(Failed::Unfinished)
    }

    /// Says why a container is not fit, if that is what has failed, with the evidence.
    async fn show_failure(&self, member: &Member, failed: &Failed) {
        let Failed::Unfit(reason) = failed else { return };
        self.step(member, Step::Failed { reason });
        let Container { id, name, .. } = &member.container;
        let culprit = Culprit { service: self.service, id, name };
        evidence::show(self.context.engine, self.context.reporter, culprit, reason).await;
    }

    /// Once a service is enough.
    fn note_busy(&self) {
        if self.context.busy.borrow_mut().insert(self.service.clone()) {
            self.context.reporter.report(&Event::Note(&format!(
                "something still comes to {} when its time to drain is up: connections that last, or somebody who keeps \
                 addresses for longer than that; if it is a proxy, have it ask DNS every second, or give `x-kerek.drain` a \
                 longer `minimum` and `maximum`",
                self.service
            )));
        }
    }

    fn step(&self, member: &Member, step: Step<'_>) {
        self.context.reporter.report(&Event::Step { service: self.service, container: &member.container.name, step });
    }

    fn warn(&self, message: &str) {
        self.context.reporter.report(&Event::Warning(message));
    }
}

/// Whether there is anything to stop.
fn is_active(container: &Container) -> bool {
    !matches!(container.state, State::Created | State::Exited { .. })
}
