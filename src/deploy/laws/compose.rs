//! Compose in memory: it makes containers in the world of the fake engine as the real one does.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::SystemTime;

use anyhow::anyhow;

use super::scenario::{Mess, Wish, hash, seconds};
use crate::compose::delivered::Delivered;
use crate::compose::images::Refresh;
use crate::compose::{Compose, Creation, HookRun, Loaded, Rehearsal, order};
use crate::deploy::{followers, naming};
use crate::engine;
use crate::engine::fake::{Behaviour, Call, Fake, Phase, World, refused};
use crate::error::{Failure, Kind};
use crate::names::{ContainerId, ServiceName};

/// The name of an image that nobody has.
pub(super) const NOWHERE: &str = "nowhere";

/// Compose for one run.
#[derive(Debug)]
pub(super) struct FakeCompose {
    fake: Fake,
    wish: Rc<Wish>,
    /// How many containers it has made of each service.
    made: RefCell<BTreeMap<ServiceName, usize>>,
}

impl FakeCompose {
    pub(super) fn new(fake: Fake, wish: Rc<Wish>) -> Self {
        Self { fake, wish, made: RefCell::default() }
    }

    /// A call that can go wrong as those of the engine can. An interrupt reaches Compose, too: it ends at once.
    async fn call<T>(
        &self,
        line: String,
        writes: bool,
        effect: impl FnOnce(&World) -> engine::Result<T>,
    ) -> Result<T, Failure> {
        let call = Call { line: format!("compose {line}"), writes, bounded: false };
        let result = self.fake.call(call, || effect(self.fake.world())).await;
        if self.fake.is_cancelled() {
            return Err(Failure::new(Kind::Interrupted, anyhow!("interrupted")));
        }
        result.map_err(|error| Failure::new(Kind::Unchanged, error))
    }

    /// The containers of a service that count for Compose, by number.
    fn existing(&self, service: &ServiceName) -> Vec<(u32, ContainerId)> {
        let containers = self.fake.world().list(&self.wish.project.name);
        let mut existing: Vec<_> = containers
            .into_iter()
            .filter(|container| !container.one_off && container.service == *service)
            .map(|container| (container.number, container.id))
            .collect();
        existing.sort();
        existing
    }

    async fn scale(&self, service: &ServiceName, number: usize, unnamed: bool) -> Result<(), Failure> {
        let existing = self.existing(service);
        let fixed = naming::fixed(&self.wish.project.services[service]);
        if fixed.is_some() && !unnamed && number > 1 {
            return Err(anyhow!("{service} has a custom name").into());
        }
        // The real one would do so; it never should get to it.
        for (_, id) in existing.iter().skip(number) {
            self.call(format!("remove {id}"), true, |world| {
                world.remove(id, false);
                self.fake.testify(id);
                Ok(())
            })
            .await?;
        }
        let highest = existing.last().map_or(0, |(number, _)| *number);
        for next in (highest + 1..).take(number.saturating_sub(existing.len())) {
            self.call(format!("create {service}-{next}"), true, |world| {
                let index = *self.made.borrow().get(service).unwrap_or(&0);
                let mut record = self.wish.make(service, next, index, world);
                self.wish.join(&mut record, &world.list(&self.wish.project.name))?;
                record.container.created = Some(SystemTime::UNIX_EPOCH + world.now());
                if fixed.is_some() && unnamed {
                    record = record.called(&format!("{}-{service}-{next}", self.wish.project.name));
                    record.container.config_hash.push_str(" without its name");
                }
                if world.is_taken(&record.container.name) {
                    return Err(refused(format!("the name {} is in use", record.container.name)));
                }
                let id = record.container.id.clone();
                world.add(record);
                self.fake.testify(&id);
                *self.made.borrow_mut().entry(service.clone()).or_default() += 1;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }
}

impl Compose for FakeCompose {
    async fn load(&self, _: &[ServiceName]) -> Result<Loaded, Failure> {
        self.call("config".to_owned(), false, |_| {
            let mut project = self.wish.project.clone();
            for service in project.services.values_mut() {
                service.config_hash.clear();
            }
            Ok(Loaded { project, model: String::new() })
        })
        .await
    }

    async fn hashes(
        &self,
        _: &Loaded,
        containers: &BTreeMap<ServiceName, ContainerId>,
    ) -> Result<BTreeMap<ServiceName, String>, Failure> {
        self.call("hash".to_owned(), false, |_| {
            let services = self.wish.project.services.iter();
            Ok(services.map(|(name, service)| (name.clone(), hash(service, |host| containers.get(host)))).collect())
        })
        .await
    }

    async fn rehearse(&self, services: &BTreeSet<ServiceName>) -> Result<Rehearsal, Failure> {
        self.call("rehearse".to_owned(), false, |world| {
            let containers = world.list(&self.wish.project.name);
            let id = |host: &ServiceName| followers::representative(host, &containers).map(|host| &host.id);
            let kept = containers
                .iter()
                .filter(|container| !container.one_off && services.contains(&container.service))
                .filter(|it| it.config_hash == hash(&self.wish.project.services[&it.service], id))
                .map(|container| container.name.clone())
                .collect();
            Ok(Rehearsal { kept, ..Rehearsal::default() })
        })
        .await
    }

    async fn up(&self, _: &BTreeMap<ServiceName, u32>, _: &Delivered) -> Result<(), Failure> {
        // The networks of this world never change.
        Err(anyhow!("nobody asked for this").into())
    }

    async fn all_services(&self) -> Result<BTreeSet<ServiceName>, Failure> {
        self.call("services".to_owned(), false, |_| Ok(self.wish.project.services.keys().cloned().collect())).await
    }

    async fn variables(&self, _: &BTreeSet<String>) -> Result<BTreeMap<String, String>, Failure> {
        self.call("variables".to_owned(), false, |_| Ok(BTreeMap::new())).await
    }

    async fn refresh(&self, refresh: &Refresh) -> Result<(), Failure> {
        self.call("refresh".to_owned(), false, |world| {
            let Refresh { build, pull, try_pull, .. } = refresh;
            for name in [build, pull, try_pull].into_iter().flatten() {
                let image = &self.wish.project.services[name].image;
                if image == NOWHERE {
                    return Err(refused("no such image".to_owned()));
                }
                world.bring_in(image);
            }
            Ok(())
        })
        .await
    }

    async fn create(&self, creation: &Creation) -> Result<(), Failure> {
        let services = &self.wish.project.services;
        let names = if creation.no_dependencies {
            creation.services.clone()
        } else {
            order::closure(services, &creation.services)
        };
        for name in &names {
            let asked = creation.scale.get(name).copied().or(services[name].replicas).unwrap_or(1);
            self.scale(name, usize::try_from(asked).unwrap_or(usize::MAX), creation.unnamed).await?;
        }
        Ok(())
    }

    async fn run_hook(&self, run: &HookRun<'_>) -> Result<ContainerId, Failure> {
        let exec_code = self.wish.makes[run.service].exec_code;
        self.call(format!("run {}", run.name), true, |world| {
            let mut record = self.wish.make(run.service, 0, 0, world);
            run.name.clone_into(&mut record.container.name);
            record.container.one_off = true;
            record.container.runs_hook = true;
            record.behaviour = Behaviour::exits(seconds(1), exec_code);
            record.phase = Phase::Started(world.now());
            let id = record.container.id.clone();
            world.add(record);
            Ok(id)
        })
        .await
    }
}
