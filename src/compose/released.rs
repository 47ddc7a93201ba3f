//! The model of a release: what Compose has resolved, in a form that Compose reads again on any machine and at any time.
//!
//! Where a deployment has considered a part of the services only, the others are as they were in the release before, or as
//! the files tell, whichever their containers are like. Whether a model that is read again may be used is up to [`vet`].

pub mod vet;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::delivered::Otherwise;
use super::model::{self, from_yaml};
use super::{Loaded, delivered, unnamed};
use crate::names::ServiceName;

/// Parts of a model that services refer to.
const DEFINITIONS: [&str; 4] = ["networks", "volumes", "configs", "secrets"];
/// Tells of the content of a config that it was a file that can be run.
const EXECUTABLE: &str = "x-kerek-executable";

/// A release before.
#[derive(Debug)]
pub struct Base<'a> {
    /// Its model.
    pub model: &'a str,
    /// Those of its services that are as they were.
    pub same: BTreeSet<&'a ServiceName>,
    /// Those that are there, but not as they were, nor as the files tell.
    pub others: BTreeSet<&'a ServiceName>,
}

/// The model of a release, and the services in it that are as in the release before.
#[derive(Debug)]
pub struct Written {
    /// In a form that Compose reads.
    pub model: String,
    /// Some of [`Base::same`]. The others cannot be described along with what is new, and are not to be considered when
    /// this release is gone back to.
    pub same: BTreeSet<ServiceName>,
}

