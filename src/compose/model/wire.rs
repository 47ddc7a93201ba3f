//! The parts of Compose's output that are read; everything else is ignored.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::compose::definitions::{Network, Volume};
use crate::compose::files::{Definition, Reference};
use crate::compose::hooks::Hook;

#[derive(Deserialize)]
pub(super) struct Model {
    pub(super) name: String,
    #[serde(default)]
    pub(super) services: BTreeMap<String, Service>,
    #[serde(default)]
    pub(super) networks: BTreeMap<String, Option<Network>>,
    #[serde(default)]
    pub(super) volumes: BTreeMap<String, Option<Volume>>,
    #[serde(default)]
    pub(super) configs: BTreeMap<String, Option<Definition>>,
    #[serde(default)]
    pub(super) secrets: BTreeMap<String, Option<Definition>>,
    #[serde(rename = "x-kerek")]
    pub(super) x_kerek: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Service {
    pub(super) image: Option<String>,
    pub(super) build: Option<IgnoredAny>,
    pub(super) pull_policy: Option<String>,
    #[serde(default)]
    pub(super) volumes: Vec<Mount>,
    #[serde(default)]
    pub(super) volumes_from: Vec<String>,
    pub(super) scale: Option<u32>,
    pub(super) deploy: Option<Deploy>,
    #[serde(default)]
    pub(super) depends_on: BTreeMap<String, Dependency>,
    #[serde(default)]
    pub(super) networks: BTreeMap<String, Option<Attachment>>,
    pub(super) network_mode: Option<String>,
    pub(super) ipc: Option<String>,
    pub(super) pid: Option<String>,
    pub(super) restart: Option<String>,
    pub(super) container_name: Option<String>,
    pub(super) mac_address: Option<String>,
    #[serde(default)]
    pub(super) ports: Vec<Port>,
    #[serde(default)]
    pub(super) devices: Vec<Value>,
    #[serde(default)]
    pub(super) configs: Vec<Reference>,
    #[serde(default)]
    pub(super) secrets: Vec<Reference>,
    #[serde(default)]
    pub(super) read_only: bool,
    pub(super) healthcheck: Option<Healthcheck>,
    #[serde(default)]
    pub(super) labels: BTreeMap<String, Value>,
    #[serde(default)]
    pub(super) post_start: Vec<Hook>,
    #[serde(default)]
    pub(super) pre_stop: Vec<Hook>,
    #[serde(default)]
    pub(super) pre_start: Vec<IgnoredAny>,
    #[serde(rename = "x-kerek")]
    pub(super) x_kerek: Option<Value>,
}

#[derive(Deserialize)]
pub(super) struct Healthcheck {
    #[serde(default)]
    pub(super) disable: bool,
}

#[derive(Deserialize)]
pub(super) struct Dependency {
    pub(super) condition: Option<String>,
    #[serde(default)]
    pub(super) restart: bool,
    pub(super) required: Option<bool>,
}

#[derive(Default, Deserialize)]
pub(super) struct Attachment {
    #[serde(default)]
    pub(super) aliases: Vec<String>,
    pub(super) ipv4_address: Option<String>,
    pub(super) ipv6_address: Option<String>,
    pub(super) mac_address: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Mount {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) source: Option<String>,
    #[serde(default)]
    pub(super) target: String,
}

#[derive(Deserialize)]
pub(super) struct Port {
    pub(super) published: Option<String>,
    pub(super) target: u16,
}

#[derive(Default, Deserialize)]
pub(super) struct Deploy {
    pub(super) replicas: Option<u32>,
    pub(super) update_config: Option<UpdatePolicy>,
    pub(super) rollback_config: Option<UpdatePolicy>,
}

#[derive(Default, Deserialize)]
pub(super) struct UpdatePolicy {
    pub(super) parallelism: Option<u64>,
    pub(super) delay: Option<String>,
    pub(super) monitor: Option<String>,
    pub(super) failure_action: Option<String>,
    pub(super) max_failure_ratio: Option<f64>,
    pub(super) order: Option<String>,
}
