//! Running programs to their end in an environment that does not depend on who runs the tests.
//!
//! A program sees the `PATH`, a home of its own and the engine that the tests are meant to use, nothing else. One that
//! does not end is killed. What came out can be asserted on, and is shown whole when it is not as expected.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use std::{fs, io};

/// What any program may take.
const LIMIT: Duration = Duration::from_secs(600);
/// Variables that reach programs as they are.
const KEPT: [&str; 5] = ["PATH", "TMPDIR", "DOCKER_CONFIG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"];

/// What a program that has ended leaves.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    /// The program and its arguments.
    command: String,
    /// The exit code; `None` if it was killed, as after [`LIMIT`].
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The output of a program that was run in another way than by [`run`].
    pub(crate) fn new(command: &str, code: Option<i32>, stdout: String, stderr: String) -> Self {
        Self { command: command.to_owned(), code, stdout, stderr }
    }

    /// Asserts that the exit code is 0.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.exits(0)
    }

    /// Asserts what the exit code is.
    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, code, stdout, stderr } = self;
        write!(formatter, "{command}\nexit code: {code:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n---")
    }
}

/// A command in the environment described above; `home` must exist.
pub(crate) fn command(program: &str, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home);
    for name in KEPT {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    if let Some(host) = docker_host() {
        command.env("DOCKER_HOST", host);
    }
    command
}

/// Runs a command to its end, without any input.
#[track_caller]
pub(crate) fn run(command: Command) -> Output {
    run_with(command, &[])
}

/// Runs a command to its end, with some standard input.
#[track_caller]
pub(crate) fn run_with(command: Command, stdin: &[u8]) -> Output {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let name = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let output = assert_cmd::Command::from_std(command)
        .timeout(LIMIT)
        .write_stdin(stdin)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {name}: {error}"));
    Output {
        command: name,
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Makes CLI plugins that the user has installed available in a new home.
pub(crate) fn link_plugins(home: &Path) -> io::Result<()> {
    let Some(original) = env::home_dir() else {
        return Ok(());
    };
    let plugins = original.join(".docker/cli-plugins");
    if plugins.is_dir() {
        fs::create_dir(home.join(".docker"))?;
        symlink(plugins, home.join(".docker/cli-plugins"))?;
    }
    Ok(())
}

/// Compose, called without the Docker CLI, which would start it twice.
pub(crate) fn compose() -> &'static str {
    static PLUGIN: OnceLock<String> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let format = r#"{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}"#;
        let mut info = Command::new("docker");
        info.args(["info", "--format", format]);
        run(info).success().stdout.trim().to_owned()
    })
}

/// The socket of the engine that the tests are meant to use.
pub(crate) fn socket() -> &'static str {
    let host = docker_host().and_then(|host| host.to_str()).unwrap_or("unix:///var/run/docker.sock");
    host.strip_prefix("unix://").expect("the tests' engine should be local")
}

/// The engine that the user has chosen, by variable or context; `None` for the default.
fn docker_host() -> Option<&'static OsString> {
    static HOST: OnceLock<Option<OsString>> = OnceLock::new();
    HOST.get_or_init(|| {
        if let Some(host) = env::var_os("DOCKER_HOST") {
            return Some(host);
        }
        let mut inspect = Command::new("docker");
        inspect.args(["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
        let host = run(inspect).success().stdout.trim().to_owned();
        (host != "unix:///var/run/docker.sock").then(|| host.into())
    })
    .as_ref()
}
