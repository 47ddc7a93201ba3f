//! Kerek deploys Docker Compose apps without dropping a request. This page is the map of the library; ARCHITECTURE.md
//! tells how the parts work together.
//!
//! - [`cli`]: the command line as types, nothing else.
//! - [`commands`]: one file a command, wiring the parts below.
//! - [`completion`]: what could come next while a command line is typed.
//! - [`compose`]: what the user wants: project, services, policies.
//! - [`engine`]: what is there: containers, networks, images.
//! - [`deploy`]: the way from one to the other: plan, prepare, roll, commit.
//! - [`provision`]: a host becomes one that containers run on.
//! - [`ssh`]: other hosts: which is meant, how to get there.
//! - [`images`]: images on their way from one engine to another.
//! - [`probe`]: somebody who asks for a URL meanwhile, as users would.
//! - [`report`]: events of a run, and how they are shown.
//! - [`process`], [`cancel`], [`error`], [`remedies`], [`suggestion`], [`names`], [`text`]: children, signals, failures, what
//!   helps against them, commands to go on with, identifiers, escaping.

pub mod cancel;
pub mod cli;
pub mod commands;
pub mod completion;
pub mod compose;
pub mod deploy;
pub mod engine;
pub mod error;
pub mod images;
pub mod names;
pub mod probe;
pub mod process;
pub mod provision;
pub mod remedies;
pub mod report;
pub mod ssh;
pub mod suggestion;
pub mod text;

pub use commands::run;
