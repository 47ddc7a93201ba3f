//! What the command line accepts, option by option, and what it refuses.

use std::path::Path;
use std::time::Duration;

use clap::error::ErrorKind;

use super::*;
use crate::images::compress::Compression;
use crate::names::ServiceName;
use crate::provision::Engine;

fn accept(line: &[&str]) -> Cli {
    let arguments = [&["kerek"], line].concat();
    parse(arguments).unwrap_or_else(|error| panic!("{line:?}: {error}"))
}

fn refuse(line: &[&str]) -> clap::Error {
    let arguments = [&["kerek"], line].concat();
    parse(arguments).expect_err(&format!("{line:?} is no good"))
}

fn deploy(options: &[&str]) -> DeployOptions {
    match accept(&[&["deploy"], options].concat()).command {
        Command::Deploy(options) => options,
        other => panic!("{other:?}"),
    }
}

fn run_with_ssh_config(line: &[&str]) -> (GlobalOptions, RunWithSshConfigOptions) {
    let cli = accept(line);
    match cli.command {
        Command::RunWithSshConfig(options) => (cli.global, options),
        other => panic!("{other:?}"),
    }
}

/// Arguments that set an option, and whether it is set.
type Case<Options> = (&'static [&'static str], fn(&Options) -> bool);

const GLOBAL_CASES: &[Case<GlobalOptions>] = &[
    (&["--dry-run"], |o| o.dry_run),
    (&["--config", "d"], |o| o.config.as_deref() == Some(Path::new("d"))),
    (&["--context", "x"], |o| o.context.as_deref() == Some("x")),
    (&["-c", "x"], |o| o.context.as_deref() == Some("x")),
    (&["--debug"], |o| o.debug),
    (&["-D"], |o| o.debug),
    (&["--host", "ssh://h"], |o| o.host.as_deref() == Some("ssh://h")),
    (&["-H", "ssh://h"], |o| o.host.as_deref() == Some("ssh://h")),
    (&["--log-level", "debug"], |o| o.log_level == Some(LogLevel::Debug)),
    (&["-l", "info"], |o| o.log_level == Some(LogLevel::Info)),
    (&["-l", "warn"], |o| o.log_level == Some(LogLevel::Warn)),
    (&["-l", "error"], |o| o.log_level == Some(LogLevel::Error)),
    (&["-l", "fatal"], |o| o.log_level == Some(LogLevel::Fatal)),
    (&["--tls"], |o| o.tls && !o.tlsverify),
    (&["--tlscacert", "f"], |o| o.tlscacert.as_deref() == Some(Path::new("f"))),
    (&["--tlscert", "f"], |o| o.tlscert.as_deref() == Some(Path::new("f"))),
    (&["--tlskey", "f"], |o| o.tlskey.as_deref() == Some(Path::new("f"))),
    (&["--tlsverify"], |o| o.tlsverify && !o.tls),
];

