//! Values of either block that are understood, and those that are refused: by Compose, or else by kerek.

use crate::support::project::Project;

const BLOCKS: [&str; 2] = ["update_config", "rollback_config"];

fn compose(block: &str, key: &str, value: &str) -> String {
    format!("services: {{web: {{image: kerek-test-app, deploy: {{{block}: {{{key}: {value}}}}}}}}}")
}

#[test]
fn values_in_any_of_composes_formats_are_understood() {
    let project = Project::new("policy", "");
    let values = [
        ("order", "start-first"),
        ("parallelism", "\"2\""),
        ("parallelism", "0"),
        ("delay", "1m30s"),
        ("delay", "1.5h"),
        ("delay", "0s"),
        ("monitor", "1d"),
        ("monitor", "250ms"),
        ("failure_action", "continue"),
        ("max_failure_ratio", "\"0.3\""),
        ("max_failure_ratio", "1"),
    ];
    for (key, value) in values {
        for block in BLOCKS {
            project.write("compose.yaml", &compose(block, key, value));
            let output = project.kerek(&["deploy", "--dry-run"]).success();
            assert!(output.stdout.contains("1 service to update"), "{block}.{key}: {value}\n{output}");
        }
    }
}

#[test]
fn wrong_values_are_refused_by_key_and_value() {
    let project = Project::new("policy", "");
    // Of some, Compose tells what would be right and not what is wrong.
    let values: [(&str, &str, &[&str]); 13] = [
        ("order", "sideways", &["'start-first'", "'stop-first'"]),
        ("parallelism", "-1", &["-1"]),
        ("parallelism", "two", &["\"two\""]),
        ("parallelism", "1.5", &["integer"]),
        ("delay", "soon", &["\"soon\""]),
        ("delay", "\"5\"", &["missing unit", "\"5\""]),
        ("delay", "-1s", &["`-1s` is not a duration such as `10s`"]),
        ("monitor", "5", &["string"]),
        ("monitor", "-2m", &["`-2m0s` is not a duration"]),
        ("failure_action", "explode", &["`explode` is", "`pause`", "`continue`"]),
        ("max_failure_ratio", "2", &["`2` is not a share between 0 and 1"]),
        ("max_failure_ratio", "-0.1", &["`-0.1` is not a share between 0 and 1"]),
        ("max_failure_ratio", "much", &["\"much\""]),
    ];
    for (key, value, words) in values {
        for block in BLOCKS {
            project.write("compose.yaml", &compose(block, key, value));
            let output = project.kerek(&["deploy"]).exits(1);
            for word in [block, key, "web"].iter().chain(words) {
                assert!(output.stderr.contains(word), "`{word}` should be in:\n{output}");
            }
        }
    }
    project.write("compose.yaml", &compose("rollback_config", "failure_action", "rollback"));
    let output = project.kerek(&["deploy"]).exits(1);
    let words = "services.web.deploy.rollback_config.failure_action: `rollback` is neither `pause` nor `continue`";
    assert!(output.stderr.contains(words), "{output}");
    assert!(project.containers().is_empty());
}
