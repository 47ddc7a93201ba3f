//! Creating a container like another one: what an inspection tells of it, turned into a request for the same again.
//!
//! Settings are passed on as they came, known or not; left out is only what the engine has made up for the original,
//! such as its host name and addresses.

use serde_json::{Map, Value, json};

use super::wire::{CONFIG_HASH_LABEL, REPLACES_LABEL};
use crate::engine::Variation;

/// What can be asked for again of an endpoint; all else in an inspection is state.
const ENDPOINT_SETTINGS: [&str; 6] = ["Aliases", "DriverOpts", "GwPriority", "IPAMConfig", "Links", "MacAddress"];

/// A request for a container.
#[derive(Debug, PartialEq)]
pub(super) struct Creation {
    /// The body of `POST /containers/create`.
    pub(super) body: Value,
    /// Networks to connect the container to afterwards, with the endpoint's settings.
    pub(super) later: Vec<(String, Value)>,
}

impl Creation {
    /// Asks for a container like the one that was inspected, which must not have been started, apart from the variation.
    /// Unless it can be created on `several` networks, it is connected to all but one later. `None` if settings are
    /// missing.
    pub(super) fn like(mut original: Value, variation: &Variation, several: bool) -> Option<Self> {
        let id = original["Id"].as_str()?.to_owned();
        let Value::Object(mut body) = original["Config"].take() else { return None };
        let Value::Object(mut host) = original["HostConfig"].take() else { return None };
        let endpoints = original["NetworkSettings"]["Networks"].take();

        // Engines call a container that has no host name of its own by its short ID.
        if body.get("Hostname").and_then(Value::as_str).is_some_and(|name| id.starts_with(name)) {
            body.remove("Hostname");
        }
        // To ask for none is to ask for the image's.
        if body.get("Entrypoint").is_none_or(is_empty) {
            body.insert("Entrypoint".into(), json!([""]));
        }
        leave_out_shared(&mut body, &host);
        rename_limits(&mut host);
        label(&mut body, variation);
        for (path, volume) in &variation.volumes {
            mount(&mut body, &mut host, path, volume);
        }

        let main = host.get("NetworkMode").and_then(Value::as_str).unwrap_or_default().to_owned();
        let (first, later) = endpoint_settings(endpoints, &id, variation)
            .into_iter()
            .partition::<Vec<_>, _>(|(network, _)| several || *network == main);
        let first: Map<_, _> = first.into_iter().collect();
        body.insert("NetworkingConfig".into(), json!({ "EndpointsConfig": first }));
        body.insert("HostConfig".into(), Value::Object(host));
        Some(Self { body: Value::Object(body), later })
    }
}

/// Leaves out what a container cannot ask for as it has none of its own: what an inspection lists there, the image or
/// the engine has filled in.
fn leave_out_shared(body: &mut Map<String, Value>, host: &Map<String, Value>) {
    let mode = |key| host.get(key).and_then(Value::as_str).unwrap_or_default();
    let joins = mode("NetworkMode").starts_with("container:");
    if joins {
        body.remove("ExposedPorts");
    }
    if joins || mode("UTSMode") == "host" {
        body.remove("Hostname");
    }
}

/// Calls limits as they can be asked for: podman tells of `RLIMIT_NOFILE` what is `nofile` in a request.
fn rename_limits(host: &mut Map<String, Value>) {
    for limit in host.get_mut("Ulimits").and_then(Value::as_array_mut).into_iter().flatten() {
        let name = limit["Name"].as_str().and_then(|name| name.strip_prefix("RLIMIT_")).map(str::to_lowercase);
        if let Some(name) = name {
            limit["Name"] = json!(name);
        }
    }
}

fn label(body: &mut Map<String, Value>, variation: &Variation) {
    let mut labels = match body.remove("Labels") {
        Some(Value::Object(labels)) => labels,
        _ => Map::new(),
    };
    labels.insert(CONFIG_HASH_LABEL.into(), json!(variation.config_hash));
    if let Some(replaced) = &variation.replaces {
        labels.insert(REPLACES_LABEL.into(), json!(replaced.as_str()));
    }
    labels.extend(variation.project_labels.iter().map(|(name, value)| (name.clone(), json!(value))));
    body.insert("Labels".into(), Value::Object(labels));
}

