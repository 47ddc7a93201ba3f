//! The engine's JSON, as far as kerek reads it, and its translation into the types of [`crate::engine`].
//!
//! Only fields that are used are listed, so nothing else in an answer can fail. Enumerations are read as plain words:
//! an unknown one is taken for what is safest, or named in an error where no meaning is safe. Missing fields, nulls
//! (Go's empty collections) and absurd numbers are survived; nothing here panics.

mod endpoint;
mod inspection;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde::de::Deserializer;

pub(super) use self::endpoint::{Connect, Disconnect};
pub(super) use self::inspection::{Inspection, verdict};
use crate::engine::{self, Exec};
use crate::names::ImageId;

/// `com.docker.compose.project`, the label all of Compose's containers carry.
pub(super) const PROJECT_LABEL: &str = "com.docker.compose.project";
/// `com.docker.compose.service`, which tells a service's containers from others.
pub(super) const SERVICE_LABEL: &str = "com.docker.compose.service";
const NUMBER_LABEL: &str = "com.docker.compose.container-number";
const ONE_OFF_LABEL: &str = "com.docker.compose.oneoff";
const HOOK_LABEL: &str = "com.docker.compose.hook";
pub(super) const CONFIG_HASH_LABEL: &str = "com.docker.compose.config-hash";
/// Where the project's files are.
const PROJECT_LABELS: &str = "com.docker.compose.project.";
/// Kerek's own: the ID of the container in whose place this one was made.
pub(super) const REPLACES_LABEL: &str = "kerek.replaces";

/// Stands for "never kill" (a negative stop timeout): 68 years, the most that engines take as a number of seconds.
pub(super) const MAX_STOP_TIMEOUT: Duration = Duration::from_secs(i32::MAX as u64);

/// An element of `GET /containers/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed {
    pub(super) id: String,
}

/// An element of `GET /networks`, or of `Volumes` in the answer of `GET /volumes`, or that of `POST /volumes/create`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Labelled {
    pub(super) name: String,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

impl Labelled {
    /// Its name and the hash of its definition, if it has one.
    pub(super) fn definition(self) -> Option<(String, String)> {
        let hash = self.labels?.remove(CONFIG_HASH_LABEL)?;
        Some((self.name, hash))
    }
}

/// The answer of `GET /volumes`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volumes {
    pub(super) volumes: Option<Vec<Labelled>>,
}

/// The answer of `GET /images/{name}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Image {
    id: String,
    metadata: Option<ImageMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageMetadata {
    last_tag_time: Option<String>,
}

impl From<Image> for engine::Image {
    fn from(image: Image) -> Self {
        let tagged = image.metadata.and_then(|metadata| time(&metadata.last_tag_time?));
        // A time before there were computers stands for none.
        Self { id: ImageId::new(image.id), tagged: tagged.filter(|tagged| *tagged > SystemTime::UNIX_EPOCH) }
    }
}

/// The answer of `POST /containers/{id}/exec`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Created {
    pub(super) id: String,
}

/// The answer of `GET /exec/{id}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Ended {
    running: Option<bool>,
    exit_code: Option<i64>,
}

impl Ended {
    /// The exit code of a command that has ended.
    pub(super) fn code(&self) -> Option<i64> {
        self.exit_code.filter(|_| self.running != Some(true))
    }
}

/// The body of `POST /containers/{id}/exec`.
pub(super) fn exec(exec: &Exec) -> serde_json::Value {
    serde_json::json!({
        "AttachStdout": true,
        "AttachStderr": true,
        "Cmd": exec.command,
        "User": exec.user,
        "Privileged": exec.privileged,
        "WorkingDir": exec.working_dir,
        "Env": exec.environment,
    })
}

/// The answer of `GET /containers/{id}/stats`.
#[derive(Deserialize)]
pub(super) struct Stats {
    networks: Option<BTreeMap<String, Interface>>,
}

#[derive(Deserialize)]
struct Interface {
    #[serde(default, deserialize_with = "whole_number")]
    rx_bytes: i64,
}

impl Stats {
    /// Bytes received on all interfaces; `None` if the engine lists no interface.
    pub(super) fn received(&self) -> Option<u64> {
        let interfaces = self.networks.as_ref().filter(|networks| !networks.is_empty())?;
        Some(
            interfaces
                .values()
                .fold(0, |sum, interface| sum.saturating_add(u64::try_from(interface.rx_bytes).unwrap_or(0))),
        )
    }
}

/// Reads a moment as engines write it (RFC 3339).
pub(super) fn time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
}

fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

/// Reads null as 0 and clamps numbers that do not fit.
fn whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    optional_whole_number(deserializer).map(Option::unwrap_or_default)
}

fn optional_whole_number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let number = Option::<serde_json::Number>::deserialize(deserializer)?;
    Ok(number.map(|number| number.as_i64().unwrap_or_else(|| clamp(number.as_f64().unwrap_or_default()))))
}

#[expect(clippy::cast_possible_truncation, reason = "a cast from f64 saturates, which is what is wanted")]
fn clamp(number: f64) -> i64 {
    number as i64
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn sums_what_was_received() {
        let received = |stats: Value| serde_json::from_value::<Stats>(stats).expect("statistics").received();
        let networks = json!({"eth0": {"rx_bytes": 5, "tx_bytes": 9}, "eth1": {"rx_bytes": 7}, "eth2": {}});
        assert_eq!(received(json!({"networks": networks})), Some(12));
        let huge = json!({"a": {"rx_bytes": u64::MAX}, "b": {"rx_bytes": u64::MAX}, "c": {"rx_bytes": u64::MAX}});
        assert_eq!(received(json!({"networks": huge})), Some(u64::MAX));
        for none in [json!({}), json!({"networks": null}), json!({"networks": {}})] {
            assert_eq!(received(none), None);
        }
        // What podman answers for a stopped container, with status 200.
        assert_eq!(received(json!({"cause": "container is stopped", "message": "…", "response": 500})), None);
    }
}
