//! A Compose project of a test's own: a folder with a unique name, commands that run in it, a look at its containers.
//!
//! It promises to leave nothing on the engine when dropped, also in a panic: no container, network or volume of the
//! project, nor the volumes in which kerek keeps its lock and releases, nor the names that it has given to their images.
//! Should a process be left that the project's commands have started, the test fails. Any project may use the image
//! `kerek-test-app` (see `programs/app.rs`), which is built beforehand.
//!
//! Only a test program that is killed leaves its projects, whose names begin with `kerek-test-`, as `docker compose ls`
//! shows. They go when the next one makes its first project.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Debug;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Once, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::api;
use super::command::{self, Output};
use super::process::{Process, TIDY};

/// What the names of projects and of their folders begin with.
const PREFIX: &str = "kerek-test-";
/// A file that tells whose a project is.
const PROCESS: &str = "process";

/// A project; dropping it tears it down.
pub(crate) struct Project {
    name: String,
    /// For every command, besides the usual.
    environment: BTreeMap<String, String>,
    /// Holds the project's folder, which is called as the project, and `home`; and `process`, the one that has made it,
    /// see [`Process`].
    root: PathBuf,
}

impl Project {
    /// A project whose `compose.yaml` has the given content. The label (lower-case letters, digits, `-`) becomes a part
    /// of its name.
    pub(crate) fn new(label: &str, compose: &str) -> Self {
        let project = Self::empty(label);
        project.write("compose.yaml", compose);
        project
    }

    /// A project with a copy of a folder, given relative to the package.
    pub(crate) fn copy(label: &str, folder: &str) -> Self {
        let project = Self::empty(label);
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        copy_into(&folder, &project.path()).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        project
    }

    fn empty(label: &str) -> Self {
        build_app_image();
        Self::bare(label)
    }

    /// A project without a file, for a test that makes containers by itself, with that project's label; but without the
    /// image `kerek-test-app`.
    pub(crate) fn bare(label: &str) -> Self {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let name = format!("{PREFIX}{label}-{:08x}", RandomState::new().hash_one(label) >> 32);
        let root = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("should make a temporary directory").keep();
        let project = Self { name, environment: BTreeMap::new(), root };
        fs::write(project.root.join(PROCESS), Process::current().to_string()).expect("should write file");
        fs::create_dir(project.path()).expect("should make the project's folder");
        fs::create_dir(project.home()).expect("should make a home");
        command::link_plugins(&project.home()).expect("should link plugins");
        project
    }

    /// The project's name as Compose derives it, unique.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The project's folder.
    pub(crate) fn path(&self) -> PathBuf {
        self.root.join(&self.name)
    }

    /// What the project's commands have as their home.
    pub(crate) fn home(&self) -> PathBuf {
        self.root.join("home")
    }

    /// Writes a file in the project's folder.
    pub(crate) fn write(&self, file: &str, content: &str) {
        fs::write(self.path().join(file), content).expect("should write file");
    }

    /// Sets an environment variable for all commands to come.
    pub(crate) fn set(&mut self, variable: &str, value: &str) {
        self.environment.insert(variable.to_owned(), value.to_owned());
    }

    /// Makes the version to come one that is never healthy, or a good one again, where the files read `HEALTH` and
    /// `START_PERIOD`. A good one has a long start period: a busy machine may take seconds for what else takes none.
    pub(crate) fn set_healthy(&mut self, healthy: bool) {
        let (health, start_period) = if healthy { ("ok", "60s") } else { ("bad", "1s") };
        self.set("HEALTH", health);
        self.set("START_PERIOD", start_period);
    }

    /// Runs kerek to its end in the project's folder.
    #[track_caller]
    pub(crate) fn kerek(&self, arguments: &[&str]) -> Output {
        command::run(self.kerek_command(arguments))
    }

