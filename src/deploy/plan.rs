//! The planner: what has to happen so that what is there becomes what is wanted.
//!
//! [`plan`] is a pure function: no I/O, no clock, no chance. The same inputs give the same plan, in whatever order the
//! engine lists its containers. Dry runs print the plan, `super::roll` carries it out, tests check laws on it.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::{Sorted, is_serving};
use super::dependents;
use super::replicas;
use super::traffic;
use super::volumes;
use crate::compose::policy::{Drain, UpdatePolicy};
use crate::compose::ports::PortRange;
use crate::compose::{Exclusive, Order, Project, Service, order};
use crate::engine::{Container, State};
use crate::names::{ContainerId, ImageId, NetworkName, ServiceName};

/// What the user asked for besides the project itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// The services to consider.
    pub considered: BTreeSet<ServiceName>,
    /// Containers to replace even without a change.
    pub forced: BTreeSet<ContainerId>,
    /// Containers that are to be replaced because they live in the namespaces of another service's container, which
    /// goes. The other service.
    pub bereft: BTreeMap<ContainerId, ServiceName>,
    /// Whether new containers get empty anonymous volumes, not those of the containers that they replace.
    pub renew_volumes: bool,
    /// Containers that are to be replaced for the sake of a dependency whose containers are. The dependency. [`plan`]
    /// fills it in.
    pub disturbed: BTreeMap<ContainerId, ServiceName>,
    /// Containers that hold other contents of configs and secrets than wanted, with the paths of these.
    pub changed_files: BTreeMap<ContainerId, BTreeSet<String>>,
    /// Whether networks or volumes seem to have another definition than they were made with.
    pub definitions_differ: bool,
    /// Containers whose image's name stands for another image by now.
    pub changed_images: BTreeMap<ContainerId, ChangedImage>,
}

/// An image name that was given to another image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChangedImage {
    /// The name.
    pub name: String,
    /// What a container is made of.
    pub old: ImageId,
    /// What the name stands for now.
    pub new: ImageId,
    /// Whether somebody has asked for new images, so that the container is to be replaced.
    pub wanted: bool,
}

impl Options {
    /// Whether a container is to be replaced although its configuration is the wanted one.
    pub(super) fn replaces(&self, container: &ContainerId) -> bool {
        self.forced.contains(container)
            || self.changed_files.contains_key(container)
            || self.bereft.contains_key(container)
            || self.disturbed.contains_key(container)
            || self.changed_images.get(container).is_some_and(|image| image.wanted)
    }
}

/// All that is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The considered services in the order of execution, unchanged ones included.
    pub services: Vec<ServicePlan>,
    /// Containers that are removed in the end since their services are in no file any more; [`plan`] knows of none.
    pub orphans: Vec<ContainerId>,
    /// Networks that are replaced first of all since their definition has changed, with the names of the containers that
    /// this interrupts; [`plan`] knows of none.
    pub networks: BTreeMap<NetworkName, BTreeSet<String>>,
}

/// What is to be done for one service.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct ServicePlan {
    /// The service.
    pub service: ServiceName,
    /// Why anything is to be done; empty if nothing is.
    pub reasons: Vec<Reason>,
    /// How updates go.
    pub update: UpdatePolicy,
    /// How taking an update back goes.
    pub rollback: UpdatePolicy,
    /// How containers are left alone before they stop.
    pub drain: Drain,
    /// The DNS names of the service on each of its networks.
    pub aliases: BTreeMap<NetworkName, BTreeSet<String>>,
    /// Whether containers move in and out of the service's DNS names. They do unless nothing else serves meanwhile.
    pub steers: bool,
    /// Whether an earlier run was cut off after it had stopped an old container, so that too few serve now.
    pub interrupted: bool,
    /// Whether nothing is known to serve, so that what runs, however unwell, is all there is.
    pub unserved: bool,
    /// Whether its containers are known to end when their work is done.
    pub may_complete: bool,
    /// Paths of anonymous volumes that a container which still serves and its successor have in common for a while.
    pub shared_volumes: BTreeSet<String>,
    /// Containers that stay as they are.
    pub kept: Vec<ContainerId>,
    /// Containers that never served (created, never started), to be removed first thing.
    pub discarded: Vec<ContainerId>,
    /// The fate of all other replicas, in order of execution.
    pub slots: Vec<Slot>,
}

/// One replica's fate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Slot {
    /// One more.
    Add(Successor),
    /// The first makes room for the second.
    Replace(ContainerId, Successor),
    /// One less.
    Remove(ContainerId),
    /// Stopped and started again.
    Restart(ContainerId),
}

