//! The passes of a deployment. Services that live in containers of others, and whoever depends on such, have to wait
//! until those others are through: only then is it known whose namespaces they are to join. They get a pass of their
//! own.
//!
//! So part of them is prepared after something has changed. Their images are brought in before that, and a failure
//! after that is never said to have changed nothing. If a pass fails, containers whose hosts have changed all the same
//! get a new beginning: neither they nor their hosts have failed.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::aftermath::GO_ON;
use super::followers::{self, CutOff};
use super::plan::{Options, Plan, ServicePlan, Slot};
use super::{Change, Request, Survey, containers, make_plan, observe, rehearsal};
use crate::cancel::Cancel;
use crate::compose::order::Condition;
use crate::compose::{Compose, Loaded, Order, Project};
use crate::engine::{Container, Engine};
use crate::error::{Failure, Kind};
use crate::names::ServiceName;
use crate::report::{Event, Reporter};

/// What all passes share.
pub(super) struct Passes<'a, E, C> {
    pub(super) engine: &'a E,
    pub(super) compose: &'a C,
    pub(super) request: &'a Request,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancel: &'a Cancel,
    /// What has been changed by now, in words.
    pub(super) changed: Vec<String>,
    /// The services that have failed.
    pub(super) failed: RefCell<BTreeSet<ServiceName>>,
}

/// How the passes have ended.
pub(super) struct Passed {
    /// The project as Compose sees it now.
    pub(super) project: Project,
    /// Services that were left out since nothing was to be started.
    pub(super) left_out: BTreeSet<ServiceName>,
    /// What has been changed, in words.
    pub(super) changed: Vec<String>,
}