    /// Kerek, not yet run, for a test that changes the environment or sends signals.
    pub(crate) fn kerek_command(&self, arguments: &[&str]) -> Command {
        self.command(env!("CARGO_BIN_EXE_kerek"), arguments)
    }

    /// Runs `docker compose` to its end in the project's folder.
    #[track_caller]
    pub(crate) fn compose(&self, arguments: &[&str]) -> Output {
        command::run(self.command(command::compose(), arguments))
    }

    /// Runs `docker` to its end in the project's folder.
    #[track_caller]
    pub(crate) fn docker(&self, arguments: &[&str]) -> Output {
        command::run(self.command("docker", arguments))
    }

    /// A command of any program in the project's folder and environment.
    pub(crate) fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = command::command(program, &self.home());
        command.current_dir(self.path()).envs(&self.environment).args(arguments);
        command
    }

    /// Where a service's published port is reached from here, as `HOST:PORT`.
    #[track_caller]
    pub(crate) fn published(&self, service: &str, port: u16) -> String {
        let address = self.compose(&["port", service, &port.to_string()]).success().stdout;
        address.trim().replace("0.0.0.0", "127.0.0.1")
    }

    /// All containers of the project in any state, by service and number, one-off ones included. Those that vanish
    /// meanwhile may be missing.
    #[track_caller]
    pub(crate) fn containers(&self) -> Vec<Container> {
        let mut containers: Vec<_> = self.inspections().iter().map(Container::new).collect();
        containers.sort_by(|left, right| (&left.service, left.number).cmp(&(&right.service, right.number)));
        containers
    }

    /// Where the project's engine is.
    fn socket(&self) -> PathBuf {
        let host = self.environment.get("DOCKER_HOST").map(|host| host.trim_start_matches("unix://"));
        host.unwrap_or_else(|| command::socket()).into()
    }

    /// The label of what Compose makes for the project.
    fn composed(&self) -> String {
        format!("com.docker.compose.project={}", self.name)
    }

    /// What the engine tells of each of the project's containers that is still there when it is asked for.
    #[track_caller]
    fn inspections(&self) -> Vec<Value> {
        let ids = self.list("/containers/json?all=1", "Id", ("label", &self.composed()));
        let ask = |id| told(api::get(&self.socket(), &format!("/containers/{id}/json")));
        ids.into_iter().filter_map(ask).collect()
    }

    #[track_caller]
    fn list(&self, path: &str, field: &str, filter: (&str, &str)) -> Vec<String> {
        told(api::list(&self.socket(), path, field, filter))
    }

    /// The containers of a service.
    #[track_caller]
    pub(crate) fn service(&self, service: &str) -> Vec<Container> {
        let mut containers = self.containers();
        containers.retain(|container| container.service == service);
        containers
    }

    /// Removes everything that has to do with the project, as far as it is there. Not by `docker compose down`, which some
    /// versions refuse if services depend on others that are not there.
    fn tear_down(&self) -> Vec<Output> {
        let own = format!("{PROJECT_LABEL}={}", self.name);
        let composed = self.composed();
        let anonymous = self.anonymous_volumes();
        let mut outputs = Vec::new();
        let mut remove = |with: &[&str], what: Vec<String>| {
            if !what.is_empty() {
                let what: Vec<_> = what.iter().map(String::as_str).collect();
                outputs.push(self.docker(&[with, &what].concat()));
            }
        };
        for label in [&own, &composed] {
            let containers = self.list("/containers/json?all=1", "Id", ("label", label));
            remove(&["rm", "--force", "--volumes"], containers);
        }
        remove(&["network", "rm"], self.list("/networks?", "Id", ("label", &composed)));
        for filter in [("label", composed.as_str()), ("name", &self.name)] {
            let volumes = self.list("/volumes?", "Name", filter);
            remove(&["volume", "rm", "--force"], volumes);
        }
        remove(&["rmi"], self.kept_images());
        remove(&["volume", "rm", "--force"], anonymous.into_iter().collect());
        outputs
    }

    /// The names that kerek has given to images of the project's releases. Filters of engines differ in what they match.
    fn kept_images(&self) -> Vec<String> {
        let own = format!("kerek-release:{}.", self.name);
        let listed = told(api::get(&self.socket(), "/images/json")).unwrap_or_default();
        let images = listed.as_array().into_iter().flatten();
        let names =
            images.flat_map(|image| image["RepoTags"].as_array().into_iter().flatten()).filter_map(Value::as_str);
        let is_own = |name: &&str| name.rsplit('/').next().is_some_and(|name| name.starts_with(&own));
        names.filter(is_own).map(str::to_owned).collect()
    }

    /// Volumes without a name of their own that the project's containers mount. To the engine, one that was handed down to
    /// another container has a name.
    fn anonymous_volumes(&self) -> BTreeSet<String> {
        let mounts = self.inspections().into_iter().map(|mut container| container["Mounts"].take());
        let mounts: Vec<_> = mounts.filter_map(|mounts| mounts.as_array().cloned()).flatten().collect();
        let names = mounts.iter().filter(|mount| mount["Type"] == "volume").filter_map(|mount| mount["Name"].as_str());
        let is_digest = |name: &&str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        names.filter(is_digest).map(str::to_owned).collect()
    }
}

