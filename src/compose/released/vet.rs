//! What the model of a release asks of the machine that it is read on. It comes from an engine, which is not trusted with
//! variables, files, programs or passwords of this machine.

use std::collections::BTreeSet;

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};

use crate::compose::model::from_yaml;
use crate::text::escape;

/// What Compose never prints, as it has resolved it: it would have other files read.
const RESOLVED: [&str; 3] = ["extends", "env_file", "label_file"];
/// What has Compose run a program of this machine, or hand out its passwords for registries.
const LOCAL: [&str; 2] = ["provider", "use_api_socket"];

/// Fails if a model is not one that was recorded: Compose would fill in this machine's variables, or read its files. An
/// engine must not be able to have those sent to it.
pub fn check(model: &str) -> anyhow::Result<()> {
    let model: Value = from_yaml(model).context("the model of the release")?;
    if model.get("include").is_some() {
        return Err(anyhow!("its model includes files"));
    }
    if let Some(Value::Object(services)) = model.get("services") {
        for (name, service) in services {
            let is_there = |key: &&str| service.get(*key).is_some_and(|value| *value != Value::Bool(false));
            let name = escape(name);
            if let Some(key) = RESOLVED.into_iter().chain(LOCAL).find(is_there) {
                return Err(anyhow!("its model has services.{name}.{key}, which would make use of this machine"));
            }
            // As a list, it could ask for values without it being seen.
            if service.get("environment").is_some_and(|value| !value.is_object() && !value.is_null()) {
                return Err(anyhow!("its model has services.{name}.environment in a form that Compose never prints"));
            }
        }
    }
    if asks_for_variables(&model) {
        return Err(anyhow!("its model asks for variables of this machine"));
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

/// The variables of this machine that the contents of configs and secrets come from.
pub fn variables(model: &str) -> anyhow::Result<BTreeSet<String>> {
    let model: Value = from_yaml(model)?;
    let definitions = ["configs", "secrets"].into_iter().filter_map(|kind| model.get(kind)?.as_object());
    let variables = definitions.flat_map(Map::values).filter_map(|definition| definition.get("environment")?.as_str());
    Ok(variables.map(str::to_owned).collect())
}

/// A variable that has no value in the model of a release, and that Compose has found one for when it read that: whoever
/// deployed it had none. In words that can be shown: the service, and the variable.
pub fn filled_in(released: &str, resolved: &str) -> anyhow::Result<Option<(String, String)>> {
    let (released, resolved): (Value, Value) = (from_yaml(released)?, from_yaml(resolved)?);
    let Some(Value::Object(services)) = released.get("services") else { return Ok(None) };
    for (name, service) in services {
        let Some(Value::Object(environment)) = service.get("environment") else { continue };
        let now = |variable: &str| resolved.get("services")?.get(name)?.get("environment")?.get(variable);
        let is_filled = |(variable, value): &(&String, &Value)| {
            value.is_null() && now(variable).is_some_and(|value| !value.is_null())
        };
        if let Some((variable, _)) = environment.iter().find(is_filled) {
            return Ok(Some((escape(name), escape(variable))));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_machine_is_given_away() {
        for model in [
            r#"{"services": {"web": {"command": ["$HOME"]}}}"#,
            r#"{"services": {"web": {"labels": {"a": "$$$HOME"}}}}"#,
            r#"{"services": {"web": {"env_file": ["/home/me/.env"]}}}"#,
            r#"{"services": {"web": {"extends": {"file": "/x", "service": "y"}}}}"#,
            r#"{"services": {"web": {"provider": {"type": "x"}}}}"#,
            r#"{"services": {"web": {"use_api_socket": true}}}"#,
            r#"{"services": {"web": {"environment": ["AWS_SECRET_ACCESS_KEY"]}}}"#,
            r#"{"include": ["/home/me/compose.yaml"]}"#,
            "[",
        ] {
            assert!(check(model).is_err(), "{model}");
        }
        check(r#"{"services": {"web": {"command": ["$$HOME", "5$$"]}}}"#).expect("it stands for itself");

        let released = r#"{"services": {"web": {"environment": {"SET": "a", "DEBUG": null}}}}"#;
        let filled = released.replace("null", "\"secret\"");
        assert_eq!(filled_in(released, released).expect("valid"), None);
        assert_eq!(filled_in(released, &filled).expect("valid"), Some(("web".to_owned(), "DEBUG".to_owned())));
        let from = r#"{"secrets": {"a": {"environment": "KEY"}, "b": {"file": "/b"}}, "configs": {"c": {"environment": "C"}}}"#;
        assert_eq!(variables(from).expect("valid"), ["C", "KEY"].map(str::to_owned).into());
    }
}
