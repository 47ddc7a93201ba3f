//! The model as Compose has to be given it to compute the very hashes that it labels containers with.
//!
//! Compose prints a project in one form and hashes it in another: it hashes after the names of services that others
//! join have become container IDs, and it refuses to read back some of what it prints. This module makes up for both.
//! What is put in place of anything is in no hash by itself.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::Project;
use super::model::{Error, from_yaml};
use crate::names::{ContainerId, ServiceName};

/// The text to give to Compose for the hashes of a project, of which `yaml` is Compose's own rendering.
///
/// `containers` tells the container that each service stands for today, where others join it. Services without one are
/// left as they are: whatever joins them is new as well.
pub(super) fn input(
    yaml: &str,
    project: &Project,
    containers: &BTreeMap<ServiceName, ContainerId>,
) -> Result<String, Error> {
    let files = project.services.values().flat_map(|service| &service.files.copied);
    let emptied: BTreeSet<_> = files.filter_map(|file| file.emptied()).collect();
    // Compose leaves disabled services out, but not what depends on them by `required: false`.
    let dependencies = project.services.values().flat_map(|service| service.depends_on.keys());
    let disabled: BTreeSet<_> = dependencies.filter(|name| !project.services.contains_key(*name)).collect();
    let joins = project.services.values().any(|service| !service.joins.is_empty());
    if emptied.is_empty() && disabled.is_empty() && !joins && !yaml.contains("volumes_from:") {
        return Ok(yaml.to_owned());
    }
    let mut model: Value = from_yaml(yaml)?;
    for name in emptied {
        if let Some(Value::Object(config)) = model.pointer_mut(&format!("/configs/{}", pointer(name))) {
            config.insert("content".into(), Value::String(" ".into()));
        }
    }
    if let Some(Value::Object(services)) = model.get_mut("services") {
        join(services, project, containers);
        for name in disabled {
            stand_in(services, name.as_str());
        }
    }
    // JSON is YAML.
    Ok(model.to_string())
}

/// Replaces the names of joined services by containers.
fn join(services: &mut Map<String, Value>, project: &Project, containers: &BTreeMap<ServiceName, ContainerId>) {
    for (name, service) in &project.services {
        let Some(Value::Object(definition)) = services.get_mut(name.as_str()) else { continue };
        for (key, others) in service.joins.iter().filter(|(key, _)| **key != "volumes_from") {
            if let Some(id) = others.first().and_then(|other| containers.get(other)) {
                definition.insert((*key).to_owned(), Value::String(format!("container:{id}")));
            }
        }
        let Some(Value::Array(sources)) = definition.get_mut("volumes_from") else { continue };
        let mut named = Vec::new();
        for source in sources {
            if let Some(container) = source.as_str().and_then(|source| volume_source(source, containers)) {
                *source = Value::String(container.clone());
                named.push(container);
            }
        }
        // Compose takes what it finds here for a service, which has to be there.
        for container in named {
            stand_in(services, &container);
        }
    }
}

/// The container whose volumes an entry of `volumes_from` means. Compose hashes it without a mode.
fn volume_source(entry: &str, containers: &BTreeMap<ServiceName, ContainerId>) -> Option<String> {
    let mut parts = entry.split(':');
    match (parts.next()?, parts.next()) {
        ("container", Some(name)) => Some(name.to_owned()),
        (service, _) => containers.get(&ServiceName::new(service)).map(ToString::to_string),
    }
}

/// Makes up a service that others name. A hash does not depend on what it is.
fn stand_in(services: &mut Map<String, Value>, name: &str) {
    services.entry(name).or_insert_with(|| json!({ "image": "none" }));
}

/// Escapes a name for a JSON pointer.
fn pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::parse;

    fn containers() -> BTreeMap<ServiceName, ContainerId> {
        BTreeMap::from([(ServiceName::new("a"), ContainerId::new("1f3a"))])
    }

    #[test]
    fn joins_todays_containers() {
        let yaml = "name: shop\nservices:\n  a:\n    image: a\n  b:\n    image: b\n    network_mode: service:a\n    command: [\"$$HOME\"]\n";
        let project = parse(yaml).expect("valid");
        let joined = input(yaml, &project, &containers()).expect("valid");
        assert!(joined.contains(r#""network_mode":"container:1f3a""#), "{joined}");
        assert!(joined.contains("$$HOME"), "dollars stay escaped: {joined}");
        assert_eq!(input(yaml, &project, &BTreeMap::new()).expect("valid").matches("service:a").count(), 1);
    }

    #[test]
    fn takes_volumes_from_containers() {
        let yaml = "name: shop\nservices:\n  a:\n    image: a\n  b:\n    image: b\n    volumes_from: [\"a:ro\", \"container:old:rw\"]\n";
        let project = parse(yaml).expect("valid");
        assert_eq!(
            project.services[&ServiceName::new("b")].joins,
            BTreeMap::from([("volumes_from", BTreeSet::from([ServiceName::new("a")]))])
        );
        let model: Value = serde_json::from_str(&input(yaml, &project, &containers()).expect("valid")).expect("JSON");
        assert_eq!(model.pointer("/services/b/volumes_from"), Some(&json!(["1f3a", "old"])));
        assert!(model.pointer("/services/1f3a").is_some() && model.pointer("/services/old").is_some(), "{model}");
    }

    #[test]
    fn optional_dependencies_on_disabled_services_can_be_fed_back() {
        let yaml = "name: shop\nservices:\n  a:\n    image: a\n    depends_on:\n      b: {condition: service_started, required: false}\n";
        let project = parse(yaml).expect("valid");
        let text = input(yaml, &project, &BTreeMap::new()).expect("valid");
        assert!(text.contains(r#""b":{"image":"none"}"#), "{text}");
    }

    #[test]
    fn empty_configs_can_be_fed_back() {
        let yaml = "name: shop\nservices:\n  a:\n    image: a\n    configs: [{source: empty}]\nconfigs:\n  empty: {name: shop_empty}\n";
        let project = parse(yaml).expect("valid");
        let text = input(yaml, &project, &BTreeMap::new()).expect("valid");
        assert!(text.contains(r#""empty":{"content":" ","name":"shop_empty"}"#), "{text}");
        assert_eq!(project.services[&ServiceName::new("a")].files.copied[0].file(), None, "nothing to copy");
    }
}
