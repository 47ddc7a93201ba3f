//! Compose files as people write them: each feature alone, then whole stacks. None of them is a reason to choose between
//! Compose and kerek: whichever has been there, the other finds nothing to do, and a change replaces what has changed
//! and nothing else.
//!
//! The files are in `support/projects/corpus`, a test each, so that a failure is told by the file's name.

use std::collections::{BTreeMap, BTreeSet};
use std::env;

use crate::support::project::{Container, Project, subnet};
use crate::support::{command, compose};

/// Makes a test of each file: its name, the services that a new `VERSION` changes, and project options if it needs any
/// besides its own name. What came with a later version of Compose is refused with older ones.
macro_rules! corpus {
    ($($file:ident: $changed:tt $(with $option:literal)? $(since $version:literal)?;)*) => {
        $(
            #[test]
            fn $file() {
                let case = Case { file: stringify!($file), changed: &$changed, options: &[$($option)?] };
                if [$($version)?].into_iter().any(compose::is_older_than) {
                    assert_refused(&case);
                } else {
                    try_file(&case);
                }
            }
        )*
    };
}

// --- each feature alone

corpus! {
    anchors: ["web", "api"];
    anonymous_volume: ["web"];
    bind_mount: ["web"];
    build: ["web", "tagged"];
    config_content: ["web"];
    config_environment: ["web"];
    config_file: ["web"];
    container_name: ["web"];
    depends_on: ["web"];
    depends_on_restart: ["db"];
    dollars: ["web"];
    env_file: ["web", "worker"];
    env_file_raw: ["web"] since "2.30";
    extends: ["web"];
    healthcheck_disable: ["web"];
    hooks: ["web"];
    image_id: ["web"];
    image_policies: ["web"];
    include: ["web"];
    ipc_service: ["web", "reader"];
    labels_logging: ["web"];
    label_file: ["web"];
    limits: ["web"];
    links: ["db"];
    mac_address: ["web"];
    named_volume: ["web"];
    names: ["web"];
    network_bridge: ["web"];
    network_host: ["web"];
    network_mode_service: ["web", "sidecar"];
    network_mode_service_member: ["web"];
    network_none: ["web"];
    networks: ["web"];
    one_shot: ["job"];
    overrides: ["web"] with "--file=files/overrides.yaml";
    pid_host: ["web"];
    pid_service: ["web", "debugger"];
    plain: ["web"];
    port_ephemeral: ["web"];
    port_fixed: ["web"];
    port_range: ["web"];
    privileges: ["web"];
    process: ["web"];
    profiles: ["web", "debug"] with "--profile=debug";
    replicas: ["web"];
    replicas_stop_first: ["web"];
    replicas_zero: [];
    restart: ["always", "never", "on-failure", "swarm-style", "unless-stopped"];
    scale: ["web"];
    secret_environment: ["web"];
    start_first: ["web"];
    static_address: ["web"];
    tmpfs: ["web"];
    undeclared_dependency: ["web"];
    volumes_from: ["web", "backup"];
    volumes_from_member: ["web"];
}

// --- whole stacks

corpus! {
    stack_backup: ["web"];
    stack_blog: ["blog"];
    stack_caddy: ["front"];
    stack_full: ["migrate", "scheduler", "web", "worker"];
    stack_haproxy: ["web"];
    stack_log_shipper: ["web"];
    stack_monitoring: ["prometheus"];
    stack_permissions: ["web"];
    stack_production: ["web"] with "--file=files/production.yaml";
    stack_queue: ["fast", "slow"];
    stack_services: ["accounts", "catalog"];
    stack_tiers: ["app"];
    stack_vpn: ["downloader"];
    stack_web_db: ["web"];
}

/// Services whose containers end when their work is done, by file. Compose starts whatever does not run again with each
/// `up`, even if it has just told that all is well.
const ONE_SHOT: [(&str, &str); 4] =
    [("depends_on", "completed"), ("one_shot", "job"), ("stack_full", "migrate"), ("stack_permissions", "prepare")];

