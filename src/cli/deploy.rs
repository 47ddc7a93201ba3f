//! The options of `deploy`: those of `docker compose` and its `up`, as far as they make sense here.

use clap::{Args, ValueEnum};

use super::common::{EngineOptions, OutputOptions, PaceOptions, ProjectOptions, UPDATE};
use super::probe::ProbeOptions;
use super::values;
use crate::names::ServiceName;

pub(super) const LONG_ABOUT: &str = "\
Bring services to the state that the Compose files describe.

A service is updated when its configuration differs from that of its containers, or when containers are missing, \
stopped or sick. Services take their turn in alphabetical order, though never before one they depend on, and replicas \
one batch at a time.

With `deploy.update_config.order: start-first` in its definition, a service's new container starts, proves itself and \
takes over the traffic before the old one leaves. With `stop-first`, the default of Compose files, the old one stops \
first but is kept until its successor is known to be good. Should the new version fail, the old one goes on serving.";

pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("kerek deploy --dry-run", "Show what would be updated, and why"),
    ("kerek --context production deploy --wait", "Update the app on a server; come back when all of it is up"),
    (
        "kerek --context production deploy --build --transfer-images",
        "Build here, send what the server lacks, and update what has changed",
    ),
    (
        "kerek deploy --probe https://shop.example.com/",
        "Ask for a page meanwhile, and tell how many requests failed, if any",
    ),
    ("kerek deploy --force-recreate web", "Replace the containers of one service although nothing has changed"),
];

const IMAGES: &str = "Image options";

/// What to deploy, and how.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, named by Compose")]
pub struct DeployOptions {
    /// Update these services and those they depend on; all of them if none is named
    #[arg(value_name = "SERVICE", value_parser = values::service_name)]
    pub service_names: Vec<ServiceName>,

    /// Which project, and how to read it.
    #[command(flatten)]
    pub project: ProjectOptions,

    /// Replace containers even where nothing has changed
    #[arg(long, help_heading = UPDATE)]
    pub force_recreate: bool,

    /// Replace networks whose definition has changed: stops all containers on them for a while
    #[arg(long, help_heading = UPDATE)]
    pub recreate_networks: bool,

    /// Leave out the services that the named ones depend on
    #[arg(long, help_heading = UPDATE)]
    pub no_deps: bool,

    /// Create the new containers and leave it at that: the old version goes on serving
    #[arg(long, help_heading = UPDATE, conflicts_with = "recreate_networks")]
    pub no_start: bool,

    /// Remove containers whose service is no longer defined
    #[arg(long, help_heading = UPDATE)]
    pub remove_orphans: bool,

    /// Give new containers empty anonymous volumes, not those of their predecessors
    #[arg(short = 'V', long, help_heading = UPDATE)]
    pub renew_anon_volumes: bool,

    /// How long things may take.
    #[command(flatten)]
    pub pace: PaceOptions,

    /// Accepted for those who come from `up`; kerek never attaches to containers
    #[arg(short, long, help_heading = UPDATE)]
    pub detach: bool,

    /// Build images first, and update the services whose image has changed by that
    #[arg(long, help_heading = IMAGES, conflicts_with = "no_build")]
    pub build: bool,

    /// Fail where an image would have to be built
    #[arg(long, help_heading = IMAGES)]
    pub no_build: bool,

    /// When to pull images, whatever the Compose files say
    ///
    /// With `always` and `missing`, services are updated whose name of an image stands for another one by now.
    #[arg(long, value_name = "WHEN", help_heading = IMAGES)]
    pub pull: Option<Pull>,

    /// Keep the progress of pulls to yourself
    #[arg(long, help_heading = IMAGES)]
    pub quiet_pull: bool,

    /// Build and pull here, and send the other engine what it lacks
    ///
    /// Images come from the engine that is used without --host and --context; the options on building and pulling are for
    /// that one. The other engine then neither builds nor pulls, and services whose image has changed are updated.
    #[arg(long, help_heading = IMAGES)]
    pub transfer_images: bool,

    /// What to ask for meanwhile.
    #[command(flatten)]
    pub probe: ProbeOptions,

    /// What is shown.
    #[command(flatten)]
    pub output: OutputOptions,

    /// The engine.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// When images are pulled.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Pull {
    /// Even those that the engine has.
    Always,
    /// Those that the engine lacks.
    Missing,
    /// Not at all.
    Never,
}

impl Pull {
    /// The value as it is typed, here and for Compose.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Always => "always",
            Self::Missing => "missing",
            Self::Never => "never",
        }
    }
}
