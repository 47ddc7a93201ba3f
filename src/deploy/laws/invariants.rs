//! What is true at every moment of a run, checked after each of its deeds; and what is true at its end.
//!
//! Whether a container does its work is judged by how it truly behaves, not by what the engine shows. What would have
//! ceased to work without a deployment as well is nobody's fault.

use std::collections::BTreeMap;
use std::time::Duration;

use super::scenario::{Wish, copied, is_of_version};
use crate::cancel::Cancel;
use crate::compose::{Order, Service};
use crate::deploy::followers;
use crate::engine::fake::{Phase, Record, Witness, World};
use crate::engine::{Container, Health, State};
use crate::names::{ContainerId, ProjectName, ServiceName};

/// The invariants of a run.
#[derive(Clone, Debug)]
pub(super) struct Invariants {
    project: ProjectName,
    /// What there was when the run began.
    known: BTreeMap<ContainerId, Record>,
    services: BTreeMap<ServiceName, Service>,
    /// The considered services.
    terms: BTreeMap<ServiceName, Terms>,
    /// Whether the user has interrupted.
    cancel: Cancel,
}

/// What a service may lack while it is updated.
#[derive(Clone, Copy, Debug)]
enum Toll {
    /// Nothing.
    None,
    /// So many replicas.
    Replicas(usize),
    /// What does not serve but is still there, and can be put back.
    Kept,
}

/// What holds for a service.
#[derive(Clone, Debug)]
struct Terms {
    service: Service,
    /// The number of containers it is to have, at least.
    wanted: usize,
    /// Whether that is the very number.
    exact: bool,
    /// The containers that served when the run began, as they were.
    served: Vec<Record>,
}

impl Invariants {
    /// The invariants of a run that begins now.
    pub(super) fn new(world: &World, wish: &Wish, cancel: Cancel) -> Self {
        let known = world.records().clone();
        let now = world.now();
        let terms = wish
            .considered()
            .into_iter()
            .map(|name| {
                let service = wish.project.services[&name].clone();
                let containers: Vec<_> =
                    known.values().filter(|record| is_of(record, &wish.project.name, &name)).collect();
                let served = containers
                    .iter()
                    .filter(|record| record.is_ready(now) && is_published(record, &service))
                    .map(|record| (*record).clone())
                    .collect();
                let said = service.replicas.or(wish.makes[&name].scaled).map(|number| number as usize);
                let wanted = said.unwrap_or_else(|| least(&service, &containers, now));
                (name, Terms { service, wanted, exact: said.is_some(), served })
            })
            .collect();
        let (project, services) = (wish.project.name.clone(), wish.project.services.clone());
        Self { project, known, services, terms, cancel }
    }

    /// What is wrong if the run says that it has come to its good end.
    pub(super) fn unconverged(&self, world: &World) -> Vec<String> {
        let now = world.now();
        let records = world.records();
        let mut problems = Vec::new();
        for (name, terms) in &self.terms {
            let containers: Vec<_> = records.values().filter(|record| is_of(record, &self.project, name)).collect();
            if containers.len() < terms.wanted || terms.exact && containers.len() > terms.wanted {
                problems.push(format!("{name} has {} containers instead of {}", containers.len(), terms.wanted));
            }
            for record in containers {
                let container = record.observe(now);
                problems.extend(self.outlived(world, terms, &container));
                let id = &container.id;
                problems.extend(cut_off(world, &container));
                if !is_of_version(&container, &terms.service) {
                    problems.push(format!("{id} is of another version"));
                }
                let done = matches!(container.state, State::Running | State::Exited { code: 0, .. });
                if done && terms.service.may_complete {
                    continue;
                }
                // A container that was there before may still be about to become healthy.
                let time = if self.known.contains_key(id) { now + Duration::from_secs(10_000) } else { now };
                if !record.is_ready(time) {
                    problems.push(format!("{id} is not ready but {:?}, {:?}", container.state, container.health));
                }
                if !is_published(record, &terms.service) {
                    problems.push(format!("{id} is not published"));
                }
            }
        }
        problems
    }

    /// Containers that hold something else than they are to hold, and did not write that themselves.
    pub(super) fn unfilled(&self, world: &World) -> Vec<String> {
        let records = world.records();
        let ours = records.values().filter(|record| record.project == self.project && !record.container.one_off);
        ours.flat_map(|record| self.lacks(record)).collect()
    }

    /// What a container does not hold of what it is to hold.
    fn lacks(&self, record: &Record) -> Vec<String> {
        let wanted = self.terms.get(&record.container.service).into_iter().flat_map(|terms| copied(&terms.service));
        wanted
            .filter(|file| !record.rewrites && !record.holds(file))
            .map(|file| format!("{} does not hold {} as wanted", record.container.id, file.path))
            .collect()
    }

