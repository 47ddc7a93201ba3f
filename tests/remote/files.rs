//! Files that only this machine has: configs and secrets are copied to the engine's host, anything else is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::support::command::{self, Output};
use crate::support::site::Site;

/// A service with a config that is a script, and a secret that is no text.
const FILES: &str = r#"
    name: site
    services:
      web:
        image: busybox:1.37
        command: [/run.sh]
        configs: [{source: run, target: /run.sh}]
        secrets: [key]
        healthcheck: {test: "test -e /ready", interval: 1s, start_period: 60s}
        stop_grace_period: 5s
        x-kerek: {drain: 0s}
    configs: {run: {file: ./run.sh}}
    secrets: {key: {file: ./key}}
    "#;

fn script(words: &str) -> String {
    format!("#!/bin/sh\ntrap exit TERM\necho '{words}' >/ready\nsleep 3600 & wait\n")
}

/// Writes the project's files. Returns their folder.
fn write(site: &Site, compose: &str) -> String {
    fs::write(site.path("app/compose.yaml"), compose).expect("should write file");
    fs::write(site.path("app/run.sh"), script("first: $HOME")).expect("should write file");
    let executable = fs::Permissions::from_mode(0o700);
    fs::set_permissions(site.path("app/run.sh"), executable).expect("should make it a program");
    fs::write(site.path("app/key"), b"\0\xffkey").expect("should write file");
    site.path("app").display().to_string()
}

fn kerek(site: &Site, options: &[&str]) -> Output {
    let address = site.address();
    let options = [&["--host", &address], options].concat();
    command::run(site.deploy_command("1", &site.host.ssh_config(), &options))
}

/// Compose itself, over SSH, with the project as it is.
fn compose(site: &Site, arguments: &[&str]) -> Output {
    let config = site.host.ssh_config();
    let (config, address) = (config.to_string_lossy(), site.address());
    let arguments =
        [&["run-with-ssh-config", &config, "docker", "--host", &address, "compose", "--progress", "plain"], arguments];
    command::run(site.command(env!("CARGO_BIN_EXE_kerek"), &arguments.concat()))
}

#[test]
fn files_of_this_machine_are_delivered() {
    let site = Site::docker(&["--user", "deploy"]);
    let folder = write(&site, FILES);
    let container = |format: &str| {
        let id =
            site.host.run(&["docker", "ps", "--quiet", "--no-trunc", "--filter", "name=site-web"]).success().stdout;
        site.host.run(&["docker", "inspect", "--format", format, id.trim()]).success().stdout.trim().to_owned()
    };
    let holds = |path: &str| site.host.run(&["docker", "exec", "site-web-1", "cat", path]).success().stdout;

    let output = kerek(&site, &[]).success();
    assert!(output.stderr.contains("1 service updated"), "{output}");
    assert_eq!(holds("/ready"), "first: $HOME\n");
    let same = "test \"$(od -An -tx1 /run/secrets/key | tr -d ' \\n')\" = 00ff6b6579";
    site.host.run(&["docker", "exec", "site-web-1", "sh", "-c", same]).success();
    assert_eq!(container("{{json .Mounts}}"), "[]");

    // Neither kerek nor Compose finds a change where there is none.
    let first = container("{{.Id}}");
    assert!(kerek(&site, &[]).success().stderr.contains("0 services updated"));
    compose(&site, &["up", "--detach"]).success();
    assert_eq!(container("{{.Id}}"), first);

    fs::write(site.path("app/run.sh"), script("second")).expect("should write file");
    let output = kerek(&site, &["--dry-run"]).success();
    assert!(output.stdout.contains("/run.sh"), "{output}");
    kerek(&site, &[]).success();
    assert_eq!(holds("/ready"), "second\n");

    // It comes from the release, and can be run as before.
    let (address, config) = (site.address(), site.host.ssh_config());
    let back = ["--host", &address, "rollback", "-F", &config.to_string_lossy(), "-p", "site"];
    let back = site.command(env!("CARGO_BIN_EXE_kerek"), &back);
    command::run(back).success();
    assert_eq!(holds("/ready"), "first: $HOME\n");

    // What the host has is mounted.
    site.host.run(&["mkdir", "-p", &folder]).success();
    let make = format!("printf '{}' >{folder}/run.sh; chmod 755 {folder}/run.sh", script("theirs").replace('\'', "\""));
    site.host.run(&["sh", "-c", &make]).success();
    kerek(&site, &["--force-recreate"]).success();
    assert_eq!(holds("/ready"), "theirs\n");
    assert_eq!(container("{{range .Mounts}}{{.Source}}{{end}}"), format!("{folder}/run.sh"));

    // A folder cannot be copied, nor can anything be copied to a read-only container.
    for (from, to, words) in [
        ("./key", ".", "is not on the engine's host, and here it is a folder"),
        ("image:", "read_only: true\n        image:", "read_only: the root filesystem is read-only"),
    ] {
        write(&site, &FILES.replace("run.sh", "other.sh").replacen(from, to, 1));
        fs::copy(site.path("app/run.sh"), site.path("app/other.sh")).expect("should copy");
        site.host.run(&["rm", "-rf", &folder]).success();
        let output = kerek(&site, &[]).exits(1);
        assert!(output.stderr.contains(words), "{output}");
        assert!(output.stderr.contains("Hint: Put "), "{output}");
    }
    assert_eq!(holds("/ready"), "theirs\n");
    site.assert_tidy();
}

/// Expects that what only this machine has is not mounted, and is once the host has it.
fn refuses_to_mount(site: &Site) {
    let binds = "volumes: [./data:/data, /etc:/host:ro, /var/kerek-new:/new]\n        secrets: [key]";
    let folder = write(site, &FILES.replace("secrets: [key]", binds));
    fs::create_dir(site.path("app/data")).expect("should make a folder");
    for options in [&["--dry-run"][..], &[]] {
        let output = kerek(site, options).exits(1);
        let words = format!("services.web.volumes[0]: {folder}/data is on this machine and not on the engine's host");
        assert!(output.stderr.contains(&words), "{output}");
        assert!(output.stderr.contains("named volume") && output.stderr.contains("Or put it on"), "{output}");
    }
    let there = site.host.run(&["test", "-e", &folder]);
    assert_ne!(there.code, Some(0), "nothing was made");
    site.host.run_as_deploy(&["mkdir", "-p", &format!("{folder}/data")]).success();
    site.assert_tidy();
}

#[test]
fn folders_of_this_machine_are_not_mounted() {
    let site = Site::docker(&["--user", "deploy"]);
    refuses_to_mount(&site);
    kerek(&site, &[]).success();
    // What neither has is made by the engine, as ever.
    site.host.run(&["test", "-d", "/var/kerek-new"]).success();
    site.assert_tidy();
}

#[test]
fn podman_is_asked_through_a_shell() {
    let site = Site::podman();
    site.host.run(&["install", "-d", "-o", "deploy", "/var/kerek-new"]).success();
    refuses_to_mount(&site);
    kerek(&site, &[]).success();
    let ready = site.host.run_as_deploy(&["podman", "exec", "site-web-1", "cat", "/ready"]).success();
    assert_eq!(ready.stdout, "first: $HOME\n");
    site.assert_tidy();
}
