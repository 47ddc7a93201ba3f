//! The model of a release: what Compose has resolved, in a form that Compose reads again on any machine and at any time.
//!
//! Where a deployment has considered a part of the services only, the others are as they were in the release before.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value, json};

use super::delivered::{Delivered, Otherwise};
use super::model::{self, from_yaml};
use super::{Loaded, delivered, unnamed};
use crate::names::ServiceName;

/// Parts of a model that services refer to.
const DEFINITIONS: [&str; 4] = ["networks", "volumes", "configs", "secrets"];
/// What Compose never prints, as it has resolved it: it would have other files read.
const RESOLVED: [&str; 3] = ["extends", "env_file", "label_file"];

/// A release before.
#[derive(Debug)]
pub struct Base<'a> {
    /// Its model.
    pub model: &'a str,
    /// Those of its services that are as they were.
    pub services: BTreeSet<&'a ServiceName>,
}

/// The model of a release. Of `loaded`, the services that were `considered` are as it tells. Contents of configs that were
/// delivered become a part of it, those of secrets do not.
pub fn model(
    loaded: &Loaded,
    considered: &BTreeSet<&ServiceName>,
    base: Option<&Base<'_>>,
    contents: &Delivered,
) -> anyhow::Result<String> {
    let mut model = unnamed::readable(&loaded.model, &loaded.project)?;
    let configs = contents.iter().filter(|(key, _)| key.starts_with("configs."));
    let configs = configs.map(|(key, content)| (key.clone(), content.clone())).collect();
    delivered::put(&mut model, &configs, Otherwise::Mount);
    if let Some(base) = base {
        let before: Value = from_yaml(base.model)?;
        for name in base.services.iter().filter(|name| !considered.contains(*name)) {
            if let Some(service) = before.pointer("/services").and_then(|services| services.get(name.as_str())) {
                model["services"][name.as_str()] = service.clone();
            }
        }
        for kind in DEFINITIONS {
            let Some(Value::Object(definitions)) = before.get(kind) else { continue };
            for (name, definition) in definitions {
                object(&mut model, kind).entry(name).or_insert_with(|| definition.clone());
            }
        }
    }
    forget_missing(&mut model);
    Ok(model.to_string())
}

/// A mapping of a model, made if it is not there.
fn object<'a>(model: &'a mut Value, key: &str) -> &'a mut Map<String, Value> {
    let value = &mut model[key];
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().unwrap_or_else(|| unreachable!("it has just been made one"))
}

/// Leaves out dependencies on services that are not there: they are optional, or Compose would have said so.
fn forget_missing(model: &mut Value) {
    let Some(Value::Object(services)) = model.get_mut("services") else { return };
    let names: BTreeSet<_> = services.keys().cloned().collect();
    for service in services.values_mut() {
        if let Some(Value::Object(dependencies)) = service.get_mut("depends_on") {
            dependencies.retain(|name, _| names.contains(name));
        }
    }
}

/// The names of the images of a release's services.
pub fn images(model: &str) -> anyhow::Result<BTreeMap<ServiceName, String>> {
    let project = model::parse(model)?;
    Ok(project.services.into_iter().map(|(name, service)| (name, service.image)).collect())
}

/// Fails if a model is not one that was recorded: Compose would fill in this machine's variables, or read its files. An
/// engine must not be able to have those sent to it.
pub fn check(model: &str) -> anyhow::Result<()> {
    let model: Value = from_yaml(model).context("the model of the release")?;
    if model.get("include").is_some() {
        return Err(anyhow!("the model of the release includes files"));
    }
    if let Some(Value::Object(services)) = model.get("services") {
        for (name, service) in services {
            if let Some(key) = RESOLVED.into_iter().find(|key| service.get(*key).is_some()) {
                let name = crate::text::escape(name);
                return Err(anyhow!("the model of the release has a {key} in services.{name}"));
            }
        }
    }
    if asks_for_variables(&model) {
        return Err(anyhow!("the model of the release asks for variables of this machine"));
    }
    Ok(())
}

