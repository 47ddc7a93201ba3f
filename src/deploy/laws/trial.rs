//! Runs deployments and demands of them what has to be true at their end; if it is not, tells the whole story.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::compose::FakeCompose;
use super::invariants::Invariants;
use super::scenario::{Scenario, Wish, seconds};
use crate::cancel::Cancel;
use crate::deploy::deploy;
use crate::engine::fake::{Call, Fake, Fault, FaultKind, News, Record, World};
use crate::engine::patient::Patient;
use crate::engine::{Container, ErrorKind, Health};
use crate::error::{Failure, Kind};
use crate::report::{Event, Reporter};

/// A world with all that has happened to it.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) world: Rc<World>,
    /// The time up to which it has got.
    time: Duration,
    news: News,
    lenient: bool,
    /// Names and volumes that are handed down.
    heirlooms: Option<(BTreeSet<String>, BTreeSet<String>)>,
    /// Whether anything has ever gone wrong.
    disturbed: bool,
    story: Vec<String>,
}

/// What is returned where laws may turn out to be broken.
pub(super) type Lawful<T> = Result<T, BrokenLaw>;

/// A law that does not hold, with the story that led to it.
pub(super) struct BrokenLaw(String);

impl fmt::Debug for BrokenLaw {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A run that has come to an end.
#[derive(Debug)]
pub(super) struct Ran {
    /// `None` if it was killed.
    pub(super) result: Option<Result<(), Failure>>,
    pub(super) calls: Vec<Call>,
    pub(super) invariants: Invariants,
    /// Whether it had nothing to do.
    pub(super) planned_nothing: bool,
    fault: Option<Fault>,
}

impl Trial {
    pub(super) fn new(scenario: &Scenario) -> Self {
        let world = Rc::new(World::new(scenario.before.iter().cloned()));
        Self {
            heirlooms: scenario.hands_down.then(|| heirlooms(&world)),
            disturbed: false,
            world,
            time: World::BEGIN,
            news: scenario.news,
            lenient: scenario.lenient,
            story: vec![format!("in scenario: {}", scenario.name)],
        }
    }

    /// The same, from now on on its own.
    pub(super) fn fork(&self) -> Self {
        Self {
            world: Rc::new(self.world.fork(self.time)),
            time: self.time,
            news: self.news,
            lenient: self.lenient,
            heirlooms: self.heirlooms.clone(),
            disturbed: self.disturbed,
            story: self.story.clone(),
        }
    }

    /// Deploys, and demands all that holds for any run, good or bad.
    pub(super) async fn run(&mut self, wish: &Wish, fault: Option<Fault>) -> Lawful<Ran> {
        self.disturbed |= fault.is_some();
        let cancel = Cancel::new();
        let invariants = Invariants::new(&self.world, wish, cancel.clone());
        let fake = Fake::new(self.world.clone(), fault, self.news, cancel.clone(), Box::new(invariants.clone()));
        let wish = Rc::new(wish.clone());
        let compose = FakeCompose::new(fake.clone(), wish.clone());
        let engine = Patient::new(fake.clone());
        let reporter = Reports { fake: fake.clone(), planned_nothing: Cell::new(false) };
        self.tell_start(&wish);
        let run = deploy(&engine, &compose, &wish.request, &reporter, &cancel);
        let ended = tokio::time::timeout(seconds(86_400), async {
            tokio::select! {
                biased;
                () = fake.killed() => None,
                result = run => Some(result.map(drop)),
            }
        })
        .await;
        self.time = self.world.now();
        self.story.extend(fake.log());
        self.tell_end(ended.as_ref().ok());
        self.demand(ended.is_ok(), "every run comes to an end")?;
        self.demand(fake.violations() == 0, "no invariant is broken on the way (see !!!)")?;
        let ran = Ran {
            result: ended.unwrap_or_default(),
            calls: fake.calls(),
            invariants,
            planned_nothing: reporter.planned_nothing.get(),
            fault,
        };
        self.demand_truth(&ran)?;
        Ok(ran)
    }

