//! The engine client against the real engine that the environment selects (Docker; `DOCKER_HOST=unix://…` for podman).
//!
//! Each test has a project of its own, set up with the docker command and taken away however the test ends. What a killed
//! run has left goes as that of any other [`Project`].

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use kerek::engine::api::Api;
use kerek::engine::endpoint::{Endpoint, Selection};
use kerek::engine::patient::Patient;
use kerek::engine::{
    Action, Attachment, Container, Content, Engine, ErrorKind, Exec, File, Health, RestartPolicy, State,
};
use kerek::names::{ContainerId, NetworkName, ProjectName};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

use crate::support::project::{self, Project};

const IMAGE: &str = "busybox:1.37";
/// A command for a container that answers `wget`.
const SERVER: &str = "httpd -f -p 80 -h /etc";
/// What anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A project on the engine, whose containers and networks are removed in the end.
struct Sandbox {
    socket: PathBuf,
    api: Api,
    project: ProjectName,
    /// Removes them.
    _owner: Project,
}

impl Sandbox {
    async fn new(name: &str) -> Self {
        let endpoint = Endpoint::resolve(&Selection::from_env("docker")).expect("an endpoint");
        let Endpoint::Unix(socket) = endpoint else { panic!("these tests need an engine behind a unix socket") };
        let api = Api::connect(&socket).await.expect("an engine");
        let image = api.image(IMAGE).await.expect("an answer");
        assert!(image.is_some(), "the image {IMAGE} is missing: run ./scripts/setup.sh first");
        let owner = Project::bare(&format!("engine-{name}"));
        Self { socket, api, project: ProjectName::new(owner.name()), _owner: owner }
    }

    /// A name that no other test uses.
    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.project)
    }

    fn network(&self, name: &str, options: &[&str]) -> NetworkName {
        let full_name = self.name(name);
        let label = format!("com.docker.compose.project={}", self.project);
        docker(&[&["network", "create", "--label", &label], options, &[&full_name]].concat());
        NetworkName::new(full_name)
    }

    /// Creates a container of a service with the number 1, and does not start it.
    fn create(&self, service: &str, options: &[&str], command: &str) -> ContainerId {
        let label = |key: &str, value: &str| format!("com.docker.compose.{key}={value}");
        let labels =
            [label("project", self.project.as_str()), label("service", service), label("container-number", "1")];
        let labels: Vec<&str> = labels.iter().flat_map(|label| ["--label", label]).collect();
        let create = ["create", "--name", &self.name(service), "--stop-timeout", "1"];
        let id = docker(&[&create, labels.as_slice(), options, &[IMAGE, "sh", "-c", command]].concat());
        ContainerId::new(id.trim())
    }

    async fn run(&self, service: &str, options: &[&str], command: &str) -> ContainerId {
        let id = self.create(service, options, command);
        self.api.start(&id).await.expect("started");
        id
    }

    async fn inspect(&self, id: &ContainerId) -> Container {
        self.api.container(id).await.expect("an answer").expect("a container")
    }

    /// Takes a container off a network and attaches it again with other aliases.
    async fn reconnect(&self, id: &ContainerId, network: &NetworkName, aliases: &[String]) {
        let container = self.inspect(id).await;
        let attachment = Attachment { aliases: aliases.to_vec(), ..container.networks[network].clone() };
        self.api.disconnect(id, network).await.expect("disconnected");
        self.api.connect(id, network, &attachment).await.expect("connected");
    }
}

/// Runs the docker command and returns what it prints.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker command");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() || std::thread::panicking(), "docker {arguments:?}: {error}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn is_podman() -> bool {
    docker(&["version", "--format", "{{range .Server.Components}}{{.Name}} {{end}}"]).contains("Podman")
}

