//! Tests of the whole: the program, and the library's engine, on real engines, hosts, proxies.
//!
//! One program for all of them: it is linked once, and whoever waits lets any other test go on. Only `requests.rs`, which
//! measures and needs the machine for itself, is another.

mod chaos;
mod cli;
mod corpus;
mod data;
mod definitions;
mod delivery;
mod dependencies;
mod deploy;
mod docs;
mod engine;
mod examples;
mod followers;
mod harness;
mod hooks;
mod hosts;
mod images;
mod lock;
mod names;
mod options;
mod plugin;
mod podman;
mod policy;
mod probe;
mod provision;
mod releases;
mod remote;
mod run_with_ssh_config;
#[expect(dead_code, reason = "some of it is for benchmarks and for the harness's programs")]
mod support;
