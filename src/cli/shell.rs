//! The options of the commands that make kerek at home on a machine: `completions` and `plugin`.

use clap::{Args, Subcommand};
use clap_complete::Shell;

pub(super) const COMPLETIONS_LONG_ABOUT: &str = "\
Print what makes a shell complete kerek's commands and options.

Load it in the shell's start-up file, or put it where the shell looks for completions by itself.";

pub(super) const COMPLETIONS_EXAMPLES: &[(&str, &str)] = &[
    ("source <(kerek completions bash)", "Complete in this bash; put the line into ~/.bashrc to have it always"),
    ("kerek completions fish > ~/.config/fish/completions/kerek.fish", "Have fish complete, from the next one on"),
    ("kerek completions zsh > ~/.zfunc/_kerek", "Have zsh complete, if ~/.zfunc is in its `fpath`"),
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
