//! `run-with-ssh-config`: to run a program under an SSH config file. This version tells how to do it by hand.

use anyhow::anyhow;

use crate::cli::RunWithSshConfigOptions;
use crate::error::Failure;

pub(super) fn run(options: &RunWithSshConfigOptions) -> Result<(), Failure> {
    let config = options.ssh_config.display();
    let is_ssh = options.command.first().is_some_and(|program| program == "ssh");
    let failure = Failure::from(anyhow!("this version of kerek cannot run commands with an SSH config yet"));
    Err(if is_ssh {
        failure.hint(format!("`ssh` itself takes the file as an option: `ssh -F {config} …`."))
    } else {
        failure.hint(format!(
            "Add the line `Include {config}` at the top of ~/.ssh/config, with the absolute path of the file, and run \
             the command as it is."
        ))
    })
}