impl<E: Engine, C: Compose> Passes<'_, E, C> {
    /// Makes all passes that a plan takes.
    pub(super) async fn make(mut self, mut survey: Survey) -> Result<Passed, Failure> {
        let first = survey.containers.clone();
        match self.attempt(&mut survey).await {
            Ok(left_out) => Ok(Passed { project: survey.project, left_out, changed: self.changed }),
            Err(failure) => Err(Box::pin(self.aftercare(failure, &survey, &first)).await),
        }
    }

    /// Makes pass after pass. Returns who was left out. The survey is what the last pass has begun with.
    async fn attempt(&mut self, survey: &mut Survey) -> Result<BTreeSet<ServiceName>, Failure> {
        let mut left_out = BTreeSet::new();
        while !survey.plan.is_settled() {
            let mut later = followers::later(&survey.project, &survey.plan);
            survey.options.considered.retain(|service| !later.contains(service));
            let now = make_plan(&survey.project, &survey.containers, &survey.options)?;
            let updated = now.services.iter().filter(|part| !part.slots.is_empty());
            let updated: Vec<_> = updated.map(|part| part.service.to_string()).collect();
            self.change(&survey.options, self.cancel).make(survey.project.clone(), &survey.containers, now).await?;
            if self.request.no_start {
                let without = followers::uncreatable(&survey.project, &survey.plan, &survey.containers, &later);
                later.retain(|service| !without.contains(service));
                self.note_left_out(&without);
                left_out.extend(without);
            } else {
                self.changed.extend(updated);
            }
            if later.is_empty() {
                break;
            }
            let (Loaded { mut project, model }, containers, _) =
                observe(self.engine, self.compose, self.request).await?;
            // What was found out about their containers still holds: these have not been touched.
            let mut options = Options { considered: later, ..survey.options.clone() };
            let (plan, _) = rehearsal::plan(self.compose, &mut project, &containers, &mut options).await?;
            *survey = Survey { project, model, containers, options, plan };
        }
        Ok(left_out)
    }

    fn change<'b>(&'b self, options: &'b Options, cancel: &'b Cancel) -> Change<'b, E, C> {
        Change {
            engine: self.engine,
            compose: self.compose,
            request: self.request,
            reporter: self.reporter,
            cancel,
            options,
            begun: !self.changed.is_empty(),
            failed: &self.failed,
        }
    }

    fn note_left_out(&self, services: &BTreeSet<ServiceName>) {
        if !services.is_empty() {
            self.reporter.report(&Event::Note(&format!(
                "{} can be created only when what it shares is replaced, which is left to the next deploy",
                listed(services)
            )));
        }
    }

    /// After a failure: gives containers a new beginning that were cut off, and tells how things stand.
    async fn aftercare(&self, failure: Failure, survey: &Survey, first: &[Container]) -> Failure {
        if failure.kind == Kind::Unreachable || self.request.no_start {
            return failure;
        }
        let mut failure = failure;
        let mut lost = BTreeSet::new();
        let mut is_worse = !self.changed.is_empty();
        // Where the engine is away, nobody knows.
        if let Ok(now) = containers(self.engine, &survey.project).await {
            let mut cut_off = followers::cut_off(&survey.project, first, &now);
            if cut_off != CutOff::default() {
                if let Err(second) = self.relieve(&failure, &survey.project, (first, &now), &cut_off).await {
                    self.reporter.report(&Event::Warning(&format!("what was cut off could not be mended: {second}")));
                    is_worse = true;
                }
                if let Ok(now) = containers(self.engine, &survey.project).await {
                    cut_off = followers::cut_off(&survey.project, first, &now);
                }
            }
            lost.extend(cut_off.restarted.into_keys().chain(cut_off.replaced.into_keys()));
        }
        if !lost.is_empty() {
            is_worse = true;
            failure = failure.hint(format!(
                "Cut off from what it shared with another container until it is deployed: {}.",
                listed(&lost)
            ));
        }
        if !self.changed.is_empty() {
            failure = failure.hint(stays(&self.changed));
        }
        if is_worse && matches!(failure.kind, Kind::Unchanged | Kind::RolledBack) {
            let unprepared = failure.kind == Kind::Unchanged;
            failure.kind = Kind::Incomplete;
            if unprepared {
                failure = failure.hint(GO_ON);
            }
        }
        failure
    }

    /// Gives containers a new beginning whose hosts were started again or replaced.
    async fn relieve(
        &self,
        failure: &Failure,
        project: &Project,
        (first, now): (&[Container], &[Container]),
        cut_off: &CutOff,
    ) -> Result<(), Failure> {
        let none = cut_off.restarted.is_empty();
        let restarted = if none { Ok(()) } else { self.restart(project, now, first, cut_off).await };
        // To create containers takes its time, which somebody who interrupts does not have.
        if matches!(failure.kind, Kind::Interrupted | Kind::Terminated) {
            return restarted;
        }
        let mut outcome = restarted;
        // Whoever has failed would fail again. The others go one by one, so that none is in the way of another.
        let failed = self.failed.borrow().clone();
        for (follower, host) in cut_off.replaced.iter().filter(|(follower, _)| !failed.contains(*follower)) {
            let begun = Box::pin(self.begin_anew(follower, host)).await;
            outcome = outcome.and(begun);
        }
        outcome
    }

    /// Replaces the containers of a service whose host was replaced.
    async fn begin_anew(&self, follower: &ServiceName, host: &ServiceName) -> Result<(), Failure> {
        let considered = BTreeSet::from([follower.clone()]);
        self.note_relief(&considered);
        let (Loaded { mut project, model }, containers, _) = observe(self.engine, self.compose, self.request).await?;
        let renew_volumes = self.request.renew_anonymous_volumes;
        let mut options = Options { considered, renew_volumes, ..Options::default() };
        let (plan, _) = rehearsal::plan(self.compose, &mut project, &containers, &mut options).await?;
        let mut again = Passes { changed: vec![host.to_string()], failed: RefCell::default(), ..*self };
        again.attempt(&mut Survey { project, model, containers, options, plan }).await.map(drop)
    }

    /// Restarts containers whose hosts were started again. They stay what they are, whatever the files say by now.
    async fn restart(
        &self,
        project: &Project,
        now: &[Container],
        first: &[Container],
        cut_off: &CutOff,
    ) -> Result<(), Failure> {
        let mut project = project.clone();
        let considered: BTreeSet<_> = cut_off.restarted.keys().cloned().collect();
        for name in &considered {
            if let Some(service) = project.services.get_mut(name) {
                service.update.order = Order::StopFirst;
                // They were at work already, whatever has become of what they depend on.
                service.depends_on.values_mut().for_each(|dependency| dependency.condition = Condition::Started);
            }
        }
        self.note_relief(&considered);
        let options = Options { considered, ..Options::default() };
        let plan = make_plan(&project, now, &options)?;
        let restarts = |part: ServicePlan| {
            let ids = cut_off.restarted.get(&part.service).into_iter().flatten();
            let slots = ids.filter(|id| first.iter().any(|it| it.id == **id)).map(|id| Slot::Restart(id.clone()));
            ServicePlan { slots: slots.collect(), kept: Vec::new(), discarded: Vec::new(), ..part }
        };
        let plan = Plan { services: plan.services.into_iter().map(restarts).collect(), ..plan };
        // As with old containers that are to serve again: whoever interrupts wants to leave, but not without this.
        self.change(&options, &Cancel::new()).make(project, now, plan).await
    }

    fn note_relief(&self, services: &BTreeSet<ServiceName>) {
        self.reporter.report(&Event::Note(&format!(
            "{} was cut off from what it shares with another container, and begins anew",
            listed(services)
        )));
    }
}

/// The failure of something that could have failed early, if something had not been changed already.
pub(super) fn belated(failure: Failure, changed: &[String]) -> Failure {
    if failure.kind != Kind::Unchanged || changed.is_empty() {
        return failure;
    }
    Failure { kind: Kind::Incomplete, ..failure }.hint(stays(changed)).hint(GO_ON)
}

fn stays(changed: &[String]) -> String {
    format!("Changed before that, and stays so: {}.", changed.join(", "))
}

fn listed(services: &BTreeSet<ServiceName>) -> String {
    services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
}