const DEPLOY_CASES: &[Case<DeployOptions>] = &[
    (&["--container-engine", "/opt/engine"], |o| o.engine.container_engine == "/opt/engine"),
    (&["--ansi", "never"], |o| o.output.ansi == Some(Ansi::Never)),
    (&["--ansi", "always"], |o| o.output.ansi == Some(Ansi::Always)),
    (&["--ansi", "auto"], |o| o.output.ansi == Some(Ansi::Auto)),
    (&["--compatibility"], |o| o.project.compatibility),
    (&["--env-file", "a", "--env-file", "b"], |o| o.project.env_file == [Path::new("a"), Path::new("b")]),
    (&["--file", "a", "-f", "-"], |o| o.project.file == [Path::new("a"), Path::new("-")]),
    (&["--parallel", "-1"], |o| o.project.parallel == Some(-1)),
    (&["--parallel=8"], |o| o.project.parallel == Some(8)),
    (&["--profile", "a", "--profile", "b"], |o| o.project.profile == ["a", "b"]),
    (&["--progress", "auto"], |o| o.output.progress == Some(Progress::Auto)),
    (&["--progress", "tty"], |o| o.output.progress == Some(Progress::Tty)),
    (&["--progress", "plain"], |o| o.output.progress == Some(Progress::Plain)),
    (&["--progress", "json"], |o| o.output.progress == Some(Progress::Json)),
    (&["--progress", "quiet"], |o| o.output.progress == Some(Progress::Quiet)),
    (&["--project-directory", "d"], |o| o.project.project_directory.as_deref() == Some(Path::new("d"))),
    (&["--project-name", "n"], |o| o.project.project_name.as_deref() == Some("n")),
    (&["-p", "n"], |o| o.project.project_name.as_deref() == Some("n")),
    (&["--build"], |o| o.build),
    (&["--detach"], |o| o.detach),
    (&["-d"], |o| o.detach),
    (&["--force-recreate"], |o| o.force_recreate),
    (&["--no-build"], |o| o.no_build),
    (&["--no-deps"], |o| o.no_deps),
    (&["--no-start"], |o| o.no_start),
    (&["--pull", "always"], |o| o.pull == Some(Pull::Always)),
    (&["--pull", "missing"], |o| o.pull == Some(Pull::Missing)),
    (&["--pull", "never"], |o| o.pull == Some(Pull::Never)),
    (&["--quiet-pull"], |o| o.quiet_pull),
    (&["--remove-orphans"], |o| o.remove_orphans),
    (&["--renew-anon-volumes"], |o| o.renew_anon_volumes),
    (&["-V"], |o| o.renew_anon_volumes),
    (&["--timeout", "0"], |o| o.pace.timeout == Some(Duration::ZERO)),
    (&["-t", "90"], |o| o.pace.timeout == Some(Duration::from_secs(90))),
    (&["--transfer-images"], |o| o.transfer_images),
    (&["--wait"], |o| o.pace.wait),
    (&["--probe", "http://h/"], |o| o.probe.probe.as_ref().is_some_and(|url| url.to_string() == "http://h/")),
    (&["--probe", "http://h/", "--probe-rate", "9"], |o| o.probe.probe_rate == 9),
    (&["--probe", "http://h/", "--probe-failures", "0"], |o| o.probe.probe_failures == Some(0)),
    (&["--probe", "http://h/", "--probe-from-host"], |o| o.probe.probe_from_host),
    (&["--ssh-config", "f"], |o| o.engine.ssh_config.as_deref() == Some(Path::new("f"))),
    (&["-F", "f"], |o| o.engine.ssh_config.as_deref() == Some(Path::new("f"))),
    (&["--lock-wait", "1m30s"], |o| o.pace.lock_wait == Some(Duration::from_secs(90))),
    (&["--wait-timeout", "90"], |o| o.pace.wait_timeout == Some(Duration::from_secs(90))),
    (&["web", "db"], |o| o.service_names == [ServiceName::new("web"), ServiceName::new("db")]),
];

#[test]
fn clap_finds_no_fault_with_the_definitions() {
    command(Program::Kerek).debug_assert();
    command(Program::Docker).debug_assert();
}

#[test]
fn each_option_sets_its_field_and_no_field_is_set_without() {
    let plain = accept(&["deploy"]);
    for (words, holds) in GLOBAL_CASES {
        assert!(!holds(&plain.global), "{words:?}");
        let before = accept(&[words, &["deploy"][..]].concat());
        assert!(holds(&before.global), "{words:?} before the command");
        let after = accept(&[&["deploy"], *words].concat());
        assert!(holds(&after.global), "{words:?} after the command");
    }
    for (words, holds) in DEPLOY_CASES {
        assert!(!holds(&deploy(&[])), "{words:?}");
        assert!(holds(&deploy(words)), "{words:?}");
    }
}

#[test]
fn the_tables_above_know_each_option_and_each_value() {
    let words: Vec<&str> = GLOBAL_CASES.iter().flat_map(|(words, _)| *words).copied().collect();
    let deploy_words = DEPLOY_CASES.iter().flat_map(|(words, _)| *words).copied();
    let words: Vec<&str> = words.into_iter().chain(deploy_words).collect();
    let mut command = command(Program::Kerek);
    command.build();
    let deploy = command.find_subcommand("deploy").expect("it is there");
    for option in deploy.get_opts().filter(|option| option.get_id() != "help") {
        if let Some(long) = option.get_long() {
            let long = format!("--{long}");
            let known = words.iter().any(|word| word.split('=').next() == Some(&long));
            assert!(known, "{long}");
        }
        if let Some(short) = option.get_short() {
            assert!(words.contains(&format!("-{short}").as_str()), "-{short}");
        }
        for value in option.get_possible_values() {
            assert!(words.contains(&value.get_name()), "{}", value.get_name());
        }
    }
}

