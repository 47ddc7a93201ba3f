//! The containers of the fake engine. A [`World`] outlives the runs that change it.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::Instant;

use super::behaviour::Behaviour;
use crate::engine::{Attachment, Container, Content, Error, ErrorKind, File, Found, Result, State, Variation};
use crate::names::{ContainerId, NetworkName, ProjectName};

/// All containers there are, of any project, and their clock.
#[derive(Debug)]
pub(crate) struct World {
    /// When this copy came into being, and what time it was then.
    birth: (Instant, Duration),
    records: RefCell<BTreeMap<ContainerId, Record>>,
    /// Volumes that are gone.
    lost: RefCell<BTreeSet<String>>,
    /// Names of images that were brought in.
    images: RefCell<BTreeSet<String>>,
    changes: watch::Sender<()>,
    made: Cell<usize>,
}

/// A container: what it is, and where it is in its life.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Record {
    /// Its project.
    pub(crate) project: ProjectName,
    /// What does not change by itself; state, health, restarts and addresses here mean nothing.
    pub(crate) container: Container,
    /// What it does once started.
    pub(crate) behaviour: Behaviour,
    /// The exit code it ends with when it is stopped.
    pub(crate) stop_code: i64,
    /// The exit code of every command that is run in it.
    pub(crate) exec_code: i64,
    /// What was put into it, by path.
    pub(crate) files: BTreeMap<String, Found>,
    /// Whether it writes to these files itself whenever it starts, as entrypoints do that fill in templates.
    pub(crate) rewrites: bool,
    /// Where it is in its life.
    pub(crate) phase: Phase,
}

/// Where a container is in its life.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Phase {
    /// Never started.
    Created,
    /// Started at a time of the world's clock and left alone since.
    Started(Duration),
    /// Stopped.
    Stopped,
    /// Suspended.
    Paused,
    /// Removed half-way.
    Dead,
}

impl Phase {
    /// Running since so long before a world begins.
    pub(crate) fn started_ago(age: Duration) -> Self {
        Self::Started(World::BEGIN.saturating_sub(age))
    }
}

impl World {
    /// The time at which every world begins, so that there can be containers which were started before.
    pub(crate) const BEGIN: Duration = Duration::from_secs(86_400);

    /// A world with some containers.
    pub(crate) fn new(records: impl IntoIterator<Item = Record>) -> Self {
        let mut by_id = BTreeMap::new();
        for record in records {
            let before = by_id.insert(record.container.id.clone(), record);
            assert_eq!(before, None, "IDs are unique");
        }
        let made = Cell::new(by_id.len());
        Self {
            birth: (Instant::now(), Self::BEGIN),
            records: RefCell::new(by_id),
            lost: RefCell::default(),
            images: RefCell::default(),
            changes: watch::Sender::new(()),
            made,
        }
    }

    /// The same as it was at a time since when nothing was done to it, from now on on its own.
    pub(crate) fn fork(&self, time: Duration) -> Self {
        Self {
            birth: (Instant::now(), time),
            records: RefCell::new(self.records.borrow().clone()),
            lost: self.lost.clone(),
            images: self.images.clone(),
            changes: watch::Sender::new(()),
            made: self.made.clone(),
        }
    }

    /// The world's clock.
    pub(crate) fn now(&self) -> Duration {
        let (birth, time) = self.birth;
        time + birth.elapsed()
    }

    /// When a time of the world's clock will be.
    pub(super) fn instant(&self, time: Duration) -> Instant {
        let (birth, then) = self.birth;
        birth + time.saturating_sub(then)
    }