/// Mounts a volume where there was an anonymous one, in whatever of the three ways that was asked for.
fn mount(body: &mut Map<String, Value>, host: &mut Map<String, Value>, path: &str, volume: &str) {
    if let Some(Value::Object(anonymous)) = body.get_mut("Volumes") {
        anonymous.retain(|target, _| !is_same(target, path));
    }
    if let Some(Value::Array(binds)) = host.get_mut("Binds") {
        binds.retain(|bind| {
            let target = bind.as_str().and_then(|bind| bind.split(':').nth(1));
            target.is_none_or(|target| !is_same(target, path))
        });
    }
    let mounts = host.entry("Mounts").or_insert(Value::Null);
    if mounts.is_null() {
        *mounts = json!([]);
    }
    let Value::Array(mounts) = mounts else { return };
    let there = mounts.iter_mut().find(|mount| mount["Target"].as_str().is_some_and(|target| is_same(target, path)));
    match there {
        Some(Value::Object(mount)) => {
            mount.insert("Source".into(), json!(volume));
        }
        _ => mounts.push(json!({ "Type": "volume", "Source": volume, "Target": path })),
    }
}

/// Whether two paths lead to the same place: engines clean what they were told.
fn is_same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

fn endpoint_settings(endpoints: Value, id: &str, variation: &Variation) -> Vec<(String, Value)> {
    let Value::Object(endpoints) = endpoints else { return Vec::new() };
    endpoints
        .into_iter()
        .map(|(network, mut endpoint)| {
            if let Value::Object(settings) = &mut endpoint {
                settings.retain(|key, value| ENDPOINT_SETTINGS.contains(&key.as_str()) && !is_empty(value));
            }
            if let Some(Value::Array(aliases)) = endpoint.get_mut("Aliases") {
                // Engines add the short ID by themselves.
                aliases.retain(|alias| alias.as_str().is_none_or(|alias| !id.starts_with(alias)));
                for alias in aliases {
                    if let Some(name) = alias.as_str().and_then(|alias| variation.aliases.get(alias)) {
                        *alias = json!(name);
                    }
                }
            }
            (network, endpoint)
        })
        .collect()
}

