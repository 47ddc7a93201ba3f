//! Which Compose the tests run with: what it can do differs between versions.

use std::env;
use std::sync::OnceLock;

use super::command;

/// Whether Compose is older than a version such as `2.31`.
pub(crate) fn is_older_than(version: &str) -> bool {
    static OWN: OnceLock<Vec<u32>> = OnceLock::new();
    let own = OWN.get_or_init(|| {
        let mut version = command::command(command::compose(), &env::temp_dir());
        version.args(["version", "--short"]);
        parts(&command::run(version).success().stdout)
    });
    *own < parts(version)
}

/// The numbers of a version, without what distributions add to it.
fn parts(version: &str) -> Vec<u32> {
    let version = version.trim().trim_start_matches('v');
    let numbers = version.split(|character: char| character != '.' && !character.is_ascii_digit()).next();
    let numbers: Result<_, _> = numbers.unwrap_or_default().split('.').map(str::parse).collect();
    numbers.unwrap_or_else(|error| panic!("{error}: {version:?}"))
}