    /// All containers by ID.
    pub(crate) fn records(&self) -> Ref<'_, BTreeMap<ContainerId, Record>> {
        self.records.borrow()
    }

    /// A project's containers, in order of ID.
    pub(crate) fn list(&self, project: &ProjectName) -> Vec<Container> {
        let now = self.now();
        let records = self.records.borrow();
        records.values().filter(|record| record.project == *project).map(|record| record.observe(now)).collect()
    }

    /// When something changes next without anybody's doing.
    pub(super) fn next_change(&self) -> Option<Duration> {
        let now = self.now();
        self.records.borrow().values().filter_map(|record| record.next_change(now)).min()
    }

    /// Hears of changes that are somebody's doing.
    pub(super) fn watch(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// An ID that no container has ever had.
    pub(crate) fn fresh_id(&self, name: &str) -> ContainerId {
        self.made.update(|made| made + 1);
        ContainerId::new(format!("{name}#{}", self.made.get()))
    }

    /// Adds a container.
    pub(crate) fn add(&self, record: Record) {
        self.records.borrow_mut().insert(record.container.id.clone(), record);
        self.changes.send_replace(());
    }

    /// Takes a container away, if it is there; with the volumes that came with it, unless another one mounts them.
    pub(crate) fn remove(&self, id: &ContainerId, volumes: bool) {
        let removed = self.records.borrow_mut().remove(id);
        let own = removed.into_iter().filter(|_| volumes).flat_map(|record| record.container.volumes.into_values());
        for volume in own.filter(|volume| volume.anonymous && !volume.wished) {
            let records = self.records.borrow();
            let mut mounted = records.values().flat_map(|record| record.container.volumes.values());
            if !mounted.any(|other| other.name == volume.name) {
                self.lost.borrow_mut().insert(volume.name);
            }
        }
        self.changes.send_replace(());
    }

    /// Whether a volume is gone.
    pub(crate) fn has_lost(&self, volume: &str) -> bool {
        self.lost.borrow().contains(volume)
    }

    /// Brings in an image.
    pub(crate) fn bring_in(&self, image: &str) {
        self.images.borrow_mut().insert(image.to_owned());
    }

    /// Whether an image was brought in.
    pub(super) fn has_image(&self, image: &str) -> bool {
        self.images.borrow().contains(image)
    }

    /// Starts a container; the one whose namespaces it lives in has to run.
    pub(super) fn start(&self, id: &ContainerId) -> Result<()> {
        let now = self.now();
        let is_running = |host: &str| {
            let records = self.records.borrow();
            records.get(&ContainerId::new(host)).is_some_and(|host| host.observe(now).state == State::Running)
        };
        let mode = self.records.borrow().get(id).map(|record| record.container.network_mode.clone());
        match mode.as_deref().and_then(|mode| mode.strip_prefix("container:")) {
            Some(host) if !is_running(host) => Err(refused(format!("cannot join the namespaces of {host}"))),
            _ => self.change(id, |record| record.start(now)),
        }
    }

    /// Whether a container has a name.
    pub(crate) fn is_taken(&self, name: &str) -> bool {
        self.records.borrow().values().any(|record| record.container.name == name)
    }

    /// Gives a container another name.
    pub(super) fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        self.refuse_taken(name)?;
        self.change(id, |record| {
            name.clone_into(&mut record.container.name);
            Ok(())
        })
    }

    /// Adds a container like another one.
    pub(super) fn copy(&self, id: &ContainerId, variation: &Variation) -> Result<ContainerId> {
        self.refuse_taken(&variation.name)?;
        let original = self.records.borrow().get(id).cloned();
        let mut record = original.ok_or_else(|| refused(format!("no such container: {id}")))?;
        if record.phase != Phase::Created {
            return Err(refused(format!("{id} was started before")));
        }
        let container = &mut record.container;
        container.id = self.fresh_id(&format!("copy of {id}"));
        container.name.clone_from(&variation.name);
        container.replaces.clone_from(&variation.replaces);
        container.config_hash.clone_from(&variation.config_hash);
        // A copy is made of the image, too.
        record.files.clear();
        for alias in container.networks.values_mut().flat_map(|attachment| &mut attachment.aliases) {
            if let Some(name) = variation.aliases.get(alias) {
                alias.clone_from(name);
            }
        }
        for (path, volume) in &mut container.volumes {
            match variation.volumes.get(path) {
                Some(name) => (volume.name, volume.wished) = (name.clone(), true),
                None if volume.wished => {}
                None => volume.name = format!("{}:{path}", container.id),
            }
        }
        let id = container.id.clone();
        self.add(record);
        Ok(id)
    }

    fn refuse_taken(&self, name: &str) -> Result<()> {
        if self.is_taken(name) { Err(refused(format!("the name {name} is in use"))) } else { Ok(()) }
    }

    /// Changes a container, which has to be there.
    pub(super) fn change(&self, id: &ContainerId, change: impl FnOnce(&mut Record) -> Result<()>) -> Result<()> {
        let mut records = self.records.borrow_mut();
        let result = match records.get_mut(id) {
            Some(record) => change(record),
            None => Err(refused(format!("no such container: {id}"))),
        };
        drop(records);
        self.changes.send_replace(());
        result
    }
}

