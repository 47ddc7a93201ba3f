//! Data outlives its containers: what a service has written to its volumes is there after every deploy, in whatever
//! order, and after those that fail.

use std::collections::BTreeSet;

use crate::support::project::Project;

/// Each container adds its version to a file, which it serves, before it becomes healthy, if it ever does.
const DIARY: &str = r#"
services:
  diary:
    image: busybox:1.37
    command: sh -c 'echo "$$VERSION" >> /data/diary && exec httpd -f -p 8080 -h /data'
    init: true
    environment: {VERSION: "${VERSION:-v0}"}
    volumes: ["${VOLUME}/data"]
    healthcheck:
      test: "[ ${HEALTH:-ok} = ok ] && wget -q -O /dev/null http://127.0.0.1:8080/diary"
      interval: 2s
      retries: 1
      start_interval: 100ms
      start_period: "${START_PERIOD:-60s}"
    deploy:
      replicas: ${REPLICAS:-1}
      update_config: {order: "${ORDER:-stop-first}"}
    x-kerek: {drain: 0s}
volumes:
  diary:
"#;

const ORDERS: [&str; 2] = ["start-first", "stop-first"];

#[test]
fn a_named_volume_keeps_its_data() {
    keeps_its_data("named", "diary:");
}

#[test]
fn an_anonymous_volume_keeps_its_data() {
    keeps_its_data("anonymous", "");
}

fn keeps_its_data(label: &str, volume: &str) {
    let mut project = Project::new(label, DIARY);
    project.set("VOLUME", volume);
    project.kerek(&["deploy"]).success();
    let mut expected = vec!["v0".to_owned()];
    assert_eq!(diary(&project), expected);
    let volumes_at_first = volumes(&project);
    assert_eq!(volumes_at_first.len(), 1, "{volumes_at_first:?}");

    for deploy in 0..10 {
        let order = ORDERS[deploy % 2];
        let version = format!("v{}", deploy + 1);
        project.set("ORDER", order);
        project.set("VERSION", &version);
        // Every third time, a bad version comes first. It may write, too, but it must not destroy.
        if deploy % 3 == 2 {
            project.set_healthy(false);
            project.kerek(&["deploy"]).exits(4);
            expected.push(version.clone());
            if order == "stop-first" {
                // The old container is started again, and so writes again.
                expected.push(format!("v{deploy}"));
            }
            assert_eq!(diary(&project), expected, "after a failed deploy, {order}");
            project.set_healthy(true);
        }
        project.kerek(&["deploy"]).success();
        expected.push(version);
        assert_eq!(diary(&project), expected, "{order}");
        assert_eq!(volumes(&project), volumes_at_first, "the same volume, and no other is left");
    }
}

#[test]
fn renewed_anonymous_volumes_are_empty() {
    for order in ORDERS {
        let mut project = Project::new("renewed", DIARY);
        project.set("VOLUME", "");
        project.set("ORDER", order);
        project.kerek(&["deploy"]).success();
        let first = volumes(&project);
        project.set("VERSION", "v1");
        // One that fails renews nothing.
        project.set_healthy(false);
        project.kerek(&["deploy", "--renew-anon-volumes"]).exits(4);
        assert_eq!(volumes(&project), first);
        project.set_healthy(true);
        project.kerek(&["deploy", "--renew-anon-volumes"]).success();
        assert_eq!(diary(&project), ["v1"]);
        let second = volumes(&project);
        assert!(first.is_disjoint(&second) && second.len() == 1, "{second:?}");
        let all = project.docker(&["volume", "ls", "--quiet"]).success().stdout;
        assert!(first.iter().all(|volume| !all.contains(volume)), "nobody needs {first:?} any more");
    }
}

#[test]
fn each_replica_keeps_its_own_anonymous_volume() {
    let mut project = Project::new("replicas", DIARY);
    project.set("VOLUME", "");
    project.set("REPLICAS", "3");
    project.kerek(&["deploy"]).success();
    let first = volumes(&project);
    assert_eq!(first.len(), 3);
    for order in ORDERS {
        project.set("ORDER", order);
        project.set("VERSION", order);
        project.kerek(&["deploy"]).success();
        assert_eq!(volumes(&project), first, "{order}");
    }
    // As with Compose, what a replica leaves is there to be rescued.
    project.set("REPLICAS", "1");
    project.kerek(&["deploy"]).success();
    let all = project.docker(&["volume", "ls", "--quiet"]).success().stdout;
    let left: Vec<_> = first.iter().filter(|volume| !volumes(&project).contains(*volume)).collect();
    assert!(left.len() == 2 && left.iter().all(|volume| all.contains(*volume)), "{left:?}");
    let left: Vec<_> = left.iter().map(|volume| volume.as_str()).collect();
    project.docker(&[&["volume", "rm"], left.as_slice()].concat()).success();
}

#[test]
fn the_plan_tells_who_shares_a_volume() {
    let mut project = Project::new("shares", DIARY);
    project.set("VOLUME", "");
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    for (order, options, shares) in
        [("start-first", [].as_slice(), true), ("start-first", &["-V"], false), ("stop-first", &[], false)]
    {
        project.set("ORDER", order);
        let arguments = [&["deploy", "--dry-run"], options].concat();
        let stdout = project.kerek(&arguments).success().stdout;
        assert_eq!(stdout.contains("share the anonymous volume at /data"), shares, "{stdout}");
    }
}

/// What the only container's volume holds.
#[track_caller]
fn diary(project: &Project) -> Vec<String> {
    let containers = project.service("diary");
    let [container] = containers.as_slice() else { panic!("{containers:#?}") };
    let output = project.docker(&["exec", &container.id, "cat", "/data/diary"]).success().stdout;
    output.lines().map(str::to_owned).collect()
}

/// The volumes that the project's containers use, and those called or labelled as the project's, used or not.
#[track_caller]
fn volumes(project: &Project) -> BTreeSet<String> {
    let format = "{{range .Mounts}}{{.Name}}{{end}}";
    let used = project
        .containers()
        .into_iter()
        .map(|container| project.docker(&["inspect", "--format", format, &container.id]).success().stdout);
    let label = format!("label=com.docker.compose.project={}", project.name());
    let listed = project.docker(&["volume", "ls", "--quiet", "--filter", &label]).success().stdout;
    used.chain(listed.lines().map(str::to_owned)).map(|name| name.trim().to_owned()).collect()
}
