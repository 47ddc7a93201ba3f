//! The options that every command takes, before or after its name. But for `--dry-run` they are those of the docker
//! CLI, which passes them on to its plugins.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, ValueEnum};

pub(super) const ENGINE: &str = "Engine options";
pub(super) const GENERAL: &str = "General options";

/// The options of every command.
#[derive(Args, Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own, named by the docker CLI")]
pub struct GlobalOptions {
    /// Use the engine that this Docker context points to
    ///
    /// Wins over the environment variable `DOCKER_HOST` and over the context that is current.
    #[arg(short, long, value_name = "NAME", global = true, help_heading = ENGINE)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub context: Option<String>,

    /// Use the engine at this address, such as `ssh://deploy@example.com`
    ///
    /// Other forms are `unix:///path/to/socket` and `tcp://host:port`. Not to be combined with `--context`.
    #[arg(short = 'H', long, value_name = "URL", global = true, help_heading = ENGINE)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub host: Option<String>,

    /// Look for contexts and settings of the docker CLI in this directory
    #[arg(long, value_name = "DIR", global = true, help_heading = ENGINE)]
    pub config: Option<PathBuf>,

    /// Encrypt the connection to a `tcp://` engine
    #[arg(long, global = true, help_heading = ENGINE)]
    pub tls: bool,

    /// Encrypt it, and refuse an engine without a valid certificate
    #[arg(long, global = true, help_heading = ENGINE)]
    pub tlsverify: bool,

    /// Accept engine certificates of this authority alone
    #[arg(long, value_name = "FILE", global = true, help_heading = ENGINE)]
    pub tlscacert: Option<PathBuf>,

    /// Show this certificate to the engine
    #[arg(long, value_name = "FILE", global = true, help_heading = ENGINE)]
    pub tlscert: Option<PathBuf>,

    /// Prove with this key that the certificate is ours
    #[arg(long, value_name = "FILE", global = true, help_heading = ENGINE)]
    pub tlskey: Option<PathBuf>,

    /// Say what would happen, and change nothing
    #[arg(long, global = true, help_heading = GENERAL)]
    pub dry_run: bool,

    /// Log what kerek does, step by step, on standard error
    ///
    /// Same as `--log-level debug`. Values of environment variables and secrets are never logged.
    #[arg(short = 'D', long, global = true, help_heading = GENERAL)]
    pub debug: bool,

    /// Log messages of this importance or more [default: warn]
    #[arg(short, long, value_name = "LEVEL", global = true, help_heading = GENERAL)]
    pub log_level: Option<LogLevel>,
}

impl GlobalOptions {
    /// Refuses what clap cannot see when one option stands before the command's name and the other after it.
    pub(super) fn check(&self, command: &mut clap::Command) -> Result<(), clap::Error> {
        if self.host.is_some() && self.context.is_some() {
            let message = "the arguments '--host <URL>' and '--context <NAME>' both name an engine; give one of them";
            return Err(command.error(ErrorKind::ArgumentConflict, message));
        }
        Ok(())
    }
}

/// Importance of log messages, least first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, ValueEnum)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
}
