//! Deployments made up at random: any mess of containers, with any settings, disturbed in any way, converges; and what is
//! true of any plan.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::bad_versions::{BADNESSES, Badness};
use super::scenario::{Mess, Part, Scenario, Wish, copied, seconds};
use super::sweeps::faults;
use super::trial::{Lawful, Trial};
use crate::compose::Order;
use crate::compose::order::{self, Dependency};
use crate::compose::policy::{Drain, FailureAction};
use crate::deploy::plan::{Options, Plan, Slot, Successor, plan};
use crate::engine::fake::{Behaviour, Fault, FaultKind, News, Phase, Process, Record, World};
use crate::engine::{Container, RestartPolicy, State};
use crate::names::ContainerId;

/// The versions that containers may be of; the second one is deployed.
const VERSIONS: [&str; 3] = ["v1", "v2", "v3"];

/// What containers may hold.
const CONTENTS: [&str; 2] = ["old", "new"];

/// A deployment, in few words: what proptest prints when a law does not hold.
#[derive(Clone, Debug)]
struct Sketch {
    web: Draft,
    db: Option<Draft>,
    /// What `web` asks of `db`, if it depends on it.
    depends: Option<Asked>,
    /// Whether only `web` is asked for.
    only: bool,
    forced: bool,
    news: News,
}

/// What is asked of a dependency.
#[derive(Clone, Copy, Debug)]
struct Asked {
    /// Whether its condition is more than that it was started.
    strict: bool,
    restart: bool,
    optional: bool,
}

impl Asked {
    /// The strictest condition that a service can meet.
    fn of(self, draft: &Draft) -> Dependency {
        let condition = match draft.nature {
            Nature::Checked if self.strict => order::Condition::Healthy,
            Nature::OneShot if self.strict => order::Condition::Completed,
            _ => order::Condition::Started,
        };
        Dependency { condition, restart: self.restart, optional: self.optional }
    }
}

/// A service and its containers.
#[derive(Clone, Debug)]
struct Draft {
    nature: Nature,
    order: Order,
    replicas: Option<u32>,
    parallelism: Option<usize>,
    drain: Duration,
    monitor: Option<Duration>,
    two_networks: bool,
    publishes_ports: bool,
    volume: bool,
    files: Option<Filling>,
    action: FailureAction,
    containers: Vec<ContainerDraft>,
}

/// A config and a secret.
#[derive(Clone, Copy, Debug)]
struct Filling {
    /// What is deployed holds; the old version holds the first of [`CONTENTS`].
    content: &'static str,
    /// Whether containers write to them themselves.
    rewrites: bool,
}

/// What a service's containers do when all is well.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Nature {
    Checked,
    Unchecked,
    OneShot,
}