/// Services that are started again as one that they depend on by `restart: true` is replaced, by file. To Compose, a link
/// is such a dependency.
const STARTED_AGAIN: [(&str, &str); 3] =
    [("depends_on_restart", "web"), ("links", "web"), ("stack_services", "delivery")];

/// A file and what is special about it.
struct Case {
    file: &'static str,
    changed: &'static [&'static str],
    options: &'static [&'static str],
}

fn try_file(case: &Case) {
    let mut scene = Scene::new(case);

    scene.compose(&["up", "--detach"]);
    scene.assert_kerek_has_nothing_to_do();
    let by_compose = scene.looks();
    scene.compose(&["down", "--volumes", "--timeout", "0"]);

    scene.kerek(&["deploy"]);
    assert_eq!(scene.looks(), by_compose, "kerek makes of {} what Compose does", case.file);
    scene.assert_settled();

    let before = (scene.project.containers(), scene.runs());
    scene.set_version("v1");
    scene.kerek(&["deploy"]);
    scene.assert_changed(&before);
    scene.assert_settled();
}

/// Compose says why, and kerek hands it on.
fn assert_refused(case: &Case) {
    let scene = Scene::new(case);
    let file = format!("--file={}.yaml", case.file);
    let by_compose = scene.project.compose(&[&file, "up", "--detach"]);
    let reason = by_compose.stderr.trim();
    assert!(by_compose.code != Some(0) && !reason.is_empty(), "{by_compose}");
    let output = scene.project.kerek(&["deploy", &file]).exits(1);
    assert!(output.stderr.contains(reason), "{output}");
}

/// A project with a case's files.
struct Scene<'a> {
    case: &'a Case,
    // Dropped in this order: only what no container uses can go.
    project: Project,
    _images: Images,
}

impl<'a> Scene<'a> {
    fn new(case: &'a Case) -> Self {
        let label = case.file.replace('_', "-");
        let project = Project::copy(&label, "tests/support/projects/corpus");
        let images = Images { of: project.name().to_owned() };
        let mut scene = Self { case, project, _images: images };
        let name = scene.project.name().to_owned();
        scene.project.set("COMPOSE_PROJECT_NAME", &name);
        let id = scene.project.docker(&["image", "inspect", "--format", "{{.Id}}", "busybox:1.37"]).success().stdout;
        scene.project.set("BUSYBOX_ID", id.trim());
        scene.project.set("SUBNET", &subnet());
        scene.set_version("v0");
        scene
    }

    fn set_version(&mut self, version: &str) {
        self.project.set("VERSION", version);
        self.project.set("PAGE", &format!("version {version}"));
    }

    fn options(&self) -> Vec<String> {
        let file = format!("--file={}.yaml", self.case.file);
        [file].into_iter().chain(self.case.options.iter().map(ToString::to_string)).collect()
    }

    /// Runs Compose; returns what it says.
    #[track_caller]
    fn compose(&self, arguments: &[&str]) -> String {
        let options = self.options();
        let options = options.iter().map(String::as_str);
        self.project.compose(&options.chain(arguments.iter().copied()).collect::<Vec<_>>()).success().stderr
    }

    /// Runs kerek; returns its output.
    #[track_caller]
    fn kerek(&self, arguments: &[&str]) -> String {
        let options = self.options();
        let options = options.iter().map(String::as_str);
        let arguments: Vec<_> = arguments.iter().copied().chain(options).collect();
        self.project.kerek(&arguments).success().stdout
    }

    /// Neither Compose nor kerek would do anything, and kerek does nothing; all containers are at work, or have done it.
    #[track_caller]
    fn assert_settled(&self) {
        self.assert_compose_has_nothing_to_do();
        self.assert_kerek_has_nothing_to_do();
        let before = self.runs();
        self.kerek(&["deploy"]);
        assert_eq!(self.runs(), before, "a second run changes nothing");
        for container in self.project.containers() {
            let ends = ONE_SHOT.contains(&(self.case.file, &container.service));
            let state = (container.state.as_str(), container.health.as_deref());
            assert!(
                matches!(state, ("running", None | Some("healthy")))
                    || ends && state.0 == "exited" && container.exit_code == 0,
                "{container:#?}"
            );
        }
    }

