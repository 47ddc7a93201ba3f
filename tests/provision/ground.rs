//! A bare host to be provisioned, and ways to tell what that has done.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::process::Command;

use crate::support::command::{self, Output};
use crate::support::site::Site;
use crate::support::terminal::{self, Answer};

/// Files that change by themselves, as by a login. What an engine keeps is among them (containerd tidies up a while after
/// it has started), but the folder it keeps that in is not.
const RESTLESS: &str = "-path /var/log -o -path /var/lib/systemd/timers -o -path /var/lib/systemd/random-seed \
    -o -path /var/tmp -o -path /root/.cache -o -path /home/deploy/.local/share -o -path /var/lib/sudo \
    -o -path '/var/lib/containerd/*' -o -path '/var/lib/docker/*' -o -path '/var/lib/containers/*'";

/// A host without an engine, and a project for it.
pub(crate) struct Ground {
    site: Site,
}

impl Ground {
    /// Starts a host. Options as for `Host::start`; `podman` tells which engine it is going to get.
    pub(crate) fn new(options: &[&str], podman: bool) -> Self {
        Self { site: Site::bare(options, podman) }
    }

    /// `kerek provision` for the host, with options, not yet run.
    pub(crate) fn command(&self, options: &[&str]) -> Command {
        let config = self.site.host.ssh_config();
        let config = config.to_string_lossy();
        let arguments = [&["provision", "-F", &config], options, &[self.site.host.name()]].concat();
        self.site.command(env!("CARGO_BIN_EXE_kerek"), &arguments)
    }

    /// The host and the project.
    pub(crate) fn site(&self) -> &Site {
        &self.site
    }

    /// Any other call of kerek.
    pub(crate) fn plain(&self, arguments: &[&str]) -> Command {
        self.site.command(env!("CARGO_BIN_EXE_kerek"), arguments)
    }

    /// Runs `kerek provision` for the host.
    #[track_caller]
    pub(crate) fn provision(&self, options: &[&str]) -> Output {
        command::run(self.command(options))
    }

    /// The same on a terminal, where somebody answers.
    #[track_caller]
    pub(crate) fn provision_on_terminal(&self, options: &[&str], answers: &[Answer<'_>]) -> Output {
        terminal::run(self.site.command("script", &[]), &self.line(options), answers)
    }

    /// The same where somebody answers the last question with Ctrl-C, and wants the terminal back.
    #[track_caller]
    pub(crate) fn interrupt_provision(&self, options: &[&str], answers: &[Answer<'_>]) -> Output {
        terminal::interrupt(self.site.command("script", &[]), &self.line(options), answers)
    }

    /// `kerek provision` for the host, as it is typed.
    fn line(&self, options: &[&str]) -> String {
        let provision = self.command(options);
        let words = [provision.get_program()].into_iter().chain(provision.get_args());
        words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
    }

    /// Brings the scripts to the host, into `/home/deploy/scripts`.
    pub(crate) fn copy_scripts(&self) {
        let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/provision");
        let mut copy = Command::new("docker");
        copy.args(["cp", scripts, &format!("{}:/home/deploy/scripts", self.site.host.container())]);
        command::run(copy).success();
    }

    /// Kills, on the host, the script and all that it has started, if there is any of it.
    pub(crate) fn kill_script(&self) {
        self.site.host.run(&["pkill", "-KILL", "--full", "kerek-provision|apt-get|dpkg|/usr/bin/apt"]);
    }

    /// Deploys a version of the project through the context that is called as the host.
    #[track_caller]
    pub(crate) fn deploy_by_context(&self, version: &str) -> Output {
        let config = self.site.host.ssh_config();
        command::run(self.site.deploy_command(version, &config, &["--context", self.site.host.name()]))
    }

    /// All files that are not only there while something runs, with their sizes, times, modes and owners.
    #[track_caller]
    pub(crate) fn files(&self) -> BTreeSet<String> {
        let find = format!(
            "find /etc /usr /var /opt /root /home /srv \\( {RESTLESS} \\) -prune -o -printf '%p %s %T@ %m %u %g\\n'; \
             ls -d /tmp/kerek* /var/tmp/kerek* /run/kerek*log* 2>/dev/null; true"
        );
        let listed = self.site.host.run(&["sh", "-c", &find]).success().stdout;
        listed.lines().map(str::to_owned).collect()
    }

    /// Asserts that the files are those of before.
    #[track_caller]
    pub(crate) fn assert_untouched(&self, before: &BTreeSet<String>) {
        let now = self.files();
        let difference: Vec<_> = now.symmetric_difference(before).collect();
        assert!(difference.is_empty(), "changed: {difference:#?}");
    }

    /// Provisions the host, and asserts that what was announced is what is done, that a second run has nothing to do, and
    /// that neither leaves anything.
    #[track_caller]
    pub(crate) fn assert_converges(&self, options: &[&str]) -> Output {
        let before = self.files();
        let dry = self.provision(&[&["--dry-run"], options].concat()).success();
        self.assert_untouched(&before);
        let done = self.provision(&[&["--force"], options].concat()).success();
        assert_eq!(changed(&done), announced(&dry.stdout), "{done}");
        self.assert_done(options);
        done
    }

    /// Asserts that there is nothing left to do.
    #[track_caller]
    pub(crate) fn assert_done(&self, options: &[&str]) {
        let again = self.provision(options).success();
        assert!(again.stderr.contains(": 0 changes, "), "{again}");
        assert!(changed(&again).is_empty(), "{again}");
        let left = self.site.host.run(&["sh", "-c", "ls -d /tmp/kerek* /run/kerek*log*"]);
        assert_eq!(left.stdout, "");
        self.site.assert_tidy();
    }
}

impl Deref for Ground {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

/// The steps that were announced to change something.
pub(crate) fn announced(text: &str) -> Vec<String> {
    let steps = text.lines().filter_map(|line| line.strip_prefix("  - ")?.split_once(": "));
    steps.map(|(step, _)| step.to_owned()).collect()
}

/// The steps that have changed something.
pub(crate) fn changed(output: &Output) -> Vec<String> {
    let steps = output.stderr.lines().filter_map(|line| line.split_once(": changed: ")?.1.split_once(": "));
    steps.map(|(step, _)| step.to_owned()).collect()
}
