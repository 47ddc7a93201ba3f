//! The program as its user meets it: help, answers to bad input, exit codes. Nothing here needs an engine.

mod help;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use assert_cmd::Command;
use insta::assert_snapshot;
use tempfile::TempDir;

/// The program in an empty directory and home, on a screen of 100 columns, without any other environment.
struct Kerek {
    home: TempDir,
    command: Command,
}

impl Kerek {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let mut command = Command::new(env!("CARGO_BIN_EXE_kerek"));
        command.env_clear().env("HOME", home.path()).env("COLUMNS", "100").current_dir(home.path());
        Self { home, command }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it and gives its exit code, standard output and standard error.
    fn run<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> (i32, String, String) {
        let output = self.command.args(arguments).output().expect("it starts");
        let left: Vec<_> = fs::read_dir(self.home.path()).expect("it is there").collect();
        assert!(left.is_empty(), "it left {left:?} behind");
        let text = |bytes| String::from_utf8(bytes).expect("its output is UTF-8");
        (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
    }
}

/// What a failing command line prints to standard error, having printed nothing else and exited with the given code.
fn complaint<A: AsRef<OsStr>>(code: i32, arguments: impl IntoIterator<Item = A>) -> String {
    let (exit, out, err) = Kerek::new().run(arguments);
    assert_eq!((exit, out.as_str()), (code, ""), "{err}");
    err
}

#[test]
fn a_wrong_command_is_a_usage_error() {
    assert_snapshot!(complaint(2, ["deplyo"]), @"
    Error: unrecognized subcommand 'deplyo'

      tip: a similar subcommand exists: 'deploy'

    Usage: kerek [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn a_wrong_option_is_a_usage_error() {
    assert_snapshot!(complaint(2, ["deploy", "--force-recreat"]), @"
    Error: unexpected argument '--force-recreat' found

      tip: a similar argument exists: '--force-recreate'

    Usage: kerek deploy --force-recreate [SERVICE]...

    For more information, try '--help'.
    ");
}

#[test]
fn options_that_belong_elsewhere_are_answered_with_where() {
    assert_snapshot!(complaint(2, ["-f", "shop.yaml", "deploy"]), @"
    Error: unexpected argument '-f' found

      tip: '-f' comes after the name of a command that knows it: 'kerek deploy -f …'

    Usage: kerek [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    assert_snapshot!(complaint(2, ["deploy", "--scale=web=3"]), @"
    Error: unexpected argument '--scale' found

      tip: the Compose file says how many replicas there are: 'scale' or 'deploy.replicas'

    For more information, try '--help'.
    ");
    for option in ["--no-recreate", "-y", "--yes", "--quiet-build"] {
        assert!(complaint(2, ["deploy", option]).contains("  tip: "), "{option}");
    }
}

#[test]
fn a_wrong_value_is_a_usage_error() {
    assert_snapshot!(complaint(2, ["deploy", "--pull", "sometimes"]), @"
    Error: invalid value 'sometimes' for '--pull <WHEN>'
      [possible values: always, missing, never]

    For more information, try '--help'.
    ");
}

#[test]
fn a_timeout_has_no_unit() {
    assert_snapshot!(complaint(2, ["deploy", "--timeout", "10s"]), @"
    Error: invalid value '10s' for '--timeout <SECONDS>': expected whole seconds without a unit, such as 30

    For more information, try '--help'.
    ");
}

#[test]
fn two_engines_are_a_usage_error_wherever_they_are_named() {
    assert_snapshot!(complaint(2, ["--host", "ssh://a", "deploy", "--context", "b"]), @"
    Error: the arguments '--host <URL>' and '--context <NAME>' both name an engine; give one of them

    Usage: kerek [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn a_host_that_is_an_option_in_disguise_is_a_usage_error() {
    assert_snapshot!(complaint(2, ["provision", "--force", "--", "-oProxyCommand=true"]), @"
    Error: invalid value '-oProxyCommand=true' for '<HOST>...': the host must not begin with '-'

    For more information, try '--help'.
    ");
}

#[test]
fn hosts_to_provision_have_names_of_their_own_and_no_engine_yet() {
    assert_snapshot!(complaint(2, ["provision", "a@vps", "b@vps"]), @"
    Error: ssh://b@vps is given twice, or shares its name with another host
    Hint: Set up such hosts one by one, with --context-name.
    ");
    assert_snapshot!(complaint(2, ["provision", "vps/run/docker.sock"]), @"
    Error: ssh://vps/run/docker.sock names a socket, where there may be no engine yet
    Hint: Leave out what comes after the host.
    ");
    assert_snapshot!(complaint(2, ["provision", "--context-name", "ab", "one", "two"]), @"Error: --context-name is for a single host");
}

#[test]
fn no_command_at_all_gets_help_and_the_code_of_a_usage_error() {
    let (code, out, err) = Kerek::new().run([""; 0]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(err.contains("\nCommands:\n  deploy "), "{err}");
}

#[test]
fn huge_and_hostile_words_are_quoted_in_short_and_harmlessly() {
    let hostile = format!("\u{1b}]0;title\u{7}\u{9b}2J\r\n{}", "é".repeat(1 << 15));
    for line in [
        &[hostile.as_str()][..],
        &["deploy", &hostile],
        &["deploy", "--pull", &hostile],
        &["deploy", &format!("--{hostile}")],
        &["help", &hostile],
        &["provision", "a", &hostile],
        &["transfer-images", "--", &format!("-{hostile}")],
    ] {
        let complaint = complaint(2, line);
        assert!(complaint.starts_with("Error: "), "{complaint}");
        assert!(complaint.len() < 4096, "{} bytes", complaint.len());
        let control = complaint.chars().find(|character| character.is_control() && *character != '\n');
        assert_eq!(control, None, "{complaint}");
    }
}

#[test]
fn the_engine_comes_from_option_environment_or_default() {
    let engine = |variable: Option<&str>, line: &[&str]| {
        let mut kerek = Kerek::new();
        if let Some(value) = variable {
            kerek = kerek.env("CONTAINER_ENGINE", value);
        }
        let (code, _, err) = kerek.run([&["transfer-images", "image"], line].concat());
        assert_eq!(code, 2, "{err}");
        let engine = err
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("Error: source and destination are the same engine, "));
        let engine = engine.expect("the engine is named");
        if engine.contains("podman.sock") { "podman" } else { "docker" }
    };
    assert_eq!(engine(None, &[]), "docker");
    assert_eq!(engine(Some("podman"), &[]), "podman");
    assert_eq!(engine(Some("podman"), &["--container-engine", "other"]), "docker");
    // Empty is as good as unset.
    assert_eq!(engine(Some(""), &[]), "docker");

    let (code, _, err) = Kerek::new().env("CONTAINER_ENGINE", "--rm").run(["transfer-images"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn each_command_has_a_manual_page() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path().join("new/man1");
    let path = folder.to_str().expect("it is UTF-8");
    let would = format!("would write manual pages to {path}\n");
    assert_eq!(Kerek::new().run(["--dry-run", "man-pages", path]), (0, would, String::new()));
    assert!(!folder.exists());
    assert_eq!(Kerek::new().run(["man-pages", path]), (0, String::new(), String::new()));
    let page = |name| fs::read_to_string(folder.join(name)).expect("there is a page");
    assert!(page("kerek.1").contains("kerek\\-deploy(1)"), "{}", page("kerek.1"));
    let deploy = page("kerek-deploy.1");
    for words in [".TH kerek-deploy 1", "\\-\\-dry\\-run", "Examples:"] {
        assert!(deploy.contains(words), "{words}: {deploy}");
    }
    assert!(!folder.join("kerek-docker-cli-plugin-metadata.1").exists(), "nobody is to call it");

    let (code, out, err) = Kerek::new().run(["man-pages", "/dev/null/man1"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("/dev/null/man1") && err.contains("Hint: "), "{err}");
}

#[test]
fn a_tunnel_can_be_rehearsed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let socket = folder.path().join("engine.sock");
    let path = socket.to_str().expect("it is UTF-8");
    // Nobody answers there, or asks.
    let rehearse = |options: &[&str]| {
        let command = ["--dry-run", "tunnel-ssh", "nobody@no-such-host.invalid"];
        Kerek::new().run(command.iter().chain(options).copied())
    };
    let would =
        |to: &str| (0, format!("would bring the engine of ssh://nobody@no-such-host.invalid to {to}\n"), String::new());
    assert_eq!(rehearse(&[]), would("a socket in a private folder"));
    assert_eq!(rehearse(&["--detach", "--local-socket", path]), would(path));
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("a socket"));
    assert_eq!(rehearse(&["--local-socket", path]), would(&format!("{path}, in place of one that nobody serves")));
    assert!(socket.exists());
    let _listener = {
        fs::remove_file(&socket).expect("it is there");
        std::os::unix::net::UnixListener::bind(&socket).expect("a socket")
    };
    let (code, out, err) = rehearse(&["--local-socket", path]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.contains("is in use"), "{err}");
}

#[test]
fn a_tunnel_in_the_background_fails_like_one_in_the_foreground() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| folder.path().join(name).to_str().expect("it is UTF-8").to_owned();
    let (file, used) = (path("file"), path("used.sock"));
    File::create(&file).expect("a file");
    let _listener = std::os::unix::net::UnixListener::bind(&used).expect("a socket");
    let host = "nobody@no-such-host.invalid";
    let programs = std::env::var("PATH").expect("a PATH");
    for (code, words, arguments) in [
        (1, "exists and is no socket", &["--local-socket", &file, host][..]),
        (1, "is in use", &["--local-socket", &used, host]),
        (2, "exclude each other", &["--remote-socket", "/x", "ssh://vps/y"]),
        (3, "Could not resolve hostname", &[host]),
    ] {
        let run =
            |options: &[&str]| Kerek::new().env("PATH", &programs).run([&["tunnel-ssh"], options, arguments].concat());
        let foreground = run(&[]);
        assert_eq!((foreground.0, &*foreground.1), (code, ""), "{}", foreground.2);
        assert!(foreground.2.contains(words), "{}", foreground.2);
        assert_eq!(run(&["--detach"]), foreground);
    }
}

/// What bash makes of the last one of these words, in a folder.
fn complete(words: &str, folder: &Path) -> Vec<String> {
    let (_, script, _) = Kerek::new().run(["completions", "bash"]);
    let program = Path::new(env!("CARGO_BIN_EXE_kerek")).parent().expect("a folder");
    let last = words.rsplit(' ').next().unwrap_or_default();
    let ask = format!(
        "PATH={}:$PATH\n{script}\nCOMP_WORDS=({words}); ((COMP_CWORD = ${{#COMP_WORDS[@]}} - 1))\n\
         [[ '{last}' ]] || {{ COMP_WORDS+=(''); ((COMP_CWORD++)); }}\n\
         _clap_complete_kerek kerek '{last}' kerek; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        program.display()
    );
    let mut bash = assert_cmd::Command::new("bash");
    let answer =
        bash.args(["-c", &ask]).current_dir(folder).env("DOCKER_CONFIG", folder.join("config")).assert().success();
    let answer = String::from_utf8(answer.get_output().stdout.clone()).expect("UTF-8");
    answer.split_whitespace().map(ToOwned::to_owned).collect()
}

#[test]
fn names_are_completed_as_they_are_there() {
    let folder = TempDir::new().expect("a folder");
    let context = folder.path().join("config/contexts/meta/0123");
    fs::create_dir_all(&context).expect("a folder");
    fs::write(context.join("meta.json"), r#"{"Name": "production", "Endpoints": {}}"#).expect("a file");
    assert_eq!(complete("kerek --context pro", folder.path()), ["production"]);
    assert_eq!(complete("kerek deploy --context ", folder.path()), ["default", "production"]);
    fs::write(
        folder.path().join("shop.yaml"),
        "services: {web: {image: x, profiles: [y]}, worker: {image: x}, db: {image: x}}",
    )
    .expect("a file");
    assert_eq!(complete("kerek deploy -f shop.yaml w", folder.path()), ["web", "worker"]);
    // Nothing to be found is no reason to complain.
    assert_eq!(complete("kerek deploy w", folder.path()), [""; 0]);
}

/// The shells are those that `scripts/setup.sh` installs.
#[test]
fn shells_take_the_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, err) = Kerek::new().run(["completions", shell]);
        assert_eq!((code, err.as_str()), (0, ""));
        assert_cmd::Command::new(shell).args(["-n", "/dev/stdin"]).write_stdin(script).assert().success();
    }
    for (words, expected) in [("kerek roll", "rollback"), ("kerek deploy --probe-fr", "--probe-from-host")] {
        assert_eq!(complete(words, Path::new("/")), [expected]);
    }
    let (code, _, err) = Kerek::new().run(["completions", "cmd"]);
    assert_eq!(code, 2, "{err}");
}

#[test]
fn the_docker_cli_learns_what_plugin_this_is() {
    let (code, out, err) = Kerek::new().run(["docker-cli-plugin-metadata"]);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(out.lines().count(), 1);
    let metadata: serde_json::Value = serde_json::from_str(&out).expect("it is JSON");
    assert_eq!(metadata["SchemaVersion"], "0.1.0");
    assert_eq!(metadata["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(metadata["URL"], env!("CARGO_PKG_REPOSITORY"));
    for key in ["Vendor", "ShortDescription"] {
        assert!(metadata[key].as_str().is_some_and(|text| !text.is_empty()), "{key}");
    }
}

#[test]
fn the_version_is_told_with_every_spelling() {
    let version = format!("kerek {}\n", env!("CARGO_PKG_VERSION"));
    for option in ["-V", "--version"] {
        assert_eq!(Kerek::new().run([option]), (0, version.clone(), String::new()));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for line in [&["--help"][..], &["deploy", "--help"], &["docker-cli-plugin-metadata"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kerek"));
        let child = child.args(line).stdout(writer).stderr(Stdio::piped());
        let output = child.spawn().and_then(std::process::Child::wait_with_output).expect("it runs");
        assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{line:?}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_a_failure() {
    for line in [&["--help"][..], &["docker-cli-plugin-metadata"]] {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_kerek"));
        let child = child.args(line).stdout(full).stderr(Stdio::piped());
        let output = child.spawn().and_then(std::process::Child::wait_with_output).expect("it runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{line:?}");
        assert!(complaint.starts_with("Error: cannot write to standard output"), "{complaint}");
    }
}
