//! What containers are called: a successor has the name of the container that it replaces, so that links, scripts and
//! habits go on working, and Compose finds nothing strange about it; a `container_name` moves from old to new.

use std::collections::BTreeSet;

use crate::support::project::{Container, Project};

/// A service with as many replicas as wanted, and one that is linked to it.
const PLAIN: &str = r#"
services:
  web:
    image: busybox:1.37
    command: sh -c 'echo "$$VERSION" > /page && exec httpd -f -p 8080 -h /'
    init: true
    environment: {VERSION: "${VERSION:-v0}"}
    healthcheck:
      test: "[ ${HEALTH:-ok} = ok ]"
      interval: 2s
      retries: 1
      start_interval: 100ms
      start_period: 1s
    deploy:
      replicas: ${REPLICAS:-1}
      update_config: {order: "${ORDER:-stop-first}", failure_action: rollback}
    x-kerek: {drain: 0s}
  friend:
    image: busybox:1.37
    command: sleep 1000
    init: true
    links: ["web:other"]
"#;

/// A service whose container is called as the files say.
const NAMED: &str = r#"
services:
  web:
    image: busybox:1.37
    container_name: ${NAME}
    hostname: ${HOSTNAME_OF_WEB:-}
    command: sleep 1000
    init: true
    environment: {VERSION: "${VERSION:-v0}"}
    volumes: [/data]
    networks:
      front: {aliases: [www]}
      back: {}
    healthcheck:
      test: "[ ${HEALTH:-ok} = ok ]"
      interval: 2s
      retries: 1
      start_interval: 100ms
      start_period: 1s
    deploy:
      replicas: ${REPLICAS:-1}
      update_config: {order: "${ORDER:-stop-first}"}
networks:
  front:
  back:
"#;

const ORDERS: [&str; 2] = ["start-first", "stop-first"];

fn named(label: &str) -> Project {
    let mut project = Project::new(label, NAMED);
    let name = format!("{}-the-web", project.name());
    project.set("NAME", &name);
    project
}

