//! Where Compose is: mostly a plugin of the Docker CLI, sometimes a program of its own.

use std::path::{Path, PathBuf};

use crate::process::Command;

/// Where Compose is found.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// As the plugin of the Docker CLI.
    Plugin,
    /// As an executable of its own.
    Standalone(PathBuf),
}

impl Program {
    /// Finds `docker compose`, else `docker-compose` in `PATH` or where the Docker CLI keeps its plugins. `config` is
    /// the user's client configuration, if not the default one.
    pub(super) fn find(config: Option<&Path>) -> Option<Self> {
        let path: Vec<_> = std::env::var_os("PATH").iter().flat_map(std::env::split_paths).collect();
        let has_cli = in_directories(&path, "docker").is_some();
        match in_directories(&plugin_directories(config), "docker-compose") {
            Some(_) if has_cli => Some(Self::Plugin),
            Some(plugin) => Some(Self::Standalone(plugin)),
            None => match in_directories(&path, "docker-compose") {
                Some(standalone) => Some(Self::Standalone(standalone)),
                // The CLI may know more directories.
                None => has_cli.then_some(Self::Plugin),
            },
        }
    }

    /// A call without arguments.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Plugin => Command::new("docker").arg("compose"),
            Self::Standalone(path) => Command::new(path),
        }
    }
}

/// Where the Docker CLI looks for its plugins (docker/cli, `cli-plugins/manager`), the user's own first.
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
    own.map(|config| config.join("cli-plugins")).into_iter().chain(shared.map(PathBuf::from)).collect()
}

fn in_directories(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    directories.iter().map(|directory| directory.join(name)).find(|path| path.is_file())
}
