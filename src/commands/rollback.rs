//! `kerek rollback`: deploys a release once more.

use std::path::Path;

use anyhow::{Context, anyhow};

use super::change::{self, Purpose};
use super::{heeding_signals, insisted, probe, project, selection, suggestion};
use crate::cancel::Cancel;
use crate::cli::{Ansi, GlobalOptions, Progress, RollbackOptions};
use crate::compose::cli::{ComposeCli, ProjectOptions};
use crate::compose::images;
use crate::compose::released::vet;
use crate::deploy::lock::{Owner, Terms};
use crate::deploy::releases::{self, Book, Release, Renaming, Way};
use crate::deploy::{self, Preview, Request};
use crate::engine::Engine;
use crate::engine::access::{Access, Link};
use crate::engine::api::Api;
use crate::engine::patient::Patient;
use crate::error::{Failure, Kind};
use crate::names::ProjectName;
use crate::report::choose::{choose, plan_style};
use crate::report::{self, Event, Reporter, console};
use crate::suggestion::Suggestion;
use crate::text::escape;

/// Runs the command.
pub(super) async fn run(global: &GlobalOptions, options: &RollbackOptions) -> Result<(), Failure> {
    let progress = options.output.progress.unwrap_or(Progress::Auto);
    let reporter = choose(progress, options.output.ansi.unwrap_or(Ansi::Auto))?;
    let selection = selection(global, &options.engine.container_engine);
    let cancel = Cancel::new();
    let work = async {
        let access = Access::prepare(&selection, options.engine.ssh_config.as_deref()).await?;
        let name = project::name(global, &options.project, &access, &cancel, &*reporter);
        let ((api, link), name) = tokio::try_join!(access.connect(&cancel), name)?;
        let engine = Patient::new(api.clone()).until(link.lost().clone());
        let rollback = Rollback {
            global,
            options,
            access: &access,
            link: &link,
            api: &api,
            engine: &engine,
            project: &name,
            reporter: &*reporter,
            cancel: &cancel,
        };
        let result = Box::pin(rollback.go()).await;
        link.end(result).await
    };
    heeding_signals(&cancel, Box::pin(work), insisted).await
}

/// What going back takes besides a release.
struct Rollback<'a> {
    global: &'a GlobalOptions,
    options: &'a RollbackOptions,
    access: &'a Access,
    link: &'a Link,
    api: &'a Api,
    engine: &'a Patient<Api>,
    project: &'a ProjectName,
    reporter: &'a dyn Reporter,
    cancel: &'a Cancel,
}