/// The names of a service's containers, without the project's.
#[track_caller]
fn names(project: &Project, service: &str) -> BTreeSet<String> {
    let prefix = format!("{}-", project.name());
    let containers = project.service(service).into_iter();
    containers.map(|container| container.name.strip_prefix(&prefix).unwrap_or(&container.name).to_owned()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[track_caller]
fn only(project: &Project, service: &str) -> Container {
    let containers = project.service(service);
    let [container] = containers.as_slice() else { panic!("{containers:#?}") };
    container.clone()
}

/// Compose would change nothing.
#[track_caller]
fn assert_settled(project: &Project) {
    let told = project.compose(&["up", "--detach", "--dry-run"]).success().stderr;
    let settled = |line: &&str| ["Running", "Waiting", "Healthy"].iter().any(|state| line.trim_end().ends_with(state));
    let others: Vec<_> = told.lines().filter(|line| line.contains("Container") && !settled(line)).collect();
    assert!(others.is_empty(), "{told}");
}

#[test]
fn names_stay() {
    let mut project = Project::new("stay", PLAIN);
    project.set("REPLICAS", "2");
    project.kerek(&["deploy"]).success();
    let replicas = set(&["web-1", "web-2"]);
    for deploy in 1..=4 {
        project.set("ORDER", ORDERS[deploy % 2]);
        project.set("VERSION", &format!("bad-{deploy}"));
        project.set("HEALTH", "bad");
        project.kerek(&["deploy"]).exits(4);
        assert_eq!(names(&project, "web"), replicas, "after a failed deploy");
        project.set("VERSION", &format!("v{deploy}"));
        project.set("HEALTH", "ok");
        project.kerek(&["deploy"]).success();
        assert_eq!(names(&project, "web"), replicas);
        assert_settled(&project);
        let linked = ["exec", "friend", "wget", "-qO-", "http://other:8080/page"];
        let page = project.compose(&linked).success().stdout;
        assert_eq!(page.trim(), format!("v{deploy}"), "links lead to the new containers");
    }
    // The names of further containers do not collide with those that stay.
    project.compose(&["up", "--detach", "--scale", "web=4"]).success();
    assert_eq!(project.service("web").len(), 4);
    project.set("VERSION", "v5");
    project.set("REPLICAS", "4");
    let before = names(&project, "web");
    project.kerek(&["deploy"]).success();
    assert_eq!(names(&project, "web"), before);
    project.set("REPLICAS", "1");
    project.kerek(&["deploy"]).success();
    project.set("REPLICAS", "3");
    project.kerek(&["deploy"]).success();
    assert_eq!(project.service("web").len(), 3);
    project.compose(&["down", "--timeout", "0"]).success();
    assert_eq!(project.containers().len(), 0);
}

#[test]
fn a_container_name_goes_from_old_to_new() {
    let mut project = named("named");
    project.kerek(&["deploy"]).success();
    let first = only(&project, "web");
    for version in ["v1", "v2"] {
        project.set("VERSION", version);
        project.kerek(&["deploy"]).success();
        let container = only(&project, "web");
        assert_eq!((container.name.as_str(), container.state.as_str()), (first.name.as_str(), "running"));
        assert_eq!(container.variable("VERSION"), version);
        let differing = ["config-hash", "container-number", "image"].map(|label| format!("com.docker.compose.{label}"));
        for (label, value) in first.labels.iter().filter(|(label, _)| !differing.contains(label)) {
            assert_eq!(container.labels.get(label), Some(value), "{label}");
        }
        let own = |container: &Container| container.id[..12].to_owned();
        for (network, endpoint) in &first.endpoints {
            let names_of = |container: &Container| -> BTreeSet<String> {
                let names = &container.endpoints[network].names;
                names.iter().filter(|name| **name != own(container)).cloned().collect()
            };
            assert_eq!(names_of(&container), names_of(&first), "{network}: {endpoint:?}");
        }
        assert_settled(&project);
        let stdout = project.kerek(&["deploy", "--dry-run"]).success().stdout;
        assert!(stdout.contains("Nothing to do"), "{stdout}");
    }
    let hostname = project.docker(&["inspect", "--format", "{{.Config.Hostname}}", &first.name]).success().stdout;
    assert!(only(&project, "web").id.starts_with(hostname.trim()), "the host name is its own ID: {hostname}");
}

#[test]
fn a_container_name_comes_back_when_the_new_version_is_bad() {
    let mut project = named("comes-back");
    project.kerek(&["deploy"]).success();
    let first = only(&project, "web");
    project.set("VERSION", "v1");
    project.set("HEALTH", "bad");
    project.kerek(&["deploy"]).exits(4);
    let container = only(&project, "web");
    assert_eq!((&container.id, &container.name, container.state.as_str()), (&first.id, &first.name, "running"));
    let stdout = project.docker(&["volume", "ls", "--quiet", "--filter", "dangling=true"]).success().stdout;
    let mounted = project.docker(&["inspect", "--format", "{{range .Mounts}}{{.Name}}{{end}}", &first.id]).success();
    assert!(!stdout.contains(mounted.stdout.trim()));
}

#[test]
fn a_name_that_was_left_aside_is_given_back() {
    let mut project = named("aside");
    project.kerek(&["deploy"]).success();
    let first = only(&project, "web");
    let aside = format!("{}_{}", &first.id[..12], first.name);
    let step_aside = |container: &Container| project.docker(&["rename", &container.id, &aside]).success();

    // It serves: nothing but the name is to be seen to.
    step_aside(&first);
    project.kerek(&["deploy"]).success();
    let container = only(&project, "web");
    assert_eq!((&container.id, &container.name), (&first.id, &first.name));

    // It was stopped to make room, and then kerek was killed.
    project.docker(&["stop", "--time", "0", &first.id]).success();
    step_aside(&first);
    project.set("VERSION", "v1");
    project.kerek(&["deploy"]).success();
    let container = only(&project, "web");
    assert_eq!((container.name.as_str(), container.variable("VERSION")), (first.name.as_str(), "v1"));
    assert_settled(&project);
}

#[test]
fn a_container_name_comes_and_goes_with_the_files() {
    let mut project = Project::new("comes-goes", PLAIN);
    project.kerek(&["deploy"]).success();
    assert_eq!(names(&project, "web"), set(&["web-1"]));
    let name = format!("{}-a-name", project.name());
    project.write(
        "compose.yaml",
        &PLAIN.replacen("busybox:1.37", &format!("busybox:1.37\n    container_name: {name}"), 1),
    );
    project.kerek(&["deploy"]).success();
    assert_eq!(names(&project, "web"), set(&["a-name"]));
    assert_settled(&project);
    project.write("compose.yaml", PLAIN);
    project.set("VERSION", "v1");
    project.kerek(&["deploy"]).success();
    let number = only(&project, "web").number;
    assert_eq!(names(&project, "web"), set(&[&format!("web-{number}")]));
    assert_settled(&project);
}

#[test]
fn a_container_name_cannot_be_of_two() {
    let mut project = named("of-two");
    project.set("REPLICAS", "2");
    let output = project.kerek(&["deploy"]).exits(1);
    assert!(output.stderr.contains("container_name"), "{output}");
    project.set("REPLICAS", "1");
    project.kerek(&["deploy"]).success();
    let first = only(&project, "web");
    project.set("VERSION", "v1");
    project.set("ORDER", "start-first");
    let output = project.kerek(&["deploy"]).exits(1);
    assert!(output.stderr.contains("services.web.container_name"), "{output}");
    assert_eq!(only(&project, "web").id, first.id);
}
