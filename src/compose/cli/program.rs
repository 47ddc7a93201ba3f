//! Where Compose is: mostly a plugin of the Docker CLI, sometimes a program of its own.
//!
//! The plugin is run without the CLI, as it can be since it is a program of its own, too: the CLI would run it twice,
//! once to ask what it is, which takes as long as Compose needs for a model.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::process::Command;

/// What the Docker CLI sets for its plugins. Kerek may be one; a Compose that sees it takes itself for one, too.
const OF_PLUGINS: [&str; 2] = ["DOCKER_CLI_PLUGIN_ORIGINAL_CLI_COMMAND", "DOCKER_CLI_PLUGIN_SOCKET"];
/// How Compose is called by people who have it as a plugin.
const AS_PLUGIN: &str = "docker compose";

/// A call of Compose without arguments, wherever that is; none if it is not there.
#[must_use]
pub fn find(config: Option<&Path>) -> Option<Command> {
    Program::find(config).map(|program| program.command())
}

/// Where Compose is found.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// The plugin of the Docker CLI.
    Plugin(PathBuf),
    /// A plugin that only the Docker CLI finds.
    Hidden,
    /// An executable of its own.
    Standalone(PathBuf),
}

impl Program {
    /// Finds Compose where the Docker CLI keeps its plugins, else `docker-compose` in `PATH`. `config` is the user's client
    /// configuration, if not the default one.
    pub(super) fn find(config: Option<&Path>) -> Option<Self> {
        let path: Vec<_> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        let has_cli = in_directories(&path, "docker").is_some();
        match in_directories(&plugin_directories(config), "docker-compose") {
            Some(plugin) if has_cli => Some(Self::Plugin(plugin)),
            Some(plugin) => Some(Self::Standalone(plugin)),
            None => match in_directories(&path, "docker-compose") {
                Some(standalone) => Some(Self::Standalone(standalone)),
                // The CLI may know more directories.
                None => has_cli.then_some(Self::Hidden),
            },
        }
    }

    /// A call without arguments.
    pub(super) fn command(&self) -> Command {
        let command = match self {
            Self::Plugin(path) => Command::new(path).shown_as(AS_PLUGIN),
            Self::Hidden => Command::new("docker").arg("compose"),
            Self::Standalone(path) => Command::new(path),
        };
        OF_PLUGINS.into_iter().fold(command, Command::env_remove)
    }
}

/// Where the Docker CLI looks for its plugins (docker/cli, `cli-plugins/manager`), those of the user's choice first.
fn plugin_directories(config: Option<&Path>) -> Vec<PathBuf> {
    let own = config
        .map(Path::to_owned)
        .or_else(|| std::env::var_os("DOCKER_CONFIG").map(PathBuf::from))
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    let shared = [
        "/usr/local/lib/docker/cli-plugins",
        "/usr/local/libexec/docker/cli-plugins",
        "/usr/lib/docker/cli-plugins",
        "/usr/libexec/docker/cli-plugins",
    ];
    let extra = own.as_deref().map(extra_directories).unwrap_or_default();
    let own = own.map(|config| config.join("cli-plugins"));
    extra.into_iter().chain(own).chain(shared.map(PathBuf::from)).collect()
}

/// Those that the user's `config.json` names, as Homebrew asks for. One that cannot be read names none.
fn extra_directories(config: &Path) -> Vec<PathBuf> {
    #[derive(Default, Deserialize)]
    struct Config {
        #[serde(default, rename = "cliPluginsExtraDirs")]
        extra: Vec<PathBuf>,
    }

    let content = fs::read(config.join("config.json")).unwrap_or_default();
    serde_json::from_slice::<Config>(&content).unwrap_or_default().extra
}

fn in_directories(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