    /// Tells if the run has started a container, for the first time, without what it is to hold.
    fn hurried(&self, world: &World, id: &ContainerId) -> Vec<String> {
        let ran = |record: &Record| record.phase != Phase::Created;
        let records = world.records();
        let started = records.get(id).filter(|record| ran(record) && !self.known.get(id).is_some_and(ran));
        let ours = started.filter(|record| !record.container.one_off);
        ours.map(|record| self.lacks(record)).unwrap_or_default()
    }

    /// Volumes that were in use when the run began and are gone, whoever asked for that.
    fn lost(&self, world: &World) -> Vec<String> {
        let used = self.known.values().filter(|record| record.phase != Phase::Created);
        let volumes = used.flat_map(|record| record.container.volumes.values());
        volumes.filter(|volume| world.has_lost(&volume.name)).map(|volume| volume.name.clone()).collect()
    }

    /// Tells if a container runs since before a dependency by `restart: true` was made.
    fn outlived(&self, world: &World, terms: &Terms, container: &Container) -> Option<String> {
        let records = world.records();
        let others = terms.service.depends_on.iter().filter(|(_, dependency)| dependency.restart);
        let created = others.filter_map(|(other, _)| {
            let dependencies = records.values().filter(|record| is_of(record, &self.project, other));
            dependencies.map(|record| record.container.created).min().flatten()
        });
        let outlived = container.state == State::Running && container.started < created.max();
        outlived.then(|| format!("{} should have begun anew with what it depends on", container.id))
    }

    /// Containers that run and are cut off from their namespaces.
    pub(super) fn cut_off(&self, world: &World) -> Vec<String> {
        let now = world.now();
        let records = world.records();
        let ours = records.values().filter(|record| self.terms.contains_key(&record.container.service));
        ours.filter_map(|record| cut_off(world, &record.observe(now))).collect()
    }

    /// Services that are worse off than when the run began.
    pub(super) fn degraded(&self, world: &World) -> Vec<String> {
        self.terms.iter().filter_map(|(name, terms)| self.lack(world, name, terms, Toll::None)).collect()
    }

    /// Containers that served when the run began and do not any more, though they would if left alone.
    pub(super) fn replaced(&self, world: &World) -> Vec<ContainerId> {
        let now = world.now();
        let records = world.records();
        self.terms
            .values()
            .flat_map(|terms| terms.served.iter().map(move |record| (terms, record)))
            .filter(|(terms, record)| {
                let now_is = records.get(&record.container.id);
                let serves = now_is.is_some_and(|record| record.is_ready(now) && is_published(record, &terms.service));
                record.is_ready(now) && !serves
            })
            .map(|(_, record)| record.container.id.clone())
            .collect()
    }

    /// Containers of considered services that do not serve.
    pub(super) fn idle(&self, world: &World) -> Vec<ContainerId> {
        let now = world.now();
        let records = world.records();
        let ours = self.terms.iter().flat_map(|(name, terms)| {
            records.values().filter(|record| is_of(record, &self.project, name)).map(move |record| (terms, record))
        });
        ours.filter(|(terms, record)| !record.is_ready(now) || !is_published(record, &terms.service))
            .map(|(_, record)| record.container.id.clone())
            .collect()
    }

    /// Containers that were made in the run for hooks.
    pub(super) fn hooks(&self, world: &World) -> Vec<ContainerId> {
        let records = world.records();
        let hooks = records.values().filter(|record| record.project == self.project && record.container.runs_hook);
        hooks.map(|record| record.container.id.clone()).filter(|id| !self.known.contains_key(id)).collect()
    }

    /// Containers that were made in the run and never started.
    pub(super) fn litter(&self, world: &World) -> Vec<ContainerId> {
        let records = world.records();
        records
            .values()
            .filter(|record| record.phase == Phase::Created && !self.known.contains_key(&record.container.id))
            .map(|record| record.container.id.clone())
            .collect()
    }

    /// Tells if a service has fewer containers at work than when the run began, or than wanted if that is less.
    fn lack(&self, world: &World, name: &ServiceName, terms: &Terms, toll: Toll) -> Option<String> {
        let now = world.now();
        let records = world.records();
        let serves = |record: &Record| record.is_ready(now) && is_published(record, &terms.service);
        let serving = records.values().filter(|record| is_of(record, &self.project, name) && serves(record)).count();
        let before = terms.served.iter().filter(|record| record.is_ready(now)).count();
        let kept = terms.served.iter().filter_map(|record| records.get(&record.container.id));
        let kept = kept.filter(|record| !serves(record)).count();
        let needed = before.min(terms.wanted).saturating_sub(match toll {
            Toll::None => 0,
            Toll::Replicas(number) => number,
            Toll::Kept => kept,
        });
        (serving < needed)
            .then(|| format!("{name} has {serving} ready, published containers instead of {needed}, {kept} kept aside"))
    }

