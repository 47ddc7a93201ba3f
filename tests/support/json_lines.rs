//! What `--progress json` prints: each line is to be as `docs/events.schema.json` says.

use std::sync::LazyLock;

use jsonschema::Validator;
use serde_json::Value;

use super::command::Output;

static SCHEMA: LazyLock<Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../docs/events.schema.json")).expect("JSON");
    jsonschema::validator_for(&schema).expect("a JSON Schema")
});

/// The lines as objects.
#[track_caller]
pub(crate) fn parse(text: &str) -> Vec<Value> {
    text.lines().map(parse_line).collect()
}

/// The event of a kind that a run has told of, which it has to be one of.
#[track_caller]
pub(crate) fn event(output: &Output, kind: &str) -> Value {
    let event = parse(&output.stderr).into_iter().find(|line| line["event"] == kind);
    event.unwrap_or_else(|| panic!("nothing is {kind}: {output}"))
}

/// What has to be a number.
#[track_caller]
pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

/// A line as an object.
#[track_caller]
pub(crate) fn parse_line(line: &str) -> Value {
    let object: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let problems: Vec<_> = SCHEMA.iter_errors(&object).map(|error| error.to_string()).collect();
    assert!(problems.is_empty(), "not as documented: {problems:?}: {line}");
    object
}