    /// Deploys without a fault, and demands that it works and that there is nothing to do afterwards.
    pub(super) async fn converge(&mut self, wish: &Wish) -> Lawful<()> {
        if self.is_open(wish) {
            self.rest().await;
        }
        let ran = self.run(wish, None).await?;
        self.demand(matches!(ran.result, Some(Ok(()))), "an undisturbed run of a good version succeeds")?;
        if let Some((names, volumes)) = &self.heirlooms {
            let (names_now, volumes_now) = heirlooms(&self.world);
            self.demand(*volumes == volumes_now, "the same volumes are mounted as before")?;
            // Where a name could not be changed, there is just a warning.
            self.demand(self.disturbed || *names == names_now, "there are the same names as before")?;
        }
        let again = self.run(&wish.clone().unforced(), None).await?;
        self.demand(again.planned_nothing, "after success, there is nothing left to do")?;
        let writes = again.calls.iter().any(|call| call.writes);
        self.demand(!writes, "a run with nothing to do changes nothing")
    }

    /// Whether a container of a wished version that will never be healthy was just started, so that nobody can tell yet.
    fn is_open(&self, wish: &Wish) -> bool {
        let now = self.world.now();
        let wished = |container: &Container| {
            let service = wish.project.services.get(&container.service);
            service.is_some_and(|service| service.config_hash == container.config_hash)
        };
        self.world.records().values().any(|record| {
            let container = record.observe(now);
            let is_starting = container.health == Some(Health::Starting);
            is_starting && !record.behaviour.is_ready(seconds(10_000)) && wished(&container)
        })
    }

    /// Lets time pass.
    pub(super) async fn rest(&mut self) {
        self.story.push("… time passes …".to_owned());
        tokio::time::sleep(seconds(300)).await;
        self.time = self.world.now();
    }

    /// What the result says is true.
    fn demand_truth(&self, ran: &Ran) -> Lawful<()> {
        let world = &self.world;
        let invariants = &ran.invariants;
        match &ran.result {
            None => return Ok(()),
            Some(Ok(())) => {
                self.demand_none("success means that all is as wished", &invariants.unconverged(world))?;
                if !ran.is_refused_a_look() {
                    self.demand_none("success means that all hold what they are to hold", &invariants.unfilled(world))?;
                }
            }
            Some(Err(failure)) => match failure.kind {
                Kind::Unchanged | Kind::RolledBack => {
                    self.demand_none("the old containers serve as before", &invariants.replaced(world))?;
                }
                Kind::Interrupted | Kind::Terminated => {
                    self.demand(ran.is_interrupted(), "nobody is told of an interrupt who did not interrupt")?;
                }
                Kind::Incomplete | Kind::Unreachable => {}
                Kind::Usage | Kind::Locked | Kind::Unconfirmed | Kind::Unfit | Kind::NotExecutable | Kind::NotFound => {
                    self.demand(false, "there is nothing but a project that could be wrong")?;
                }
            },
        }
        if ran.fault.is_none() {
            self.demand_none("no hook leaves a container behind", &invariants.hooks(world))?;
        }
        if ran.is_cut_off() || self.lenient && ran.fault.is_some() {
            return Ok(());
        }
        self.demand_none("every service is as well off as before", &invariants.degraded(world))?;
        if ran.kind() == Some(Kind::Unreachable) {
            return Ok(());
        }
        self.demand_none("nothing is left behind that never ran", &invariants.litter(world))
    }

    /// Fails with the whole story unless `fine`.
    pub(super) fn demand(&self, fine: bool, law: &str) -> Lawful<()> {
        if fine { Ok(()) } else { Err(BrokenLaw(format!("broken law: {law}\n{}\n", self.story.join("\n")))) }
    }

    /// Fails with the whole story if there are any problems.
    pub(super) fn demand_none(&self, law: &str, problems: &[impl fmt::Display]) -> Lawful<()> {
        let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
        self.demand(problems.is_empty(), &format!("{law}; but: {}", problems.join("; ")))
    }

    fn tell_start(&mut self, wish: &Wish) {
        let now = self.world.now();
        self.story.push("there is:".to_owned());
        for record in self.world.records().values() {
            let container = record.observe(now);
            let names: Vec<_> = container
                .networks
                .iter()
                .map(|(network, attachment)| format!("{network}: {}", attachment.aliases.join(", ")))
                .collect();
            self.story.push(format!(
                "    {:<16} {:?}, {:?}, {:?}, [{}], {}",
                container.id.as_str(),
                container.state,
                container.health,
                record.behaviour,
                names.join("; "),
                holdings(record),
            ));
        }
        self.story.push("wished for is:".to_owned());
        for name in wish.considered() {
            let service = &wish.project.services[&name];
            self.story.push(format!(
                "    {name}: {} × {:?}, {:?}, parallelism {:?}, {:?}, forced: {}",
                service.config_hash,
                service.replicas,
                service.update.order,
                service.update.parallelism,
                wish.makes[&name].behaviours,
                wish.request.force_recreate,
            ));
        }
    }

