//! The options of the commands that work with hosts and with images between them.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::common::{EngineOptions, OutputOptions};
use super::{common, values};
use crate::images::compress::Compression;
use crate::images::manifest::Platform;
use crate::provision::Engine;
use crate::ssh::destination::Destination;

pub(super) const PROVISION_LONG_ABOUT: &str = "\
Turn fresh hosts into container hosts, ready for `kerek deploy`.

Logs in, shows what a host is and what would change there, and asks for consent. Then it installs an engine from the \
host's own distribution (Debian, Ubuntu and those made from them), tries it out the way that a deployment goes, and \
makes a Docker context that leads there. Running it again finishes what was cut off, and changes nothing that is as it \
should be.

Docker is set up to rotate logs and to let containers run on while it restarts; the user joins its group, which is as \
good as being root. Podman is set up to run without root, unless root logs in. An engine that is there from elsewhere is \
left as it is.

Several hosts are set up side by side. The exit code is then the highest of theirs.";

pub(super) const PROVISION_EXAMPLES: &[(&str, &str)] = &[
    ("kerek provision deploy@example.com", "Install an engine on a server, after a look at the changes"),
    ("kerek provision --dry-run one.example.com two.example.com", "Look at two servers, and say what would change"),
    ("kerek provision --force -F ssh.conf ssh://staging:2222", "Without a question, over a given SSH config"),
    ("kerek provision --container-engine podman deploy@example.com", "Install Podman, for this user and without root"),
];

pub(super) const RUN_WITH_SSH_CONFIG_LONG_ABOUT: &str = "\
Run a program whose SSH connections follow a given config file.

Programs such as docker, git or rsync call `ssh` by themselves and offer no way to choose its config file. Under this \
command, whatever they start as `ssh`, `scp` or `sftp` reads the given file, and no other. Everything after the \
program's name is its own; options, input, exit code and signals are those of a direct call.

It is done by a temporary folder at the head of PATH, which is tried out before the program runs, and goes when the \
program ends. A program that sets PATH itself (a login shell, sudo), that calls ssh by an absolute path, or that runs \
on in the background goes its own way. An -F that is given to ssh itself wins.

The file may be one that can be read only once, as in `<(vagrant ssh-config)`.

Exits with 126 if the program cannot be run, 127 if there is none.";

pub(super) const RUN_WITH_SSH_CONFIG_EXAMPLES: &[(&str, &str)] = &[
    ("kerek run-with-ssh-config ssh.conf docker -H ssh://staging ps", "Reach an engine over a host alias in ssh.conf"),
    ("kerek run-with-ssh-config ssh.conf ssh -v staging", "See how ssh understands the config"),
    ("kerek run-with-ssh-config <(vagrant ssh-config) rsync -a site/ default:", "Copy files to a virtual machine"),
];

pub(super) const TRANSFER_IMAGES_LONG_ABOUT: &str = "\
Send local images to another engine without a registry.

Images come from the engine that DOCKER_HOST, DOCKER_CONTEXT or the current context tells, and go to the one that \
--host or --context names. Only layers that the destination lacks are sent. An image gets its name there when all of it \
has arrived and been checked; until then, the name stands for what it stood for before.

Names may have a tag, a digest, both or neither, or be IDs. They are the same on the destination, except that Docker's \
classic stores know no digest of what came without a registry; a warning says so.";

pub(super) const TRANSFER_IMAGES_EXAMPLES: &[(&str, &str)] = &[
    ("kerek -H ssh://deploy@example.com transfer-images shop/web shop/worker", "Send two images to a server"),
    (
        "docker compose config --images | kerek -c production transfer-images -",
        "Send what the Compose files name to the engine of a context",
    ),
    ("kerek -c production --dry-run transfer-images shop/web", "Tell how much would be sent"),
];

/// Which hosts to set up, for what, and how to get there.
#[derive(Args, Clone, Debug)]
pub struct ProvisionOptions {
    /// The hosts: `localhost`, or `[ssh://][USER@]NAME[:PORT]`
    #[arg(value_name = "HOST", required = true)]
    pub destinations: Vec<Destination>,

    /// The engine to install: `docker` or `podman`
    #[arg(long, value_name = "PROGRAM", env = common::CONTAINER_ENGINE, default_value = "docker")]
    #[arg(hide_env_values = true, value_parser = values::engine)]
    pub container_engine: Engine,

    /// Skip the question whether to proceed
    #[arg(long)]
    pub force: bool,

    /// Ask for the password that sudo wants on the hosts
    #[arg(long)]
    pub ask_become_password: bool,

    /// Call the Docker context so, and not like the host
    #[arg(long, value_name = "NAME", value_parser = values::context, conflicts_with = "no_context")]
    pub context_name: Option<String>,

    /// Make no Docker context
    #[arg(long)]
    pub no_context: bool,

    /// Let ssh read this config file instead of the usual ones
    #[arg(short = 'F', long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// A program to run, and the SSH config for it.
#[derive(Args, Clone, Debug)]
pub struct RunWithSshConfigOptions {
    /// The SSH config file
    #[arg(value_name = "SSH_CONFIG")]
    pub ssh_config: PathBuf,

    /// The program and its arguments, passed on as they are
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    pub command: Vec<OsString>,
}

/// Which images to send.
#[derive(Args, Clone, Debug)]
pub struct TransferImagesOptions {
    /// Names of the images; `-` reads more of them from standard input, one a line
    #[arg(value_name = "IMAGE", value_parser = values::image)]
    pub images: Vec<String>,

    /// Send all layers, whatever the destination has
    #[arg(long)]
    pub force: bool,

    /// How to compress what is sent: auto, none, gzip, zstd (at a level that follows the link), zstd:LEVEL, or a command
    ///
    /// By default, nothing is compressed on the way to a socket on this machine, and zstd is used on the way to another
    /// one. Say `zstd` if a socket on this machine leads to another one. A command, such as "pigz -9", reads from its
    /// standard input and prints what the engine there decompresses by itself: gzip, bzip2, xz or zstd.
    #[arg(long, value_name = "HOW", default_value = "auto")]
    pub compress: Compression,

    /// Take the image for this platform, such as linux/arm64, where there are several
    ///
    /// By default, that is the platform of the destination; an image for another one is refused.
    #[arg(long, value_name = "OS/ARCH", value_parser = values::platform)]
    pub platform: Option<Platform>,

    /// Output.
    #[command(flatten)]
    pub output: OutputOptions,

    /// The engine.
    #[command(flatten)]
    pub engine: EngineOptions,
}
