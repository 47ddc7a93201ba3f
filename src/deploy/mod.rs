//! A deployment: from what there is to what is wanted, without dropping a request.
//!
//! [`deploy`] is the whole story: load and observe, plan, prepare, roll, commit. Each step has a module of its own. Only
//! `prepare` and `roll` change anything; whatever they cannot finish, the next run does.

mod advice;
mod aftermath;
pub(crate) mod condition;
mod definitions;
pub mod delivery;
mod dependencies;
mod dependents;
mod elsewhere;
mod evidence;
mod exchange;
mod files;
mod followers;
mod hooks;
mod images;
#[cfg(test)]
mod laws;
pub mod lock;
mod naming;
mod orphans;
mod passes;
pub mod plan;
mod pre_start;
mod prepare;
mod ready;
mod rehearsal;
pub mod releases;
mod replicas;
mod roll;
mod succession;
mod traffic;
mod turns;
mod update;
mod volumes;
mod watch;
mod witness;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::RwLock;
use tokio::time::Instant;

use crate::cancel::{Cancel, Reason};
use crate::compose::delivered;
use crate::compose::{self, Compose, Loaded, Project, order};
use crate::engine::{self, Container, Engine};
use crate::error::{Failure, Kind};
use crate::names::{ContainerId, ServiceName};
use crate::report::{Event, Reporter};
use crate::suggestion::Suggestion;
use crate::text::escape;
use elsewhere::Missing;
use exchange::Context;
use passes::{Passed, Passes};
use plan::{Options, Plan};
pub use witness::Witness;

/// How often Compose is asked to create containers. Building and pulling may take long; if containers have ended
/// meanwhile, more are missing than before.
const ROUNDS: usize = 3;

/// What the user asks for.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent wishes")]
pub struct Request {
    /// The services to consider; all if empty.
    pub services: Vec<ServiceName>,
    /// Whether to leave out services that the named ones depend on.
    pub no_dependencies: bool,
    /// Whether to replace containers even without a change.
    pub force_recreate: bool,
    /// Whether to leave it at creating the new containers.
    pub no_start: bool,
    /// What to do about images.
    pub images: compose::images::Options,
    /// Whether new containers get empty anonymous volumes, not those of the containers that they replace.
    pub renew_anonymous_volumes: bool,
    /// Whether networks whose definition has changed may be replaced, which interrupts what is on them.
    pub recreate_networks: bool,
    /// Whether to remove containers of services that are in no file any more; if `None`, the project's environment
    /// tells.
    pub remove_orphans: Option<bool>,
    /// Whether to wait until all considered services are running or healthy, also unchanged ones.
    pub wait: bool,
    /// The longest a container may take to become ready.
    pub wait_timeout: Option<Duration>,
    /// The grace period between asking a container to end and killing it.
    pub stop_timeout: Option<Duration>,
    /// Whether this goes back to what was before, so that `rollback_config` tells how.
    pub goes_back: bool,
    /// The only folder of this machine that files may be copied from; any, if `None`.
    pub files_within: Option<PathBuf>,
    /// What to type for the same engine and project.
    pub suggestion: Suggestion,
    /// Who is heard before a replica counts as replaced.
    pub witness: Option<Rc<dyn Witness>>,
}

/// What a deployment has done.
#[derive(Debug)]
pub struct Deployed {
    /// What was wished for: all of the project, also services that were not considered.
    pub loaded: Loaded,
    /// How many services were changed.
    pub updated: usize,
    /// The services that were considered.
    pub services: BTreeSet<ServiceName>,
    /// Why not all is as was asked for although all is deployed: it was waited for something else.
    pub shortfall: Option<Failure>,
}

impl Deployed {
    /// Fails if not all is as was asked for.
    pub fn conclude(self) -> Result<(), Failure> {
        self.shortfall.map_or(Ok(()), Err)
    }
}

/// What a deployment would do, and the containers it speaks of.
#[derive(Clone, Debug)]
pub struct Preview {
    /// What would be done.
    pub plan: Plan,
    /// What was observed.
    pub containers: Vec<Container>,
}

/// Finds out what [`deploy`] would do. Changes nothing.
pub async fn preview<E: Engine, C: Compose>(
    engine: &E,
    compose: &C,
    request: &Request,
    reporter: &dyn Reporter,
) -> Result<Preview, Failure> {
    let Survey { project, containers, options, mut plan, .. } = survey(engine, compose, request).await?;
    let refresh = images::wanted(engine, &project, &options.considered, &request.images).await;
    images::note_dry_run(&refresh?, &request.images, reporter);
    images::note(&plan, &options.changed_images, &request.suggestion, reporter);
    advice::advise(&project, &plan, &containers, reporter);
    plan.orphans = orphans::to_remove(compose, &project, &containers, request, reporter).await?;
    Ok(Preview { plan, containers })
}