    /// Tells if containers that served when the run began are gone although too few of the others were watched for as long
    /// as the policy says. Those that ran already are what an earlier run has left: they are taken as they are, also if they
    /// became ready only between the beginning and the first look. Who interrupts does not wait for anything.
    fn rashness(&self, world: &World, name: &ServiceName, terms: &Terms) -> Option<String> {
        let window = terms.service.update.monitor.filter(|_| self.cancel.reason().is_none())?;
        let now = world.now();
        let records = world.records();
        let served = |id: &ContainerId| terms.served.iter().any(|record| record.container.id == *id);
        let ran = |id: &ContainerId| self.known.get(id).is_some_and(|known| matches!(known.phase, Phase::Started(_)));
        let is_there = |record: &&Record| {
            let id = &record.container.id;
            let watched = matches!(record.phase, Phase::Started(since) if now.saturating_sub(since) >= window);
            served(id) || (watched || ran(id)) && record.is_ready(now) && is_published(record, &terms.service)
        };
        let there = records.values().filter(|record| is_of(record, &self.project, name)).filter(is_there).count();
        let needed = terms.served.iter().filter(|record| record.is_ready(now)).count().min(terms.wanted);
        (there < needed).then(|| format!("{name} has {there} watched or old containers instead of {needed}"))
    }

    /// How many containers have come in in the run, and have fallen since.
    fn fallen(&self, world: &World, name: &ServiceName) -> usize {
        let now = world.now();
        let records = world.records();
        let ours = records.values().filter(|record| is_of(record, &self.project, name) && record.has_fallen(now));
        ours.filter(|record| !self.known.get(&record.container.id).is_some_and(|known| known.phase != Phase::Created))
            .count()
    }

    fn touches_others(&self, world: &World, id: &ContainerId) -> bool {
        let records = world.records();
        let record = self.known.get(id).or_else(|| records.get(id));
        record.is_some_and(|record| {
            // What runs a hook is a one-off container, too, but the run's own.
            record.project != self.project
                || record.container.one_off && !record.container.runs_hook
                || !self.terms.contains_key(&record.container.service) && !self.follows(&record.container.service)
        })
    }

    /// Whether a service lives in containers of a considered one.
    fn follows(&self, name: &ServiceName) -> bool {
        let mut hosts = self.services.get(name).into_iter().flat_map(followers::hosts);
        hosts.any(|host| self.terms.contains_key(host))
    }
}

impl Witness for Invariants {
    fn judge(&self, world: &World, id: &ContainerId) -> Vec<String> {
        let mut problems = Vec::new();
        if self.touches_others(world, id) {
            problems.push(format!("I3: {id} is none of the project's considered services' containers"));
        }
        problems.extend(self.hurried(world, id).into_iter().map(|lack| format!("files: {lack}, and runs")));
        problems.extend(self.lost(world).into_iter().map(|volume| format!("data: the volume {volume} is gone")));
        for (name, terms) in &self.terms {
            let missed = match terms.service.update.order {
                // No replica is missed at any time.
                Order::StartFirst => 0,
                // As many replicas are missed at a time as the user has said.
                Order::StopFirst => terms.service.update.parallelism.unwrap_or(usize::MAX),
            };
            problems.extend(self.rashness(world, name, terms).map(|rashness| format!("monitor: {rashness}")));
            // Nor can what falls while it is watched be helped at once; but whatever is missed can be put back.
            let missed = missed.saturating_add(self.fallen(world, name));
            for (law, toll) in [("I1", Toll::Replicas(missed)), ("I2", Toll::Kept)] {
                problems.extend(self.lack(world, name, terms, toll).map(|lack| format!("{law}: {lack}")));
            }
        }
        problems
    }
}

/// Tells if a container runs in namespaces that are gone.
fn cut_off(world: &World, container: &Container) -> Option<String> {
    let host = ContainerId::new(container.network_mode.strip_prefix("container:")?);
    let records = world.records();
    let host = records.get(&host).map(|host| host.observe(world.now()));
    let lives = host.is_some_and(|host| host.state == State::Running && host.started <= container.started);
    (container.state == State::Running && !lives).then(|| format!("{} is cut off", container.id))
}

fn is_of(record: &Record, project: &ProjectName, service: &ServiceName) -> bool {
    record.project == *project && !record.container.one_off && record.container.service == *service
}

/// Whether a container carries all of its service's names.
fn is_published(record: &Record, service: &Service) -> bool {
    service.aliases.iter().all(|(network, names)| {
        let attachment = record.container.networks.get(network);
        attachment.is_some_and(|attachment| names.iter().all(|name| attachment.aliases.contains(name)))
    })
}

/// How many containers a service is to have at least: what the files or somebody said, else as many as there are of the
/// most frequent version in service, at least one.
fn least(service: &Service, containers: &[&Record], now: Duration) -> usize {
    let mut counts = BTreeMap::<_, usize>::new();
    for record in containers {
        let container = record.observe(now);
        let is_sick = match container.health {
            None | Some(Health::Healthy) => false,
            Some(Health::Starting) => container.restarts > 0,
            Some(Health::Unhealthy) => true,
        };
        if container.state == State::Running && !is_sick && is_published(record, service) {
            *counts.entry((container.config_hash, container.image)).or_default() += 1;
        }
    }
    counts.into_values().max().unwrap_or(1)
}
