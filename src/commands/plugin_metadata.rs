//! `docker-cli-plugin-metadata`: tells the docker CLI that this is a plugin, and which.

use serde::Serialize;

use crate::error::Failure;
use crate::report::console;

/// The docker CLI's metadata of a plugin, in version 0.1.0 of its schema.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    schema_version: &'static str,
    /// Must not be empty, or the docker CLI refuses the plugin.
    vendor: &'static str,
    version: &'static str,
    /// Shown in the list of commands of `docker --help`.
    short_description: &'static str,
    #[serde(rename = "URL")]
    url: &'static str,
}

pub(super) fn run() -> Result<(), Failure> {
    let metadata = Metadata {
        schema_version: "0.1.0",
        vendor: "evolutics",
        version: env!("CARGO_PKG_VERSION"),
        short_description: "Update Compose services without downtime",
        url: env!("CARGO_PKG_REPOSITORY"),
    };
    let json = serde_json::to_string(&metadata).map_err(anyhow::Error::new)?;
    console::out(&format!("{json}\n")).map_err(console::cannot_write)
}
