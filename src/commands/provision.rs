//! `provision`: to set up a host as a container host. This version tells how to do it by hand.

use anyhow::anyhow;

use super::quote;
use crate::cli::ProvisionOptions;
use crate::error::Failure;

pub(super) fn run(options: &ProvisionOptions) -> Result<(), Failure> {
    let failure = Failure::from(anyhow!("this version of kerek cannot provision hosts yet"));
    let install = "sudo apt-get install docker.io";
    if options.destination.is_localhost() {
        return Err(failure.hint(format!("On Debian or Ubuntu, install an engine by hand with `{install}`.")));
    }
    let url = options.destination.to_string();
    let config = options.ssh_config.as_ref().map_or_else(String::new, |path| {
        let path = path.to_string_lossy();
        format!("-F {} ", quote(&path))
    });
    Err(failure
        .hint(format!(
            "On Debian or Ubuntu, install an engine by hand with `ssh {config}-t {} {install}`.",
            quote(&url)
        ))
        .hint(format!(
            "Then `docker context create NAME --docker host={}` lets you say `kerek --context NAME deploy`.",
            quote(&url)
        )))
}