    fn tell_end(&mut self, ended: Option<&Option<Result<(), Failure>>>) {
        self.story.push(match ended {
            None => "it hangs".to_owned(),
            Some(None) => "it is killed".to_owned(),
            Some(Some(Ok(()))) => "it succeeds".to_owned(),
            Some(Some(Err(failure))) => format!("it fails as {:?}: {failure}", failure.kind),
        });
    }
}

/// Deploys a wish that is not to be started. Returns how many services are said to be prepared, and how many containers
/// there are that were never started.
pub(super) async fn prepare(world: &Rc<World>, wish: &Wish) -> (usize, usize) {
    let cancel = Cancel::new();
    let invariants = Invariants::new(world, wish, cancel.clone());
    let fake = Fake::new(world.clone(), None, News::Flowing, cancel.clone(), Box::new(invariants.clone()));
    let compose = FakeCompose::new(fake.clone(), Rc::new(wish.clone()));
    let reporter = Reports { fake: fake.clone(), planned_nothing: Cell::new(false) };
    let deployed = deploy(&Patient::new(fake), &compose, &wish.request, &reporter, &cancel).await;
    (deployed.expect("should succeed").updated, invariants.litter(world).len())
}

/// What a container holds, for people.
fn holdings(record: &Record) -> String {
    let texts = record.files.iter().map(|(path, found)| {
        let content = found.content.as_ref().map_or(&[][..], |content| &content.0);
        format!("{path}: {}", String::from_utf8_lossy(content))
    });
    texts.collect::<Vec<_>>().join("; ")
}

/// All names and all volumes in use.
fn heirlooms(world: &World) -> (BTreeSet<String>, BTreeSet<String>) {
    let records = world.records();
    let volumes = records.values().flat_map(|record| record.container.volumes.values());
    (
        records.values().map(|record| record.container.name.clone()).collect(),
        volumes.map(|volume| volume.name.clone()).collect(),
    )
}

impl Ran {
    fn is_interrupted(&self) -> bool {
        self.fault.is_some_and(|fault| fault.kind == FaultKind::Cancelled)
    }

    /// What kind of failure it ended with, if it failed.
    pub(super) fn kind(&self) -> Option<Kind> {
        self.result.as_ref()?.as_ref().err().map(|failure| failure.kind)
    }

    /// Whether the engine would not show a file, which is no reason to fail, nor to replace anything.
    fn is_refused_a_look(&self) -> bool {
        use FaultKind::{FailsAfter, FailsBefore};
        let refused = |kind| matches!(kind, FailsBefore(ErrorKind::Refused) | FailsAfter(ErrorKind::Refused));
        let fault = self.fault.filter(|fault| refused(fault.kind));
        fault.is_some_and(|fault| self.calls.get(fault.at).is_some_and(|call| call.line.starts_with("read ")))
    }

    /// Whether it had no chance to leave things in order.
    fn is_cut_off(&self) -> bool {
        self.result.is_none() || self.fault.is_some_and(|fault| fault.kind == FaultKind::Gone)
    }
}

/// Writes what kerek says into the log.
#[derive(Debug)]
struct Reports {
    fake: Fake,
    planned_nothing: Cell<bool>,
}

impl Reporter for Reports {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Planned { plan, .. } => {
                self.planned_nothing.set(plan.is_empty());
                for service in &plan.services {
                    self.fake.note(&format!(
                        "     plan  {}: {:?}; discards {:?}; keeps {:?}; steers: {}; because {:?}",
                        service.service,
                        service.slots,
                        service.discarded,
                        service.kept,
                        service.steers,
                        service.reasons
                    ));
                }
            }
            Event::Step { container, step, .. } => self.fake.note(&format!("     step  {container}: {step:?}")),
            Event::Warning(text) | Event::Note(text) => self.fake.note(&format!("     says  {text}")),
            _ => {}
        }
    }
}
