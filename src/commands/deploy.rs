//! `kerek deploy`: finds engine and Compose, and hands them to [`crate::deploy`].

use anyhow::Context;

use super::change::{self, Purpose};
use super::{heeding_signals, insisted, probe, project, same_engine, selection, source_selection, suggestion};
use crate::cancel::Cancel;
use crate::cli::{Ansi, DeployOptions, GlobalOptions, Progress, Pull};
use crate::compose::cli::ComposeCli;
use crate::compose::images;
use crate::deploy::delivery::{self, Place};
use crate::deploy::lock::{Owner, Terms};
use crate::deploy::releases::Book;
use crate::deploy::{self, Preview, Request};
use crate::engine::access::Access;
use crate::engine::api::Api;
use crate::engine::endpoint::Endpoint;
use crate::engine::patient::Patient;
use crate::error::{Failure, Kind};
use crate::images::compress::Compression;
use crate::images::end::{End, Ends};
use crate::images::transfer;
use crate::report::choose::{choose, plan_style};
use crate::report::{self, Reporter, console};

/// What is true after a failure before anything was touched.
const UNDEPLOYED: &str = "Nothing was deployed: what was there serves on.";

/// Runs the command.
pub async fn run(global: &GlobalOptions, options: &DeployOptions) -> Result<(), Failure> {
    let progress = options.output.progress.unwrap_or(Progress::Auto);
    let ansi = options.output.ansi.unwrap_or(Ansi::Auto);
    let reporter = choose(progress, ansi)?;
    let project = project::options(&options.project)?;
    let selection = selection(global, &options.engine.container_engine);
    let mut request = Request {
        services: options.service_names.clone(),
        no_dependencies: options.no_deps,
        force_recreate: options.force_recreate,
        recreate_networks: options.recreate_networks,
        no_start: options.no_start,
        renew_anonymous_volumes: options.renew_anon_volumes,
        images: image_options(options),
        remove_orphans: options.remove_orphans.then_some(true),
        wait: options.pace.wait,
        wait_timeout: options.pace.longest_wait(),
        stop_timeout: options.pace.timeout,
        suggestion: suggestion(global, &options.engine, Some(&options.project)),
        ..Request::default()
    };
    let cancel = Cancel::new();
    let work = async {
        let access = Access::prepare(&selection, options.engine.ssh_config.as_deref()).await?;
        let source =
            if options.transfer_images { Some(source(global, options, access.endpoint()).await?) } else { None };
        let compose = ComposeCli::find(&project, access.socket(), global.config.as_deref(), &cancel, &*reporter)?;
        // Reading files takes no engine.
        let ((api, link), loaded) = tokio::try_join!(access.connect(&cancel), compose.prefetch(&request.services))?;
        let name = &loaded.project.name;
        let end = source.is_some().then(|| End::new(api.clone(), &link));
        let api = end.as_ref().map_or(api, |end| end.api.clone());
        let engine = Patient::new(api.clone()).until(link.lost().clone());
        let deliver = async |source: Access, end: End, request: &Request| {
            let config = global.config.as_deref();
            let here = ComposeCli::find(&project, source.socket(), config, &cancel, &*reporter)?;
            let dry_run = global.dry_run;
            let delivery = Delivery { source: &source, compose: &here, dry_run, reporter: &*reporter, cancel: &cancel };
            delivery.make(&Place { engine: &engine, compose: &compose }, end, access.endpoint(), request).await
        };
        let result = async {
            if global.dry_run {
                if let (Some(source), Some(end)) = (source, end) {
                    deliver(source, end, &request).await?;
                    request.images = images::Options::delivered();
                }
                let preview = Box::pin(deploy::preview(&engine, &compose, &request, &*reporter));
                let Preview { plan, containers } = preview.await?;
                let text = match progress {
                    Progress::Json => report::json::plan(&plan, &containers),
                    _ => report::plan::render(&plan, &containers, &plan_style(ansi)),
                };
                return Ok(console::out(&text).context("cannot write the plan")?);
            }
            let suggestion = &request.suggestion.clone();
            let terms = Terms { wait: options.pace.lock_wait, reporter: &*reporter, cancel: &cancel, suggestion };
            let owner = Owner::this(&words(options));
            let work = async {
                let probe = probe::start(&options.probe, &access, &link, &*reporter).await?;
                request.witness = probe::witness(&options.probe, probe.as_ref());
                if let (Some(source), Some(end)) = (source, end) {
                    deliver(source, end, &request).await?;
                    request.images = images::Options::delivered();
                }
                let outcome = deploy::deploy(&engine, &compose, &request, &*reporter, &cancel);
                let outcome = probe::around(probe.as_ref(), &cancel, &*reporter, outcome).await;
                // What was only created does not serve yet.
                if !request.no_start {
                    let book = Book { engine: &engine, images: &api, project: name, owner: &owner };
                    let purpose = Purpose::New { keep: loaded.project.releases };
                    change::record(&book, &outcome, purpose, &*reporter).await;
                }
                outcome?.conclude()
            };
            change::locked(&engine, name, owner.clone(), terms, Box::pin(work)).await
        };
        let result = result.await;
        link.end(result).await
    };
    let result = heeding_signals(&cancel, Box::pin(work), insisted).await;
    // Nobody expects a dry run to change anything.
    result.map_err(|failure| if global.dry_run { failure } else { untouched(failure) })
}