/// Where a new container comes from.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Successor {
    /// Compose creates it.
    Created,
    /// An earlier run created it but has not finished with it.
    Adopted(ContainerId),
}

/// Why a service is touched.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Reason {
    /// It has no container.
    Missing,
    /// Its config hash differs.
    ConfigChanged {
        /// Of a container.
        old: String,
        /// Of the Compose files.
        new: String,
    },
    /// It lives in the namespaces of another service's container, which is replaced.
    ParentReplaced {
        /// The other service.
        service: ServiceName,
    },
    /// The image's name stands for another image, and new images were asked for.
    ImageChanged {
        /// The name.
        name: String,
        /// What a container is made of.
        old: ImageId,
        /// What the name stands for now.
        new: ImageId,
    },
    /// The content of a config or secret differs, which Compose's hash does not see.
    FileChanged {
        /// Its path in the container.
        path: String,
    },
    /// A service that it depends on by `restart: true`, or whose namespaces it shares, gets other containers, or has
    /// got them, or was started again.
    DependencyReplaced {
        /// The other service.
        service: ServiceName,
    },
    /// The user asked for it (`--force-recreate`).
    Forced,
    /// A container does not run.
    Stopped,
    /// A container is unhealthy or restarts again and again.
    Unhealthy,
    /// An earlier run did not finish.
    Unfinished,
    /// The number of replicas changes.
    Scaled {
        /// Containers there are.
        from: usize,
        /// Containers wanted.
        to: usize,
    },
}

/// Why there is no plan.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Old and new container would need the same thing at the same time.
    #[error(
        "services.{service}.{}: old and new container cannot both have `{}`, but `order: start-first` runs them side by side",
        exclusive.key, exclusive.value
    )]
    CannotOverlap {
        /// The service.
        service: ServiceName,
        /// What only one container can have.
        exclusive: Exclusive,
    },
    /// Old and new containers would need more ports than there are in a range.
    #[error(
        "services.{service}.ports: `{range}` has room for {}, but `order: start-first` with this `parallelism` runs \
         {needed} side by side",
        range.width()
    )]
    NarrowRange {
        /// The service.
        service: ServiceName,
        /// The range.
        range: PortRange,
        /// How many containers there are at a time, at least.
        needed: usize,
    },
}

impl Refusal {
    /// The ways out.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::CannotOverlap { service, exclusive } => {
                let mut hints = vec![format!(
                    "Set `services.{service}.deploy.update_config.order: stop-first` to accept a short interruption."
                )];
                hints.push(if exclusive.key == "ports" {
                    "Or publish a range of ports (`\"8080-8081:80\"`) or an ephemeral one (`\"80\"`), or leave the \
                     port to a reverse proxy."
                        .to_owned()
                } else {
                    format!("Or remove `{}` from the service.", exclusive.key)
                });
                hints
            }
            Self::NarrowRange { service, range, needed } => vec![
                format!("Publish a range that is wide enough, such as `\"{}\"`.", range.widened(*needed)),
                format!(
                    "Or set `services.{service}.deploy.update_config.order: stop-first` to accept a short interruption."
                ),
            ],
        }
    }
}

impl Plan {
    /// Whether a service gets other containers, or more or less of them.
    #[must_use]
    pub fn changes(&self, name: &ServiceName) -> bool {
        !self.keeps_containers_of(name)
    }

    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_settled() && self.orphans.is_empty() && self.networks.is_empty()
    }

    /// Whether there is nothing to do for any service.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.services.iter().all(ServicePlan::is_empty)
    }

    /// The services that containers are to come in of.
    pub fn growing(&self) -> impl Iterator<Item = &ServiceName> {
        let grows = |service: &&ServicePlan| service.slots.iter().any(|slot| slot.successor().is_some());
        self.services.iter().filter(grows).map(|service| &service.service)
    }

    /// The containers that an earlier step has created and that are to come in.
    pub fn adopted(&self) -> impl Iterator<Item = &ContainerId> {
        let successors = self.services.iter().flat_map(|service| &service.slots).filter_map(Slot::successor);
        successors.filter_map(|successor| match successor {
            Successor::Adopted(id) => Some(id),
            Successor::Created => None,
        })
    }
}

impl ServicePlan {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.discarded.is_empty()
    }

    /// The number of replicas it comes to.
    #[must_use]
    pub fn replicas(&self) -> usize {
        let stays = |slot: &&Slot| slot.successor().is_some() || matches!(slot, Slot::Restart(_));
        self.kept.len() + self.slots.iter().filter(stays).count()
    }

    /// How many containers Compose is to create.
    #[must_use]
    pub fn creations(&self) -> usize {
        self.slots.iter().filter(|slot| slot.successor() == Some(&Successor::Created)).count()
    }
}

