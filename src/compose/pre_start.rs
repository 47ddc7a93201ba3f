//! `pre_start` hooks (Compose 5.3 and later): each runs to its end, in a container of its own, before a service's
//! containers start.
//!
//! Compose runs them only where nothing of the service runs, so never in the course of a rolling update. Each hook is
//! therefore turned into a model of its own, which has Compose make just that container, as `compose run` makes
//! containers: with the hook's settings where it has any, the service's elsewhere, and the volumes of a container that is
//! about to start.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::names::ContainerId;

/// What is a service's own, and no matter of its hooks: what they run, when and how long a container lives, what only
/// one container can have. Volumes come with the container.
const NOT_INHERITED: [&str; 21] = [
    "attach",
    "build",
    "command",
    "container_name",
    "depends_on",
    "deploy",
    "develop",
    "entrypoint",
    "expose",
    "healthcheck",
    "links",
    "mac_address",
    "ports",
    "post_start",
    "pre_start",
    "pre_stop",
    "profiles",
    "restart",
    "scale",
    "volumes",
    "x-kerek",
];

/// What of a network attachment only one container can have.
const EXCLUSIVE: [&str; 4] = ["aliases", "ipv4_address", "ipv6_address", "mac_address"];

/// A hook as a model for Compose in which the service stands for the hook. It may hold secrets: it is never shown.
#[derive(Clone, PartialEq)]
pub struct PreStart {
    service: String,
    model: Value,
}

impl fmt::Debug for PreStart {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PreStart({})", self.service)
    }
}

impl PreStart {
    /// The hooks of a service. `model` is Compose's rendering of the project, `image` that of the service. Fails with
    /// the key (below the service) and what is wrong with it.
    pub(crate) fn all(model: &Value, service: &str, image: &str) -> Result<Vec<Self>, (String, String)> {
        let Some(definition) = model["services"][service].as_object() else { return Ok(Vec::new()) };
        let hooks = definition.get("pre_start").and_then(Value::as_array).into_iter().flatten();
        hooks
            .enumerate()
            .map(|(index, hook)| {
                let key = |rest: &str| format!("pre_start[{index}]{rest}");
                let Some(hook) = hook.as_object() else {
                    return Err((key(""), "is not a mapping".to_owned()));
                };
                if hook.get("per_replica").and_then(Value::as_bool) == Some(true) {
                    let problem = "Compose cannot run hooks for each replica yet, nor can kerek; remove the key";
                    return Err((key(".per_replica"), problem.to_owned()));
                }
                let mut spec = overlaid(definition, hook);
                spec.entry("image").or_insert_with(|| json!(image));
                Ok(Self { service: service.to_owned(), model: with_only(model, service, spec) })
            })
            .collect()
    }

    /// The model to feed to Compose for a hook that is to see the volumes of a container.
    pub(super) fn model(&self, container: &ContainerId) -> Value {
        let mut model = self.model.clone();
        if let Some(spec) = model["services"][&self.service].as_object_mut()
            && let Some(from) = spec.entry("volumes_from").or_insert_with(|| json!([])).as_array_mut()
        {
            from.push(json!(format!("container:{container}")));
        }
        model
    }
}

/// A hook's settings over those of its service. (Compose 5.6 prints them so already, earlier versions do not.)
fn overlaid(service: &Map<String, Value>, hook: &Map<String, Value>) -> Map<String, Value> {
    let mut spec = service.clone();
    spec.retain(|key, _| !NOT_INHERITED.contains(&key.as_str()));
    for (key, value) in hook.iter().filter(|(key, _)| *key != "per_replica") {
        match (spec.get_mut(key).and_then(Value::as_object_mut), value) {
            (Some(inherited), Value::Object(own)) if key == "environment" => {
                inherited.extend(own.clone());
            }
            _ => {
                spec.insert(key.clone(), value.clone());
            }
        }
    }
    // An image that is built under no name of its own exists by the time a hook runs.
    if spec.get("pull_policy").and_then(Value::as_str) == Some("build") {
        spec.remove("pull_policy");
    }
    for attachment in spec.get_mut("networks").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Some(attachment) = attachment.as_object_mut() {
            attachment.retain(|key, _| !EXCLUSIVE.contains(&key.as_str()));
        }
    }
    spec
}

/// The model with a service of this definition, and stand-ins for those that it refers to.
fn with_only(model: &Value, service: &str, spec: Map<String, Value>) -> Value {
    let namespaces = ["network_mode", "ipc", "pid"].into_iter().filter_map(|key| {
        let value = spec.get(key)?.as_str()?;
        Some(value.strip_prefix("service:")?.to_owned())
    });
    let volumes = spec.get("volumes_from").and_then(Value::as_array).into_iter().flatten().filter_map(|from| {
        let from = from.as_str().filter(|from| !from.starts_with("container:"))?;
        Some(from.split(':').next().unwrap_or(from).to_owned())
    });
    let mut services: Map<_, _> = namespaces.chain(volumes).map(|name| (name, json!({ "image": "none" }))).collect();
    services.insert(service.to_owned(), Value::Object(spec));
    let mut model = model.clone();
    model["services"] = Value::Object(services);
    model
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Value {
        json!({
            "name": "shop",
            "networks": {"default": {"name": "shop_default"}},
            "services": {
                "web": {
                    "image": "web:1", "user": "3", "environment": {"A": "a", "B": "b"}, "restart": "always",
                    "ports": [{"target": 80}], "volumes": [{"type": "volume", "target": "/data"}],
                    "depends_on": {"db": {"condition": "service_started"}}, "command": ["serve"], "ipc": "service:db",
                    "networks": {"default": {"ipv4_address": "10.0.0.9", "priority": 3}},
                    "pre_start": [
                        {"command": ["migrate"], "environment": {"B": "$$c"}, "per_replica": false},
                        {"command": ["chown"], "image": "tools:1", "user": "0"},
                    ],
                },
                "db": {"image": "db:1", "environment": {"SECRET": "sesame"}},
            },
        })
    }

    #[test]
    fn hooks_get_what_is_not_their_services_own() {
        let hooks = PreStart::all(&model(), "web", "web:1").expect("valid");
        let models: Vec<Value> = hooks.iter().map(|hook| hook.model(&ContainerId::new("1f3a"))).collect();
        let shared = json!({
            "ipc": "service:db", "networks": {"default": {"priority": 3}}, "volumes_from": ["container:1f3a"],
        });
        let expected = [
            json!({"command": ["migrate"], "image": "web:1", "user": "3", "environment": {"A": "a", "B": "$$c"}}),
            json!({"command": ["chown"], "image": "tools:1", "user": "0", "environment": {"A": "a", "B": "b"}}),
        ];
        for (model, mut own) in models.iter().zip(expected) {
            let both = own.as_object_mut().expect("an object");
            both.extend(shared.as_object().expect("an object").clone());
            assert_eq!(model["services"], json!({"web": own, "db": {"image": "none"}}));
            assert_eq!(model["networks"], self::model()["networks"]);
        }
        assert_eq!(models.len(), 2);
        assert!(!format!("{hooks:?}").contains("migrate"));
    }

    #[test]
    fn what_compose_cannot_do_is_refused() {
        let mut model = model();
        model["services"]["web"]["pre_start"][1]["per_replica"] = json!(true);
        let (key, _) = PreStart::all(&model, "web", "web:1").expect_err("not supported");
        assert_eq!(key, "pre_start[1].per_replica");
    }
}
