//! An engine in memory, for tests: its containers behave as they are told, its clock is tokio's (which tests pause), and
//! any of its calls can be made to go wrong.
//!
//! A [`World`] holds the containers. A [`Fake`] is the engine for one run on it: it counts and logs the run's calls, spoils
//! one of them if there is a [`Fault`], and shows every change to a [`Witness`] as soon as it is made.

mod behaviour;
mod world;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use futures_util::StreamExt;
use futures_util::stream::{self, LocalBoxStream};
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::{
    Action, Attachment, Container, Definitions, Engine, Error, ErrorKind, Event, Exec, ExecOutcome, File, Found,
    Health, Result, State, Variation,
};
use crate::cancel::{Cancel, Reason};
use crate::engine::Image;
use crate::names::{ContainerId, ImageId, NetworkName, ProjectName};
pub(crate) use behaviour::{Behaviour, Process};
pub(crate) use world::{Phase, Record, World, refused};

/// The engine for one run.
#[derive(Clone, Debug)]
pub(crate) struct Fake(Rc<Run>);

#[derive(Debug)]
struct Run {
    world: Rc<World>,
    fault: Option<Fault>,
    cancel: Cancel,
    killed: CancellationToken,
    news: News,
    witness: Box<dyn Witness>,
    calls: RefCell<Vec<Call>>,
    log: RefCell<Vec<String>>,
    violations: Cell<usize>,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    /// The number of the call, from 0.
    pub(crate) at: usize,
    /// What happens at this call.
    pub(crate) kind: FaultKind,
}

/// What happens at a spoiled call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FaultKind {
    /// It fails without having done anything.
    FailsBefore(ErrorKind),
    /// It does what it should, but fails.
    FailsAfter(ErrorKind),
    /// It does nothing and never answers.
    Hangs,
    /// It and all later ones fail without having done anything: the engine has gone.
    Gone,
    /// The user interrupts, the call goes on.
    Cancelled,
    /// The caller is killed before the call does anything.
    KilledBefore,
    /// The caller is killed when the call has done what it should.
    KilledAfter,
}

/// How the engine tells of events.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum News {
    /// As they happen.
    Flowing,
    /// Never.
    Silent,
    /// The stream ends at once, every time.
    Ending,
}

/// A call that was made.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What it does, to whom.
    pub(crate) line: String,
    /// Whether it can change anything.
    pub(crate) writes: bool,
    /// Whether it answers in a bounded time. Compose builds and pulls images, and a command takes as long as it takes.
    pub(crate) bounded: bool,
}

/// Watches over what is done.
pub(crate) trait Witness: fmt::Debug {
    /// Judges the world after something was done to a container. Returns what is wrong about it, a line each.
    fn judge(&self, world: &World, container: &ContainerId) -> Vec<String>;
}

impl Fake {
    /// The engine for a run on a world. `cancel` is the run's.
    pub(crate) fn new(
        world: Rc<World>,
        fault: Option<Fault>,
        news: News,
        cancel: Cancel,
        witness: Box<dyn Witness>,
    ) -> Self {
        Self(Rc::new(Run {
            world,
            fault,
            cancel,
            killed: CancellationToken::new(),
            news,
            witness,
            calls: RefCell::default(),
            log: RefCell::default(),
            violations: Cell::default(),
        }))
    }

    /// The containers.
    pub(crate) fn world(&self) -> &World {
        &self.0.world
    }