impl Slot {
    /// The container that goes.
    #[must_use]
    pub fn old(&self) -> Option<&ContainerId> {
        match self {
            Self::Add(_) | Self::Restart(_) => None,
            Self::Replace(old, _) | Self::Remove(old) => Some(old),
        }
    }

    /// The container that comes.
    #[must_use]
    pub fn successor(&self) -> Option<&Successor> {
        match self {
            Self::Add(new) | Self::Replace(_, new) => Some(new),
            Self::Remove(_) | Self::Restart(_) => None,
        }
    }
}

/// Makes the plan.
///
/// `observed` are the project's containers in any order; those made by `compose run` and those of services that are not
/// considered are left out of account.
pub fn plan(desired: &Project, observed: &[Container], options: &Options) -> Result<Plan, Refusal> {
    let mut options = options.clone();
    let mut services = Vec::new();
    let mut renewed = BTreeSet::new();
    let mut going = BTreeSet::new();
    for name in order::sequence(&desired.services) {
        if !options.considered.contains(name) {
            continue;
        }
        let service = &desired.services[name];
        let mut containers: Vec<_> =
            observed.iter().filter(|container| !container.one_off && container.service == *name).collect();
        containers.sort_by_key(|container| (container.number, &container.id));
        let disturbed = dependents::disturbed(service, &containers, observed, &renewed, &going);
        let replaces = dependents::replaces(service);
        if replaces {
            options.disturbed.extend(disturbed.clone());
        }
        let mut plan = plan_service(name, service, &containers, &options)?;
        if !replaces {
            let mut unfinished = dependents::unfinished(&plan, &disturbed);
            while !unfinished.is_empty() {
                options.disturbed.append(&mut unfinished);
                plan = plan_service(name, service, &containers, &options)?;
                unfinished = dependents::unfinished(&plan, &disturbed);
            }
            dependents::restart(&mut plan, &disturbed);
        }
        going.extend(plan.slots.iter().filter_map(Slot::old).cloned());
        if dependents::is_renewed(&plan) {
            renewed.insert(name);
        }
        services.push(plan);
    }
    Ok(Plan { services, orphans: Vec::new(), networks: BTreeMap::new() })
}

fn plan_service(
    name: &ServiceName,
    service: &Service,
    containers: &[&Container],
    options: &Options,
) -> Result<ServicePlan, Refusal> {
    let wanted = replicas::wanted(service, containers);
    let serving = containers.iter().filter(|container| is_serving(container)).count();
    let some_serve_on = service.update.order == Order::StartFirst
        || service.update.parallelism.is_some_and(|parallelism| parallelism < wanted.max(serving));
    let steers = some_serve_on && !traffic::is_pinned(service);
    let sorted = Sorted::sort(service, containers, options, steers);
    let unproven = sorted.unfinished.iter().filter(|container| is_serving(container)).count();
    let mut reasons = sorted.reasons(service, options);
    reasons.extend(scaling(&sorted, wanted));
    let Fates { kept, discarded, slots } = fates(service, sorted, wanted);
    if slots.is_empty() && discarded.is_empty() {
        reasons.clear();
    } else if reasons.is_empty() {
        reasons.push(Reason::Unfinished);
    }
    let mut plan = ServicePlan {
        service: name.clone(),
        reasons,
        update: service.update.clone(),
        rollback: service.rollback.clone(),
        drain: service.drain,
        aliases: service.aliases.clone(),
        steers,
        may_complete: service.may_complete,
        interrupted: serving - unproven < wanted && is_half_way(service, containers),
        unserved: serving == 0,
        shared_volumes: BTreeSet::new(),
        kept,
        discarded,
        slots,
    };
    if !options.renew_volumes {
        plan.shared_volumes = overlaps(&plan, containers).flat_map(volumes::passed_on).cloned().collect();
    }
    refuse_overlap(service, &plan, containers)?;
    Ok(plan)
}

/// Whether a number of replicas other than there is calls for a change by itself.
fn scaling(sorted: &Sorted<'_>, wanted: usize) -> Option<Reason> {
    let there = sorted.good.len() + sorted.outdated.len();
    if there == 0 && sorted.unfinished.is_empty() {
        return (wanted > 0).then_some(Reason::Missing);
    }
    (there != wanted && sorted.unfinished.is_empty()).then_some(Reason::Scaled { from: there, to: wanted })
}

