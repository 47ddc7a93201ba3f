//! Other hosts, reached with the user's own OpenSSH: its config, keys, agent, jump hosts and known hosts.
//!
//! - [`destination`]: which host is meant, as a type that can hold nothing but that.
//! - [`connection`]: the one login to a host, with commands and forwarded sockets; [`diagnosis`] tells why it failed.
//! - [`remote_socket`]: where a host's engine listens.
//! - [`wrapper`]: lets the `ssh` that other programs call use a given config file.

pub mod connection;
pub mod destination;
pub mod diagnosis;
pub mod remote_socket;
pub mod sessions;
pub mod wrapper;