    /// Whether the user has interrupted.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.cancel.reason().is_some()
    }

    /// Returns when the run is to be killed.
    pub(crate) async fn killed(&self) {
        self.0.killed.cancelled().await;
    }

    /// The calls made so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.calls.borrow().clone()
    }

    /// What happened, in lines for people.
    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.borrow().clone()
    }

    /// How often the witness was not content.
    pub(crate) fn violations(&self) -> usize {
        self.0.violations.get()
    }

    /// Adds a line to the log.
    pub(crate) fn note(&self, line: &str) {
        let time = self.0.world.now().saturating_sub(World::BEGIN).as_secs_f64();
        self.0.log.borrow_mut().push(format!("{time:>9.3} s  {line}"));
    }

    /// Makes a call of the run: all that is common to calls, and all that can go wrong with them.
    pub(crate) async fn call<T>(&self, call: Call, effect: impl FnOnce() -> Result<T>) -> Result<T> {
        let run = &*self.0;
        let number = run.calls.borrow().len();
        let line = format!("call {number:>3}  {}", call.line);
        run.calls.borrow_mut().push(call);
        // Whatever goes on at the same time gets ahead, or not.
        sleep(Duration::from_millis(5 + 7 * (number as u64 % 4))).await;
        if run.killed.is_cancelled() {
            // A run is cut off everywhere at once.
            return std::future::pending().await;
        }
        let kind = run.fault.filter(|fault| fault.at == number || fault.at < number && fault.kind == FaultKind::Gone);
        let Some(Fault { kind, .. }) = kind else {
            self.note(&line);
            return effect();
        };
        self.note(&format!("{line}    <=== {kind:?}"));
        match kind {
            FaultKind::FailsBefore(kind) => Err(spoiled(kind)),
            FaultKind::FailsAfter(kind) => effect().and_then(|_| Err(spoiled(kind))),
            FaultKind::Hangs => std::future::pending().await,
            FaultKind::Gone => Err(spoiled(ErrorKind::Unreachable)),
            FaultKind::Cancelled => {
                run.cancel.request(Reason::Interrupt);
                effect()
            }
            FaultKind::KilledBefore => {
                run.killed.cancel();
                std::future::pending().await
            }
            FaultKind::KilledAfter => {
                // Nobody is left to hear how it went.
                let _ = effect();
                run.killed.cancel();
                std::future::pending().await
            }
        }
    }

    /// Shows the witness the world after something was done to a container.
    pub(crate) fn testify(&self, container: &ContainerId) {
        for problem in self.0.witness.judge(&self.0.world, container) {
            self.0.violations.update(|count| count + 1);
            self.note(&format!("     !!!  {problem}"));
        }
    }

    async fn read<T>(&self, line: String, look: impl FnOnce(&World) -> T) -> Result<T> {
        self.call(Call { line, writes: false, bounded: true }, || Ok(look(&self.0.world))).await
    }

    async fn write(&self, line: String, id: &ContainerId, effect: impl FnOnce(&World) -> Result<()>) -> Result<()> {
        self.call(Call { line, writes: true, bounded: true }, || {
            effect(&self.0.world)?;
            self.testify(id);
            Ok(())
        })
        .await
    }
}

fn spoiled(kind: ErrorKind) -> Error {
    Error { kind, call: "fake call".to_owned(), message: "injected fault".to_owned() }
}

impl Engine for Fake {
    async fn containers(&self, project: &ProjectName) -> Result<Vec<Container>> {
        self.read("list".to_owned(), |world| world.list(project)).await
    }

    async fn container(&self, id: &ContainerId) -> Result<Option<Container>> {
        let look = |world: &World| world.records().get(id).map(|record| record.observe(world.now()));
        self.read(format!("inspect {id}"), look).await
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        self.write(format!("start {id}"), id, |world| world.start(id)).await
    }

    async fn stop(&self, id: &ContainerId, timeout: Option<Duration>) -> Result<()> {
        // It takes a process a moment to end.
        sleep(timeout.unwrap_or(Duration::MAX).min(Duration::from_millis(300))).await;
        self.write(format!("stop {id}"), id, |world| {
            if !world.records().contains_key(id) {
                return Ok(());
            }
            world.change(id, |record| {
                record.stop(world.now());
                Ok(())
            })
        })
        .await
    }

    async fn remove(&self, id: &ContainerId, volumes: bool) -> Result<()> {
        let line = format!("remove {id}{}", if volumes { " with volumes" } else { "" });
        self.write(line, id, |world| {
            world.remove(id, volumes);
            Ok(())
        })
        .await
    }

