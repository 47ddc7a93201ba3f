//! The scripts by themselves, for who would rather read them first and run them by hand: they do all that kerek would have
//! them do, and nothing again.

use super::ground::Ground;
use crate::support::command::Output;

fn play(script: &str, podman: bool, options: &[&str]) {
    let ground = Ground::new(&["--user", "deploy"], podman);
    ground.copy_scripts();
    let run = || ground.host.run_as_deploy(&["sudo", "sh", &format!("scripts/{script}")]).success();
    let changes = |output: &Output| output.stdout.matches("provision: changed ").count();

    let first = run();
    assert!(changes(&first) > 0, "{first}");
    let second = run();
    assert_eq!(changes(&second), 0, "{second}");
    ground.assert_done(options);
}

#[test]
fn docker() {
    play("docker.sh", false, &[]);
}

#[test]
fn podman() {
    play("podman.sh", true, &["--container-engine", "podman"]);
}