/// Deploys a project.
pub async fn deploy<E: Engine, C: Compose>(
    engine: &E,
    compose: &C,
    request: &Request,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<Deployed, Failure> {
    let begin = Instant::now();
    let mut survey = self::survey(engine, compose, request).await?;
    // What is refused in planning need not be built first.
    let refresh = images::wanted(engine, &survey.project, &survey.options.considered, &request.images).await;
    let refresh = refresh?;
    if !refresh.is_empty() {
        compose.refresh(&refresh).await?;
        survey = self::survey(engine, compose, request).await?;
    }
    // What comes after others would fail after they have changed.
    let later = followers::later(&survey.project, &survey.plan);
    let growing = survey.plan.growing().filter(|name| later.contains(*name));
    images::bring_in(engine, compose, &survey.project, growing, &request.images).await?;
    let mut changed = Vec::new();
    if !survey.plan.networks.is_empty() {
        let Survey { project, containers, plan, .. } = &survey;
        definitions::replace(compose, project, containers, &plan.networks, reporter).await?;
        changed = plan.networks.keys().map(|network| format!("the network {}", escape(network.as_str()))).collect();
        let again = self::survey(engine, compose, request).await;
        survey = again.map_err(|failure| passes::belated(failure, &changed))?;
    }
    let Survey { project, containers, options, plan, model } = &mut survey;
    images::note(plan, &options.changed_images, &request.suggestion, reporter);
    advice::advise(project, plan, containers, reporter);
    let orphans = orphans::to_remove(compose, project, containers, request, reporter).await;
    plan.orphans = orphans.map_err(|failure| passes::belated(failure, &changed))?;
    let (plan, before) = (plan.clone(), containers.clone());
    let mut deployed = deployed(Loaded { project: project.clone(), model: model.clone() }, &plan);
    reporter.report(&Event::Planned { plan: &plan, containers: &before });
    let passes = Passes { engine, compose, request, reporter, cancel, changed, failed: RefCell::default() };
    let Passed { project, left_out, changed } = Box::pin(passes.make(survey)).await?;
    deployed.updated = deployed.updated.saturating_sub(left_out.len());
    let updated = deployed.updated;
    if request.no_start {
        reporter.report(&Event::Prepared { services: updated, took: begin.elapsed() });
        return Ok(deployed);
    }
    if request.wait {
        let waited = aftermath::wait(engine, &project, &plan, request, cancel).await;
        if let Err(failure) = waited {
            return Ok(Deployed { shortfall: Some(passes::belated(failure, &changed)), ..deployed });
        }
    }
    orphans::remove(engine, &plan, &before, request, reporter).await?;
    naming::mend(engine, &project, &plan, &before, reporter).await;
    reporter.report(&Event::Finished { updated, unchanged: plan.services.len() - updated, took: begin.elapsed() });
    Ok(deployed)
}

/// What a plan comes to if all goes well.
fn deployed(loaded: Loaded, plan: &Plan) -> Deployed {
    Deployed {
        updated: plan.services.iter().filter(|service| !service.is_empty()).count(),
        services: plan.services.iter().map(|plan| plan.service.clone()).collect(),
        loaded,
        shortfall: None,
    }
}

/// What is wanted, what is there, and what follows.
struct Survey {
    project: Project,
    /// The project in Compose's own words. It may hold secrets: never show it.
    model: String,
    containers: Vec<Container>,
    options: Options,
    plan: Plan,
}

async fn survey<E: Engine, C: Compose>(engine: &E, compose: &C, request: &Request) -> Result<Survey, Failure> {
    let (Loaded { mut project, model }, containers, missing) = observe(engine, compose, request).await?;
    let mut options = options(engine, &project, &containers, request).await?;
    let (mut plan, rehearsal) = rehearsal::plan(compose, &mut project, &containers, &mut options).await?;
    elsewhere::refuse(&project, &plan, &missing)?;
    files::refuse(&project, &plan)?;
    plan.networks = definitions::check(&rehearsal, &containers, request.recreate_networks)?;
    Ok(Survey { project, model, containers, options, plan })
}

/// Reads the project with its config hashes, and the containers there are. Also returns what it would mount and cannot.
async fn observe<E: Engine, C: Compose>(
    engine: &E,
    compose: &C,
    request: &Request,
) -> Result<(Loaded, Vec<Container>, Missing), Failure> {
    let mut loaded = compose.load(&request.services).await?;
    let look = async {
        let containers = containers(engine, &loaded.project);
        tokio::try_join!(containers, elsewhere::look(engine, &loaded.project)).map_err(Failure::from)
    };
    let joins = loaded.project.services.values().any(|service| !service.joins.is_empty());
    let (hashes, (containers, mut missing)) = if joins {
        let (containers, missing) = look.await?;
        (compose.hashes(&loaded, &representatives(&loaded, &containers)).await?, (containers, missing))
    } else {
        // Nobody waits for the engine while Compose computes.
        let none = BTreeMap::new();
        tokio::try_join!(compose.hashes(&loaded, &none), look)?
    };
    elsewhere::deliver(&mut loaded.project, &mut missing, request.files_within.as_deref());
    if request.goes_back {
        for service in loaded.project.services.values_mut() {
            service.update.clone_from(&service.rollback);
        }
    }
    for (name, hash) in hashes {
        if let Some(service) = loaded.project.services.get_mut(&name) {
            service.config_hash = hash;
        }
    }
    Ok((loaded, containers, missing))
}

/// The project's containers, as far as they matter to it.
async fn containers<E: Engine>(engine: &E, project: &Project) -> engine::Result<Vec<Container>> {
    let mut containers = engine.containers(&project.name).await?;
    condition::disregard_health(project, &mut containers);
    Ok(containers)
}

/// The container that each service stands for where another service joins it.
fn representatives(loaded: &Loaded, containers: &[Container]) -> BTreeMap<ServiceName, ContainerId> {
    let joined: BTreeSet<_> =
        loaded.project.services.values().flat_map(|service| service.joins.values().flatten()).collect();
    let container = |name| followers::representative(name, containers).map(|container| container.id.clone());
    joined.into_iter().filter_map(|name| Some((name.clone(), container(name)?))).collect()
}

async fn options<E: Engine>(
    engine: &E,
    project: &Project,
    containers: &[Container],
    request: &Request,
) -> Result<Options, Failure> {
    let named: BTreeSet<_> = if request.services.is_empty() {
        project.services.keys().cloned().collect()
    } else {
        request.services.iter().cloned().collect()
    };
    // As with Compose, what named services depend on is considered too, but never forced. What an earlier run has created
    // and not started is new enough.
    let forced = containers
        .iter()
        .filter(|container| request.force_recreate && !container.one_off && named.contains(&container.service))
        .filter(|container| container.state != engine::State::Created)
        .map(|container| container.id.clone())
        .collect();
    let considered = if request.no_dependencies { named } else { order::closure(&project.services, &named) };
    let (changed_files, changed_images, definitions) = tokio::try_join!(
        files::changes(engine, project, &considered, containers),
        images::changes(engine, project, &considered, containers, &request.images),
        engine.definitions(&project.name),
    )?;
    let definitions_differ = definitions::differ(project, &definitions);
    let renew_volumes = request.renew_anonymous_volumes;
    Ok(Options {
        considered,
        forced,
        renew_volumes,
        changed_files,
        definitions_differ,
        changed_images,
        ..Options::default()
    })
}

fn make_plan(project: &Project, containers: &[Container], options: &Options) -> Result<Plan, Failure> {
    plan::plan(project, containers, options).map_err(|refusal| {
        let mut failure = Failure::new(Kind::Unchanged, anyhow!("{refusal}"));
        failure.hints = refusal.hints();
        failure
    })
}

/// What the steps that change something share.
struct Change<'a, E, C> {
    engine: &'a E,
    compose: &'a C,
    request: &'a Request,
    reporter: &'a dyn Reporter,
    cancel: &'a Cancel,
    options: &'a Options,
    /// Whether something else has been changed by now.
    begun: bool,
    /// Takes in the services that fail.
    failed: &'a RefCell<BTreeSet<ServiceName>>,
}

