//! The options of `deploy`: those of `docker compose` and its `up`, as far as they make sense here.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::{global, values};
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
    ("kerek deploy --force-recreate web", "Replace the containers of one service although nothing has changed"),
];

pub(super) const CONTAINER_ENGINE: &str = "CONTAINER_ENGINE";
const PROGRESS: &str = "COMPOSE_PROGRESS";
const ANSI: &str = "COMPOSE_ANSI";

/// Arguments that an environment variable stands in for, and which.
pub(super) const FROM_ENVIRONMENT: [(&str, &str); 3] =
    [("container_engine", CONTAINER_ENGINE), ("progress", PROGRESS), ("ansi", ANSI)];

const IMAGES: &str = "Image options";
const OUTPUT: &str = "Output options";
const PROJECT: &str = "Project options";
const UPDATE: &str = "Update options";

/// What to deploy, and how.
#[derive(Args, Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, named by Compose")]
pub struct DeployOptions {
    /// Update these services and those they depend on; all of them if none is named
    #[arg(value_name = "SERVICE", value_parser = values::service_name)]
    pub service_names: Vec<ServiceName>,

    /// Read this Compose file; repeat it to merge several, `-` is standard input
    #[arg(short, long, value_name = "FILE", help_heading = PROJECT)]
    pub file: Vec<PathBuf>,

    /// Name the project, which is otherwise called as its files or directory say
    #[arg(short, long, value_name = "NAME", help_heading = PROJECT)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub project_name: Option<String>,

    /// Resolve relative paths against DIR instead of the first Compose file's directory
    #[arg(long, value_name = "DIR", help_heading = PROJECT)]
    pub project_directory: Option<PathBuf>,

    /// Fill in variables of Compose files from FILE instead of `.env`; may be repeated
    #[arg(long, value_name = "FILE", help_heading = PROJECT)]
    pub env_file: Vec<PathBuf>,

    /// Include the services of this profile; may be repeated
    #[arg(long, value_name = "NAME", help_heading = PROJECT)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub profile: Vec<String>,

    /// Name containers the way Compose v1 did, with `_` in place of `-`
    #[arg(long, help_heading = PROJECT)]
    pub compatibility: bool,

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
    #[arg(long, help_heading = UPDATE)]
    pub no_start: bool,

    /// Remove containers whose service is no longer defined
    #[arg(long, help_heading = UPDATE)]
    pub remove_orphans: bool,

    /// Give new containers empty anonymous volumes, not those of their predecessors
    #[arg(short = 'V', long, help_heading = UPDATE)]
    pub renew_anon_volumes: bool,

    /// Kill an old container that takes longer than this to shut down
    ///
    /// In whole seconds. Without it, what `stop_grace_period` says in the Compose file, 10 seconds by default.
    #[arg(short, long, value_name = "SECONDS", value_parser = values::seconds, help_heading = UPDATE)]
    #[arg(allow_negative_numbers = true)]
    pub timeout: Option<Duration>,

    /// Come back only when each service, untouched ones too, is running or healthy
    #[arg(long, help_heading = UPDATE)]
    pub wait: bool,

    /// Wait this long for another deploy of the same project to end
    ///
    /// Such as 90s or 10m. Without it, kerek refuses to work at the same time as another one, and names it.
    #[arg(long, value_name = "DURATION", value_parser = values::duration, help_heading = UPDATE)]
    #[arg(allow_negative_numbers = true)]
    pub lock_wait: Option<Duration>,

    /// Give up on a container that is not ready after this time
    ///
    /// In whole seconds. Without it, what the healthcheck itself allows for, at least one minute.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, help_heading = UPDATE)]
    #[arg(allow_negative_numbers = true)]
    pub wait_timeout: Option<Duration>,

    /// Accepted for those who come from `up`; kerek never attaches to containers
    #[arg(short, long, help_heading = UPDATE)]
    pub detach: bool,

    /// Build images first
    #[arg(long, help_heading = IMAGES, conflicts_with = "no_build")]
    pub build: bool,

    /// Fail where an image would have to be built
    #[arg(long, help_heading = IMAGES)]
    pub no_build: bool,

    /// When to pull images, whatever the Compose files say
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

    /// How to show progress
    #[arg(long, value_name = "STYLE", env = PROGRESS, hide_env_values = true, help_heading = OUTPUT)]
    pub progress: Option<Progress>,

    /// When to use colours and cursor movements
    #[arg(long, value_name = "WHEN", env = ANSI, hide_env_values = true, help_heading = OUTPUT)]
    pub ansi: Option<Ansi>,

    /// The engine's program: `docker`, `podman`, or a path to one of them
    #[arg(long, value_name = "PROGRAM", env = CONTAINER_ENGINE, default_value = "docker")]
    #[arg(hide_env_values = true, value_parser = values::operand, help_heading = global::ENGINE)]
    #[arg(display_order = 99)]
    pub container_engine: String,

    /// Let ssh read this config file instead of the usual ones
    #[arg(short = 'F', long, value_name = "FILE", help_heading = global::ENGINE, display_order = 99)]
    pub ssh_config: Option<PathBuf>,

    /// Let Compose make at most N engine calls at once; `-1` lifts the limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = global::ENGINE)]
    #[arg(value_parser = clap::value_parser!(i32).range(-1..), display_order = 99)]
    pub parallel: Option<i32>,
}

/// When to use ANSI escape sequences.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Ansi {
    Never,
    Always,
    Auto,
}

impl Ansi {
    /// The value as it is typed, here and for Compose.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Always => "always",
            Self::Auto => "auto",
        }
    }
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Progress {
    /// As `tty` on a terminal, else as `plain`.
    Auto,
    /// Lines that are updated in place.
    Tty,
    /// One line after the other.
    Plain,
    /// One JSON object a line, for programs.
    Json,
    /// Nothing but errors.
    Quiet,
}

impl Progress {
    /// The value as it is typed, here and for Compose.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Tty => "tty",
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Quiet => "quiet",
        }
    }
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