/// Whether there are traces of a run that was cut off: containers of the wanted configuration beside stopped ones of
/// another.
fn is_half_way(service: &Service, containers: &[&Container]) -> bool {
    let is_current = |container: &&&Container| container.config_hash == service.config_hash;
    let has_ended = |container: &&Container| matches!(container.state, State::Exited { .. });
    containers.iter().any(|container| is_current(&container))
        && containers.iter().filter(|container| !is_current(container)).any(has_ended)
}

/// What becomes of a service's containers.
struct Fates {
    kept: Vec<ContainerId>,
    discarded: Vec<ContainerId>,
    slots: Vec<Slot>,
}

fn fates(service: &Service, mut sorted: Sorted<'_>, wanted: usize) -> Fates {
    let excess = sorted.good.split_off(sorted.good.len().min(wanted));
    let needed = wanted - sorted.good.len();

    let spare = sorted.unfinished.split_off(sorted.unfinished.len().min(needed));
    let (spare_created, spare_started): (Vec<_>, Vec<_>) =
        spare.into_iter().partition(|container| container.state == State::Created);
    let heirs = sorted.unfinished;
    let adopted = heirs.iter().map(|container| Successor::Adopted(container.id.clone()));
    let successors: Vec<_> = adopted.chain(std::iter::repeat(Successor::Created)).take(needed).collect();

    // Outdated containers that serve get a successor before those that do not: only so can the successor have what the
    // serving one has to give up first, such as a port.
    let mut outdated = sorted.outdated;
    outdated.extend(spare_started);
    outdated.sort_by_key(|&container| {
        let has_heir = heirs.iter().any(|heir| heir.replaces.as_ref() == Some(&container.id));
        (!has_heir, restorability(service, container))
    });
    let leftover = outdated.split_off(outdated.len().min(needed));

    let olds = face_heirs(outdated, &heirs);
    let olds = olds.into_iter().chain(std::iter::repeat(None));
    let (serving, idle): (Vec<_>, Vec<_>) = olds.zip(successors).partition(|(old, _)| old.is_some_and(is_serving));
    let (leftover_serving, leftover_idle): (Vec<_>, Vec<_>) =
        leftover.into_iter().partition(|container| is_serving(container));

    // Availability only grows: what does not serve goes, what is missing comes, and only then what serves is replaced.
    let remove = |container: &Container| Slot::Remove(container.id.clone());
    let mut slots: Vec<_> = leftover_idle.into_iter().map(remove).collect();
    slots.extend(idle.into_iter().chain(serving).map(|(old, successor)| match old {
        Some(old) => Slot::Replace(old.id.clone(), successor),
        None => Slot::Add(successor),
    }));
    slots.extend(leftover_serving.into_iter().chain(excess).map(remove));

    let ids = |containers: Vec<&Container>| containers.into_iter().map(|container| container.id.clone()).collect();
    sorted.discarded.extend(spare_created);
    Fates { kept: ids(sorted.good), discarded: ids(sorted.discarded), slots }
}

/// The order in which outdated containers are given successors: first those that serve, then those that could be
/// started again, then those that have proven to be bad.
fn restorability<'a>(service: &Service, container: &'a Container) -> (bool, bool, u32, &'a ContainerId) {
    (!is_serving(container), container.config_hash == service.config_hash, container.number, &container.id)
}

/// Brings outdated containers into the order of their heirs: those made to replace one (they may have its volumes) face
/// it.
fn face_heirs<'a>(outdated: Vec<&'a Container>, heirs: &[&Container]) -> Vec<Option<&'a Container>> {
    let mut olds: Vec<_> = outdated.into_iter().map(Some).collect();
    olds.resize(olds.len().max(heirs.len()), None);
    for (index, heir) in heirs.iter().enumerate() {
        let replaced = heir.replaces.as_ref();
        let is_replaced = |old: Option<&Container>| old.is_some_and(|old| Some(&old.id) == replaced);
        if let Some(position) = olds.iter().position(|old| is_replaced(*old)) {
            olds.swap(index, position);
        }
    }
    olds
}

/// Serving containers that run side by side with their successors for a while.
fn overlaps<'a>(plan: &ServicePlan, containers: &[&'a Container]) -> impl Iterator<Item = &'a Container> {
    let side_by_side = plan.update.order == Order::StartFirst;
    let replaced = plan.slots.iter().filter_map(move |slot| match slot {
        Slot::Replace(old, _) if side_by_side => Some(old),
        _ => None,
    });
    replaced
        .filter_map(|old| containers.iter().copied().find(|container| container.id == *old && is_serving(container)))
}