impl Rollback<'_> {
    async fn go(&self) -> Result<(), Failure> {
        if self.global.dry_run {
            let Some((target, way)) = self.target().await? else { return Ok(()) };
            return self.show(&target, &way).await;
        }
        let what = self.options.release.map_or_else(|| "rollback".to_owned(), |number| format!("rollback {number}"));
        let owner = Owner::this(&what);
        let suggestion = &self.suggestion();
        let terms =
            Terms { wait: self.options.pace.lock_wait, reporter: self.reporter, cancel: self.cancel, suggestion };
        let work = async {
            let Some((target, way)) = self.target().await? else { return Ok(()) };
            self.deploy(&target, &way, &owner).await
        };
        change::locked(self.engine, self.project, owner.clone(), terms, Box::pin(work)).await
    }

    /// The release to go back to, and the way; `None` if there is nothing to do for any service.
    async fn target(&self) -> Result<Option<(Release, Way)>, Failure> {
        let (releases, containers) =
            tokio::try_join!(releases::all(self.engine, self.project), self.engine.containers(self.project))?;
        let target = match self.options.release {
            Some(number) => releases::named(self.project, &releases, number),
            None => releases::previous(self.project, &releases, &containers),
        }?;
        let model = vet::vetted(&target.model).map_err(|error| {
            Failure::from(
                error.context(format!("release {} of {} cannot be gone back to", target.number, self.project)),
            )
            .hint("Nothing was done. Deploy from the Compose files instead.")
        })?;
        self.check_images(target, &releases).await?;
        let way = target.way_back(&containers)?;
        let by = escape(&target.by);
        let note = format!("going back to release {}, `kerek {}` by {by}", target.number, escape(&target.what));
        self.reporter.report(&Event::Note(&note));
        if way.services.is_empty() && !target.services.is_empty() {
            self.reporter.report(&Event::Note("it serves already"));
            return Ok(None);
        }
        for variable in vet::variables(&model)? {
            let note = format!("configs or secrets of it are from this machine's variable {}", escape(&variable));
            self.reporter.report(&Event::Note(&note));
        }
        Ok(Some((Release { model, ..target.clone() }, way)))
    }

    /// Fails if an image of a release is not there any more.
    async fn check_images(&self, target: &Release, releases: &[Release]) -> Result<(), Failure> {
        for (service, part) in &target.services {
            let Some(id) = &part.id else { continue };
            if self.engine.image(id).await?.is_some() {
                continue;
            }
            let error = anyhow!(
                "release {} cannot be gone back to: {}, the image of {service} ({}), is not on the engine any more",
                target.number,
                escape(id),
                escape(&part.image)
            );
            let failure = Failure::new(Kind::Unchanged, error);
            return Err(
                match releases.iter().rev().find(|other| other.origin != target.origin && !other.model.is_empty()) {
                    Some(other) => {
                        let command = self.suggestion().on_project("rollback", &[&other.number.to_string()]);
                        failure.hint(format!("Perhaps another release: {command}"))
                    }
                    None => failure.hint("Deploy from the Compose files instead."),
                },
            );
        }
        Ok(())
    }

    async fn show(&self, target: &Release, way: &Way) -> Result<(), Failure> {
        let options = self.project_options(target);
        let compose = self.compose(&options)?;
        let request = self.request(way)?;
        target.check(&compose.prefetch(&request.services).await?)?;
        let preview = Box::pin(deploy::preview(self.engine, &compose, &request, self.reporter));
        let Preview { plan, containers } = preview.await?;
        let text = if self.options.output.progress == Some(Progress::Json) {
            report::json::plan(&plan, &containers)
        } else {
            let style = plan_style(self.options.output.ansi.unwrap_or(Ansi::Auto));
            report::plan::render(&plan, &containers, &style)
        };
        Ok(console::out(&text).context("cannot write the plan")?)
    }

    async fn deploy(&self, target: &Release, way: &Way, owner: &Owner) -> Result<(), Failure> {
        let options = self.project_options(target);
        let compose = self.compose(&options)?;
        let asked = &self.options.probe;
        let probe = probe::start(asked, self.access, self.link, self.reporter).await?;
        let request = Request { witness: probe::witness(asked, probe.as_ref()), ..self.request(way)? };
        target.check(&compose.prefetch(&request.services).await?)?;
        let renaming = Renaming::make(self.api, self.engine, &way.images).await?;
        let outcome = Box::pin(deploy::deploy(self.engine, &compose, &request, self.reporter, self.cancel));
        let outcome = probe::around(probe.as_ref(), self.cancel, self.reporter, outcome).await;
        if outcome.is_err()
            && let Ok(containers) = self.engine.containers(self.project).await
        {
            renaming.undo(&containers).await;
        }
        let book = Book { engine: self.engine, images: self.api, project: self.project, owner };
        change::record(&book, &outcome, Purpose::Back(target.origin), self.reporter).await;
        outcome?.conclude()
    }

    /// The release in place of the Compose files. What else the options say still holds: where variables come from, for
    /// one.
    fn project_options(&self, target: &Release) -> ProjectOptions {
        let given = &self.options.project;
        ProjectOptions {
            files: vec!["-".into()],
            stdin: Some(target.model.clone().into_bytes()),
            name: Some(self.project.as_str().into()),
            directory: given.project_directory.clone().map(Into::into),
            environment_files: given.env_file.iter().map(|file| file.clone().into_os_string()).collect(),
            // What is in the model was enabled.
            profiles: vec!["*".into()],
            compatibility: project::is_compatible(given),
            parallel: given.parallel.map(Into::into),
        }
    }

    fn compose<'a>(&'a self, options: &'a ProjectOptions) -> Result<ComposeCli<'a>, Failure> {
        let config = self.global.config.as_deref();
        ComposeCli::find(options, self.access.socket(), config, self.cancel, self.reporter)
    }

    fn suggestion(&self) -> Suggestion {
        suggestion(self.global, &self.options.engine, Some(&self.options.project))
    }

    fn request(&self, way: &Way) -> Result<Request, Failure> {
        let folder = self.options.project.project_directory.as_deref().unwrap_or(Path::new("."));
        let folder = folder.canonicalize().with_context(|| format!("the folder {}", folder.display()))?;
        Ok(Request {
            services: way.services.clone(),
            no_dependencies: true,
            images: images::Options::pinned(way.images.clone()),
            remove_orphans: self.options.remove_orphans.then_some(true),
            recreate_networks: self.options.recreate_networks,
            wait: self.options.pace.wait,
            wait_timeout: self.options.pace.longest_wait(),
            stop_timeout: self.options.pace.timeout,
            suggestion: self.suggestion(),
            goes_back: true,
            files_within: Some(folder),
            ..Request::default()
        })
    }
}