/// A container, as some run or somebody may have left it.
#[derive(Clone, Copy, Debug)]
struct ContainerDraft {
    number: u32,
    version: &'static str,
    condition: Condition,
    connection: Connection,
    holds: &'static str,
    stop_code: i64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Condition {
    Created,
    AtWork,
    JustStarted,
    Stopped,
    Failed,
    Unhealthy,
    CrashLooping,
    Paused,
    Dead,
}

#[derive(Clone, Copy, Debug)]
enum Connection {
    Published,
    Withdrawn,
    HalfPublished,
    Detached,
}

impl Sketch {
    fn scenario(&self) -> Scenario {
        let drafts = || std::iter::once(("web", &self.web)).chain(self.db.as_ref().map(|draft| ("db", draft)));
        let parts = drafts().map(|(name, draft)| {
            let part = draft.part(name);
            match (name, &self.db, self.depends) {
                ("web", Some(db), Some(asked)) => part.asks("db", asked.of(db)),
                _ => part,
            }
        });
        let old = Wish::new(parts);
        let old = if self.only { old.only(&["web"]) } else { old };
        let world = World::new([]);
        let containers: Vec<_> = drafts()
            .flat_map(|(name, draft)| draft.containers.iter().map(move |container| (name, container)))
            .map(|(name, container)| container.record(name, &old, &world))
            .scan(BTreeSet::new(), |names, record| {
                // No two have the same name, whatever their numbers are.
                let name = format!("again-{}", record.container.id);
                let taken = !names.insert(record.container.name.clone());
                Some(if taken { record.called(&name) } else { record })
            })
            .collect();
        let mut new = old.at("v2");
        for (name, draft) in drafts() {
            if let Some(Filling { content, .. }) = draft.files {
                new = new.filling(name, content);
            }
        }
        new.request.force_recreate = self.forced;
        Scenario::update("made up", old, new).from(containers).news(self.news).leniently()
    }
}

impl Draft {
    fn part(&self, name: &'static str) -> Part {
        let part = Part::new(name)
            .order(self.order)
            .replicas(self.replicas)
            .parallelism(self.parallelism)
            .drain(Drain::fixed(self.drain))
            .monitor(self.monitor)
            .on_failure(self.action);
        let part = match self.nature {
            Nature::Checked => part,
            Nature::Unchecked => part.behaving([Behaviour::plain()]),
            Nature::OneShot => part.one_shot(),
        };
        let part = if self.publishes_ports { part.publishing_ports() } else { part };
        let part = match self.files {
            Some(Filling { rewrites: true, .. }) => part.rewriting(),
            _ => part,
        };
        let part = if self.files.is_some() { part.file("motd", CONTENTS[0]).file("key", CONTENTS[0]) } else { part };
        let part = if self.volume { part.volume("/data") } else { part };
        if self.two_networks { part.network("shop_back", "backend") } else { part }
    }
}

impl ContainerDraft {
    fn record(self, name: &str, wish: &Wish, world: &World) -> Record {
        let name = crate::names::ServiceName::new(name);
        let mut record = wish.at(self.version).make(&name, self.number, 0, world);
        record.stop_code = self.stop_code;
        // The run that has made a container may have been cut off before the first, or the last, of its files.
        let held = if self.condition == Condition::Created { self.number as usize % 3 } else { usize::MAX };
        let wanted = wish.clone().holding(self.holds);
        for file in copied(&wanted.project.services[&name]).take(held) {
            record.write(&file, World::BEGIN.saturating_sub(seconds(10_000)));
        }
        if self.condition != Condition::Created {
            record.rewrite(World::BEGIN.saturating_sub(seconds(10_000)));
        }
        let started = Phase::started_ago(seconds(10_000));
        let record = match self.condition {
            Condition::Created => record,
            Condition::AtWork => record.phase(started),
            Condition::JustStarted => record.phase(Phase::started_ago(seconds(1))),
            Condition::Stopped => record.phase(Phase::Stopped),
            Condition::Failed => record.behaviour(Behaviour::exits(seconds(1), 1)).phase(started),
            // What a healthcheck says of work means nothing.
            Condition::Unhealthy | Condition::CrashLooping if wish.project.services[&name].must_complete => {
                record.behaviour(Behaviour::exits(seconds(1), 1)).phase(started)
            }
            Condition::Unhealthy => record.behaviour(Behaviour::unhealthy(seconds(1))).phase(started),
            // Without a healthcheck, nobody could tell at a glance.
            Condition::CrashLooping => {
                let mut record = record.phase(started);
                record.container.restart_policy = RestartPolicy::Always;
                record.behaviour(Behaviour::checked(Process::CrashLoops { every: seconds(3) }))
            }
            Condition::Paused => record.phase(Phase::Paused),
            Condition::Dead => record.phase(Phase::Dead),
        };
        match self.connection {
            // Compose makes them so, and nobody moves them.
            _ if record.container.publishes_ports => record,
            Connection::Published => record,
            Connection::Withdrawn => record.withdrawn(),
            Connection::HalfPublished => record.half_withdrawn(),
            Connection::Detached => record.detached(),
        }
    }
}

fn container() -> impl Strategy<Value = ContainerDraft> {
    use Condition::{AtWork, CrashLooping, Created, Dead, Failed, JustStarted, Paused, Stopped, Unhealthy};
    let condition = select(vec![
        AtWork,
        AtWork,
        AtWork,
        AtWork,
        Created,
        Created,
        JustStarted,
        Stopped,
        Stopped,
        Failed,
        Unhealthy,
        CrashLooping,
        Paused,
        Dead,
    ]);
    let connection = select(vec![
        Connection::Published,
        Connection::Published,
        Connection::Published,
        Connection::Withdrawn,
        Connection::HalfPublished,
        Connection::Detached,
    ]);
    let version = select(VERSIONS.to_vec());
    let holds = select(CONTENTS.to_vec());
    (1..8_u32, version, condition, connection, holds, select(vec![0, 0, 143])).prop_map(
        |(number, version, condition, connection, holds, stop_code)| ContainerDraft {
            number,
            version,
            condition,
            connection,
            holds,
            stop_code,
        },
    )
}

fn draft() -> impl Strategy<Value = Draft> {
    let nature = select(vec![Nature::Checked, Nature::Checked, Nature::Unchecked, Nature::OneShot]);
    let order = select(vec![Order::StartFirst, Order::StopFirst]);
    let replicas = proptest::option::weighted(0.8, 0..5_u32);
    let parallelism = select(vec![Some(1), Some(2), Some(3), None]);
    let times =
        (select(vec![Duration::ZERO, seconds(1)]), select(vec![None, None, Some(seconds(4)), Some(seconds(20))]));
    let action = select(vec![FailureAction::Pause, FailureAction::Rollback, FailureAction::Continue]);
    let containers = proptest::collection::vec(container(), 0..6);
    let filling = (select(CONTENTS.to_vec()), proptest::bool::weighted(0.2));
    let filling = filling.prop_map(|(content, rewrites)| Filling { content, rewrites });
    let flags = (any::<bool>(), proptest::bool::weighted(0.2), any::<bool>(), proptest::option::of(filling));
    (nature, order, replicas, parallelism, times, action, containers, flags).prop_map(
        |(nature, order, replicas, parallelism, (drain, monitor), action, containers, flags)| {
            let (two_networks, publishes_ports, volume, files) = flags;
            Draft {
                nature,
                order,
                replicas,
                parallelism,
                drain,
                monitor,
                two_networks,
                publishes_ports: publishes_ports && nature != Nature::OneShot,
                volume,
                files,
                action,
                containers,
            }
        },
    )
}

/// Whoever ends well may well be meant to, where nothing else is known.
fn badness() -> impl Strategy<Value = Badness> {
    let ends_well = |badness: &Badness| badness.behaviour == Behaviour::exits(seconds(1), 0);
    select(BADNESSES.into_iter().filter(|badness| !ends_well(badness)).collect::<Vec<_>>())
}

fn sketch() -> impl Strategy<Value = Sketch> {
    let news = select(vec![News::Flowing, News::Silent, News::Ending]);
    let asked = (any::<bool>(), any::<bool>(), any::<bool>());
    let asked = asked.prop_map(|(strict, restart, optional)| Asked { strict, restart, optional });
    let flags = (proptest::option::of(asked), any::<bool>(), proptest::bool::weighted(0.2));
    (draft(), proptest::option::of(draft()), flags, news).prop_map(|(web, db, (depends, only, forced), news)| Sketch {
        web,
        db,
        depends,
        only,
        forced,
        news,
    })
}

/// Runs a test body with paused time.
fn block_on(body: impl Future<Output = Lawful<()>>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(body).map_err(|broken| TestCaseError::fail(format!("{broken:?}")))
}

fn options(scenario: &Scenario, containers: &[Container]) -> Options {
    let request = &scenario.new.request;
    let forced = containers.iter().filter(|container| request.force_recreate && !container.one_off);
    Options {
        considered: scenario.new.considered(),
        forced: forced.map(|container| container.id.clone()).collect(),
        ..Options::default()
    }
}

fn observed(scenario: &Scenario) -> Vec<Container> {
    let ours = scenario.before.iter().filter(|record| record.project == scenario.new.project.name);
    ours.map(|record| record.observe(World::BEGIN)).collect()
}

fn restarted(slot: &Slot) -> Option<&ContainerId> {
    match slot {
        Slot::Restart(id) => Some(id),
        _ => None,
    }
}

/// All containers a plan speaks of, with how often it does.
fn mentioned(plan: &Plan) -> BTreeMap<&ContainerId, usize> {
    let mut mentions = BTreeMap::new();
    for service in &plan.services {
        let adopted = service.slots.iter().filter_map(|slot| match slot.successor() {
            Some(Successor::Adopted(id)) => Some(id),
            _ => None,
        });
        let old = service.slots.iter().filter_map(|slot| slot.old());
        let restarted = service.slots.iter().filter_map(restarted);
        for id in service.kept.iter().chain(&service.discarded).chain(adopted).chain(old).chain(restarted) {
            *mentions.entry(id).or_default() += 1;
        }
    }
    mentions
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_mess_converges(sketch in sketch()) {
        let scenario = sketch.scenario();
        block_on(async {
            Trial::new(&scenario).converge(&scenario.new).await
        })?;
    }

    #[test]
    fn any_mess_converges_after_any_fault(sketch in sketch(), at in any::<Index>(), kind in any::<Index>()) {
        let scenario = sketch.scenario();
        block_on(async {
            let calls = Trial::new(&scenario).run(&scenario.new, None).await?.calls;
            let at = at.index(calls.len());
            let kind = *kind.get(&faults(&calls[at]));
            let mut trial = Trial::new(&scenario);
            trial.run(&scenario.new, Some(Fault { at, kind })).await?;
            trial.fork().converge(&scenario.new).await?;
            trial.fork().converge(&scenario.old).await?;
            trial.fork().converge(&scenario.new.at("v3")).await
        })?;
    }

    #[test]
    fn kill_upon_kill_converges(sketch in sketch(), kills in proptest::collection::vec((any::<Index>(), any::<bool>()), 1..5)) {
        let scenario = sketch.scenario();
        block_on(async {
            let mut trial = Trial::new(&scenario);
            for (at, before) in kills {
                let kind = if before { FaultKind::KilledBefore } else { FaultKind::KilledAfter };
                trial.run(&scenario.new, Some(Fault { at: at.index(60), kind })).await?;
            }
            trial.converge(&scenario.new).await
        })?;
    }

    #[test]
    fn any_mess_survives_a_bad_version(sketch in sketch(), badness in badness(), good in 0..3_usize) {
        let scenario = sketch.scenario();
        block_on(async {
            let mut trial = Trial::new(&scenario);
            let mut bad = scenario.new.clone();
            for (name, make) in &mut bad.makes {
                make.behaviours.truncate(1);
                make.behaviours = make.behaviours.repeat(good);
                // Work that never ends is waited for for ever, whatever a healthcheck says of it.
                let never_ends = matches!(badness.behaviour.after(seconds(10_000)), (State::Running, Some(_), 0));
                let is_awaited = bad.project.services[name].must_complete;
                make.behaviours.push(if is_awaited && never_ends { Behaviour::exits(seconds(2), 1) } else { badness.behaviour });
                make.restart_policy = badness.restart;
            }
            trial.run(&bad, None).await?;
            trial.converge(&scenario.new.at("v3")).await
        })?;
    }

    #[test]
    fn plans_do_not_depend_on_the_order_of_containers(sketch in sketch(), seed in proptest::collection::vec(any::<u32>(), 20)) {
        let scenario = sketch.scenario();
        let containers = observed(&scenario);
        let options = options(&scenario, &containers);
        let mut shuffled: Vec<_> = containers.iter().cloned().zip(seed).collect();
        shuffled.sort_by_key(|(_, key)| *key);
        let shuffled: Vec<_> = shuffled.into_iter().map(|(container, _)| container).collect();
        let project = &scenario.new.project;
        prop_assert_eq!(plan(project, &containers, &options), plan(project, &shuffled, &options));
    }

    #[test]
    fn plans_give_each_container_one_fate(sketch in sketch()) {
        let scenario = sketch.scenario();
        let containers = observed(&scenario);
        let options = options(&scenario, &containers);
        let plan = plan(&scenario.new.project, &containers, &options).expect("nothing to refuse");
        let ours = containers.iter().filter(|container| !container.one_off && options.considered.contains(&container.service));
        let ours: BTreeMap<_, _> = ours.map(|container| (&container.id, 1)).collect();
        prop_assert_eq!(mentioned(&plan), ours);
        for service in &plan.services {
            let coming = service.slots.iter().filter(|slot| slot.successor().is_some()).count();
            if let Some(replicas) = scenario.new.project.services[&service.service].replicas {
                let restarted = service.slots.iter().filter_map(restarted).count();
                prop_assert_eq!(service.kept.len() + restarted + coming, replicas as usize);
            }
            let reasonless = service.reasons.is_empty();
            prop_assert_eq!(reasonless, service.is_empty());
        }
    }

    #[test]
    fn plans_for_what_is_as_wished_are_empty(sketch in sketch()) {
        let wish = sketch.scenario().new;
        let containers: Vec<_> = wish.deployed().iter().map(|record| record.observe(World::BEGIN)).collect();
        let options = Options { considered: wish.considered(), ..Options::default() };
        let plan = plan(&wish.project, &containers, &options).expect("nothing to refuse");
        prop_assert!(plan.is_empty(), "{:?}", plan);
    }
}
