//! What deployments are tried on: what there is, and what is wished for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;

use crate::compose::files::{CopiedFile, Origin};
use crate::compose::hooks::Hooks;
use crate::compose::order::{Condition, Dependency};
use crate::compose::policy::{Drain, FailureAction, UpdatePolicy};
use crate::compose::pre_start::PreStart;
use crate::compose::{Exclusive, Order, Project, Service};
use crate::deploy::{Request, followers, naming};
use crate::engine;
use crate::engine::fake::{Behaviour, News, Phase, Record, World, refused};
use crate::engine::{Attachment, Container, Content, Exec, File, RestartPolicy, Volume};
use crate::names::{ContainerId, ImageId, NetworkName, ProjectName, ServiceName};

/// What there is, and what is wished for.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// For people.
    pub(super) name: &'static str,
    /// The containers there are.
    pub(super) before: Vec<Record>,
    /// What was deployed before.
    pub(super) old: Wish,
    /// What is to be deployed.
    pub(super) new: Wish,
    /// How the engine tells of events.
    pub(super) news: News,
    /// Whether a run that meets a fault is excused for not leaving things in order: it had to cope with a bad version
    /// already.
    pub(super) lenient: bool,
    /// Whether there are as many replicas after as before, so that each has an heir to its name and its volumes.
    pub(super) hands_down: bool,
}

/// A project, what its containers are like, and what is asked of kerek.
#[derive(Clone, Debug)]
pub(super) struct Wish {
    pub(super) project: Project,
    pub(super) makes: BTreeMap<ServiceName, Make>,
    pub(super) request: Request,
}

/// What the containers of a service are like.
#[derive(Clone, Debug)]
pub(super) struct Make {
    /// How the first, second, … container made in a run behaves; the last one stands for all further ones.
    pub(super) behaviours: Vec<Behaviour>,
    pub(super) restart_policy: RestartPolicy,
    /// The exit code after a stop.
    pub(super) stop_code: i64,
    /// The exit code of hooks.
    pub(super) exec_code: i64,
    pub(super) publishes_ports: bool,
    /// Paths of anonymous volumes.
    pub(super) volumes: Vec<&'static str>,
    /// Whether they write to their files themselves.
    pub(super) rewrites: bool,
    /// How many there are where the files do not say, if somebody has chosen.
    pub(super) scaled: Option<u32>,
}

/// A service with its containers.
#[derive(Clone, Debug)]
pub(super) struct Part {
    name: &'static str,
    service: Service,
    make: Make,
}

pub(super) const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What Compose labels a service's containers with, if these are the containers that it joins.
pub(super) fn hash<'a>(service: &Service, joined: impl Fn(&ServiceName) -> Option<&'a ContainerId>) -> String {
    let ids = followers::hosts(service).filter_map(joined);
    ids.fold(service.config_hash.clone(), |hash, id| format!("{hash}{IN}{id}"))
}

/// Whether a container is as the files say, but for whom it has joined.
pub(super) fn is_of_version(container: &Container, service: &Service) -> bool {
    container.config_hash.split(IN).next() == Some(&service.config_hash)
}

/// Stands between a version and the container that is joined.
const IN: &str = " in ";

/// The files that a service's containers are given.
pub(super) fn copied(service: &Service) -> impl Iterator<Item = File> {
    service.files.copied.iter().filter_map(CopiedFile::file)
}

pub(super) fn project_name() -> ProjectName {
    ProjectName::new("shop")
}

impl Scenario {
    /// An update of a project that is running as it should, with some bystanders.
    pub(super) fn update(name: &'static str, old: Wish, new: Wish) -> Self {
        let before = old.deployed().into_iter().chain(bystanders()).collect();
        Self { name, before, old, new, news: News::Flowing, lenient: false, hands_down: false }
    }

    /// The same with other containers of the project.
    pub(super) fn from(mut self, containers: impl IntoIterator<Item = Record>) -> Self {
        self.before = containers.into_iter().chain(bystanders()).collect();
        self
    }

    /// The same for a version that is bad enough to excuse disorder.
    pub(super) fn leniently(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// The same, with an heir for each replica.
    pub(super) fn handing_down(mut self) -> Self {
        self.hands_down = true;
        self
    }

    /// The same with events told in another way.
    pub(super) fn news(mut self, news: News) -> Self {
        self.news = news;
        self
    }
}

impl Wish {
    pub(super) fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let mut services = BTreeMap::new();
        let mut makes = BTreeMap::new();
        for part in parts {
            let name = ServiceName::new(part.name);
            services.insert(name.clone(), part.service);
            makes.insert(name, part.make);
        }
        Self {
            project: Project {
                name: project_name(),
                services,
                networks: BTreeMap::new(),
                volumes: BTreeMap::new(),
                releases: None,
            },
            makes,
            request: Request::default(),
        }
    }