#[test]
fn values_are_written_as_they_are_read() {
    fn names<T: clap::ValueEnum>(as_str: fn(T) -> &'static str) -> Vec<(String, &'static str)> {
        let value = |value: &T| value.to_possible_value().expect("none is skipped").get_name().to_owned();
        T::value_variants().iter().map(|variant| (value(variant), as_str(variant.clone()))).collect()
    }
    let all = [names(Ansi::as_str), names(Progress::as_str), names(Pull::as_str)].concat();
    assert_eq!(all.len(), 11);
    for (read, written) in all {
        assert_eq!(read, written);
    }
}

#[test]
fn of_a_repeated_option_the_last_one_counts() {
    let options = deploy(&["-p", "a", "--wait", "--pull", "never", "-p", "b", "--wait", "--pull", "always"]);
    assert_eq!(options.project.project_name.as_deref(), Some("b"));
    assert_eq!(options.pull, Some(Pull::Always));
    assert!(options.pace.wait);
    let cli = accept(&["-c", "a", "-c", "b", "-D", "deploy", "-D"]);
    assert_eq!(cli.global.context.as_deref(), Some("b"));
    assert!(cli.global.debug);
    assert_eq!(accept(&["-c", "a", "deploy", "-c", "b"]).global.context.as_deref(), Some("b"));
}