/// Asks again until a condition holds.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn lists_containers_of_a_project_in_every_state() {
    let sandbox = Sandbox::new("list").await;
    let other = Sandbox::new("list-other").await;
    let created = sandbox.create("created", &["--restart", "unless-stopped", "--publish", "127.0.0.1::80"], "true");
    let running =
        sandbox.run("running", &["--health-cmd", "echo fine", "--health-interval", "200ms"], "sleep 60").await;
    let exited = sandbox.run("exited", &["--no-healthcheck", "--restart", "on-failure"], "exit 0").await;
    other.create("web", &[], "true");
    let label = format!("com.docker.compose.project={}", sandbox.project);
    docker(&["create", "--name", &sandbox.name("not-composes"), "--label", &label, IMAGE]);
    until("exit", async || matches!(sandbox.inspect(&exited).await.state, State::Exited { .. })).await;
    if !is_podman() {
        until("health", async || sandbox.inspect(&running).await.health == Some(Health::Healthy)).await;
    }

    let containers = sandbox.api.containers(&sandbox.project).await.expect("containers");
    let containers: BTreeMap<_, _> =
        containers.into_iter().map(|container| (container.service.as_str().to_owned(), container)).collect();
    assert_eq!(containers.keys().collect::<Vec<_>>(), ["created", "exited", "running"]);
    let image = sandbox.api.image(IMAGE).await.expect("an answer").expect("an image").id;
    for (service, container) in &containers {
        assert_eq!(container.name, sandbox.name(service));
        assert_eq!((container.number, container.one_off, container.restarts), (1, false, 0));
        assert_eq!(container.stop_timeout, Some(Duration::from_secs(1)));
        assert_eq!(container.image, image);
        assert_eq!(sandbox.inspect(&container.id).await.networks, container.networks);
    }
    let container = &containers["created"];
    assert_eq!((&container.id, container.state), (&created, State::Created));
    assert_eq!((container.restart_policy, container.publishes_ports), (RestartPolicy::UnlessStopped, true));
    assert_eq!((container.health, container.healthcheck), (None, None));
    let container = &containers["exited"];
    assert_eq!((&container.id, container.state), (&exited, State::Exited { code: 0, out_of_memory: false }));
    assert_eq!((container.restart_policy, container.publishes_ports), (RestartPolicy::OnFailure, false));
    assert_eq!((container.health, container.healthcheck), (None, None));
    let container = &containers["running"];
    assert_eq!((&container.id, container.state), (&running, State::Running));
    let healthcheck = container.healthcheck.expect("a healthcheck");
    assert_eq!((healthcheck.interval, healthcheck.timeout), (Duration::from_millis(200), Duration::from_secs(30)));
    assert_eq!((healthcheck.retries, healthcheck.start_period), (3, Duration::ZERO));
    if !is_podman() {
        assert_eq!(container.last_probe, "fine\n");
    }
}

#[tokio::test]
async fn there_is_nothing_to_say_about_what_is_not_there() {
    let sandbox = Sandbox::new("absent").await;
    let absent = ContainerId::new("0".repeat(64));
    let network = sandbox.network("network", &[]);
    assert_eq!(sandbox.api.containers(&sandbox.project).await.expect("containers"), []);
    assert_eq!(sandbox.api.container(&absent).await.expect("an answer"), None);
    assert_eq!(sandbox.api.image("kerek-engine-test/absent:1").await.expect("an answer"), None);
    assert_eq!(sandbox.api.received(&absent).await.expect("an answer"), None);
    sandbox.api.stop(&absent, None).await.expect("fine");
    sandbox.api.remove(&absent, true).await.expect("fine");
    sandbox.api.disconnect(&absent, &network).await.expect("fine");
    for error in [
        sandbox.api.start(&absent).await.expect_err("no container"),
        sandbox.api.connect(&absent, &network, &Attachment::default()).await.expect_err("no container"),
        sandbox.api.logs(&absent, 1).await.expect_err("no container"),
    ] {
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.to_lowercase().contains("no such container"), "{error}");
    }
}