    /// The same for another version of every service, which works well.
    pub(super) fn at(&self, version: &str) -> Self {
        let mut wish = self.clone();
        for service in wish.project.services.values_mut() {
            version.clone_into(&mut service.config_hash);
        }
        for (name, make) in &mut wish.makes {
            let is_good = |behaviour: &Behaviour| behaviour.is_ready(seconds(10_000));
            if !wish.project.services[name].may_complete && !make.behaviours.iter().all(is_good) {
                make.behaviours = vec![Behaviour::healthy(seconds(2))];
            }
            make.exec_code = 0;
        }
        wish
    }

    /// The same with this content in every config and secret.
    pub(super) fn holding(self, content: &str) -> Self {
        let names: Vec<_> = self.project.services.keys().cloned().collect();
        names.iter().fold(self, |wish, name| wish.filling(name.as_str(), content))
    }

    /// The same with this content in every config and secret of a service.
    pub(super) fn filling(mut self, service: &str, content: &str) -> Self {
        let service = self.project.services.get_mut(&ServiceName::new(service)).expect("a service of the project");
        for file in &mut service.files.copied {
            file.content = Some(Content(content.as_bytes().to_vec()));
        }
        self
    }

    /// The same with `--force-recreate`.
    pub(super) fn forced(mut self) -> Self {
        self.request.force_recreate = true;
        self
    }

    /// The same without `--force-recreate`.
    pub(super) fn unforced(mut self) -> Self {
        self.request.force_recreate = false;
        self
    }

    /// The same for some services only.
    pub(super) fn only(mut self, services: &[&str]) -> Self {
        self.request.services = services.iter().map(|name| ServiceName::new(*name)).collect();
        self
    }

    /// The services that are considered.
    pub(super) fn considered(&self) -> BTreeSet<ServiceName> {
        let services = &self.project.services;
        let mut considered: BTreeSet<_> = self.request.services.iter().cloned().collect();
        if considered.is_empty() {
            return services.keys().cloned().collect();
        }
        loop {
            let all = considered.iter().flat_map(|name| services[name].depends_on.keys()).chain(&considered);
            let all: BTreeSet<_> = all.cloned().collect();
            if self.request.no_dependencies || all == considered {
                return considered;
            }
            considered = all;
        }
    }

    /// The containers of a project that has been running for long.
    pub(super) fn deployed(&self) -> Vec<Record> {
        let world = World::new([]);
        let mut records = Vec::new();
        for (name, service) in &self.project.services {
            for number in 1..=service.replicas.or(self.makes[name].scaled).unwrap_or(1) {
                let mut record = self.make(name, number, 0, &world);
                let long_ago = World::BEGIN.saturating_sub(seconds(10_000));
                for file in copied(service) {
                    record.write(&file, long_ago);
                }
                record.rewrite(long_ago);
                record.phase = Phase::Started(long_ago);
                records.push(record);
            }
        }
        let containers: Vec<_> = records.iter().map(|record| record.container.clone()).collect();
        for record in &mut records {
            self.join(record, &containers).expect("the services that others join have containers");
        }
        records
    }

    /// Has a new container join those that its service's containers live in.
    pub(super) fn join(&self, record: &mut Record, containers: &[Container]) -> engine::Result<()> {
        let service = &self.project.services[&record.container.service];
        let id = |host: &ServiceName| followers::representative(host, containers).map(|host| &host.id);
        for host in followers::hosts(service) {
            let id = id(host).ok_or_else(|| refused(format!("no container of {host} to join")))?;
            record.container.network_mode = format!("container:{id}");
        }
        record.container.config_hash = hash(service, id);
        Ok(())
    }

    /// A container as Compose makes it, the `index`-th of its service in a run.
    pub(super) fn make(&self, name: &ServiceName, number: u32, index: usize, world: &World) -> Record {
        let service = &self.project.services[name];
        let make = &self.makes[name];
        let behaviour = make.behaviours[index.min(make.behaviours.len() - 1)];
        let version = &service.config_hash;
        let container_name = match naming::fixed(service) {
            Some(fixed) => fixed.to_owned(),
            None => format!("{}-{name}-{number}", self.project.name),
        };
        let id = world.fresh_id(&format!("{name}-{number}@{version}"));
        let volumes = make.volumes.iter().map(|path| {
            let volume = Volume { name: format!("{id}:{path}"), anonymous: true, wished: false };
            ((*path).to_owned(), volume)
        });
        let networks = service.aliases.iter().map(|(network, names)| {
            let aliases = std::iter::once(&container_name).chain(names).cloned().collect();
            let address = format!("10.0.0.{number}");
            (network.clone(), Attachment { aliases, address, ..Attachment::default() })
        });
        Record {
            project: self.project.name.clone(),
            container: Container {
                volumes: volumes.collect(),
                id,
                networks: networks.collect(),
                name: container_name,
                service: name.clone(),
                number,
                config_hash: version.clone(),
                image: ImageId::new(format!("sha256:{version}")),
                restart_policy: make.restart_policy,
                publishes_ports: make.publishes_ports,
                ..Container::example()
            },
            behaviour,
            stop_code: make.stop_code,
            exec_code: make.exec_code,
            files: BTreeMap::new(),
            rewrites: make.rewrites,
            phase: Phase::Created,
        }
    }
}

