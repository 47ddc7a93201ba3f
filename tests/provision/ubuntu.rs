//! Ubuntu: its packages are Debian's by another name, and not always.

use super::ground::Ground;
use crate::support::command;

/// A host that its user has been on before: the first login leaves a file.
fn ground(podman: bool) -> Ground {
    let ground = Ground::new(&["--release", "noble", "--user", "deploy"], podman);
    let config = ground.host.ssh_config().display().to_string();
    command::run(ground.site().command("ssh", &["-F", &config, ground.host.name(), "true"])).success();
    ground
}

#[test]
fn a_user_gets_docker() {
    let ground = ground(false);
    ground.assert_converges(&[]);
    ground.host.load(&["busybox:1.37"]);
    for version in ["1", "2"] {
        ground.deploy_by_context(version).success();
        assert_eq!(ground.running(), [version; 3]);
    }
}

#[test]
fn a_user_gets_podman_without_root() {
    let ground = ground(true);
    ground.assert_converges(&["--container-engine", "podman"]);
    ground.host.load(&["busybox:1.37"]);
    ground.write(1);
    for version in ["1", "2"] {
        ground.deploy_by_context(version).success();
        assert_eq!(ground.running(), [version]);
    }
}
