//! The options of `tunnel-ssh`.

use std::path::PathBuf;

use clap::Args;

use super::{common, values};
use crate::ssh::destination::Destination;

pub(super) const LONG_ABOUT: &str = "\
Bring the socket of a host's engine to this machine.

Programs that speak to an engine over a unix socket can then use the one on the host, with one SSH login for all they \
do. The socket's address is printed once it is there. It goes when the tunnel ends: with Ctrl-C or SIGTERM, or when the \
connection breaks.";

pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("kerek tunnel-ssh deploy@example.com", "Print the address of a socket, and keep it until Ctrl-C"),
    ("kerek tunnel-ssh --local-socket ./vps.sock -F ssh.conf vps", "Put it into this folder, over a given SSH config"),
    ("export DOCKER_HOST=$(kerek tunnel-ssh --detach vps)", "Let docker in this shell use the engine on a server"),
];

/// Which socket to bring here, and from where.
#[derive(Args, Clone, Debug)]
pub struct TunnelSshOptions {
    /// The host: `[ssh://][USER@]NAME[:PORT][/SOCKET]`
    #[arg(value_name = "HOST")]
    pub destination: Destination,

    /// Where the socket is to be on this machine; in a folder of its own if left out
    #[arg(long, value_name = "PATH")]
    pub local_socket: Option<PathBuf>,

    /// Where the engine's socket is on the host, if not where the host's own settings say
    #[arg(long, value_name = "PATH", value_parser = values::remote_socket)]
    pub remote_socket: Option<String>,

    /// Come back when the socket is there, and tell how to end the tunnel
    #[arg(short, long)]
    pub detach: bool,

    /// This is the tunnel that somebody else has come back from
    #[arg(long, hide = true)]
    pub detached: bool,

    /// Let ssh read this config file instead of the usual ones
    #[arg(short = 'F', long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// The engine's program: `docker`, `podman`, or a path to one of them
    #[arg(long, value_name = "PROGRAM", env = common::CONTAINER_ENGINE, default_value = "docker")]
    #[arg(hide_env_values = true, value_parser = values::operand)]
    pub container_engine: String,
}
