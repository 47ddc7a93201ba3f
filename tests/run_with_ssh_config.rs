//! `run-with-ssh-config`: whatever the paths, shells and environments, the right config is used or nothing is run. The
//! command is as if called directly, and nothing stays behind.

mod over_sshd;
mod place;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use self::place::{ASK, KNOWN, Place};
use crate::support::command::run;

/// Names of the config file.
const CONFIGS: [&[u8]; 20] = [
    b"plain.conf",
    b"a b.conf",
    b" ",
    b"quo'te",
    b"quo\"te",
    b"$HOME",
    b"$(touch pwned)",
    b"`touch pwned`",
    b"; touch pwned;",
    b"new\nline",
    b"tab\tulator",
    b"back\\slash",
    b"co:lon",
    b"%h",
    b"*",
    b"-",
    b"-oProxyCommand=touch pwned",
    "ünïcode".as_bytes(),
    b"\xff\xfe",
    b"deep/down/../down/ssh.conf",
];

/// Values of `TMPDIR`, `{}` being the test's own folder.
const FOLDERS: [&str; 11] = [
    "",
    "{}/a b",
    "{}/co:lon",
    "{}/quo'te",
    "{}/$HOME",
    "{}/new\nline",
    "{}/ünïcode",
    "{}/missing",
    "{}/file",
    "relative",
    "/proc",
];

/// Values of `PATH`. Folders named `bin` have an `ssh` that must not be called.
const PATHS: [Option<&str>; 9] = [
    None,
    Some(""),
    Some(":/usr/bin:/bin"),
    Some("/usr/bin:/bin:"),
    Some("/usr/bin::/bin"),
    Some(".:/usr/bin:/bin"),
    Some("bin:/usr/bin:/bin"),
    Some("/missing:/usr/bin:/bin"),
    Some("/etc/passwd:/usr/bin:/bin"),
];

/// Commands, split at blanks but for the last part after `: `.
const COMMANDS: [&str; 18] = [
    "ssh -G only",
    "env ssh -G only",
    "nice ssh -G only",
    "timeout 60 ssh -G only",
    "setsid --wait ssh -G only",
    "find / -maxdepth 0 -exec ssh -G only ;",
    "sh -c : ssh -G only",
    "sh -c : exec ssh -G only",
    "sh -c : cd / && ssh -G only",
    "sh -c : cd / && (ssh -G only | cat)",
    "sh -c : PATH=$PATH:/missing; ssh -G only",
    "sh -c : $(command -v ssh) -G only",
    "dash -c : ssh -G only",
    "bash -c : ssh -G only",
    "bash --posix -c : type -P ssh >/dev/null && ssh -G only",
    "zsh -fc : ssh -G only",
    "fish --no-config -c : ssh -G only",
    "tcsh -fc : ssh -G only",
];

fn words(command: &str) -> Vec<&str> {
    let (head, script) = command.split_once(": ").map_or((command, None), |(head, script)| (head, Some(script)));
    head.split_whitespace().chain(script).collect()
}

#[test]
fn the_right_config_is_used_whatever_its_path() {
    let place = Place::new();
    for name in CONFIGS {
        let name = OsStr::from_bytes(name);
        let config = place.write(name, KNOWN);
        for path in [config.as_os_str(), name] {
            place.assert_known(place.kerek(path, ASK), &format!("{path:?}"));
        }
    }
    assert!(!place.path().join("pwned").exists());
}

#[test]
fn the_right_config_is_used_whatever_the_temporary_folder() {
    let place = Place::new();
    place.write("a b.conf", KNOWN);
    place.write("file", "");
    for folder in FOLDERS {
        let folder = folder.replace("{}", place.path().to_str().expect("it is text"));
        if !folder.ends_with("missing") && !folder.is_empty() {
            // Those that exist already are fine, too.
            let _ = fs::create_dir(place.path().join(&folder));
        }
        let mut kerek = place.kerek("a b.conf", ASK);
        kerek.env("TMPDIR", &folder);
        place.assert_known(kerek, &folder);
    }
}