/// What the engine has answered. A second panic, while a project is torn down, would hide the first: then, nothing will do.
#[track_caller]
fn told<T: Default + Debug>(answer: io::Result<T>) -> T {
    assert!(answer.is_ok() || thread::panicking(), "{answer:?}");
    answer.unwrap_or_default()
}

impl Drop for Project {
    fn drop(&mut self) {
        let outputs = self.tear_down();
        // A second panic would hide the first.
        if !thread::panicking() {
            for output in outputs {
                output.success();
            }
            self.assert_nothing_runs();
        }
        // Containers may have left files there that only root can remove.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The first three numbers of IPv4 addresses that are hardly anybody else's, such as `10.150.23`: those that two tests chose
/// for themselves could be the same, or what a killed one has left.
pub(crate) fn subnet() -> String {
    let id = RandomState::new().hash_one(PREFIX);
    format!("10.{}.{}", 128 + id % 64, id / 64 % 256)
}

/// Removes the projects of test programs that are no more, as far as they are on the usual engine.
pub(crate) fn sweep() {
    let folders = fs::read_dir(env::temp_dir()).into_iter().flatten().flatten().map(|entry| entry.path());
    for root in folders {
        let process = fs::read_to_string(root.join(PROCESS)).ok().and_then(|process| Process::parse(&process));
        if process.is_some_and(|process| process.is_gone_from_here()) {
            let names = fs::read_dir(&root).into_iter().flatten().flatten().map(|entry| entry.file_name());
            for name in names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(PREFIX)) {
                // Another test program may do the same at the same time, and what runs on is nobody's fault any more.
                let project = ManuallyDrop::new(Project { name, environment: BTreeMap::new(), root: root.clone() });
                project.tear_down();
            }
            let _ = fs::remove_dir_all(&root);
        }
    }
}

impl Project {
    /// What was started for the project, kerek and whatever that has started, has ended, or does so within [`TIDY`].
    fn assert_nothing_runs(&self) {
        let deadline = Instant::now() + TIDY;
        loop {
            let processes = processes_with(&format!("HOME={}", self.home().display()));
            if processes.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "these still run: {processes:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Command lines of all processes that have a variable in their environment, given as `NAME=VALUE`.
pub(crate) fn processes_with(variable: &str) -> Vec<String> {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    let read = |path| fs::read(path).unwrap_or_default();
    all.filter(|process| read(process.join("environ")).split(|byte| *byte == 0).any(|it| it == variable.as_bytes()))
        .map(|process| String::from_utf8_lossy(&read(process.join("cmdline"))).replace('\0', " "))
        .collect()
}

/// A label of containers that are not the project's but go with it.
pub(crate) const PROJECT_LABEL: &str = "kerek.test.project";

/// A container, as `docker container inspect` shows it.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// The full ID.
    pub(crate) id: String,
    /// Without a leading slash.
    pub(crate) name: String,
    pub(crate) service: String,
    /// The replica's number.
    pub(crate) number: u32,
    /// The image's ID.
    pub(crate) image: String,
    /// Such as `running` or `exited`.
    pub(crate) state: String,
    pub(crate) exit_code: i64,
    /// Such as `healthy`; `None` without a healthcheck.
    pub(crate) health: Option<String>,
    /// By its restart policy.
    pub(crate) restarts: u64,
    pub(crate) labels: BTreeMap<String, String>,
    environment: BTreeMap<String, String>,
    /// By network.
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
}

/// What a container is on a network.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// IPv4, empty unless running.
    pub(crate) address: String,
    /// Names that the engine answers for on this network.
    pub(crate) names: Vec<String>,
}

impl Container {
    /// The value of a variable in the container's environment, empty if unset.
    pub(crate) fn variable(&self, name: &str) -> &str {
        self.environment.get(name).map_or("", String::as_str)
    }