/// A failure before anything was touched that serves: it says so in the end.
fn untouched(failure: Failure) -> Failure {
    let told = failure.hints.iter().any(|hint| hint == UNDEPLOYED);
    if failure.kind == Kind::Unchanged && !told { failure.hint(UNDEPLOYED) } else { failure }
}

/// Where images come from.
async fn source(global: &GlobalOptions, options: &DeployOptions, destination: &Endpoint) -> Result<Access, Failure> {
    let selection = source_selection(global, &options.engine.container_engine);
    let source = Access::prepare(&selection, options.engine.ssh_config.as_deref()).await?;
    if source.endpoint() == destination { Err(same_engine(destination)) } else { Ok(source) }
}

/// What it takes to bring images from another engine.
struct Delivery<'a> {
    source: &'a Access,
    /// Compose, for the source.
    compose: &'a ComposeCli<'a>,
    dry_run: bool,
    reporter: &'a dyn Reporter,
    cancel: &'a Cancel,
}

impl Delivery<'_> {
    /// Builds and pulls at the source, and sends what the destination lacks. In a dry run, it tells how much would be sent of
    /// what is at the source as it is.
    async fn make(
        &self,
        to: &Place<'_, Patient<Api>, ComposeCli<'_>>,
        destination: End,
        endpoint: &Endpoint,
        request: &Request,
    ) -> Result<(), Failure> {
        let (api, link) = self.source.connect(self.cancel).await?;
        let source = End::new(api, &link);
        let engine = Patient::new(source.api.clone()).until(link.lost().clone());
        let settings = transfer::Options {
            compression: Compression::Auto.on_the_way_to(endpoint),
            dry_run: self.dry_run,
            ..transfer::Options::default()
        };
        let ends = Ends { source, destination };
        let result = async {
            let from = Place { engine: &engine, compose: self.compose };
            let names = if self.dry_run {
                delivery::preview(&from, to, request).await?
            } else {
                delivery::gather(&from, to, request).await?
            };
            let sent = transfer::transfer(ends, &names, &settings, self.reporter, self.cancel).await;
            sent.map_err(undeployed)
        };
        link.end(result.await).await
    }
}

/// A failure to bring images, of which some may have arrived: nothing of what serves has changed.
fn undeployed(mut failure: Failure) -> Failure {
    if failure.kind == Kind::Incomplete {
        failure.kind = Kind::Unchanged;
    }
    failure.hint(UNDEPLOYED)
}

/// What is being done, for others who would like to do the same.
fn words(options: &DeployOptions) -> String {
    let services = options.service_names.iter().map(ToString::to_string);
    std::iter::once("deploy".to_owned()).chain(services).collect::<Vec<_>>().join(" ")
}

fn image_options(options: &DeployOptions) -> images::Options {
    images::Options {
        build: options.build,
        no_build: options.no_build,
        pull: options.pull.map(|pull| match pull {
            Pull::Always => images::Policy::Always,
            Pull::Missing => images::Policy::Missing,
            Pull::Never => images::Policy::Never,
        }),
        quiet_pull: options.quiet_pull,
        ..images::Options::default()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn who_has_changed_nothing_says_so_once() {
        let failure = |kind| Failure::new(kind, anyhow!("no such image")).hint("Look for it.");
        assert_eq!(untouched(failure(Kind::Unchanged)).hints, ["Look for it.", UNDEPLOYED]);
        assert_eq!(untouched(undeployed(failure(Kind::Incomplete))).hints, ["Look for it.", UNDEPLOYED]);
        assert_eq!(untouched(failure(Kind::Unreachable)).hints, ["Look for it."]);
    }
}