#[test]
fn the_right_config_is_used_whatever_the_path() {
    let place = Place::new();
    place.write("a b.conf", KNOWN);
    for decoy in ["ssh", "bin/ssh"] {
        place.write_program(decoy, "#!/bin/sh\necho hostname decoy\n");
    }
    for path in PATHS {
        for command in [ASK, &["/bin/sh", "-c", "ssh -G only"]] {
            let mut kerek = place.kerek("a b.conf", command);
            match path {
                Some(path) => kerek.env("PATH", path),
                None => kerek.env_remove("PATH"),
            };
            place.assert_known(kerek, &format!("{path:?} {command:?}"));
        }
    }
}

#[test]
fn the_right_config_is_used_whatever_calls_ssh() {
    let place = Place::new();
    for config in ["plain.conf", "a $b's \"c\".conf"] {
        place.write(config, KNOWN);
        for command in COMMANDS {
            place.assert_known(place.kerek(config, &words(command)), command);
        }
    }
}

#[test]
fn a_config_that_can_be_read_only_once_serves_many_times() {
    let place = Place::new();
    let config = place.write("plain.conf", KNOWN);
    let kerek = env!("CARGO_BIN_EXE_kerek");
    let ask = "sh -c 'ssh -G only >/dev/null; cd /; ssh -G only'";
    for script in [
        format!("{kerek} run-with-ssh-config <(cat plain.conf) {ask}"),
        format!("cat plain.conf | {kerek} run-with-ssh-config /dev/stdin {ask}"),
        format!("{kerek} run-with-ssh-config /dev/stdin {ask} < plain.conf"),
        format!("{kerek} run-with-ssh-config /dev/fd/7 {ask} 7< plain.conf"),
        format!("mkfifo pipe; cat plain.conf > pipe & {kerek} run-with-ssh-config pipe {ask}"),
    ] {
        let mut bash = place.command("bash");
        bash.args(["-c", &script]);
        place.assert_known(bash, &script);
    }
    // Deleted, but still open.
    let mut bash = place.command("bash");
    bash.args(["-c", &format!("exec 7< plain.conf; rm plain.conf; {kerek} run-with-ssh-config /dev/fd/7 {ask}")]);
    place.assert_known(bash, "deleted");
    assert!(!config.exists());
}

#[test]
fn where_it_cannot_work_nothing_is_run() {
    let place = Place::new();
    let config = place.write("plain.conf", KNOWN);
    fs::create_dir(place.path().join("empty")).expect("a new folder");
    for (config, path, words) in [
        ("missing.conf", "/usr/bin:/bin", "cannot read the SSH config missing.conf: No such file"),
        ("", "/usr/bin:/bin", "a value is required"),
        ("empty", "/usr/bin:/bin", "the SSH config empty is a folder"),
        ("plain.conf/x", "/usr/bin:/bin", "cannot read the SSH config plain.conf/x: Not a directory"),
        ("/dev/zero", "/usr/bin:/bin", "does not end within 16 MiB"),
        (config.to_str().expect("text"), "empty:/missing", "there is no program `ssh` in PATH (empty:/missing)"),
    ] {
        let mut kerek = place.kerek(config, &["/usr/bin/touch", "done"]);
        kerek.env("PATH", path);
        let output = run(kerek);
        assert_eq!(output.code, Some(if config.is_empty() { 2 } else { 1 }), "{output}");
        assert!(output.stderr.contains(words), "{output}");
    }
    assert!(!place.path().join("done").exists());
    place.assert_nothing_left();
}

/// Makes the given folders such that no program can be run in them, and runs a copy of kerek.
fn where_programs_cannot_run(place: &Place, folders: &str) -> Command {
    let mut unshare = place.command("unshare");
    let script = r#"
        mount -t tmpfs none /mnt && cp "$0" "$1" /mnt/ && cd /mnt
        for folder in $2; do mount -t tmpfs -o noexec none "$folder" || exit 99; done
        exec ./kerek run-with-ssh-config plain.conf ssh -G only"#;
    unshare.args([
        "--map-root-user",
        "--mount",
        "sh",
        "-ec",
        script,
        env!("CARGO_BIN_EXE_kerek"),
        "plain.conf",
        folders,
    ]);
    unshare
}

