//! `kerek deploy`: finds engine and Compose, and hands them to [`crate::deploy`].

use std::io::Read;

use anyhow::{Context, anyhow};

use crate::cancel::{Cancel, Reason};
use crate::cli::{Ansi, DeployOptions, GlobalOptions, Progress};
use crate::compose::cli::{ComposeCli, ProjectOptions};
use crate::deploy::{self, Preview, Request};
use crate::engine::api::Api;
use crate::engine::endpoint::{self, Endpoint, Selection};
use crate::engine::patient::Patient;
use crate::error::{Failure, Kind};
use crate::report::choose::{choose, plan_style};
use crate::report::{self, console};

/// Runs the command.
pub async fn run(global: &GlobalOptions, options: &DeployOptions) -> Result<(), Failure> {
    refuse_unbuilt(options)?;
    let ansi = options.ansi.unwrap_or(Ansi::Auto);
    let reporter = choose(options.progress.unwrap_or(Progress::Auto), ansi)?;
    let project = project_options(options)?;
    let selection = Selection {
        host: global.host.clone(),
        context: global.context.clone(),
        config: global.config.clone(),
        ..Selection::from_env(&options.container_engine)
    };
    let endpoint = Endpoint::resolve(&selection)?;
    let request = Request {
        services: options.service_names.clone(),
        no_dependencies: options.no_deps,
        force_recreate: options.force_recreate,
        wait: options.wait,
        wait_timeout: options.wait_timeout,
        stop_timeout: options.timeout,
    };
    let cancel = Cancel::new();
    let work = async {
        let socket = endpoint.socket()?;
        let compose = ComposeCli::find(&project, socket, global.config.as_deref(), &cancel, &*reporter)?;
        let engine = match Api::connect(socket).await {
            Ok(engine) => Patient::new(engine),
            Err(error) => return Err(endpoint::explain(error, socket).await),
        };
        if global.dry_run {
            let Preview { plan, containers } = deploy::preview(&engine, &compose, &request).await?;
            let text = report::plan::render(&plan, &containers, &plan_style(ansi));
            return Ok(console::out(&text).context("cannot write the plan")?);
        }
        deploy::deploy(&engine, &compose, &request, &*reporter, &cancel).await
    };
    match cancel.listen(work).await.context("cannot listen to signals")? {
        Some(result) => result,
        None => Err(insisted(&cancel)),
    }
}

fn project_options(options: &DeployOptions) -> Result<ProjectOptions, Failure> {
    let files: Vec<_> = options.file.iter().map(|file| file.clone().into_os_string()).collect();
    let stdin = if files.iter().any(|file| file == "-") {
        let mut stdin = Vec::new();
        std::io::stdin().read_to_end(&mut stdin).context("cannot read the Compose file from standard input")?;
        Some(stdin)
    } else {
        None
    };
    Ok(ProjectOptions {
        files,
        stdin,
        name: options.project_name.clone().map(Into::into),
        directory: options.project_directory.clone().map(Into::into),
        environment_files: options.env_file.iter().map(|file| file.clone().into_os_string()).collect(),
        profiles: options.profile.iter().map(Into::into).collect(),
        compatibility: options.compatibility,
        parallel: options.parallel.map(Into::into),
    })
}

/// Options that are part of the command line but not built yet must not be taken for granted.
fn refuse_unbuilt(options: &DeployOptions) -> Result<(), Failure> {
    let unbuilt = [
        ("--build", options.build, "Build beforehand: `docker compose build`."),
        ("--no-build", options.no_build, "Leave it out where the images exist."),
        ("--no-start", options.no_start, "Look with `--dry-run` instead."),
        ("--pull", options.pull.is_some(), "Pull beforehand: `docker compose pull`."),
        ("--quiet-pull", options.quiet_pull, "Pull beforehand: `docker compose pull --quiet`."),
        ("--remove-orphans", options.remove_orphans, "Remove them with `docker compose up --remove-orphans`."),
        ("--renew-anon-volumes", options.renew_anon_volumes, "Leave it out."),
    ];
    match unbuilt.into_iter().find(|(_, given, _)| *given) {
        None => Ok(()),
        Some((option, _, hint)) => {
            Err(Failure::new(Kind::Unchanged, anyhow!("{option} is not built yet in this version of kerek")).hint(hint))
        }
    }
}

/// The user did not want to wait for a good end.
fn insisted(cancel: &Cancel) -> Failure {
    let reason = cancel.reason().unwrap_or(Reason::Interrupt);
    Failure::new(reason.kind(), anyhow!("stopped at once, in the middle of things"))
        .hint("What is there serves on as it is. Running the same command again tidies up and goes on from there.")
}
