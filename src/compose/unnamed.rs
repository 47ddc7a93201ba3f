//! The model as Compose has to be given it to create a second container of a service that has a `container_name`: with
//! such a name, Compose makes no other as long as there is one.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Project;
use super::model::{Error, from_yaml};
use crate::names::ServiceName;

/// Compose's own rendering of a project, `yaml`, without the container names of some services. Beyond that it means the
/// same, and Compose can read it.
pub(super) fn model(yaml: &str, project: &Project, services: &BTreeSet<ServiceName>) -> Result<Value, Error> {
    let mut model = readable(yaml, project)?;
    if let Some(Value::Object(definitions)) = model.get_mut("services") {
        for name in services {
            if let Some(Value::Object(definition)) = definitions.get_mut(name.as_str()) {
                definition.remove("container_name");
            }
        }
        // It leaves disabled services out, but not what depends on them by `required: false`.
        for name in project.services.values().flat_map(|service| service.depends_on.keys()) {
            definitions.entry(name.as_str()).or_insert_with(|| json!({ "image": "none", "scale": 0 }));
        }
    }
    Ok(model)
}

/// Compose's own rendering of a project, `yaml`, so that Compose can read it.
pub(super) fn readable(yaml: &str, project: &Project) -> Result<Value, Error> {
    let mut model: Value = from_yaml(yaml)?;
    // Compose prints empty configs, but refuses to read them. Their content is not its business.
    let files = project.services.values().flat_map(|service| &service.files.copied);
    for name in files.filter_map(|file| file.emptied()) {
        model["configs"][name]["content"] = json!(" ");
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::model::parse;

    #[test]
    fn only_the_given_services_lose_their_names() {
        let yaml = "name: shop\nservices:\n  a:\n    image: a\n    container_name: the-a\n    command: [\"$$HOME\"]\n    depends_on:\n      c: {condition: service_started, required: false}\n  b:\n    image: b\n    container_name: the-b\n    configs: [{source: empty}]\nconfigs:\n  empty: {name: shop_empty}\n";
        let project = parse(yaml).expect("valid");
        let model = model(yaml, &project, &BTreeSet::from([ServiceName::new("a")])).expect("valid");
        assert_eq!(model.pointer("/services/a/container_name"), None);
        assert_eq!(model.pointer("/services/b/container_name"), Some(&json!("the-b")));
        assert_eq!(model.pointer("/services/a/command/0"), Some(&json!("$$HOME")), "dollars stay escaped");
        assert_eq!(model.pointer("/services/c/image"), Some(&json!("none")));
        assert_eq!(model.pointer("/configs/empty"), Some(&json!({"name": "shop_empty", "content": " "})));
    }
}
