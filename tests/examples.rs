//! The examples, as their READMEs tell: each command is run as it is printed, and prints what it is said to print.

use std::path::Path;

use crate::support::command;
use crate::support::port;
use crate::support::project::Project;

/// What comes before the words that a command prints.
const PRINTS: &str = " # prints ";

#[test]
fn zero_downtime_deployment() {
    play("zero_downtime_deployment", &[("PORT", 8080)]);
}

#[test]
fn service_dependencies() {
    play("service_dependencies", &[]);
}

#[test]
fn several_proxies() {
    play("several_proxies", &[("NGINX_PORT", 8081), ("HAPROXY_PORT", 8082), ("CADDY_PORT", 8083)]);
}

#[test]
fn rollback() {
    play("rollback", &[]);
}

/// Follows the first instructions of an example's README. Ports of this machine are replaced by others, as they may be taken.
fn play(example: &str, ports: &[(&str, u16)]) {
    let folder = format!("examples/{example}");
    let mut project = Project::copy(&example.replace('_', "-"), &folder);
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join(&folder).join("README.md");
    let readme = std::fs::read_to_string(readme).expect("should read the README");
    let (_, instructions) = readme.split_once("```bash\n").expect("should have instructions");
    let (instructions, _) = instructions.split_once("```").expect("should end");
    assert!(instructions.contains("kerek ") && instructions.contains(PRINTS), "{instructions}");

    // The name would be that of the folder anyway, which differs from any other test's.
    let mut script = instructions.lines().map(step).collect::<String>();
    for (variable, port) in ports {
        let free = port::free();
        project.set(variable, &free.to_string());
        script = script.replace(&format!("localhost:{port}"), &format!("localhost:{free}"));
    }
    let mut shell = project.command("bash", &["-euo", "pipefail", "-c", &script]);
    let kerek = Path::new(env!("CARGO_BIN_EXE_kerek")).parent().expect("should be in a folder");
    let path = std::env::var("PATH").expect("PATH should be set");
    shell.env("PATH", format!("{}:{path}", kerek.display()));
    command::run(shell).success();
}

/// A line of the instructions as the shell is to run it.
fn step(line: &str) -> String {
    match line.split_once(PRINTS) {
        Some((command, words)) => format!(
            "printed=$({command}); [ \"$printed\" = {words} ] || {{ echo \"{example}: $printed\"; exit 1; }}\n",
            example = command.replace(['"', '$'], "")
        ),
        None => format!("{line}\n"),
    }
}