    /// Whether clients in its networks can find it by a name.
    pub(crate) fn is_known_as(&self, name: &str) -> bool {
        self.endpoints.values().any(|endpoint| endpoint.names.iter().any(|it| it == name))
    }

    fn new(inspected: &Value) -> Self {
        let text = |pointer| text(inspected.pointer(pointer));
        let labels = strings(&inspected["Config"]["Labels"]);
        let label = |name| labels.get(name).cloned().unwrap_or_default();
        let environment = inspected["Config"]["Env"].as_array().into_iter().flatten();
        let endpoints = inspected["NetworkSettings"]["Networks"].as_object().into_iter().flatten();
        Self {
            id: text("/Id"),
            name: text("/Name").trim_start_matches('/').to_owned(),
            service: label("com.docker.compose.service"),
            number: label("com.docker.compose.container-number").parse().unwrap_or_default(),
            image: text("/Image"),
            state: text("/State/Status"),
            exit_code: inspected["State"]["ExitCode"].as_i64().unwrap_or_default(),
            health: inspected.pointer("/State/Health").map(|health| self::text(health.get("Status"))),
            restarts: inspected["RestartCount"].as_u64().unwrap_or_default(),
            environment: environment
                .filter_map(|variable| variable.as_str()?.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            endpoints: endpoints.map(|(network, endpoint)| (network.clone(), Endpoint::new(endpoint))).collect(),
            labels,
        }
    }
}

impl Endpoint {
    fn new(inspected: &Value) -> Self {
        let names = inspected["DNSNames"].as_array().into_iter().flatten();
        Self { address: text(inspected.get("IPAddress")), names: names.map(|name| text(Some(name))).collect() }
    }
}

fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn strings(object: &Value) -> BTreeMap<String, String> {
    let fields = object.as_object().into_iter().flatten();
    fields.map(|(name, value)| (name.clone(), text(Some(value)))).collect()
}

fn copy_into(folder: &Path, copy: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let target = copy.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy_into(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// Builds `kerek-test-app`, unless that was tried before.
pub(crate) fn build_app_image() {
    static BUILT: OnceLock<Output> = OnceLock::new();
    let output = BUILT.get_or_init(|| {
        // In the environment of the tests: it is their Cargo that builds, with their profile, whose dependencies are
        // compiled already.
        let mut script = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/build-app-image.sh"));
        let profile = Path::new(env!("CARGO_BIN_EXE_kerek")).parent().and_then(Path::file_name);
        if let Some(profile) = profile.filter(|profile| *profile != "debug") {
            script.arg("--profile").arg(profile);
        }
        command::run(script)
    });
    assert_eq!(output.code, Some(0), "{output}");
}