/// Whether there is a dollar that does not stand for itself.
fn asks_for_variables(value: &Value) -> bool {
    match value {
        Value::String(text) => text.replace("$$", "").contains('$'),
        Value::Array(values) => values.iter().any(asks_for_variables),
        Value::Object(fields) => fields.values().any(asks_for_variables),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Content;

    fn loaded(yaml: &str) -> Loaded {
        Loaded { project: model::parse(yaml).expect("valid"), model: yaml.to_owned() }
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    const YAML: &str = "name: shop\nservices:\n  web:\n    image: web:2\n    command: [\"$$HOME\"]\n    configs: [{source: motd}]\n    depends_on:\n      gone: {condition: service_started, required: false}\n  db:\n    image: db:2\nconfigs:\n  motd: {name: shop_motd, file: /motd}\nsecrets:\n  key: {name: shop_key, file: /key}\n";

    #[test]
    fn contents_of_configs_are_kept_and_those_of_secrets_are_not() {
        let content = |text: &str| Content(text.as_bytes().to_vec());
        let contents = [("configs.motd", "5$"), ("secrets.key", "secret")];
        let contents = contents.map(|(key, text)| (key.to_owned(), content(text))).into();
        let (web, db) = (ServiceName::new("web"), ServiceName::new("db"));
        let text = model(&loaded(YAML), &BTreeSet::from([&web, &db]), None, &contents).expect("valid");
        let model = value(&text);
        assert_eq!(model.pointer("/configs/motd/content"), Some(&json!("5$$")));
        assert_eq!(model.pointer("/configs/motd/file"), None);
        assert_eq!(model.pointer("/secrets/key/file"), Some(&json!("/key")));
        assert!(!text.contains("secret\""), "{text}");
        assert_eq!(model.pointer("/services/web/depends_on"), Some(&json!({})));
        assert_eq!(images(&text).expect("valid")[&web], "web:2");
        check(&text).expect("it asks for nothing");
    }

    #[test]
    fn services_that_were_not_considered_are_as_before() {
        let before = r#"{"name": "shop", "services": {
            "web": {"image": "web:1"}, "db": {"image": "db:1", "networks": {"back": null}}, "old": {"image": "old:1"},
            "gone": {"image": "gone:1"}
        }, "networks": {"back": {"name": "shop_back"}}}"#;
        let (web, db, old) = (ServiceName::new("web"), ServiceName::new("db"), ServiceName::new("old"));
        let base = Base { model: before, services: BTreeSet::from([&web, &db, &old]) };
        let text = model(&loaded(YAML), &BTreeSet::from([&web]), Some(&base), &Delivered::new()).expect("valid");
        let model = value(&text);
        for (path, expected) in [
            ("/services/web/image", Some("web:2")),
            ("/services/db/image", Some("db:1")),
            ("/services/old/image", Some("old:1")),
            ("/services/gone/image", None),
            ("/networks/back/name", Some("shop_back")),
        ] {
            assert_eq!(model.pointer(path).and_then(Value::as_str), expected, "{path}");
        }
    }

    #[test]
    fn nothing_of_this_machine_is_given_away() {
        for model in [
            r#"{"services": {"web": {"command": ["$HOME"]}}}"#,
            r#"{"services": {"web": {"labels": {"a": "$$$HOME"}}}}"#,
            r#"{"services": {"web": {"env_file": ["/home/me/.env"]}}}"#,
            r#"{"services": {"web": {"extends": {"file": "/x", "service": "y"}}}}"#,
            r#"{"include": ["/home/me/compose.yaml"]}"#,
            "[",
        ] {
            assert!(check(model).is_err(), "{model}");
        }
        check(r#"{"services": {"web": {"command": ["$$HOME", "5$$"]}}}"#).expect("it stands for itself");
    }
}
