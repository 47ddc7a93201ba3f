//! `run-with-ssh-config`: wraps `ssh` for a command, and becomes that command.

use std::ffi::{OsStr, OsString};

use crate::cli::{GlobalOptions, RunWithSshConfigOptions};
use crate::error::Failure;
use crate::process::Command;
use crate::report::console;
use crate::ssh::wrapper::{ConfigFile, Programs, Wrapper};

/// Variables by which programs are told to call another ssh than the one in `PATH`.
const DETOURS: [&str; 4] = ["GIT_SSH", "GIT_SSH_COMMAND", "RSYNC_RSH", "SVN_SSH"];

/// Does not return if all goes well: the process has become the command.
pub(super) async fn run(global: &GlobalOptions, options: &RunWithSshConfigOptions) -> Result<(), Failure> {
    let config = ConfigFile::open(&options.ssh_config)?;
    let programs = Programs::find(std::env::var_os("PATH"))?;
    let (program, arguments) =
        options.command.split_first().map_or((OsStr::new(""), &[][..]), |(first, rest)| (first, rest));
    let command = Command::new(program).args(arguments);
    for variable in detours(|name| std::env::var_os(name)) {
        console::err(&format!("Warning: {variable} is set, so what heeds it does not use the SSH config.\n"));
    }
    if global.dry_run {
        return console::out(&preview(&command, &config, &programs)).map_err(console::cannot_write);
    }
    let wrapper = Wrapper::set_up(&config, &programs).await?;
    Err(wrapper.become_command(command))
}

/// What would be run, in words.
fn preview(command: &Command, config: &ConfigFile, programs: &Programs) -> String {
    let meanings = programs.found().map(|(name, program)| {
        let meaning = Command::new(program).arg("-F").arg(config.path());
        format!("  {name}: {meaning}\n")
    });
    format!("Would run: {command}\nUnder it, these stand for:\n{}", meanings.collect::<Vec<_>>().concat())
}

/// The variables that are set to anything but plain `ssh` with or without options, which is found in `PATH` as usual.
fn detours(variable: impl Fn(&str) -> Option<OsString>) -> impl Iterator<Item = &'static str> {
    DETOURS.into_iter().filter(move |name| {
        variable(name)
            .is_some_and(|value| !value.is_empty() && value.to_string_lossy().split_whitespace().next() != Some("ssh"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ssh_by_another_way_is_noticed() {
        let found =
            |value: &'static str| detours(move |name| (name == "GIT_SSH_COMMAND").then(|| value.into())).count();
        for (value, count) in [
            ("", 0),
            ("ssh", 0),
            ("ssh -v", 0),
            ("/usr/bin/ssh", 1),
            ("/usr/bin/ssh -v", 1),
            ("sshpass ssh", 1),
            ("plink", 1),
        ] {
            assert_eq!(found(value), count, "{value:?}");
        }
    }
}