impl Part {
    /// A service of one replica that becomes healthy after 3 s, updated stop first.
    pub(super) fn new(name: &'static str) -> Self {
        let names = BTreeSet::from([name.to_owned()]);
        let service = Service {
            config_hash: "v1".to_owned(),
            replicas: Some(1),
            aliases: BTreeMap::from([(NetworkName::new("shop_default"), names)]),
            ..Service::example()
        };
        let make = Make {
            behaviours: vec![Behaviour::healthy(seconds(3))],
            restart_policy: RestartPolicy::No,
            stop_code: 0,
            exec_code: 0,
            publishes_ports: false,
            volumes: Vec::new(),
            rewrites: false,
            scaled: None,
        };
        Self { name, service, make }.drain(Drain::fixed(seconds(2)))
    }

    pub(super) fn version(mut self, version: &str) -> Self {
        version.clone_into(&mut self.service.config_hash);
        self
    }

    pub(super) fn order(mut self, order: Order) -> Self {
        self.service.update.order = order;
        self.service.rollback.order = order;
        self
    }

    pub(super) fn start_first(self) -> Self {
        self.order(Order::StartFirst)
    }

    pub(super) fn replicas(mut self, replicas: impl Into<Option<u32>>) -> Self {
        self.service.replicas = replicas.into();
        self
    }

    /// With so many replicas by hand, of which the files say nothing.
    pub(super) fn scaled(mut self, number: u32) -> Self {
        self.make.scaled = Some(number);
        self.replicas(None)
    }

    /// With another name on its network.
    pub(super) fn alias(mut self, name: &str) -> Self {
        for names in self.service.aliases.values_mut() {
            names.insert(name.to_owned());
        }
        self
    }

    /// How containers behave, in the order in which they are made.
    pub(super) fn behaving(mut self, behaviours: impl IntoIterator<Item = Behaviour>) -> Self {
        self.make.behaviours = behaviours.into_iter().collect();
        self
    }

    /// Its containers do some work and end.
    pub(super) fn one_shot(mut self) -> Self {
        self.service.may_complete = true;
        self.service.must_complete = true;
        self.behaving([Behaviour::exits(seconds(1), 0)])
    }

    pub(super) fn restart(mut self, policy: RestartPolicy) -> Self {
        self.make.restart_policy = policy;
        self
    }

    pub(super) fn parallelism(mut self, parallelism: Option<usize>) -> Self {
        self.service.update.parallelism = parallelism;
        self
    }

    pub(super) fn on_failure(mut self, action: FailureAction) -> Self {
        self.service.update.failure_action = action;
        self
    }

    /// Watches what has come in for so long.
    pub(super) fn monitor(mut self, window: impl Into<Option<Duration>>) -> Self {
        self.service.update.monitor = window.into();
        self.service.rollback.monitor = self.service.update.monitor;
        self
    }

    /// Changes the update policy.
    pub(super) fn updating(mut self, change: impl FnOnce(&mut UpdatePolicy)) -> Self {
        change(&mut self.service.update);
        self
    }

    pub(super) fn drain(mut self, drain: Drain) -> Self {
        self.service.drain = drain;
        self
    }

    pub(super) fn depends_on(self, other: &str) -> Self {
        self.asks(other, Dependency::default())
    }

    /// Depends on another service in a certain way.
    pub(super) fn asks(mut self, other: &str, dependency: Dependency) -> Self {
        self.service.depends_on.insert(ServiceName::new(other), dependency);
        self
    }

    /// Depends on another service under a condition.
    pub(super) fn awaits(self, other: &str, condition: Condition) -> Self {
        self.asks(other, Dependency { condition, ..Dependency::default() })
    }

    /// Lives in the network namespace of another service's container.
    pub(super) fn joins(mut self, host: &str) -> Self {
        self.service.joins.insert("network_mode", BTreeSet::from([ServiceName::new(host)]));
        self.service.aliases.clear();
        self.depends_on(host)
    }

    /// Is made of this image.
    pub(super) fn image(mut self, image: &str) -> Self {
        image.clone_into(&mut self.service.image);
        self
    }

    /// Begins anew when another service's containers are replaced.
    pub(super) fn restarts_with(self, other: &str) -> Self {
        self.asks(other, Dependency { restart: true, ..Dependency::default() })
    }