/// In start-first order, a serving container and its successor must be able to run side by side.
fn refuse_overlap(service: &Service, plan: &ServicePlan, containers: &[&Container]) -> Result<(), Refusal> {
    match service.exclusive.first() {
        Some(exclusive) if overlaps(plan, containers).next().is_some() => {
            Err(Refusal::CannotOverlap { service: plan.service.clone(), exclusive: exclusive.clone() })
        }
        _ => refuse_narrow_range(service, plan, containers),
    }
}

/// In start-first order, those that serve all have a port while the first of their successors come in beside them. What
/// goes without a successor may have given up its own by then.
fn refuse_narrow_range(service: &Service, plan: &ServicePlan, containers: &[&Container]) -> Result<(), Refusal> {
    let replaced = overlaps(plan, containers).count();
    if replaced == 0 {
        return Ok(());
    }
    let is_removed = |id: &ContainerId| plan.slots.iter().any(|slot| matches!(slot, Slot::Remove(old) if old == id));
    let has_port = |container: &&Container| is_serving(container) && container.publishes_ports;
    let staying = containers.iter().copied().filter(has_port).filter(|container| !is_removed(&container.id)).count();
    let needed = staying + replaced.min(plan.update.parallelism.unwrap_or(replaced).max(1));
    match service.port_ranges.iter().find(|range| range.width() < needed) {
        Some(range) => Err(Refusal::NarrowRange { service: plan.service.clone(), range: range.clone(), needed }),
        None => Ok(()),
    }
}

#[cfg(test)]
impl ServicePlan {
    /// A service that nothing is to be done for.
    pub(crate) fn example() -> Self {
        Self {
            service: ServiceName::new("web"),
            reasons: Vec::new(),
            update: UpdatePolicy::default(),
            rollback: UpdatePolicy::default(),
            drain: Drain::default(),
            aliases: BTreeMap::new(),
            steers: true,
            interrupted: false,
            unserved: false,
            may_complete: false,
            shared_volumes: BTreeSet::new(),
            kept: Vec::new(),
            discarded: Vec::new(),
            slots: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Order::{StartFirst, StopFirst};

    #[test]
    fn a_range_of_ports_has_to_have_room_for_those_side_by_side() {
        let container = |number: u32| Container {
            id: ContainerId::new(format!("id-{number}")),
            number,
            publishes_ports: true,
            config_hash: "old".into(),
            ..Container::example()
        };
        let plan = |range: &str, old: u32, replicas, order, parallelism, ports| {
            let mut service = Service { replicas: Some(replicas), ..Service::example() };
            (service.update.order, service.update.parallelism) = (order, parallelism);
            service.port_ranges.extend(PortRange::parse(range, 80));
            let containers: Vec<_> = (1..=old).map(container).collect();
            let containers: Vec<_> =
                containers.into_iter().map(|container| Container { publishes_ports: ports, ..container }).collect();
            let options = Options { considered: [ServiceName::new("web")].into(), ..Options::default() };
            let containers: Vec<_> = containers.iter().collect();
            match plan_service(&ServiceName::new("web"), &service, &containers, &options) {
                Err(refusal) => refusal.hints()[0].clone(),
                Ok(_) => "fine".to_owned(),
            }
        };
        let wider = |range: &str| format!("Publish a range that is wide enough, such as `\"{range}:80\"`.");
        assert_eq!(plan("8080-8081", 2, 2, StartFirst, Some(1), true), wider("8080-8082"));
        assert_eq!(plan("8080-8081", 2, 2, StartFirst, None, true), wider("8080-8083"));
        assert_eq!(plan("8080-8081", 2, 2, StartFirst, Some(5), true), wider("8080-8083"));
        assert_eq!(plan("8080-8082", 2, 2, StartFirst, Some(1), true), "fine");
        assert_eq!(plan("8080-8081", 2, 2, StopFirst, Some(1), true), "fine");
        // The first of them, one more, and one less.
        assert_eq!(plan("8080-8081", 0, 2, StartFirst, Some(1), true), "fine");
        assert_eq!(plan("8080-8080", 1, 2, StartFirst, Some(1), true), wider("8080-8081"));
        assert_eq!(plan("8080-8081", 2, 1, StartFirst, Some(1), true), "fine");
        // Before the files had the range.
        assert_eq!(plan("8080-8081", 2, 2, StartFirst, Some(1), false), "fine");
    }
}