impl<E: Engine, C: Compose> Change<'_, E, C> {
    async fn make(&self, project: Project, before: &[Container], plan: Plan) -> Result<(), Failure> {
        let name = project.name.clone();
        let services = project.services.clone();
        let delivered = delivered::of(&project);
        if self.request.no_start {
            return self.prepare(project, before, plan).await.map(drop);
        }
        // Events are to flow when the first container starts; nobody need wait for that.
        let (prepared, events) = tokio::join!(self.prepare(project, before, plan), self.engine.events(&name));
        let (plan, containers) = prepared?;
        let hub = watch::Hub::new();
        let named: BTreeSet<_> = self.request.services.iter().cloned().collect();
        let launcher = pre_start::Launcher { compose: self.compose, delivered: &delivered };
        let context = Context {
            engine: self.engine,
            project: &name,
            failed: self.failed,
            aside: RefCell::default(),
            busy: RefCell::default(),
            addresses: RwLock::default(),
            launcher: &launcher,
            awaited: (self.request.no_dependencies && !named.is_empty()).then_some(&named),
            hub: &hub,
            reporter: self.reporter,
            cancel: self.cancel,
            services: &services,
            wait_timeout: self.request.wait_timeout,
            stop_timeout: self.request.stop_timeout,
            renew_volumes: self.request.renew_anonymous_volumes,
            witness: self.request.witness.as_deref(),
        };
        let rolled = hub.during(self.engine, &name, events, roll::roll(&context, &plan, &containers)).await;
        match rolled {
            Ok(()) => Ok(()),
            Err(broken) => {
                if !broken.is_unreachable() {
                    self.clean_up(&plan).await;
                }
                Err(aftermath::explain(self.engine, &name, &services, &plan, broken, self.cancel).await)
            }
        }
    }

    /// Creates what the plan needs. Returns the plan with the containers it speaks of. If anything fails, what was
    /// created is removed again.
    async fn prepare(
        &self,
        project: Project,
        before: &[Container],
        plan: Plan,
    ) -> Result<(Plan, Vec<Container>), Failure> {
        let name = project.name.clone();
        let prepared = self.create(project, before, plan).await;
        if let Err(failure) = &prepared
            && failure.kind != Kind::Unreachable
        {
            prepare::remove_new(self.engine, &name, before, self.reporter).await;
        }
        prepared
    }

    async fn create(
        &self,
        mut project: Project,
        before: &[Container],
        mut plan: Plan,
    ) -> Result<(Plan, Vec<Container>), Failure> {
        // Where the files do not say how many, it is by what there is now, whatever is there in the meantime.
        for part in &plan.services {
            if let Some(service) = project.services.get_mut(&part.service) {
                service.replicas.get_or_insert(u32::try_from(part.replicas()).unwrap_or(u32::MAX));
            }
        }
        let mut containers = before.to_vec();
        let mut round = 1;
        loop {
            prepare::discard(self.engine, &plan).await?;
            let creations = prepare::creations(&project, &plan, &containers, self.request);
            if creations.is_empty() {
                break;
            }
            if round > ROUNDS {
                return Err(Failure::from(anyhow!("containers come and go faster than Compose creates them")));
            }
            let missing = plan.services.iter().map(plan::ServicePlan::creations).sum();
            self.reporter.report(&Event::Creating { containers: missing });
            for creation in &creations {
                self.compose.create(creation).await?;
            }
            containers = self::containers(self.engine, &project).await?;
            pre_start::sweep(self.engine, before, &containers).await?;
            self.check_cancel()?;
            // What Compose labels new containers with is the last word on what their configuration is.
            naming::claim(&project, before, &mut containers);
            adopt_labels(&mut project, before, &containers);
            plan = make_plan(&project, &containers, self.options)?;
            round += 1;
        }
        let settled = succession::settle(self.engine, &project, &mut plan, &mut containers, self.options).await;
        settled?;
        files::copy_in(self.engine, &project, &plan, &containers).await?;
        prepare::hide(self.engine, &plan, &containers).await?;
        Ok((plan, containers))
    }

    fn check_cancel(&self) -> Result<(), Failure> {
        let Some(reason) = self.cancel.reason() else { return Ok(()) };
        let scope = if self.begun { "nothing more" } else { "nothing" };
        Err(Failure::new(reason.kind(), anyhow!("{}; {scope} was changed", verb(reason))))
    }

    /// Removes what was prepared for replicas whose turn never came.
    async fn clean_up(&self, plan: &Plan) {
        for id in plan.adopted() {
            // Only what never ran: what runs by now serves.
            if let Ok(Some(container)) = self.engine.container(id).await
                && container.state == engine::State::Created
                && let Err(error) = self.engine.remove(id, true).await
            {
                self.reporter.report(&Event::Warning(&format!("{error}; the next deploy removes it")));
            }
        }
    }
}

/// Takes the config hashes of services from containers that were just created.
fn adopt_labels(project: &mut Project, before: &[Container], after: &[Container]) {
    let known: BTreeSet<_> = before.iter().map(|container| &container.id).collect();
    for container in after.iter().filter(|container| !container.one_off && !known.contains(&container.id)) {
        if let Some(service) = project.services.get_mut(&container.service) {
            if service.config_hash != container.config_hash {
                tracing::debug!("Compose labels {} unlike it said before", container.name);
            }
            service.config_hash.clone_from(&container.config_hash);
        }
    }
}

/// What a signal did, as the beginning of a sentence.
fn verb(reason: Reason) -> &'static str {
    match reason {
        Reason::Interrupt => "interrupted",
        Reason::Terminate => "terminated",
    }
}
