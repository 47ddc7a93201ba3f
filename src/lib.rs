//! Kerek deploys Docker Compose apps without dropping a request. This page is the map of the library; ARCHITECTURE.md
//! tells how the parts work together.
//!
//! - [`cli`]: the command line as types, nothing else.
//! - [`commands`]: one file a command, wiring the parts below.
//! - [`compose`]: what the user wants: project, services, policies.
//! - [`engine`]: what is there: containers, networks, images.
//! - [`deploy`]: the way from one to the other: plan, prepare, roll, commit.
//! - [`provision`]: a host becomes one that containers run on.
//! - [`ssh`]: other hosts: which is meant, how to get there.
//! - [`images`]: images on their way from one engine to another.
//! - [`report`]: events of a run, and how they are shown.
//! - [`process`], [`cancel`], [`error`], [`names`], [`text`]: children, signals, failures, identifiers, escaping.

pub mod cancel;
pub mod cli;
pub mod commands;
pub mod compose;
pub mod deploy;
pub mod engine;
pub mod error;
pub mod images;
pub mod names;
pub mod process;
pub mod provision;
pub mod report;
pub mod ssh;
pub mod text;

pub use commands::run;