impl Record {
    /// The container as an engine would show it at a time of the world's clock.
    pub(crate) fn observe(&self, now: Duration) -> Container {
        let mut container = self.container.clone();
        let stopped = State::Exited { code: self.stop_code, out_of_memory: false };
        (container.state, container.health, container.restarts) = match self.phase {
            Phase::Created => (State::Created, None, 0),
            Phase::Started(since) => self.behaviour.after(now.saturating_sub(since)),
            Phase::Stopped => (stopped, None, 0),
            Phase::Paused => (State::Paused, None, 0),
            Phase::Dead => (State::Dead, None, 0),
        };
        container.healthcheck = self.behaviour.healthcheck();
        if let Phase::Started(since) = self.phase {
            container.started = Some(SystemTime::UNIX_EPOCH + since);
        }
        if !matches!(container.state, State::Running | State::Paused) {
            for attachment in container.networks.values_mut() {
                attachment.address.clear();
            }
        }
        container
    }

    /// Whether it does a service's work, in truth.
    pub(crate) fn is_ready(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::Started(since) if self.behaviour.is_ready(now.saturating_sub(since)))
    }

    /// Whether it did a service's work since it was started, and does not any more, by its own doing.
    pub(crate) fn has_fallen(&self, now: Duration) -> bool {
        matches!(self.phase, Phase::Started(since) if self.behaviour.has_fallen(now.saturating_sub(since)))
    }

    pub(super) fn start(&mut self, now: Duration) -> Result<()> {
        match self.observe(now).state {
            State::Running | State::Restarting => Ok(()),
            State::Paused | State::Dead => Err(refused("cannot start a paused or dead container".into())),
            State::Created | State::Exited { .. } if self.behaviour.process == super::Process::RefusesToStart => {
                Err(refused("executable file not found".into()))
            }
            State::Created | State::Exited { .. } => {
                self.phase = Phase::Started(now);
                self.rewrite(now);
                Ok(())
            }
        }
    }

    /// Puts a file into it at a time of the world's clock.
    pub(crate) fn write(&mut self, file: &File, now: Duration) {
        // Archives tell times in whole seconds.
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        self.files.insert(file.path.clone(), Found { modified, now: modified, content: Some(file.content.clone()) });
    }

    /// Whether it holds a file as it was put there.
    pub(crate) fn holds(&self, file: &File) -> bool {
        self.files.get(&file.path).is_some_and(|found| found.content.as_ref() == Some(&file.content))
    }

    /// What its process does to its files when it starts.
    pub(crate) fn rewrite(&mut self, now: Duration) {
        for found in self.files.values_mut().filter(|_| self.rewrites) {
            let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs()) + Duration::from_micros(1);
            *found = Found { modified, now: modified, content: Some(Content(b"filled in".to_vec())) };
        }
    }

    pub(super) fn stop(&mut self, now: Duration) {
        if matches!(self.observe(now).state, State::Running | State::Restarting | State::Paused) {
            self.phase = Phase::Stopped;
        }
    }

    pub(super) fn connect(&mut self, network: &NetworkName, attachment: &Attachment) -> Result<()> {
        let mut attachment = attachment.clone();
        // The engine gives back the same address (measured).
        attachment.address = format!("10.0.0.{}", self.container.number);
        match self.container.networks.insert(network.clone(), attachment) {
            None => Ok(()),
            Some(before) => {
                self.container.networks.insert(network.clone(), before);
                Err(refused(format!("endpoint already exists in network {network}")))
            }
        }
    }

    fn next_change(&self, now: Duration) -> Option<Duration> {
        let Phase::Started(since) = self.phase else { return None };
        self.behaviour.next_change(now.saturating_sub(since)).map(|time| since + time)
    }
}

/// What an engine says that does not do what it is asked.
pub(crate) fn refused(message: String) -> Error {
    Error { kind: ErrorKind::Refused, call: "fake call".to_owned(), message }
}