    /// With a command that is run before a new version starts.
    pub(super) fn pre_start(mut self) -> Self {
        let model = json!({ "services": { self.name: { "pre_start": [{ "command": ["migrate"] }] } } });
        self.service.hooks.pre_start = PreStart::all(&model, self.name, "web:1").expect("a hook");
        self
    }

    /// Puts the service on one more network, under one more name.
    pub(super) fn network(mut self, network: &str, alias: &str) -> Self {
        let names = BTreeSet::from([self.name.to_owned(), alias.to_owned()]);
        self.service.aliases.insert(NetworkName::new(network), names);
        self
    }

    pub(super) fn publishing_ports(mut self) -> Self {
        self.make.publishes_ports = true;
        self
    }

    /// With an anonymous volume.
    pub(super) fn volume(mut self, path: &'static str) -> Self {
        self.make.volumes.push(path);
        self
    }

    /// With a config, or a secret, of some content.
    pub(super) fn file(mut self, key: &str, content: &str) -> Self {
        self.service.files.copied.push(CopiedFile {
            key: key.to_owned(),
            origin: Origin::Inline,
            content: Some(Content(content.as_bytes().to_vec())),
            path: format!("/{key}"),
            mode: 0o444,
            uid: None,
            gid: None,
        });
        self
    }

    /// Its containers write to their files themselves when they start.
    pub(super) fn rewriting(mut self) -> Self {
        self.make.rewrites = true;
        self
    }

    /// With a name for its only container.
    pub(super) fn container_name(mut self, name: &str) -> Self {
        self.service.exclusive.push(Exclusive { key: "container_name".to_owned(), value: name.to_owned() });
        self
    }

    /// With a command after each start and one before each stop.
    pub(super) fn hooks(mut self) -> Self {
        let hook = |name: &str| vec![Exec { command: vec![name.to_owned()], ..Exec::default() }];
        self.service.hooks = Hooks { post_start: hook("post_start"), pre_stop: hook("pre_stop"), ..Hooks::default() };
        self
    }

    /// Its hooks end with this code.
    pub(super) fn hooks_ending_with(mut self, code: i64) -> Self {
        self.make.exec_code = code;
        self
    }

    pub(super) fn stopping_with(mut self, code: i64) -> Self {
        self.make.stop_code = code;
        self
    }
}

/// Containers that no deployment of the project may touch: of another project, made by `compose run`, of a service that
/// is not in the files.
pub(super) fn bystanders() -> Vec<Record> {
    let template = Wish::new([Part::new("web")]);
    let running = template.deployed().remove(0);
    let bystander = |id: &str, change: fn(&mut Record)| {
        let mut record = running.clone();
        record.container.id = ContainerId::new(id);
        let mut record = record.called(id);
        change(&mut record);
        record
    };
    vec![
        bystander("foreign", |record| record.project = ProjectName::new("shop2")),
        bystander("foreign-created", |record| {
            record.project = ProjectName::new("shop2");
            record.phase = Phase::Created;
        }),
        bystander("one-off", |record| record.container.one_off = true),
        bystander("one-off-created", |record| {
            record.container.one_off = true;
            record.phase = Phase::Created;
        }),
        bystander("legacy", |record| record.container.service = ServiceName::new("legacy")),
    ]
}

/// Changes of containers, for worlds that are not as they should be.
pub(super) trait Mess {
    /// As this phase.
    fn phase(self, phase: Phase) -> Self;
    /// Out of its service's names.
    fn withdrawn(self) -> Self;
    /// Out of its service's names on the first network.
    fn half_withdrawn(self) -> Self;
    /// Off all networks.
    fn detached(self) -> Self;
    /// Behaves so.
    fn behaviour(self, behaviour: Behaviour) -> Self;
    /// Is called so.
    fn called(self, name: &str) -> Self;
}

impl Mess for Record {
    fn phase(mut self, phase: Phase) -> Self {
        self.phase = phase;
        self
    }

    fn withdrawn(mut self) -> Self {
        for attachment in self.container.networks.values_mut() {
            attachment.aliases.truncate(1);
        }
        self
    }

    fn half_withdrawn(mut self) -> Self {
        for attachment in self.container.networks.values_mut().take(1) {
            attachment.aliases.truncate(1);
        }
        self
    }

    fn detached(mut self) -> Self {
        self.container.networks.clear();
        self
    }

    fn behaviour(mut self, behaviour: Behaviour) -> Self {
        self.behaviour = behaviour;
        self
    }

    fn called(mut self, name: &str) -> Self {
        let before = std::mem::replace(&mut self.container.name, name.to_owned());
        for alias in self.container.networks.values_mut().flat_map(|attachment| &mut attachment.aliases) {
            if *alias == before {
                name.clone_into(alias);
            }
        }
        self
    }
}
