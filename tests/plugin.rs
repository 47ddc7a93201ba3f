//! Kerek as a plugin of the real docker CLI, which calls it in ways of its own. Needs `docker`, but no engine.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::{env, fs};

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use tempfile::TempDir;

/// The docker CLI with kerek as a plugin, in the home of a small app, with an engine that cannot be reached.
struct Docker {
    home: TempDir,
}

impl Docker {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        kerek(home.path(), "plugin install").success();
        let app = "services: {web: {image: app}}\n";
        fs::write(home.path().join("compose.yaml"), app).expect("the directory is ours");
        Self { home }
    }

    fn run(&self, line: &str) -> Assert {
        Command::new("docker")
            .args(line.split_whitespace())
            .env_clear()
            .env("PATH", env::var_os("PATH").expect("there is a PATH"))
            .env("HOME", self.home.path())
            .env("COLUMNS", "100")
            .env("DOCKER_CONFIG", self.home.path().join("config"))
            .env("DOCKER_HOST", "unix:///nowhere/docker.sock")
            .current_dir(self.home.path())
            .assert()
    }

    fn out(&self, line: &str) -> String {
        let output = self.run(line).success().get_output().clone();
        String::from_utf8(output.stdout).expect("it is UTF-8")
    }

    /// The first line that kerek prints to standard error, having failed with the given code. With `--debug`, docker may
    /// have said something of its own before.
    fn complaint(&self, code: i32, line: &str) -> String {
        let output = self.run(line).code(code).get_output().clone();
        let text = String::from_utf8(output.stderr).expect("it is UTF-8");
        text.lines().find(|line| line.starts_with("Error: ")).unwrap_or(&text).to_owned()
    }
}

/// Kerek with a home, where the docker CLI's configuration is in `config`.
fn kerek(home: &Path, line: &str) -> Assert {
    Command::new(env!("CARGO_BIN_EXE_kerek"))
        .args(line.split_whitespace())
        .env_clear()
        .env("HOME", home)
        .env("DOCKER_CONFIG", home.join("config"))
        .assert()
}

#[test]
fn installing_and_removing_leave_alone_what_is_not_kereks() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let link = home.path().join("config/cli-plugins/docker-deploy");
    let out = |line: &str| {
        let output = kerek(home.path(), line).success().get_output().clone();
        String::from_utf8(output.stdout).expect("it is UTF-8")
    };
    assert!(out("plugin remove").contains("there is no plugin"));
    assert!(out("--dry-run plugin install").contains("would make"));
    assert!(!link.exists());
    for (there, now) in [("now", false), ("already", true)] {
        assert_eq!(link.exists(), now);
        assert!(out("plugin install").contains(there));
    }
    assert_eq!(fs::read_link(&link).expect("a link"), Path::new(env!("CARGO_BIN_EXE_kerek")));
    assert!(out("--dry-run plugin remove").contains("would remove") && link.exists());
    assert!(out("plugin remove").contains("removed") && !link.exists());

    // One that has moved away meanwhile.
    symlink("/nowhere/kerek", &link).expect("the directory is ours");
    out("plugin install");
    assert!(link.exists());
    fs::remove_file(&link).expect("it is there");

    for foreign in ["file", "link"] {
        match foreign {
            "file" => fs::write(&link, "#!/bin/sh\n").expect("the directory is ours"),
            _ => symlink("/bin/sh", &link).expect("the directory is ours"),
        }
        for line in ["plugin install", "plugin remove"] {
            let output = kerek(home.path(), line).code(1).get_output().clone();
            let complaint = String::from_utf8(output.stderr).expect("it is UTF-8");
            assert!(complaint.contains("something else") && complaint.contains("cli-plugins"), "{complaint}");
        }
        fs::remove_file(&link).expect("it stays");
    }
}

#[test]
fn docker_lists_the_plugin_as_valid() {
    let docker = Docker::new();
    let help = docker.out("--help");
    let line = help.lines().find(|line| line.trim_start().starts_with("deploy*"));
    assert!(line.is_some_and(|line| line.contains("Update Compose services")), "{help}");
    assert!(!help.contains("Invalid Plugins"), "{help}");
}

#[test]
fn every_way_to_ask_for_help_gets_it() {
    let docker = Docker::new();
    let help = docker.out("deploy --help");
    assert!(help.contains("\nUsage: docker deploy [OPTIONS] [SERVICE]...\n"), "{help}");
    assert!(help.contains("\n  docker deploy --dry-run\n"), "{help}");
    for line in ["deploy -h", "help deploy", "--help deploy", "--context default --help deploy"] {
        assert_eq!(docker.out(line), help, "{line}");
    }
}

#[test]
fn usage_errors_pass_through() {
    let docker = Docker::new();
    assert_eq!(docker.complaint(2, "deploy --bogus"), "Error: unexpected argument '--bogus' found");
    let line = "--context default --debug --log-level info deploy --dry-run --pull sometimes";
    assert_eq!(docker.complaint(2, line), "Error: invalid value 'sometimes' for '--pull <WHEN>'");
}

#[test]
fn options_before_and_after_the_name_reach_the_plugin() {
    let docker = Docker::new();
    // Neither kerek nor the docker CLI accepts these together, but only kerek sees both.
    let complaint = docker.complaint(2, "--context default deploy --host unix:///nowhere/other.sock");
    assert!(complaint.contains("'--host <URL>' and '--context <NAME>'"), "{complaint}");

    for line in ["--host unix:///nowhere/other.sock deploy", "deploy --host unix:///nowhere/other.sock"] {
        let complaint = docker.complaint(3, line);
        assert!(complaint.contains("/nowhere/other.sock"), "{complaint}");
    }
}

#[test]
fn environment_and_exit_code_pass_through() {
    let complaint = Docker::new().complaint(3, "deploy --dry-run");
    assert!(complaint.starts_with("Error: "), "{complaint}");
    assert!(complaint.contains("/nowhere/docker.sock"), "{complaint}");
}