#[test]
fn there_is_one_engine() {
    for line in [
        &["-H", "a", "-H", "b", "deploy"][..],
        &["deploy", "-H", "a", "-H", "b"],
        &["-H", "a", "-c", "b", "deploy"],
        &["-H", "a", "deploy", "-c", "b"],
        &["-c", "a", "deploy", "-H", "b"],
        &["deploy", "-c", "a", "-H", "b"],
    ] {
        assert_eq!(refuse(line).kind(), ErrorKind::ArgumentConflict, "{line:?}");
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for line in [
        &["bogus"][..],
        &["deploy", "--bogus"],
        &["deploy", "--ansi", "sometimes"],
        &["deploy", "--pull", "build"],
        &["deploy", "--progress", ""],
        &["deploy", "--log-level", "trace"],
        &["deploy", "--build", "--no-build"],
        &["deploy", "--parallel", "-2"],
        &["deploy", "--parallel", "many"],
        &["deploy", "--timeout", "-1"],
        &["deploy", "--timeout", "1.5"],
        &["deploy", "--wait-timeout", "5s"],
        &["deploy", "--wait=yes"],
        &["deploy", "--version"],
        &["deploy", "no such service"],
        &["provision"],
        &["provision", "--container-engine", "containerd", "h"],
        &["provision", "--context-name", "a b", "h"],
        &["provision", "--context-name", "ab", "--no-context", "h"],
        &["provision", "--", "-oProxyCommand=true"],
        &["transfer-images", "--", "--all"],
        &["transfer-images", "No Name"],
        &["transfer-images", "--compress", "zstd:99", "a"],
        &["transfer-images", "--platform", "linux", "a"],
        &["run-with-ssh-config"],
        &["run-with-ssh-config", "f"],
        &["help", "bogus"],
        &["docker-cli-plugin-metadata", "x"],
    ] {
        assert!(refuse(line).use_stderr(), "{line:?}");
    }
}

#[test]
fn nothing_is_called_by_an_empty_name() {
    for option in ["--config", "-c", "-H", "--tlscacert", "--tlscert", "--tlskey"] {
        refuse(&[option, "", "deploy"]);
    }
    for option in ["--container-engine", "--env-file", "-f", "--profile", "--project-directory", "-p"] {
        refuse(&["deploy", option, ""]);
    }
    refuse(&["deploy", ""]);
    refuse(&["provision", ""]);
    refuse(&["provision", "-F", "", "h"]);
    refuse(&["transfer-images", ""]);
    refuse(&["run-with-ssh-config", "", "ssh"]);
}

#[test]
fn operands_after_a_double_dash_may_look_like_options() {
    let names = deploy(&["--wait", "--", "-web", "--wait"]).service_names;
    assert_eq!(names, [ServiceName::new("-web"), ServiceName::new("--wait")]);
}

#[test]
fn names_may_be_as_long_as_they_like() {
    let name = "a".repeat(1 << 16);
    assert_eq!(deploy(&[&name]).service_names, [ServiceName::new(&name)]);
}

#[test]
fn provision_takes_hosts() {
    let cli = accept(&["provision", "--force", "-F", "f", "ssh://me@h:2222"]);
    let Command::Provision(options) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert_eq!(options.destinations.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ssh://me@h:2222"]);
    assert_eq!(options.container_engine, Engine::Docker);
    assert_eq!(options.ssh_config.as_deref(), Some(Path::new("f")));
    assert!(options.force);
    assert_eq!(cli.global.host, None);

    let cli = accept(&["provision", "--ssh-config", "f", "localhost"]);
    let Command::Provision(options) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert_eq!(options.ssh_config.as_deref(), Some(Path::new("f")));
    assert!(!options.force);

    let cli = accept(&["provision", "--container-engine", "/usr/bin/podman", "--context-name", "web-1", "a", "b"]);
    let Command::Provision(options) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert_eq!(options.destinations.len(), 2);
    assert_eq!(options.container_engine, Engine::Podman);
    assert_eq!(options.context_name.as_deref(), Some("web-1"));
}

#[test]
fn transfer_images_takes_names() {
    let cli = accept(&["-H", "ssh://h", "transfer-images", "--container-engine", "podman", "a", "b:1", "-"]);
    let Command::TransferImages(options) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert_eq!(options.images, ["a", "b:1", "-"]);
    assert_eq!(options.engine.container_engine, "podman");
    assert!(!options.force && options.platform.is_none() && options.compress == Compression::Auto);
    assert_eq!(cli.global.host.as_deref(), Some("ssh://h"));
}

#[test]
fn transfer_images_can_be_told_how() {
    let line = ["transfer-images", "--force", "--compress", "zstd:3", "--platform", "linux/arm64", "--dry-run", "a"];
    let cli = accept(&line);
    let Command::TransferImages(options) = cli.command else {
        panic!("{:?}", cli.command);
    };
    assert!(options.force && cli.global.dry_run);
    assert_eq!(options.compress, Compression::Zstd(3));
    assert_eq!(options.platform.map(|platform| platform.to_string()).as_deref(), Some("linux/arm64"));
}

#[test]
fn a_command_under_an_ssh_config_keeps_its_options() {
    let (global, options) =
        run_with_ssh_config(&["run-with-ssh-config", "-D", "f", "ssh", "-v", "-H", "h", "--", "--help"]);
    assert_eq!(options.ssh_config, Path::new("f"));
    assert_eq!(options.command, ["ssh", "-v", "-H", "h", "--", "--help"]);
    assert!(global.debug);
    assert_eq!(global.host, None);

    let (_, options) = run_with_ssh_config(&["run-with-ssh-config", "--", "f", "ssh", "-D"]);
    assert_eq!(options.command, ["ssh", "-D"]);
}

#[cfg(unix)]
#[test]
fn paths_and_commands_need_not_be_unicode() {
    use std::os::unix::ffi::OsStrExt;

    let odd = OsStr::from_bytes(b"\xff");
    let line = ["kerek", "run-with-ssh-config", "f", "ls"].map(OsStr::new);
    let Command::RunWithSshConfig(options) = parse(line.into_iter().chain([odd])).expect("fine").command else {
        panic!("another command");
    };
    assert_eq!(options.command[1], odd);

    let line = ["kerek", "deploy", "-f"].map(OsStr::new);
    assert!(parse(line.into_iter().chain([odd])).is_ok());
    let line = ["kerek", "deploy"].map(OsStr::new);
    let error = parse(line.into_iter().chain([odd])).expect_err("no service is called so");
    assert_eq!(error.kind(), ErrorKind::InvalidUtf8);
}

#[test]
fn as_a_plugin_it_speaks_of_docker() {
    let plugin = "/home/me/.docker/cli-plugins/docker-deploy";
    // What the docker CLI passes for `docker --context x deploy --dry-run web`.
    let cli = parse([plugin, "--context", "x", "deploy", "--dry-run", "web"]).expect("it is fine");
    assert_eq!(cli.global.context.as_deref(), Some("x"));
    assert!(cli.global.dry_run);

    // `docker deploy --help`, `docker deploy -h`, `docker help deploy`, `docker -D --help deploy`.
    for words in [&["deploy", "--help"][..], &["deploy", "-h"], &["help", "deploy"], &["-D", "--help", "deploy"]] {
        let help = parse([&[plugin], words].concat()).expect_err("help is no command");
        assert_eq!(help.kind(), ErrorKind::DisplayHelp);
        let help = help.to_string();
        assert!(help.contains("Usage: docker deploy [OPTIONS]"), "{words:?}: {help}");
        assert!(help.contains("\n  docker deploy --dry-run\n"), "{words:?}: {help}");
    }
    let error = parse([plugin, "deploy", "--bogus"]).expect_err("there is no such option");
    assert!(error.to_string().contains("Usage: docker deploy"), "{error}");
}