#[test]
fn a_folder_without_programs_is_passed_over_and_if_there_is_no_other_nothing_is_run() {
    let place = Place::new();
    place.write("plain.conf", KNOWN);
    let own = place.path().join("tmp");
    let own = own.to_str().expect("it is text");
    place.assert_known(where_programs_cannot_run(&place, own), own);

    let output = run(where_programs_cannot_run(&place, "/run /var/tmp /tmp")).exits(1);
    assert!(output.stderr.contains("no temporary folder for a wrapper of ssh"), "{output}");
    assert!(output.stderr.contains("/tmp: programs cannot be run there"), "{output}");
    assert_eq!(output.stdout, "", "{output}");
}

#[test]
fn of_two_configs_the_nearer_one_counts() {
    let place = Place::new();
    let inner = place.write("inner.conf", KNOWN);
    let inner = inner.to_str().expect("it is text");
    place.write("outer conf", "Host only\n  HostName outer.example\n");
    place.assert_known(place.kerek("outer conf", &["ssh", "-F", inner, "-G", "only"]), "an -F of one's own");
    let nested = [env!("CARGO_BIN_EXE_kerek"), "run-with-ssh-config", inner, "ssh", "-G", "only"];
    place.assert_known(place.kerek("outer conf", &nested), "nested");
    let by_shell = ["sh", "-c", &format!("'{}' run-with-ssh-config {inner} sh -c 'ssh -G only'; true", nested[0])];
    place.assert_known(place.kerek("outer conf", &by_shell), "nested, by shells");
}

#[test]
fn relative_includes_mean_what_they_mean_without_kerek() {
    let place = Place::new();
    place.write("plain.conf", "Include kerek-test-missing\n");
    place.write("a b.conf", "Include kerek-test-missing\n");
    let include = |output: crate::support::command::Output| {
        let lines = output.stderr.lines().filter(|line| line.contains("kerek-test-missing"));
        lines
            .map(|line| line.replace("plain.conf", "a b.conf"))
            .find(|line| line.contains("/.ssh/"))
            .unwrap_or_else(|| panic!("{output}"))
    };
    let glob = |line: &str| line.rsplit_once("/.ssh/").map(|(_, rest)| rest.to_owned());
    let mut direct = place.command("ssh");
    direct.args(["-vvv", "-F", "plain.conf", "-G", "only"]);
    let direct = glob(&include(run(direct).success()));
    for config in ["plain.conf", "a b.conf"] {
        let wrapped = run(place.kerek(config, &["ssh", "-vvv", "-G", "only"])).success();
        assert_eq!(glob(&include(wrapped)), direct, "{config}");
    }
}

#[test]
fn the_command_is_as_if_called_directly() {
    let place = Place::new();
    place.write("plain.conf", "");
    for code in [0, 1, 7, 130, 255] {
        run(place.kerek("plain.conf", &["sh", "-c", &format!("exit {code}")])).exits(code);
    }
    for (command, code) in [("no-such-program", 127), ("./plain.conf", 126), ("/", 126), ("./missing/x", 127)] {
        let output = run(place.kerek("plain.conf", &[command])).exits(code);
        assert!(output.stderr.starts_with(&format!("Error: cannot run `{command}`: ")), "{output}");
    }
    let options = ["printf", "<%s>", "--", "-D", "--dry-run", "-F", "x", "", "a b", "$HOME", "--help", "-oX"];
    let output = run(place.kerek("plain.conf", &options)).success();
    assert_eq!(output.stdout, "<--><-D><--dry-run><-F><x><><a b><$HOME><--help><-oX>");

    // Waiting for all children, a command must not wait for one of ours.
    let children = r#"read -r all </proc/$$/task/$$/children; echo "[$all]""#;
    assert_eq!(run(place.kerek("plain.conf", &["sh", "-c", children])).success().stdout, "[]\n");

    let input: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let cat = assert_cmd::Command::from_std(place.kerek("plain.conf", &["cat"])).write_stdin(input.clone()).output();
    let cat = cat.expect("it runs");
    assert!(cat.status.success() && cat.stdout == input, "{}", cat.status);
    place.assert_nothing_left();
}

