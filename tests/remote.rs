//! Engines on other hosts: deploys over SSH to real ones, whatever their sshd allows, and what becomes of a deploy when
//! the way there fails.

mod endpoints;
mod faults;
mod files;
mod limits;
mod roads;
mod tunnel;

use crate::support::command;
use crate::support::site::Site;

#[test]
fn a_deploy_takes_one_login_and_leaves_nothing() {
    let site = Site::docker(&["--user", "deploy"]);
    for (version, words) in [("1", "1 service updated"), ("2", "1 service updated"), ("2", "0 services updated")] {
        let before = site.host.logins();
        let output = site.deploy(version).success();
        assert!(output.stderr.contains(words), "{output}");
        assert_eq!(site.host.logins(), before + 1, "{}", site.host.sshd_log());
        assert_eq!(site.running(), [version; 3]);
        site.assert_tidy();
    }
}

#[test]
fn a_context_leads_to_the_host() {
    let site = Site::docker(&[]);
    let host = format!("host={}", site.address());
    command::run(site.command("docker", &["context", "create", "vps", "--docker", &host])).success();
    command::run(site.deploy_command("1", &site.host.ssh_config(), &["--context", "vps"])).success();
    // The current one, with the SSH config where ssh looks for it by itself cannot be tried: it looks in the home that
    // the system knows, whatever HOME says.
    let mut use_it = site.command("docker", &["context", "use", "vps"]);
    use_it.env_remove("DOCKER_HOST");
    command::run(use_it).success();
    let mut deploy = site.deploy_command("2", &site.host.ssh_config(), &[]);
    deploy.env_remove("DOCKER_HOST");
    command::run(deploy).success();
    assert_eq!(site.running(), ["2"; 3]);
    site.assert_tidy();
}

#[test]
fn rootless_podman_is_found() {
    let site = Site::podman();
    site.write(1);
    for (version, engine) in [("1", "podman"), ("2", "docker")] {
        let options = ["--container-engine", engine, "--host", &site.address()];
        command::run(site.deploy_command(version, &site.host.ssh_config(), &options)).success();
        assert_eq!(site.running(), [version]);
        site.assert_tidy();
    }
}
