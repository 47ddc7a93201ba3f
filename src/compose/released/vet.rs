//! What the model of a release asks of the machine that it is read on. It comes from an engine, which is not trusted with
//! variables, files, programs or passwords of this machine.
//!
//! What has been looked at is written anew for Compose to read: two readers of the same text could see different things.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use anyhow::{Context, anyhow};
use serde_json::{Map, Value};

use crate::compose::model::from_yaml;
use crate::text::escape;

/// What Compose never prints, as it has resolved it: it would have other files read.
const RESOLVED: [&str; 3] = ["extends", "env_file", "label_file"];
/// What has Compose run a program of this machine, or hand out its passwords for registries.
const LOCAL: [&str; 3] = ["provider", "use_api_socket", "models"];
/// Services' hooks, each of which is a container or a program in one, with settings of its own.
const HOOKS: [&str; 3] = ["pre_start", "post_start", "pre_stop"];

/// The model of a release, for Compose to read. Fails if it is not one that was recorded: Compose would fill in this
/// machine's variables, or read its files. An engine must not be able to have those sent to it.
pub fn vetted(model: &str) -> anyhow::Result<String> {
    let model: Value = serde_json::from_str(model).context("the model of the release")?;
    for (key, what) in [("include", "includes files"), ("models", "has models, which a program of this machine runs")] {
        if model.get(key).is_some() {
            return Err(anyhow!("its model {what}"));
        }
    }
    if let Some(Value::Object(services)) = model.get("services") {
        for (name, service) in services {
            let name = format!("services.{}", escape(name));
            vet_settings(&name, service)?;
            for key in HOOKS {
                let hooks = service.get(key).and_then(Value::as_array);
                for hook in hooks.into_iter().flatten() {
                    let name = format!("{name}.{key}");
                    vet_settings(&name, hook)?;
                    vet_hook(&name, hook)?;
                }
            }
        }
    }
    if asks_for_variables(&model) {
        return Err(anyhow!("its model asks for variables of this machine"));
    }
    Ok(write(&model))
}

/// Fails if a service or hook would make use of this machine.
fn vet_settings(name: &str, settings: &Value) -> anyhow::Result<()> {
    let is_there = |key: &&str| settings.get(*key).is_some_and(|value| *value != Value::Bool(false));
    if let Some(key) = RESOLVED.into_iter().chain(LOCAL).find(is_there) {
        return Err(anyhow!("its model has {name}.{key}, which would make use of this machine"));
    }
    // As a list, it could ask for values without it being seen.
    if settings.get("environment").is_some_and(|value| !value.is_object() && !value.is_null()) {
        return Err(anyhow!("its model has {name}.environment in a form that Compose never prints"));
    }
    let options = settings.get("security_opt").and_then(Value::as_array);
    if let Some(option) = options.into_iter().flatten().find_map(|option| reads_elsewhere(option.as_str()?)) {
        return Err(anyhow!("its model has {name}.security_opt {}, which is a file elsewhere", escape(option)));
    }
    Ok(())
}

/// A security option that has Compose send a file to the engine that is not in the folder where it is called.
fn reads_elsewhere(option: &str) -> Option<&str> {
    let profile = option.strip_prefix("seccomp")?.strip_prefix(['=', ':'])?;
    let is_within = !profile.starts_with('~')
        && Path::new(profile).components().all(|it| matches!(it, Component::Normal(_) | Component::CurDir));
    (!is_within).then_some(option)
}

/// Fails if a hook has a variable without a value. Compose finds one for it only when the hook is run, so that it could
/// not be told later, as it is of services' own.
fn vet_hook(name: &str, hook: &Value) -> anyhow::Result<()> {
    let environment = hook.get("environment").and_then(Value::as_object);
    match environment.and_then(|environment| environment.iter().find(|(_, value)| value.is_null())) {
        Some((variable, _)) => Err(anyhow!(
            "its model has {name} with the variable {}, whose value would be this machine's",
            escape(variable)
        )),
        None => Ok(()),
    }
}

/// In JSON that any reader of YAML understands: they differ in what ends a line, and in what is no text.
fn write(model: &Value) -> String {
    let is_odd =
        |it| matches!(it, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}');
    let escaped = |it: char| if is_odd(it) { format!("\\u{:04x}", u32::from(it)) } else { it.to_string() };
    model.to_string().chars().map(escaped).collect()
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
            r#"{"models": {"llm": {"model": "x"}}}"#,
            r#"{"services": {"web": {"security_opt": ["seccomp=~/.docker/config.json"]}}}"#,
            r#"{"services": {"web": {"security_opt": ["label:x", "seccomp:/home/me/secret.json"]}}}"#,
            r#"{"services": {"web": {"security_opt": ["seccomp=a/../../secret.json"]}}}"#,
            r#"{"services": {"web": {"pre_start": [{}, {"environment": {"AWS_SECRET_ACCESS_KEY": null}}]}}}"#,
            r#"{"services": {"web": {"pre_start": [{"environment": ["AWS_SECRET_ACCESS_KEY"]}]}}}"#,
            r#"{"services": {"web": {"pre_start": [{"env_file": ["/home/me/.env"]}]}}}"#,
            r#"{"services": {"web": {"post_start": [{"environment": {"AWS_SECRET_ACCESS_KEY": null}}]}}}"#,
            "services: {web: {image: x}}",
            "[",
        ] {
            assert!(vetted(model).is_err(), "{model}");
        }
        for model in [
            r#"{"services":{"web":{"command":["$$HOME","5$$"]}}}"#,
            r#"{"services":{"web":{"security_opt":["seccomp=./own/profile.json","seccomp:unconfined","no-new-privileges"]}}}"#,
            r#"{"services":{"web":{"pre_start":[{"environment":{"A":"b"},"image":"x"}]}}}"#,
        ] {
            assert_eq!(vetted(model).expect("it asks for nothing"), model);
        }
        // Some readers take these for the ends of lines.
        let lines = "{\"services\": {\"a\u{2028}b\": {\"labels\": {\"c\": \"d\u{85}e\u{7f}ü\"}}}}";
        let plain = r#"{"services":{"a\u2028b":{"labels":{"c":"d\u0085e\u007fü"}}}}"#;
        assert_eq!(vetted(lines).expect("it asks for nothing"), plain);

        let released = r#"{"services": {"web": {"environment": {"SET": "a", "DEBUG": null}}}}"#;
        let filled = released.replace("null", "\"secret\"");
        assert_eq!(filled_in(released, released).expect("valid"), None);
        assert_eq!(filled_in(released, &filled).expect("valid"), Some(("web".to_owned(), "DEBUG".to_owned())));
        let from = r#"{"secrets": {"a": {"environment": "KEY"}, "b": {"file": "/b"}}, "configs": {"c": {"environment": "C"}}}"#;
        assert_eq!(variables(from).expect("valid"), ["C", "KEY"].map(str::to_owned).into());
    }
}
