//! Configs and secrets that are files of this machine, and not of the engine's host: Compose would have the engine mount
//! them from where they are not. So it is given a model in which they hold their content themselves, as with `content:` and
//! `environment:`. No service's config hash changes by that.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Project;
use super::files::Origin;
use crate::engine::Content;

/// Contents of such files, by where these are defined: `configs.motd`.
pub type Delivered = BTreeMap<String, Content>;

/// Where those of a project are defined that can be run.
pub(super) fn runnable(project: &Project) -> impl Iterator<Item = &str> {
    let files = project.services.values().flat_map(|service| &service.files.copied);
    files.filter(|file| file.is_runnable_file()).map(|file| file.key.as_str())
}

/// Bytes that a variable can be given, less than what Linux takes.
const LONGEST_VALUE: usize = 100_000;

/// Those of a project.
#[must_use]
pub fn of(project: &Project) -> Delivered {
    let files = project.services.values().flat_map(|service| &service.files.copied);
    files
        .filter(|file| matches!(file.origin, Origin::File(_)))
        .filter_map(|file| Some((file.key.clone(), file.content.clone()?)))
        .collect()
}

/// What becomes of files that Compose cannot be given: it knows text only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Otherwise {
    /// They are as good as empty. For containers that do not start before the right content is there.
    StandIn,
    /// They are mounted, which fails.
    Mount,
}

/// Puts files into a model of Compose. Returns environment variables with which Compose is to read it.
pub(super) fn put(model: &mut Value, delivered: &Delivered, otherwise: Otherwise) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    for (key, content) in delivered {
        let Some((kind, name)) = key.split_once('.') else { continue };
        let Some(Value::Object(definition)) = model.get_mut(kind).and_then(|all| all.get_mut(name)) else { continue };
        let text = match text(content) {
            Some(text) => text,
            None if otherwise == Otherwise::StandIn => EMPTY.to_owned(),
            None => continue,
        };
        definition.remove("file");
        if kind == "configs" {
            definition.insert("content".into(), json!(text.replace('$', "$$")));
        } else {
            let variable = format!("KEREK_FILE_{}", variables.len());
            definition.insert("environment".into(), json!(variable));
            variables.push((variable, text));
        }
    }
    variables
}

/// What stands for an empty text: Compose takes none for a mistake.
const EMPTY: &str = " ";

fn text(content: &Content) -> Option<String> {
    let text = String::from_utf8(content.0.clone()).ok()?;
    let fits = text.len() <= LONGEST_VALUE && !text.contains('\0');
    fits.then(|| if text.is_empty() { EMPTY.to_owned() } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Value {
        json!({
            "configs": {"a.b": {"name": "shop_a", "file": "/a"}, "other": {"file": "/b"}},
            "secrets": {"key": {"name": "shop_key", "file": "/key"}},
        })
    }

    fn content(bytes: &[u8]) -> Content {
        Content(bytes.to_vec())
    }

    #[test]
    fn files_become_contents() {
        let mut model = model();
        let delivered = [("configs.a.b", &b"5$ \"x\""[..]), ("secrets.key", b"$e")];
        let delivered = delivered.map(|(key, bytes)| (key.to_owned(), content(bytes))).into();
        let variables = put(&mut model, &delivered, Otherwise::Mount);
        let expected = json!({
            "configs": {"a.b": {"name": "shop_a", "content": "5$$ \"x\""}, "other": {"file": "/b"}},
            "secrets": {"key": {"name": "shop_key", "environment": "KEREK_FILE_0"}},
        });
        assert_eq!(model, expected);
        assert_eq!(variables, [("KEREK_FILE_0".to_owned(), "$e".to_owned())]);
    }

    #[test]
    fn what_is_no_text_is_stood_in_for_or_left() {
        for bytes in [&[0xff][..], b"a\0b", "x".repeat(LONGEST_VALUE + 1).as_bytes()] {
            let delivered = ["configs.a.b", "secrets.key"].map(|key| (key.to_owned(), content(bytes))).into();
            let mut left = model();
            assert!(put(&mut left, &delivered, Otherwise::Mount).is_empty());
            assert_eq!(left, model());
            let mut filled = model();
            let variables = put(&mut filled, &delivered, Otherwise::StandIn);
            assert_eq!(filled.pointer("/configs/a.b/content"), Some(&json!(EMPTY)));
            assert_eq!(variables.len(), 1);
        }
    }

    #[test]
    fn what_is_empty_is_no_mistake() {
        let mut model = model();
        put(&mut model, &[("configs.a.b".to_owned(), content(b""))].into(), Otherwise::Mount);
        assert_eq!(model.pointer("/configs/a.b/content"), Some(&json!(EMPTY)));
    }
}
