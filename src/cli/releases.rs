//! The options of the commands on releases: `history` and `rollback`.

use clap::{Args, ValueEnum};

use super::common::{EngineOptions, OutputOptions, PaceOptions, ProjectOptions, UPDATE};
use super::probe::ProbeOptions;

pub(super) const HISTORY_LONG_ABOUT: &str = "\
Show what was deployed when, by whom, and how it ended.

Each deployment that has changed something leaves a release on the engine, so that this can be asked from anywhere. The \
last ten good ones are kept, or as many as `x-kerek: {releases: N}` in a Compose file says. The one whose containers are \
at work is marked; if none is, somebody has changed something by other means.";

pub(super) const HISTORY_EXAMPLES: &[(&str, &str)] = &[
    ("kerek history", "Show the releases of the project in this folder"),
    ("kerek --context production history -p shop", "Those of a project on a server, without its Compose files"),
    ("kerek history --format json", "The same for programs: an object a line"),
];

pub(super) const ROLLBACK_LONG_ABOUT: &str = "\
Go back to a release that was good.

Without a number, that is what was good before the last deployment: the release before the one that is at work, or, if \
the last deployment failed or was cut off, the one that it was to replace. Called again, it goes back one more.

A rollback is a deployment of the old configuration and of the very images that it had: replica by replica, without losing a \
request, in the order that `rollback_config` says, or else `update_config`. Neither the Compose files nor a registry are \
needed. Names of images stand for those of the release again. Contents of secrets are not part of a release: they are \
read anew, and so is what is mounted from the engine's host. Data in volumes stays as it is.";

pub(super) const ROLLBACK_EXAMPLES: &[(&str, &str)] = &[
    ("kerek rollback", "Go back to what was good before"),
    ("kerek rollback --dry-run 7", "Show what would change by going back to release 7"),
    ("kerek --context production rollback -p shop", "On a server, without the Compose files"),
];

/// Whose releases to show, and how.
#[derive(Args, Clone, Debug)]
pub struct HistoryOptions {
    /// How to show releases
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: ListFormat,

    /// Which project.
    #[command(flatten)]
    pub project: ProjectOptions,

    /// The engine.
    #[command(flatten)]
    pub engine: EngineOptions,
}

/// How a list is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ListFormat {
    /// For people.
    Table,
    /// For programs: an object a line.
    Json,
}

/// What to go back to, and how.
#[derive(Args, Clone, Debug)]
pub struct RollbackOptions {
    /// The number of the release, as `kerek history` shows it
    #[arg(value_name = "RELEASE")]
    pub release: Option<u64>,

    /// Which project.
    #[command(flatten)]
    pub project: ProjectOptions,

    /// Replace networks whose definition has changed: stops all containers on them for a while
    #[arg(long, help_heading = UPDATE)]
    pub recreate_networks: bool,

    /// Remove containers whose service is not in the release
    #[arg(long, help_heading = UPDATE)]
    pub remove_orphans: bool,

    /// How long things may take.
    #[command(flatten)]
    pub pace: PaceOptions,

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
