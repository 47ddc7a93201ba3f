//! What `--progress json` prints: each line is to be as `docs/events.schema.json` says.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../docs/events.schema.json")).expect("JSON");
    jsonschema::validator_for(&schema).expect("a JSON Schema")
});

/// The lines as objects.
#[track_caller]
pub(crate) fn parse(text: &str) -> Vec<Value> {
    text.lines().map(parse_line).collect()
}

/// A line as an object.
#[track_caller]
pub(crate) fn parse_line(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let problems: Vec<_> = SCHEMA.iter_errors(&object).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "not as documented: {problems:?}: {line}");
    object
}