#[tokio::test]
async fn an_image_is_known_by_all_its_names() {
    let sandbox = Sandbox::new("image").await;
    let image = sandbox.api.image(IMAGE).await.expect("an answer").expect("an image");
    assert!(image.tagged.is_some(), "{image:?}");
    let id = &image.id;
    assert!(id.as_str().starts_with("sha256:"), "{id}");
    for name in ["docker.io/library/busybox:1.37", id.as_str()] {
        assert_eq!(sandbox.api.image(name).await.expect("an answer").as_ref(), Some(&image), "{name}");
    }
    for name in ["../containers/x", "No!Name", "a b"] {
        assert_ne!(sandbox.api.image(name).await.unwrap_or(None).as_ref(), Some(&image), "{name}");
    }
}

#[tokio::test]
async fn starting_stopping_and_removing_can_be_repeated() {
    let sandbox = Sandbox::new("repeat").await;
    let id = sandbox.create("web", &[], "trap 'exit 7' TERM; echo ready; sleep 60 & wait");
    for _ in 0..2 {
        sandbox.api.start(&id).await.expect("started");
        assert_eq!(sandbox.inspect(&id).await.state, State::Running);
    }
    until("trap", async || sandbox.api.logs(&id, 1).await.expect("logs") == ["ready"]).await;
    for _ in 0..2 {
        sandbox.api.stop(&id, Some(Duration::from_secs(20))).await.expect("stopped");
        assert_eq!(sandbox.inspect(&id).await.state, State::Exited { code: 7, out_of_memory: false });
    }
    sandbox.api.start(&id).await.expect("started");
    for _ in 0..2 {
        sandbox.api.remove(&id, true).await.expect("removed");
        assert_eq!(sandbox.api.container(&id).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn what_does_not_end_by_itself_is_killed_in_time() {
    let sandbox = Sandbox::new("kill").await;
    // The container's own timeout, which is not the engine's of 10 s, counts unless another one is given.
    let own = Duration::from_secs(20);
    let id = sandbox.create("web", &["--stop-timeout", "20"], "trap '' TERM; echo ready; while :; do sleep 0.1; done");
    for (runs, timeout) in [None, Some(Duration::from_secs(2)), Some(Duration::ZERO)].into_iter().enumerate() {
        sandbox.api.start(&id).await.expect("started");
        until("ready", async || sandbox.api.logs(&id, 9).await.expect("logs").len() == runs + 1).await;
        let begin = Instant::now();
        sandbox.api.stop(&id, timeout).await.expect("stopped");
        let time = begin.elapsed();
        assert!(time >= timeout.unwrap_or(own) && (timeout.is_none() || time < own), "{timeout:?}: {time:?}");
        assert_eq!(sandbox.inspect(&id).await.state, State::Exited { code: 137, out_of_memory: false });
    }
}

#[tokio::test]
async fn removing_twice_at_once_is_fine() {
    let sandbox = Sandbox::new("race").await;
    for _ in 0..5 {
        let id = sandbox.run("web", &[], "sleep 60").await;
        let remove = async || sandbox.api.remove(&id, true).await;
        let results = futures_util::future::join_all([remove(), remove(), remove(), remove()]).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
        assert_eq!(sandbox.api.container(&id).await.expect("an answer"), None);
    }
}

#[tokio::test]
async fn anonymous_volumes_go_or_stay() {
    let sandbox = Sandbox::new("volumes").await;
    for volumes in [true, false] {
        let id = sandbox.create("web", &["--volume", "/data"], "true");
        let name = docker(&["inspect", "--format", "{{range .Mounts}}{{.Name}}{{end}}", id.as_str()]);
        sandbox.api.remove(&id, volumes).await.expect("removed");
        let filter = format!("name={}", name.trim());
        assert_eq!(docker(&["volume", "ls", "--quiet", "--filter", &filter]).is_empty(), volumes);
        if !volumes {
            docker(&["volume", "rm", name.trim()]);
        }
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_the_engines_words() {
    let sandbox = Sandbox::new("refusal").await;
    let first = sandbox.run("first", &["--publish", "127.0.0.1::80"], "sleep 60").await;
    let port = docker(&["port", first.as_str(), "80/tcp"]).trim().to_owned();
    let second = sandbox.create("second", &["--publish", &format!("{port}:80")], "sleep 60");
    let error = sandbox.api.start(&second).await.expect_err("the port is in use");
    assert_eq!((error.kind, error.call), (ErrorKind::Refused, format!("start container {}", second.short())));
    assert!(error.message.contains("already") && error.message.contains("use") || error.message.contains("allocated"));
    assert_eq!(sandbox.inspect(&second).await.state, State::Created);
}

/// The settings and addresses of a container's endpoints as the engine shows them, without what a reconnection changes
/// on purpose (aliases) or without harm, and without what is empty (which engines show in several ways).
fn endpoints(id: &ContainerId) -> Value {
    let inspection = docker(&["inspect", "--format", "{{json .NetworkSettings.Networks}}", id.as_str()]);
    let mut networks: Value = serde_json::from_str(&inspection).expect("JSON");
    for network in networks.as_object_mut().expect("an object").values_mut() {
        network.as_object_mut().expect("an object").retain(|key, value| {
            let empty = [Value::Null, json!([]), json!({})].contains(value);
            // Docker takes no wish for the last one.
            let changes = ["Aliases", "DNSNames", "EndpointID", "MacAddress"];
            !empty && !changes[..if is_podman() { 3 } else { 4 }].contains(&key.as_str())
        });
    }
    networks
}

#[tokio::test]
async fn reconnecting_changes_the_aliases_and_nothing_else() {
    let sandbox = Sandbox::new("reconnect").await;
    // A network with a subnet of the user's own takes static addresses, one without refuses even to be told its own.
    let subnet = format!("{}.0/24", project::subnet());
    let own = sandbox.network("own", &["--subnet", &subnet]);
    let plain = sandbox.network("plain", &[]);
    let rich = sandbox.network("rich", &[]);
    let address = subnet.replace(".0/24", ".77");
    let peer = sandbox.run("peer", &["--network", rich.as_str()], "sleep 600").await;
    let id = sandbox.create(
        "web",
        &["--network", own.as_str(), "--ip", &address, "--network-alias", "web", "--network-alias", "web-1"],
        SERVER,
    );
    docker(&["network", "connect", "--alias", "web", plain.as_str(), id.as_str()]);
    let podman = is_podman();
    let link = format!("{}:peer-alias", sandbox.name("peer"));
    let settings = ["--alias", "web", "--link-local-ip", "169.254.34.68", "--link", &link];
    let docker_settings = ["--gw-priority", "7", "--driver-opt", "com.example.note=kept"];
    let settings = if podman { settings[..2].to_vec() } else { [settings.as_slice(), &docker_settings].concat() };
    docker(&[&["network", "connect"], settings.as_slice(), &[rich.as_str(), id.as_str()]].concat());

    let inspect = async || {
        let mut container = sandbox.inspect(&id).await;
        // Docker takes no wish for it.
        if !podman {
            container.networks.values_mut().for_each(|attachment| attachment.hardware_address.clear());
        }
        container
    };
    for state in [State::Created, State::Running] {
        if state == State::Running {
            sandbox.api.start(&id).await.expect("started");
        }
        let before = inspect().await;
        let shown_before = endpoints(&id);
        assert_eq!(before.state, state);
        if !podman {
            assert_eq!(before.networks[&own].ipv4_address.as_deref(), Some(address.as_str()));
            assert_eq!(before.networks[&rich].gateway_priority, 7);
            assert_eq!(before.networks[&rich].driver_options["com.example.note"], "kept");
            assert_eq!(before.networks[&rich].link_local_addresses, ["169.254.34.68"]);
            assert_eq!(before.networks[&rich].links, [link.as_str()]);
        }
        assert_eq!(before.networks[&own].address.is_empty(), state == State::Created);

        for network in [&own, &plain, &rich] {
            assert!(before.networks[network].aliases.contains(&"web".to_owned()));
            let aliases: Vec<_> =
                before.networks[network].aliases.iter().filter(|alias| !alias.starts_with("web")).cloned().collect();
            sandbox.reconnect(&id, network, &aliases).await;
            let hidden = inspect().await;
            assert_eq!(hidden.networks[network].aliases, aliases);
            assert_eq!(Attachment { aliases, ..before.networks[network].clone() }, hidden.networks[network]);
        }
        assert_eq!(endpoints(&id), shown_before);
        for network in [&own, &plain, &rich] {
            sandbox.reconnect(&id, network, &before.networks[network].aliases).await;
        }
        assert_eq!(endpoints(&id), shown_before);
        assert_eq!(inspect().await, before);
    }
    // Only now is it certain that a created container was hidden and published well: it started and can be reached.
    for network in [&own, &plain, &rich] {
        let address = &sandbox.inspect(&id).await.networks[network].address;
        assert!(!address.is_empty());
        docker(&["exec", id.as_str(), "wget", "-q", "-T", "5", "-O", "-", &format!("http://{address}/hostname")]);
    }
    docker(&["exec", peer.as_str(), "wget", "-q", "-T", "5", "-O", "-", "http://web/hostname"]);
}

#[tokio::test]
async fn an_alias_comes_and_goes_with_reconnecting() {
    let sandbox = Sandbox::new("alias").await;
    let network = sandbox.network("net", &[]);
    let on_network = ["--network", network.as_str()];
    let client = sandbox.run("client", &on_network, "sleep 60").await;
    let id = sandbox.create("web", &[&on_network[..], &["--network-alias", "web"]].concat(), SERVER);
    let answers = || {
        let mut command = Command::new("docker");
        command.args(["exec", client.as_str(), "wget", "-q", "-T", "5", "-O", "-", "http://web/hostname"]);
        command.output().expect("the docker command").status.success()
    };
    sandbox.reconnect(&id, &network, &[]).await;
    sandbox.api.start(&id).await.expect("started");
    assert!(!answers(), "hidden before the start");
    sandbox.reconnect(&id, &network, &["web".to_owned()]).await;
    assert!(answers(), "published");
    sandbox.reconnect(&id, &network, &[]).await;
    assert!(!answers(), "withdrawn");
}

#[tokio::test]
async fn disconnecting_can_be_repeated() {
    let sandbox = Sandbox::new("disconnect").await;
    let network = sandbox.network("net", &[]);
    let absent = NetworkName::new(sandbox.name("absent"));
    let id = sandbox.create("web", &["--network", network.as_str()], "sleep 60");
    for _ in 0..2 {
        for _ in 0..2 {
            sandbox.api.disconnect(&id, &network).await.expect("disconnected");
            sandbox.api.disconnect(&id, &absent).await.expect("fine");
            assert!(!sandbox.inspect(&id).await.networks.contains_key(&network));
        }
        sandbox.api.connect(&id, &network, &Attachment::default()).await.expect("connected");
        assert!(sandbox.inspect(&id).await.networks.contains_key(&network));
        sandbox.api.start(&id).await.expect("started");
    }
}

#[tokio::test]
async fn counts_what_a_running_container_receives() {
    let sandbox = Sandbox::new("received").await;
    let network = sandbox.network("net", &[]);
    let id = sandbox.create("web", &["--network", network.as_str()], "sleep 60 | nc -l -p 80 > /dev/null");
    let received = async || sandbox.api.received(&id).await.expect("an answer");
    assert_eq!(received().await, None, "created");
    sandbox.api.start(&id).await.expect("started");
    let before = received().await.expect("a count");
    let address = &sandbox.inspect(&id).await.networks[&network].address;
    let send = format!("head -c 100000 /dev/zero | nc {address} 80");
    sandbox.run("client", &["--network", network.as_str()], &send).await;
    until("bytes", async || received().await.expect("a count") >= before + 100_000).await;
    sandbox.api.stop(&id, Some(Duration::ZERO)).await.expect("stopped");
    assert_eq!(received().await, None, "stopped");
}

#[tokio::test]
async fn reads_the_last_lines_of_the_output() {
    let sandbox = Sandbox::new("logs").await;
    let command = r"seq 1 1000; sleep 0.3; echo error >&2; sleep 0.3; printf 'tab\there \033[31m\n\377\n'; printf partial; sleep 60";
    for (service, options) in [("plain", &[][..]), ("terminal", &["--tty"][..])] {
        let id = sandbox.run(service, options, command).await;
        let logs = async |lines| sandbox.api.logs(&id, lines).await.expect("logs");
        until("output", async || logs(5).await.iter().any(|line| line == "\u{fffd}")).await;
        let mut lines = logs(6).await;
        // Engines differ in whether they show a line before it is complete.
        lines.retain(|line| line != "partial");
        assert!(
            lines.ends_with(&["1000", "error", "tab\there \u{1b}[31m", "\u{fffd}"].map(str::to_owned)),
            "{lines:?}"
        );
        assert_eq!(logs(2).await.len(), 2);
        assert_eq!(logs(0).await, [""; 0]);
        assert!(logs(5000).await.len() > 1000);
    }
}

/// Renames a container by a request of its own, as fast as can be.
fn rename(connection: &mut UnixStream, id: &ContainerId, name: &str) {
    let request = format!("POST /containers/{id}/rename?name={name} HTTP/1.1\r\nHost: engine\r\n\r\n");
    connection.write_all(request.as_bytes()).expect("a request");
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 204");
}

#[tokio::test]
async fn an_event_after_subscribing_is_never_missed() {
    let sandbox = Sandbox::new("subscribe").await;
    let ids: Vec<_> = (0..20).map(|number| sandbox.create(&format!("web{number}"), &[], "true")).collect();
    // Events of the second in which one subscribes are repeated: let those of creation pass.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    for (number, id) in ids.iter().enumerate() {
        let mut connection = UnixStream::connect(&sandbox.socket).expect("a connection");
        let mut events = sandbox.api.events(&sandbox.project).await.expect("events");
        rename(&mut connection, id, &sandbox.name(&format!("renamed{number}")));
        let seen = async {
            while let Some(event) = events.next().await {
                let event = event.expect("an event");
                if event.container == *id && event.action == Action::Other {
                    return;
                }
            }
            panic!("the stream ended");
        };
        tokio::time::timeout(PATIENCE, seen).await.expect("an event in time");
    }
}

#[tokio::test]
async fn events_tell_the_life_of_a_container() {
    let sandbox = Sandbox::new("events").await;
    let other = Sandbox::new("events-other").await;
    let options =
        ["--health-cmd", "test -e /sick && exit 1 || exit 0", "--health-interval", "200ms", "--health-retries", "1"];
    let id = sandbox.create("web", &options, "sleep 60");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let mut events = sandbox.api.events(&sandbox.project).await.expect("events");
    let mut expect = async |action| {
        let seen = async {
            loop {
                let event = events.next().await.expect("an event").expect("an event");
                assert_eq!(event.container, id, "another project's container");
                if event.action == action {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, seen).await.unwrap_or_else(|_| panic!("no {action:?} within {PATIENCE:?}"));
    };
    other.run("web", &[], "true").await;
    sandbox.api.start(&id).await.expect("started");
    expect(Action::Started).await;
    if is_podman() {
        // Its probes are timers of systemd, which need not be there.
        assert!(sandbox.inspect(&id).await.health.is_some());
    } else {
        expect(Action::Health(Health::Healthy)).await;
        docker(&["exec", id.as_str(), "touch", "/sick"]);
        expect(Action::Health(Health::Unhealthy)).await;
    }
    sandbox.api.stop(&id, Some(Duration::ZERO)).await.expect("stopped");
    expect(Action::Died).await;
    sandbox.api.remove(&id, false).await.expect("removed");
    expect(Action::Destroyed).await;
}

/// Passes connections on to the engine until it is dropped; then cuts them all.
struct Relay(JoinHandle<()>);

impl Relay {
    fn new(from: &Path, to: &Path) -> Self {
        let listener = tokio::net::UnixListener::bind(from).expect("a socket");
        let to = to.to_owned();
        Self(tokio::spawn(async move {
            // Ends, and takes all connections with it, when it is aborted.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let mut engine = tokio::net::UnixStream::connect(&to).await.expect("an engine");
                connections.spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut engine).await });
            }
        }))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[tokio::test]
async fn an_engine_that_restarts_is_waited_for() {
    let sandbox = Sandbox::new("restart").await;
    let id = sandbox.create("web", &[], "sleep 60");
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("engine.sock");
    let relay = Relay::new(&socket, &sandbox.socket);
    let engine = Patient::new(Api::connect(&socket).await.expect("an engine"));
    let mut events = engine.events(&sandbox.project).await.expect("events");
    assert_eq!(engine.containers(&sandbox.project).await.expect("containers").len(), 1);

    drop(relay);
    let end = async { while let Some(Ok(_)) = events.next().await {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the end of the events");
    // Changing something fails at once, whether or not the socket is still there.
    assert_eq!(engine.start(&id).await.expect_err("no engine").kind, ErrorKind::Unreachable);
    std::fs::remove_file(&socket).expect("a socket");
    assert_eq!(engine.start(&id).await.expect_err("no engine").kind, ErrorKind::Unreachable);

    let restart = async {
        tokio::time::sleep(Duration::from_millis(1200)).await;
        Relay::new(&socket, &sandbox.socket)
    };
    let (containers, _relay) = tokio::join!(engine.containers(&sandbox.project), restart);
    assert_eq!(containers.expect("containers")[0].state, State::Created);
    engine.start(&id).await.expect("started");
}

#[tokio::test]
async fn commands_run_inside_a_container() {
    let sandbox = Sandbox::new("exec").await;
    let id = sandbox.run("web", &["--env", "GONE=1"], "sleep 60").await;
    let run = async |exec: Exec| sandbox.api.exec(&id, &exec).await;
    let shell = |script: &str| Exec { command: ["sh", "-c", script].map(str::to_owned).into(), ..Exec::default() };

    let outcome = run(shell("echo out; echo err >&2; exit 7")).await.expect("ran");
    assert_eq!(outcome.code, 7);
    // The two streams are not kept in step by the engine.
    assert_eq!(outcome.output.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(["err", "out"]));

    let exec = Exec {
        user: "1000:1001".to_owned(),
        working_dir: "/etc".to_owned(),
        environment: vec!["PRICE=5$".to_owned(), "GONE".to_owned()],
        ..shell("id -u; id -g; pwd; echo $PRICE ${GONE-none}")
    };
    assert_eq!(run(exec).await.expect("ran").output, ["1000", "1001", "/etc", "5$ none"]);

    let capabilities = async |privileged| {
        let exec = Exec { privileged, ..shell("grep CapEff /proc/self/status") };
        run(exec).await.expect("ran").output
    };
    assert_ne!(capabilities(true).await, capabilities(false).await);

    let outcome = run(shell("seq 1 100000")).await.expect("ran");
    assert_eq!((outcome.code, outcome.output.last().map(String::as_str)), (0, Some("100000")));
    assert_eq!(outcome.output.len(), 100);

    let missing = Exec { command: vec!["no-such-program".to_owned()], ..Exec::default() };
    let elsewhere = Exec { working_dir: "/no-such-folder".to_owned(), ..shell("true") };
    for (exec, word) in [(missing, "no-such-program"), (elsewhere, "no-such-folder")] {
        match run(exec).await {
            Ok(outcome) => {
                assert!(matches!(outcome.code, 126 | 127), "{outcome:?}");
                assert!(outcome.output.concat().contains(word), "{outcome:?}");
            }
            Err(error) => assert!(error.message.contains(word), "{error}"),
        }
    }
    sandbox.api.stop(&id, Some(Duration::ZERO)).await.expect("stopped");
    assert_eq!(run(shell("true")).await.expect_err("it does not run").kind, ErrorKind::Refused);
}

#[tokio::test]
async fn files_go_into_a_container_and_come_out() {
    let sandbox = Sandbox::new("files").await;
    let id = sandbox.create("web", &["--volume", "/volume"], "stat -c '%a %u:%g' /a/deep/file /volume/file; sleep 60");
    let file = File {
        path: "/a/deep/file".to_owned(),
        content: Content(b"first\0\xff".to_vec()),
        mode: 0o640,
        uid: Some(12),
        gid: Some(13),
    };
    let in_volume = File { path: "/volume/file".to_owned(), uid: None, gid: None, ..file.clone() };
    for file in [&file, &in_volume, &File { content: Content(b"second".to_vec()), ..file.clone() }] {
        sandbox.api.write_file(&id, file).await.expect("written");
    }
    let read = async |path: &str, limit| sandbox.api.read_file(&id, path, limit).await.expect("an answer");
    for _ in ["created", "running"] {
        let found = read("/a/deep/file", 6).await.expect("a file");
        assert_eq!(found.content, Some(Content(b"second".to_vec())));
        let since_epoch = found.modified.duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        assert_eq!(since_epoch.subsec_nanos(), 0, "copied files have times of whole seconds");
        assert_eq!(read("/a/deep/file", 5).await.expect("a file").content, None, "too much");
        assert_eq!(read("/volume/file", 100).await.expect("a file").content, Some(in_volume.content.clone()));
        assert_eq!(read("/a/deep", 100).await.expect("a folder").content, None);
        assert_eq!(read("/bin/no such file", 100).await, None);
        sandbox.api.start(&id).await.expect("started");
    }
    until("output", async || sandbox.api.logs(&id, 9).await.expect("logs").len() == 2).await;
    assert_eq!(sandbox.api.logs(&id, 9).await.expect("logs"), ["640 12:13", "640 0:0"]);
    let started = sandbox.inspect(&id).await.started.expect("a time");

    docker(&["exec", id.as_str(), "sh", "-c", "echo third >/a/deep/file"]);
    let found = read("/a/deep/file", 100).await.expect("a file");
    assert_eq!(found.content, Some(Content(b"third\n".to_vec())));
    assert!(found.modified > started && found.modified <= found.now);
    let ahead = found.now.duration_since(SystemTime::now()).unwrap_or_default();
    assert!(ahead <= Duration::from_secs(1), "{ahead:?}");

    let absent = ContainerId::new("0".repeat(64));
    assert_eq!(sandbox.api.read_file(&absent, "/x", 1).await.expect("an answer"), None);
    assert_eq!(sandbox.api.write_file(&absent, &file).await.expect_err("no container").kind, ErrorKind::Refused);
    let read_only = sandbox.create("read-only", &["--read-only"], "true");
    let error = sandbox.api.write_file(&read_only, &file).await.expect_err("a read-only container");
    assert!(!error.to_string().contains("first"), "{error}");
}

#[tokio::test]
async fn files_with_an_owner_go_to_the_containers_user() {
    let sandbox = Sandbox::new("owner").await;
    let id = sandbox.create("web", &["--user", "1000:1001"], "stat -c '%u:%g' /owned /not-owned");
    let owned =
        File { path: "/owned".to_owned(), content: Content(b"x".to_vec()), mode: 0o444, uid: Some(12), gid: None };
    sandbox.api.write_file(&id, &owned).await.expect("written");
    let not_owned = File { path: "/not-owned".to_owned(), uid: None, ..owned };
    sandbox.api.write_file(&id, &not_owned).await.expect("written");
    sandbox.api.start(&id).await.expect("started");
    until("output", async || sandbox.api.logs(&id, 9).await.expect("logs").len() == 2).await;
    if !is_podman() {
        assert_eq!(sandbox.api.logs(&id, 9).await.expect("logs"), ["1000:1001", "0:0"]);
    }
}