#[test]
fn signals_are_the_commands_own() {
    let place = Place::new();
    place.write("plain.conf", "");
    // Dies by a signal: a shell would say 128 and more.
    for (name, number) in [("INT", 2), ("TERM", 15), ("KILL", 9), ("HUP", 1)] {
        let status = place.kerek("plain.conf", &["sh", "-c", &format!("kill -{name} $$")]).status().expect("it runs");
        assert_eq!(status.signal(), Some(number), "{name}");
    }
    for signal in ["INT", "TERM", "HUP", "USR1"] {
        let script = format!("trap 'echo caught; exit 3' {signal}; echo ready; while :; do sleep 0.02; done");
        let mut child =
            place.kerek("plain.conf", &["sh", "-c", &script]).stdout(Stdio::piped()).spawn().expect("it runs");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
        assert_eq!(lines.next().as_deref(), Some("ready"));
        place::send(signal, child.id());
        assert_eq!(lines.next().as_deref(), Some("caught"), "{signal}");
        assert_eq!(child.wait().expect("it ends").code(), Some(3), "{signal}");
    }
    place.assert_nothing_left();
}

#[test]
fn nothing_is_left_by_a_kill_at_any_moment() {
    let place = Place::new();
    place.write("a b.conf", KNOWN);
    for round in 0..30 {
        let mut child = place.kerek("a b.conf", &["sleep", "600"]).spawn().expect("it runs");
        thread::sleep(Duration::from_millis(3 * round));
        let signal = ["KILL", "TERM", "INT"][usize::try_from(round).expect("small") % 3];
        place::send(signal, child.id());
        child.wait().expect("it ends");
    }
    place.assert_nothing_left();
}

#[test]
fn a_signal_to_all_of_a_job_leaves_nothing() {
    let place = Place::new();
    place.write("a b.conf", KNOWN);
    let mut child = place
        .kerek("a b.conf", &["sh", "-c", "echo ready; exec sleep 600"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("it is ready");
    let keepers = place.processes("__keep-folder");
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    // As `docker stop`, systemd and CI runners end what they know of.
    for id in keepers.into_iter().chain([child.id()]) {
        place::send("TERM", id);
    }
    child.wait().expect("it ends");
    place.assert_nothing_left();
}

#[test]
fn a_dry_run_tells_and_does_nothing() {
    let place = Place::new();
    place.write("a b.conf", KNOWN);
    let mut kerek = place.command(env!("CARGO_BIN_EXE_kerek"));
    kerek.args(["--dry-run", "run-with-ssh-config", "a b.conf", "touch", "a file"]).env("PATH", "/usr/bin:/bin");
    let output = run(kerek).success();
    let config = place.path().join("a b.conf");
    let wanted = format!(
        "Would run: touch 'a file'\nUnder it, these stand for:\n  ssh: /usr/bin/ssh -F '{}'\n",
        config.display()
    );
    assert!(output.stdout.starts_with(&wanted), "{output}");
    assert!(!place.path().join("a file").exists());
    run(place.kerek("a b.conf", &["true"])).success();
    place.assert_nothing_left();
}

#[test]
fn variables_that_name_another_ssh_are_warned_of() {
    let place = Place::new();
    place.write("plain.conf", KNOWN);
    let mut kerek = place.kerek("plain.conf", ASK);
    kerek.env("GIT_SSH_COMMAND", "/opt/secret/ssh -v").env("RSYNC_RSH", "ssh -v");
    let output = run(kerek).success();
    assert_eq!(output.stderr.lines().filter(|line| line.starts_with("Warning: ")).count(), 1, "{output}");
    assert!(output.stderr.contains("GIT_SSH_COMMAND is set") && !output.stderr.contains("secret"), "{output}");
}