    async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.write(format!("rename {id} to {name}"), id, |world| world.rename(id, name)).await
    }

    async fn copy(&self, id: &ContainerId, variation: &Variation) -> Result<ContainerId> {
        let line = format!("copy {id} as {}", variation.name);
        self.call(Call { line, writes: true, bounded: true }, || {
            let copy = self.0.world.copy(id, variation)?;
            self.testify(&copy);
            Ok(copy)
        })
        .await
    }

    async fn connect(&self, id: &ContainerId, network: &NetworkName, attachment: &Attachment) -> Result<()> {
        let line = format!("connect {id} to {network} as {}", attachment.aliases.join(", "));
        let effect = |world: &World| world.change(id, |record| record.connect(network, attachment));
        self.write(line, id, effect).await
    }

    /// There are no addresses in memory.
    async fn hold_below(&self, _: &NetworkName, _: &str) -> Result<Vec<ContainerId>> {
        Ok(Vec::new())
    }

    async fn release(&self, _: &[ContainerId]) -> Result<()> {
        Ok(())
    }

    async fn disconnect(&self, id: &ContainerId, network: &NetworkName) -> Result<()> {
        let effect = |world: &World| {
            world.change(id, |record| {
                record.container.networks.remove(network);
                Ok(())
            })
        };
        self.write(format!("disconnect {id} from {network}"), id, effect).await
    }

    async fn definitions(&self, _: &ProjectName) -> Result<Definitions> {
        self.read("definitions".to_owned(), |_| Definitions::default()).await
    }

    async fn image(&self, reference: &str) -> Result<Option<Image>> {
        let image = Image { id: ImageId::new(format!("sha256:{reference}")), tagged: None };
        self.read(format!("image {reference}"), |world| world.has_image(reference).then_some(image)).await
    }

    async fn received(&self, id: &ContainerId) -> Result<Option<u64>> {
        // Nobody talks to these containers.
        self.read(format!("statistics of {id}"), |world| world.records().get(id).map(|_| 4096)).await
    }

    async fn logs(&self, id: &ContainerId, lines: usize) -> Result<Vec<String>> {
        self.read(format!("logs of {id}"), |_| vec!["a line".to_owned(); lines.min(1)]).await
    }

    async fn exec(&self, id: &ContainerId, exec: &Exec) -> Result<ExecOutcome> {
        let line = format!("exec {} in {id}", exec.command.join(" "));
        self.call(Call { line, writes: true, bounded: false }, || {
            let world = &self.0.world;
            let records = world.records();
            let running = records.get(id).filter(|record| record.observe(world.now()).state == State::Running);
            let Some(record) = running else { return Err(refused(format!("{id} does not run"))) };
            Ok(ExecOutcome { code: record.exec_code, output: Vec::new() })
        })
        .await
    }

    async fn write_file(&self, id: &ContainerId, file: &File) -> Result<()> {
        let effect = |world: &World| {
            let now = world.now();
            world.change(id, |record| {
                record.write(file, now);
                Ok(())
            })
        };
        self.write(format!("write {} in {id}", file.path), id, effect).await
    }

    async fn read_file(&self, id: &ContainerId, path: &str, limit: usize) -> Result<Option<Found>> {
        self.read(format!("read {path} in {id}"), |world| {
            let mut found = world.records().get(id)?.files.get(path)?.clone();
            found.now = SystemTime::UNIX_EPOCH + world.now();
            found.content = found.content.filter(|content| content.0.len() <= limit);
            Some(found)
        })
        .await
    }

    async fn lacking(&self, _: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        self.read("paths".to_owned(), |_| BTreeSet::new()).await
    }

    async fn events(&self, project: &ProjectName) -> Result<LocalBoxStream<'static, Result<Event>>> {
        self.read("events".to_owned(), |_| match self.0.news {
            News::Flowing => stream::unfold(Watcher::new(self.0.world.clone(), project), Watcher::next).boxed_local(),
            News::Silent => stream::pending().boxed_local(),
            News::Ending => stream::empty().boxed_local(),
        })
        .await
    }
}

/// Finds events by comparing what was with what is whenever something has changed.
struct Watcher {
    world: Rc<World>,
    project: ProjectName,
    changes: watch::Receiver<()>,
    known: BTreeMap<ContainerId, (State, Option<Health>)>,
    found: VecDeque<Event>,
}

impl Watcher {
    fn new(world: Rc<World>, project: &ProjectName) -> Self {
        let changes = world.watch();
        let mut watcher =
            Self { world, project: project.clone(), changes, known: BTreeMap::new(), found: VecDeque::new() };
        watcher.compare();
        watcher.found.clear();
        watcher
    }

    async fn next(mut self) -> Option<(Result<Event>, Self)> {
        loop {
            if let Some(event) = self.found.pop_front() {
                return Some((Ok(event), self));
            }
            let next = self.world.next_change().map(|time| self.world.instant(time));
            let by_itself = async {
                match next {
                    Some(next) => sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = by_itself => {}
            }
            self.compare();
        }
    }

    fn compare(&mut self) {
        let now: BTreeMap<_, _> = self
            .world
            .list(&self.project)
            .into_iter()
            .map(|container| (container.id, (container.state, container.health)))
            .collect();
        for (id, (state, health)) in &now {
            let before = self.known.get(id);
            let action = match (before, state, health) {
                (Some(before), ..) if *before == (*state, *health) => continue,
                (Some((State::Running, _)), State::Running, Some(health)) => Action::Health(*health),
                (_, State::Running, _) => Action::Started,
                (_, State::Exited { .. } | State::Restarting, _) => Action::Died,
                _ => Action::Other,
            };
            self.found.push_back(Event { container: id.clone(), action });
        }
        let gone = self.known.keys().filter(|id| !now.contains_key(*id));
        self.found.extend(gone.map(|id| Event { container: id.clone(), action: Action::Destroyed }));
        self.known = now;
    }
}