/// The model of a release. It is as `loaded` tells, but for what stays as it was before. Contents of configs that were
/// delivered become a part of it, those of secrets do not.
pub fn model(loaded: &Loaded, base: Option<&Base<'_>>) -> anyhow::Result<Written> {
    let mut model = unnamed::readable(&loaded.model, &loaded.project)?;
    let configs = delivered::of(&loaded.project).into_iter().filter(|(key, _)| key.starts_with("configs.")).collect();
    delivered::put(&mut model, &configs, Otherwise::Mount);
    for name in delivered::runnable(&loaded.project).filter_map(|key| key.strip_prefix("configs.")) {
        if let Some(Value::Object(config)) = model.get_mut("configs").and_then(|configs| configs.get_mut(name)) {
            config.insert(EXECUTABLE.to_owned(), json!(true));
        }
    }
    let mut same = BTreeSet::new();
    if let Some(base) = base {
        let before: Value = from_yaml(base.model)?;
        let changed = changed_contents(&before, &model);
        for &name in base.same.iter().chain(&base.others) {
            let Some(service) = before.pointer("/services").and_then(|all| all.get(name.as_str())) else { continue };
            if base.same.contains(name) && !uses_any(service, &changed) {
                object(&mut model, "services").insert(name.to_string(), service.clone());
                same.insert(name.clone());
            } else {
                // It is in no release, but it is no orphan either.
                object(&mut model, "services").entry(name.as_str()).or_insert_with(|| service.clone());
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
    Ok(Written { model: model.to_string(), same })
}

/// The configs whose contents are known before and now, and differ.
fn changed_contents(before: &Value, now: &Value) -> BTreeSet<String> {
    let content = |model: &Value, name: &str| model.get("configs")?.get(name)?.get("content").cloned();
    let Some(Value::Object(configs)) = before.get("configs") else { return BTreeSet::new() };
    let differs = |name: &&String| {
        let (old, new) = (content(before, name), content(now, name));
        old.is_some() && new.is_some() && old != new
    };
    configs.keys().filter(differs).cloned().collect()
}

/// Whether a service has one of these configs.
fn uses_any(service: &Value, configs: &BTreeSet<String>) -> bool {
    let Some(Value::Array(own)) = service.get("configs") else { return false };
    let source = |config: &Value| config.get("source").unwrap_or(config).as_str().map(str::to_owned);
    own.iter().filter_map(source).any(|source| configs.contains(&source))
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

/// Whether a service's containers may end when they have done their work, as a release's model tells.
#[must_use]
pub fn may_complete(model: &str, service: &ServiceName) -> bool {
    model::parse(model).is_ok_and(|project| project.services.get(service).is_some_and(|service| service.may_complete))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Content;

    /// With contents of files of this machine, and whether these can be run, by what is defined as them.
    fn loaded(yaml: &str, contents: &[(&str, &str, bool)]) -> Loaded {
        let mut project = model::parse(yaml).expect("valid");
        for (key, content, executable) in contents {
            for service in project.services.values_mut() {
                let (files, others): (Vec<_>, Vec<_>) =
                    service.files.mounted.drain(..).partition(|file| file.key == *key);
                let content = || Content(content.as_bytes().to_vec());
                service.files.copied.extend(files.iter().map(|file| file.delivered(content(), *executable)));
                service.files.mounted = others;
            }
        }
        Loaded { project, model: yaml.to_owned() }
    }

    fn value(text: &str) -> Value {
        serde_json::from_str(text).expect("JSON")
    }

    const YAML: &str = "name: shop\nservices:\n  web:\n    image: web:2\n    command: [\"$$HOME\"]\n    configs: [{source: motd}]\n    secrets: [{source: key}]\n    depends_on:\n      gone: {condition: service_started, required: false}\n  db:\n    image: db:2\nconfigs:\n  motd: {name: shop_motd, file: /motd}\nsecrets:\n  key: {name: shop_key, file: /key}\n";

    #[test]
    fn contents_of_configs_are_kept_and_those_of_secrets_are_not() {
        let contents = [("configs.motd", "5$", true), ("secrets.key", "secret", true)];
        let text = model(&loaded(YAML, &contents), None).expect("valid").model;
        let model = value(&text);
        assert_eq!(model.pointer("/configs/motd/content"), Some(&json!("5$$")));
        assert_eq!(model.pointer("/configs/motd/file"), None);
        assert_eq!(model.pointer("/secrets/key/file"), Some(&json!("/key")));
        assert!(!text.contains("secret\""), "{text}");
        // What could be run can be run again.
        let again = super::model::parse(&text).expect("valid");
        let copied = again.services.values().flat_map(|service| &service.files.copied);
        assert_eq!(copied.map(|file| file.mode).collect::<Vec<_>>(), [0o555]);
        assert_eq!(model.pointer("/services/web/depends_on"), Some(&json!({})));
        vet::vetted(&text).expect("it asks for nothing");
    }

    #[test]
    fn services_that_were_not_considered_are_as_before() {
        let before = r#"{"name": "shop", "services": {
            "web": {"image": "web:1"}, "db": {"image": "db:1", "networks": {"back": null}}, "old": {"image": "old:1"},
            "gone": {"image": "gone:1"}, "odd": {"image": "odd:1"}
        }, "networks": {"back": {"name": "shop_back"}}}"#;
        let [db, old, odd] = ["db", "old", "odd"].map(ServiceName::new);
        let base = Base { model: before, same: BTreeSet::from([&db, &old]), others: BTreeSet::from([&odd]) };
        let written = model(&loaded(YAML, &[]), Some(&base)).expect("valid");
        assert_eq!(written.same, BTreeSet::from([db.clone(), old.clone()]));
        let model = value(&written.model);
        for (path, expected) in [
            ("/services/web/image", Some("web:2")),
            ("/services/db/image", Some("db:1")),
            ("/services/old/image", Some("old:1")),
            ("/services/odd/image", Some("odd:1")),
            ("/services/gone/image", None),
            ("/networks/back/name", Some("shop_back")),
        ] {
            assert_eq!(model.pointer(path).and_then(Value::as_str), expected, "{path}");
        }
    }

    #[test]
    fn what_has_a_config_of_before_is_left_out_if_that_is_another_one_now() {
        let before = r#"{"name": "shop", "services": {
            "db": {"image": "db:1", "configs": [{"source": "motd"}]}, "old": {"image": "old:1"}
        }, "configs": {"motd": {"content": "A"}}}"#;
        let [db, old] = ["db", "old"].map(ServiceName::new);
        let base = Base { model: before, same: BTreeSet::from([&db, &old]), others: BTreeSet::new() };
        let written = model(&loaded(YAML, &[("configs.motd", "B", false)]), Some(&base)).expect("valid");
        assert_eq!(written.same, BTreeSet::from([old.clone()]));
        assert_eq!(value(&written.model).pointer("/services/db/image"), Some(&json!("db:2")));
        let written = model(&loaded(YAML, &[("configs.motd", "A", false)]), Some(&base)).expect("valid");
        assert_eq!(written.same, BTreeSet::from([db, old]));
    }
}