/// Whether a setting says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::names::ContainerId;

    fn original() -> Value {
        json!({
            "Id": "0123456789abcdef0123",
            "Config": {
                "Hostname": "0123456789ab", "Cmd": ["serve"], "Entrypoint": null, "Volumes": {"/image": {}, "/other": {}},
                "Labels": {"kept": "as it is", "com.docker.compose.config-hash": "before"},
            },
            "HostConfig": {
                "NetworkMode": "shop_default", "Binds": ["made-up:/bound:rw"], "Unknown": 7,
                "Mounts": [{"Type": "volume", "Target": "/data/", "ReadOnly": true}, {"Type": "tmpfs", "Target": "/tmp"}],
            },
            "NetworkSettings": {"Networks": {
                "shop_default": {
                    "Aliases": ["shop-web-2", "web", "0123456789ab"], "IPAMConfig": {"IPv4Address": "10.0.0.9"},
                    "Links": null, "GwPriority": 1, "MacAddress": "", "DNSNames": ["web"], "EndpointID": "", "NetworkID": "",
                },
                "shop_back": {"Aliases": ["shop-web-2"], "MacAddress": "02:42:00:00:00:01"},
            }},
        })
    }

    fn variation() -> Variation {
        let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<_, _> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Variation {
            name: "temporary".into(),
            replaces: Some(ContainerId::new("feed")),
            config_hash: "after".into(),
            project_labels: pairs(&[("com.docker.compose.project.config_files", "/shop/compose.yaml")]),
            volumes: pairs(&[("/data", "v1"), ("/image", "v2"), ("/bound", "v3")]),
            aliases: pairs(&[("shop-web-2", "shop-web-1")]),
        }
    }

    #[test]
    fn a_copy_differs_in_what_was_asked_for_alone() {
        let creation = Creation::like(original(), &variation(), true).expect("settings");
        let expected = json!({
            "Cmd": ["serve"], "Entrypoint": [""], "Volumes": {"/other": {}},
            "Labels": {
                "kept": "as it is", "com.docker.compose.config-hash": "after", "kerek.replaces": "feed",
                "com.docker.compose.project.config_files": "/shop/compose.yaml",
            },
            "HostConfig": {
                "NetworkMode": "shop_default", "Binds": [], "Unknown": 7,
                "Mounts": [
                    {"Type": "volume", "Source": "v1", "Target": "/data/", "ReadOnly": true},
                    {"Type": "tmpfs", "Target": "/tmp"},
                    {"Type": "volume", "Source": "v3", "Target": "/bound"},
                    {"Type": "volume", "Source": "v2", "Target": "/image"},
                ],
            },
            "NetworkingConfig": {"EndpointsConfig": {
                "shop_default": {
                    "Aliases": ["shop-web-1", "web"], "IPAMConfig": {"IPv4Address": "10.0.0.9"}, "GwPriority": 1,
                },
                "shop_back": {"Aliases": ["shop-web-1"], "MacAddress": "02:42:00:00:00:01"},
            }},
        });
        assert_eq!(creation, Creation { body: expected, later: Vec::new() });
    }

    #[test]
    fn limits_are_asked_for_by_names_that_engines_take() {
        let mut original = original();
        original["HostConfig"]["Ulimits"] = json!([
            {"Name": "RLIMIT_NOFILE", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Soft": 3, "Hard": 4}, {"Soft": 5},
        ]);
        let creation = Creation::like(original, &variation(), true).expect("settings");
        let expected = json!([
            {"Name": "nofile", "Soft": 1, "Hard": 2}, {"Name": "nproc", "Soft": 3, "Hard": 4}, {"Soft": 5},
        ]);
        assert_eq!(creation.body["HostConfig"]["Ulimits"], expected);
    }

    #[test]
    fn what_belongs_to_another_container_is_not_asked_for() {
        let keys = |host: &[(&str, &str)]| {
            let mut original = original();
            original["Config"]["ExposedPorts"] = json!({"8080/tcp": {}});
            original["Config"]["Hostname"] = json!("shop");
            for (key, value) in host {
                original["HostConfig"][key] = json!(value);
            }
            let body = Creation::like(original, &variation(), true).expect("settings").body;
            ["ExposedPorts", "Hostname"].map(|key| body.get(key).is_some())
        };
        assert_eq!(keys(&[]), [true, true]);
        assert_eq!(keys(&[("NetworkMode", "container:1f3a")]), [false, false]);
        assert_eq!(keys(&[("UTSMode", "host")]), [true, false]);
        assert_eq!(keys(&[("NetworkMode", "host")]), [true, true]);
    }

    #[test]
    fn old_engines_connect_further_networks_later() {
        let creation = Creation::like(original(), &variation(), false).expect("settings");
        let first = creation.body["NetworkingConfig"]["EndpointsConfig"].as_object().expect("endpoints");
        assert_eq!(first.keys().collect::<Vec<_>>(), ["shop_default"]);
        let settings = json!({"Aliases": ["shop-web-1"], "MacAddress": "02:42:00:00:00:01"});
        assert_eq!(creation.later, [("shop_back".to_owned(), settings)]);
    }

    #[test]
    fn what_lacks_settings_cannot_be_copied() {
        for missing in ["Id", "Config", "HostConfig"] {
            let mut original = original();
            original[missing] = Value::Null;
            assert_eq!(Creation::like(original, &variation(), true), None, "{missing}");
        }
        let mut own = original();
        own["Config"]["Hostname"] = json!("shop");
        own["NetworkSettings"] = Value::Null;
        let creation = Creation::like(own, &Variation::default(), true).expect("settings");
        assert_eq!(creation.body["Hostname"], "shop");
    }
}
