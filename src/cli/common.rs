//! Options that several commands have in common.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum};

use super::{global, values};

pub(super) const CONTAINER_ENGINE: &str = "CONTAINER_ENGINE";
const PROGRESS: &str = "COMPOSE_PROGRESS";
const ANSI: &str = "COMPOSE_ANSI";

/// Arguments that an environment variable stands in for, and which.
pub(super) const FROM_ENVIRONMENT: [(&str, &str); 3] =
    [("container_engine", CONTAINER_ENGINE), ("progress", PROGRESS), ("ansi", ANSI)];

pub(super) const OUTPUT: &str = "Output options";
pub(super) const PROJECT: &str = "Project options";
pub(super) const UPDATE: &str = "Update options";

/// Which project is meant, and how Compose reads its files.
#[derive(Args, Clone, Debug)]
pub struct ProjectOptions {
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

    /// Let Compose make at most N engine calls at once; `-1` lifts the limit
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = PROJECT)]
    #[arg(value_parser = clap::value_parser!(i32).range(-1..))]
    pub parallel: Option<i32>,
}

/// How long things may take.
#[derive(Args, Clone, Debug)]
pub struct PaceOptions {
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
    /// In whole seconds. Without it, or if it is 0, what the healthcheck itself allows for, at least one minute.
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, help_heading = UPDATE)]
    #[arg(allow_negative_numbers = true)]
    pub wait_timeout: Option<Duration>,
}

impl PaceOptions {
    /// The longest to wait for a container, if there is a limit; 0 is none, as for Compose.
    #[must_use]
    pub fn longest_wait(&self) -> Option<Duration> {
        self.wait_timeout.filter(|limit| !limit.is_zero())
    }
}

/// What is shown, and how.
#[derive(Args, Clone, Copy, Debug)]
pub struct OutputOptions {
    /// How to show progress
    #[arg(long, value_name = "STYLE", env = PROGRESS, hide_env_values = true, help_heading = OUTPUT)]
    pub progress: Option<Progress>,

    /// When to use colours and cursor movements
    #[arg(long, value_name = "WHEN", env = ANSI, hide_env_values = true, help_heading = OUTPUT)]
    pub ansi: Option<Ansi>,
}

/// Which engine, and how to get there.
#[derive(Args, Clone, Debug)]
pub struct EngineOptions {
    /// The engine's program: `docker`, `podman`, or a path to one of them
    #[arg(long, value_name = "PROGRAM", env = CONTAINER_ENGINE, default_value = "docker")]
    #[arg(hide_env_values = true, value_parser = values::operand, help_heading = global::ENGINE)]
    #[arg(display_order = 99)]
    pub container_engine: String,

    /// Let ssh read this config file instead of the usual ones
    #[arg(short = 'F', long, value_name = "FILE", help_heading = global::ENGINE, display_order = 99)]
    pub ssh_config: Option<PathBuf>,
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
    /// Nothing but warnings and errors.
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