    #[track_caller]
    fn assert_kerek_has_nothing_to_do(&self) {
        let stdout = self.kerek(&["deploy", "--dry-run"]);
        assert!(stdout.contains("Nothing to do"), "{stdout}");
    }

    #[track_caller]
    fn assert_compose_has_nothing_to_do(&self) {
        let containers = self.project.containers();
        let stderr = self.compose(&["up", "--detach", "--dry-run"]);
        // Warnings begin with the time.
        for line in stderr.lines().filter(|line| !line.starts_with("time=")) {
            // Only Compose 2 marks lines so.
            let words: Vec<_> = line.trim_start().trim_start_matches("DRY-RUN MODE -").split_whitespace().collect();
            if words.is_empty() {
                continue;
            }
            let [kind, name, state] = words[..] else { panic!("{line:?} in:\n{stderr}") };
            let ends = containers
                .iter()
                .any(|container| container.name == name && ONE_SHOT.contains(&(self.case.file, &container.service)));
            let fine = match state {
                "Running" | "Waiting" | "Healthy" | "Exited" => true,
                "Created" | "Starting" | "Started" => ends,
                _ => false,
            };
            assert!(kind == "Container" && fine, "Compose would change something:\n{stderr}");
        }
    }

    /// All containers of changed services are new; the others are still there, and started again only if they are to
    /// be. There are as many of each service as before.
    #[track_caller]
    fn assert_changed(&self, (before, runs_before): &(Vec<Container>, Runs)) {
        let after = self.project.containers();
        let services = |containers: &[Container]| containers.iter().map(|it| it.service.clone()).collect::<Vec<_>>();
        assert_eq!(services(&after), services(before));
        let old: BTreeSet<_> = before.iter().map(|container| &container.id).collect();
        let (kept, new): (Vec<_>, Vec<_>) = after.iter().partition(|container| old.contains(&container.id));
        let changed: BTreeSet<_> = new.iter().map(|container| container.service.as_str()).collect();
        assert_eq!(changed, self.case.changed.iter().copied().collect(), "services with new containers");
        let runs = self.runs();
        for Container { id, service, .. } in kept {
            assert!(!changed.contains(service.as_str()), "of {service}, which has changed, {id} is still there");
            let again = STARTED_AGAIN.contains(&(self.case.file, service));
            assert_eq!(runs.get(id) != runs_before.get(id), again, "{service} is started again");
        }
    }

    /// Each container's ID and when it was started last.
    fn runs(&self) -> Runs {
        let containers = self.project.containers();
        let format = "{{.State.StartedAt}}";
        let started = |id: &str| self.project.docker(&["inspect", "--format", format, id]).success().stdout;
        containers.iter().map(|container| (container.id.clone(), started(&container.id))).collect()
    }

    /// The containers as others see them: what they are called, on which networks and by which names.
    fn looks(&self) -> Vec<Look> {
        let containers = self.project.containers();
        containers
            .into_iter()
            .map(|container| {
                let own = container.id[..12].to_owned();
                let endpoints = container.endpoints.into_iter().map(|(network, endpoint)| {
                    let names = endpoint.names.into_iter().filter(|name| *name != own).collect();
                    (network, names)
                });
                Look { endpoints: endpoints.collect(), name: container.name, state: container.state }
            })
            .collect()
    }
}

/// When each container was started last, by ID.
type Runs = BTreeMap<String, String>;

/// A container as others see it.
#[derive(Debug, PartialEq)]
struct Look {
    name: String,
    state: String,
    /// DNS names by network.
    endpoints: BTreeMap<String, BTreeSet<String>>,
}

/// Images that were built for a project, removed when dropped.
struct Images {
    /// The project's name, with which theirs begin.
    of: String,
}

impl Drop for Images {
    fn drop(&mut self) {
        let docker = |arguments: &[&str]| {
            let mut docker = command::command("docker", &env::temp_dir());
            docker.args(arguments);
            command::run(docker)
        };
        let reference = format!("reference={}-*", self.of);
        let listed = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &reference]);
        for image in listed.stdout.lines() {
            docker(&["image", "rm", image]);
        }
    }
}
