//! Which engine is meant: as docker says, and by way of docker where the address is neither a socket's nor a host's.

use std::path::Path;

use kerek::engine::endpoint::{Endpoint, Selection};
use tempfile::TempDir;

use crate::support::command;

/// What the docker CLI makes of the same inputs; `None` if it refuses them.
fn docker(home: &Path, options: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let mut inspect = command::command("docker", home);
    inspect.env_remove("DOCKER_HOST").env_remove("DOCKER_CONFIG").args(options);
    inspect.envs(environment.iter().copied());
    inspect.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
    let output = command::run(inspect);
    (output.code == Some(0)).then(|| output.stdout.trim().to_owned())
}

fn kerek(home: &Path, options: &[&str], environment: &[(&str, &str)]) -> Option<String> {
    let option = |name: &str| options.iter().position(|it| *it == name).map(|at| options[at + 1].to_owned());
    let variable = |name: &str| environment.iter().find(|(it, _)| *it == name).map(|(_, value)| (*value).to_owned());
    let selection = Selection {
        host: option("--host"),
        context: option("--context"),
        config: option("--config").map(Into::into),
        program: "docker".into(),
        docker_host: variable("DOCKER_HOST"),
        docker_context: variable("DOCKER_CONTEXT"),
        docker_config: variable("DOCKER_CONFIG").map(Into::into),
        home: Some(home.into()),
        user_id: 1000,
        ..Selection::default()
    };
    Endpoint::resolve(&selection).ok().map(|endpoint| endpoint.to_string())
}

#[test]
fn the_engine_is_the_one_that_docker_means() {
    let home = TempDir::new().expect("should make a folder");
    let other = TempDir::new().expect("should make a folder");
    for (folder, name, host) in [
        (&home, "vps", "ssh://deploy@vps:2222"),
        (&home, "six", "ssh://root@[fe80::1%25eth0]:22/run/docker.sock"),
        (&home, "lan", "tcp://10.0.0.1:2376"),
        (&home, "here", "unix:///tmp/x y.sock"),
        (&other, "vps", "ssh://elsewhere"),
    ] {
        let mut create = command::command("docker", folder.path());
        create.env_remove("DOCKER_CONFIG").args(["context", "create", name, "--docker", &format!("host={host}")]);
        command::run(create).success();
    }
    let mut current = command::command("docker", home.path());
    current.env_remove("DOCKER_HOST").env_remove("DOCKER_CONFIG").args(["context", "use", "six"]);
    command::run(current).success();
    let config = other.path().join(".docker");
    let config = config.to_string_lossy();

    let options: [&[&str]; 10] = [
        &[],
        &["--context", "vps"],
        &["--context", "lan"],
        &["--context", "here"],
        &["--context", "default"],
        &["--context", "nope"],
        &["--host", "ssh://a@b:1"],
        &["--host", "tcp://h:1"],
        &["--config", &config],
        &["--config", &config, "--context", "vps"],
    ];
    let environments: [&[(&str, &str)]; 6] = [
        &[],
        &[("DOCKER_HOST", "ssh://env@host")],
        &[("DOCKER_HOST", "tcp://1.2.3.4:5")],
        &[("DOCKER_CONTEXT", "lan")],
        &[("DOCKER_CONTEXT", "vps"), ("DOCKER_HOST", "unix:///run/e.sock")],
        &[("DOCKER_CONFIG", &config), ("DOCKER_CONTEXT", "vps")],
    ];
    for options in options {
        for environment in environments {
            let expected = docker(home.path(), options, environment);
            assert_eq!(kerek(home.path(), options, environment), expected, "{options:?} {environment:?}");
        }
    }
}
