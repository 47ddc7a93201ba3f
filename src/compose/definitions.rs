//! Networks and volumes as the files define them, and the hashes that Compose (2.31 and later) labels them with.
//!
//! Compose replaces a network, and offers to replace a volume, whose label is not the hash of its definition. Kerek has
//! to see that coming: the one interrupts, the other loses data. The hash is SHA-256 of the definition as Go prints it
//! in JSON (docker/compose, `pkg/compose/hash.go`); a test keeps it equal to what Compose does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::unescape;

/// A network's definition. Fields are in Go's order, and left out where Go leaves them out.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Network {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    driver_opts: BTreeMap<String, String>,
    #[serde(default)]
    ipam: Ipam,
    #[serde(default, skip_serializing_if = "is_false")]
    external: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    internal: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    attachable: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_ipv4: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enable_ipv6: Option<bool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Ipam {
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    config: Vec<Pool>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
struct Pool {
    #[serde(skip_serializing_if = "Option::is_none")]
    subnet: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_range: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    aux_addresses: BTreeMap<String, String>,
}

/// A volume's definition.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Volume {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// Compose hashes the default as if it had been written.
    #[serde(default = "local")]
    driver: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    driver_opts: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "is_false")]
    external: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

impl Network {
    /// The hash that Compose labels it with; `None` if it is not Compose's to make.
    pub(super) fn hash(&self) -> Option<String> {
        (!self.external).then(|| hash(self))
    }
}

impl Volume {
    /// The hash that Compose labels it with; `None` if it is not Compose's to make.
    pub(super) fn hash(&self) -> Option<String> {
        (!self.external).then(|| hash(self))
    }
}

fn hash(definition: &impl Serialize) -> String {
    // Strings as keys: this always succeeds.
    let json = unescape(&serde_json::to_string(definition).unwrap_or_default());
    // Go's way to make JSON safe in HTML. None of these characters occurs outside of strings.
    let escaped = json
        .replace('<', r"\u003c")
        .replace('>', r"\u003e")
        .replace('&', r"\u0026")
        .replace('\u{2028}', r"\u2028")
        .replace('\u{2029}', r"\u2029");
    Sha256::digest(escaped).iter().fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"))
}

fn local() -> String {
    "local".to_owned()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it")]
fn is_false(value: &bool) -> bool {
    !value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_compose_does() {
        let network = |json: &str| serde_json::from_str::<Network>(json).expect("valid").hash();
        let volume = |json: &str| serde_json::from_str::<Volume>(json).expect("valid").hash();
        // Labels that Compose 2.40.3 and 5.6.1 gave.
        assert_eq!(
            network(r#"{"name": "vf_front", "labels": {"v": "1"}}"#).as_deref(),
            Some("1bbef08f27a5eba3d4ada0d26a8f09866973da04f960be416b07c1661a2f98b8")
        );
        assert_eq!(
            volume(r#"{"name": "vf_data", "labels": {"v": "1"}}"#).as_deref(),
            Some("59ae7fb103523cd3536fb6ba367d9b80086990b9804fb21d6cb15e2361f5e3e3")
        );
        assert_eq!(network(r#"{"name": "shared", "external": true}"#), None);
    }
}
