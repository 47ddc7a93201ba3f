//! The options of the commands that make kerek at home on a machine: `completions`, `man-pages` and `plugin`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use clap_complete::Shell;

pub(super) const COMPLETIONS_LONG_ABOUT: &str = "\
Print what makes a shell complete kerek's commands and options, and names of contexts, services and releases.

Load it in the shell's start-up file, or put it where the shell looks for completions by itself. It has to find kerek on \
its path.";

pub(super) const COMPLETIONS_EXAMPLES: &[(&str, &str)] = &[
    ("source <(kerek completions bash)", "Complete in this bash; put the line into ~/.bashrc to have it always"),
    ("kerek completions fish > ~/.config/fish/completions/kerek.fish", "Have fish complete, from the next one on"),
    ("kerek completions zsh > ~/.zfunc/_kerek", "Have zsh complete, if ~/.zfunc is in its `fpath`"),
];

pub(super) const MAN_PAGES_LONG_ABOUT: &str = "\
Write kerek's manual pages, one a command.

They go into a folder that is there. `man` finds them in the folder `man1` of any folder on its path.";

pub(super) const MAN_PAGES_EXAMPLES: &[(&str, &str)] = &[
    ("kerek man-pages ~/.local/share/man/man1", "From now on, `man kerek-deploy` explains `kerek deploy`"),
    ("sudo kerek man-pages /usr/local/share/man/man1", "The same for everybody on this machine"),
];

pub(super) const PLUGIN_LONG_ABOUT: &str = "\
Make `kerek deploy` available as `docker deploy`, or take that back.

The docker CLI finds its plugins in a folder of its configuration, where this makes a link to kerek. If kerek moves, install \
the plugin again.";

pub(super) const PLUGIN_EXAMPLES: &[(&str, &str)] = &[
    ("kerek plugin install", "From now on, `docker deploy` is `kerek deploy`"),
    ("kerek plugin remove", "It is not any more"),
];

/// Which shell to complete in.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsOptions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Where manual pages go.
#[derive(Args, Clone, Debug)]
pub struct ManPagesOptions {
    /// The folder to write to
    #[arg(value_name = "FOLDER")]
    pub folder: PathBuf,
}

/// What to do about the plugin.
#[derive(Args, Clone, Copy, Debug)]
pub struct PluginOptions {
    /// What to do.
    #[command(subcommand)]
    pub action: PluginAction,
}

/// What can be done about the plugin.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Subcommand)]
pub enum PluginAction {
    /// Link kerek into the docker CLI's folder of plugins
    Install,
    /// Remove that link
    Remove,
}
