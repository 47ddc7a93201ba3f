//! What the tests share. Benchmarks take it in, too:
//!
//! - [`project`]: a Compose project of a test's own on a real engine, torn down at the end.
//! - [`podman`]: a project on Podman.
//! - [`process`]: processes that can be told from later ones.
//! - [`prober`]: asks a service all the time from within its network: did it serve throughout?
//! - [`registry`]: images to pull.
//! - [`load`]: asks anything at a given rate from outside.
//! - [`api`]: the engine's API, asked directly.
//! - [`events`]: what the engine did to a project, and when.
//! - [`json_lines`]: what `--progress json` prints, held against its documentation.
//! - [`command`]: programs run to their end, in an environment of our own.
//! - [`compose`]: which Compose there is.
//! - [`hosts`]: throw-away hosts, reached over SSH.
//! - [`site`]: such a host, and a project for it.
//! - [`tcp_proxy`]: makes a connection to one of them slow, narrow, stalled or cut.
//! - [`sweep`]: the same again and again, each time with something else going wrong.
//! - [`chaos`]: which cases of a sweep are tried.
//! - [`engines`]: engines of a test's own, with every kind of store.
//! - [`port`]: ports that nobody listens on.
//! - [`image_archives`]: images made to measure, and a look into those that engines save.
//! - [`link`]: a socket that leads to another one, counts, and breaks on demand.
//! - [`eventually`]: waits for what comes about by itself.
//! - [`terminal`]: somebody at a terminal.
//! - [`http`]: what the programs of the harness (`programs/`) have in common.

pub(crate) mod api;
pub(crate) mod chaos;
pub(crate) mod command;
pub(crate) mod compose;
pub(crate) mod engines;
pub(crate) mod events;
pub(crate) mod eventually;
pub(crate) mod hosts;
pub(crate) mod http;
pub(crate) mod image_archives;
pub(crate) mod json_lines;
pub(crate) mod link;
pub(crate) mod load;
pub(crate) mod podman;
pub(crate) mod port;
pub(crate) mod prober;
pub(crate) mod process;
pub(crate) mod project;
pub(crate) mod registry;
pub(crate) mod site;
pub(crate) mod sweep;
pub(crate) mod tcp_proxy;
pub(crate) mod terminal;
