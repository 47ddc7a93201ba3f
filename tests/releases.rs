//! Releases on a real engine: what is recorded, and the way back, under load.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::prober::Prober;
use crate::support::project::Project;

/// Two services, of which one has a secret and its own image, whose name stays the same.
const SHOP: &str = r#"
services:
  other:
    image: kerek-test-app
    environment: {VERSION: "${OTHER:-v0}"}
    healthcheck: &healthcheck {test: [CMD, /app, healthcheck], interval: 2s, retries: 1, start_interval: 100ms, start_period: 60s}
    x-kerek: &x-kerek {drain: {minimum: 1s, quiet: 500ms, maximum: 3s}}
  web:
    image: ${IMAGE}
    scale: ${REPLICAS:-1}
    environment: {HEALTH: "${HEALTH:-ok}", PASSWORD: a$$b}
    secrets: [key]
    healthcheck: {<<: *healthcheck, start_period: "${START_PERIOD:-60s}"}
    deploy: {update_config: {order: start-first}}
    x-kerek: *x-kerek
secrets:
  key: {environment: KEY}
"#;

/// The project, and the name of an image of its own, which is removed at the end.
struct Shop {
    project: Project,
    image: String,
}

impl Shop {
    fn new(label: &str, compose: &str) -> Self {
        let mut project = Project::new(label, compose);
        let image = format!("{}:latest", project.name());
        project.set("IMAGE", &image);
        project.set("KEY", "open-sesame");
        Self { project, image }
    }

    /// Builds a version; from now on, the image's name stands for it.
    fn build(&self, version: &str) {
        self.build_with(version, "");
    }

    /// The same with further lines for its `Dockerfile`.
    fn build_with(&self, version: &str, lines: &str) {
        // Like no other test's: the last name of an image is another one's else.
        let own = format!("LABEL project={}\n", self.project.name());
        self.project.write("Dockerfile", &format!("FROM kerek-test-app\nENV VERSION={version}\n{lines}{own}"));
        self.project.docker(&["build", "--quiet", "--tag", &self.image, "."]).success();
    }

    /// Builds and deploys a version.
    fn deploy(&self, version: &str) {
        self.build(version);
        self.project.kerek(&["deploy", "--pull", "missing"]).success();
        self.assert_serves(version);
    }

    #[track_caller]
    fn assert_serves(&self, version: &str) {
        let web = self.project.service("web");
        let versions: BTreeSet<_> =
            web.iter().map(|container| (container.variable("VERSION"), &*container.state)).collect();
        assert_eq!(versions, BTreeSet::from([(version, "running")]), "{web:#?}");
    }

    /// All releases, oldest first: number, origin, outcome, and whether it serves.
    #[track_caller]
    fn history(&self) -> Vec<(u64, u64, String, bool)> {
        let lines = self.project.kerek(&["history", "--format", "json"]).success().stdout;
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        lines
            .lines()
            .map(parse)
            .map(|line| {
                let number = |key: &str| line[key].as_u64().expect("a number");
                let outcome = line["outcome"].as_str().expect("an outcome").to_owned();
                (number("release"), number("origin"), outcome, line["serving"] == true)
            })
            .collect()
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.project.compose(&["down", "--timeout", "1"]);
        self.project.docker(&["rmi", "--force", &self.image]);
    }
}

fn good(number: u64, origin: u64, serving: bool) -> (u64, u64, String, bool) {
    (number, origin, "good".to_owned(), serving)
}

#[test]
fn the_way_back_loses_no_request_whatever_the_name_of_the_image_stands_for() {
    let mut shop = Shop::new("rollback", SHOP);
    shop.project.set("REPLICAS", "3");
    shop.deploy("a");
    let prober = Prober::start(&shop.project, "http://web:8080/");
    shop.deploy("b");
    assert_eq!(shop.history(), [good(1, 1, false), good(2, 2, true)]);

    // After success. It is as if the image had never been another one.
    let planned = shop.project.kerek(&["rollback", "--dry-run"]).success();
    assert!(planned.stdout.contains("web") && planned.stderr.contains("release 1"), "{planned}");
    shop.assert_serves("b");
    let output = shop.project.kerek(&["rollback"]).success();
    assert!(output.stderr.contains("going back to release 1, `kerek deploy`"), "{output}");
    shop.assert_serves("a");
    assert_eq!(shop.history(), [good(1, 1, false), good(2, 2, false), good(3, 1, true)]);
    let settled = shop.project.kerek(&["deploy"]).success();
    assert!(settled.stderr.contains("0 services updated"), "{settled}");

    // After a failure, that is what served before, and serves.
    shop.build("c");
    shop.project.write(".env", "HEALTH=bad\nSTART_PERIOD=1s\n");
    shop.project.kerek(&["deploy", "--pull", "missing"]).exits(4);
    shop.assert_serves("a");
    assert_eq!(shop.history()[3..], [(4, 4, "failed".to_owned(), false)]);
    let output = shop.project.kerek(&["rollback"]).success();
    assert!(output.stderr.contains("0 services updated"), "{output}");
    shop.assert_serves("a");
    assert_eq!(shop.history()[4..], [good(5, 1, true)]);

    // There, and back again by number.
    shop.project.kerek(&["rollback", "2"]).success();
    shop.assert_serves("b");
    let refused = shop.project.kerek(&["rollback", "4"]).exits(1);
    assert!(refused.stderr.contains("never served") && refused.stderr.contains("1, 2, 3, 5, 6"), "{refused}");
    let summary = prober.stop();
    assert_eq!(summary.failed, 0, "{summary}");
    assert!(summary.versions["a"].count > 0 && summary.versions["b"].count > 0, "{summary}");
}

#[test]
fn what_was_half_done_is_taken_back() {
    let mut shop = Shop::new("rollback-half", SHOP);
    shop.deploy("a");
    shop.project.set("OTHER", "v1");
    shop.project.set_healthy(false);
    shop.project.kerek(&["deploy"]).exits(5);
    assert_eq!(shop.project.service("other")[0].variable("VERSION"), "v1");
    assert_eq!(shop.history(), [good(1, 1, false), (2, 2, "incomplete".to_owned(), false)]);
    shop.project.kerek(&["rollback"]).success();
    assert_eq!(shop.project.service("other")[0].variable("VERSION"), "v0");
    shop.assert_serves("a");
    assert_eq!(shop.history()[2..], [good(3, 1, true)]);
}

#[test]
fn a_part_of_the_services_makes_a_release_with_the_others_as_they_are() {
    let mut shop = Shop::new("rollback-part", SHOP);
    shop.deploy("a");
    shop.project.set("OTHER", "v1");
    shop.build("b");
    shop.project.kerek(&["deploy", "other"]).success();
    shop.project.set("OTHER", "v2");
    shop.project.kerek(&["deploy", "--pull", "missing", "web"]).success();
    assert_eq!(shop.history()[2..], [good(3, 3, true)]);
    shop.project.kerek(&["deploy", "--pull", "missing"]).success();
    assert_eq!(shop.history()[3..], [good(4, 4, true)]);
    shop.project.kerek(&["rollback"]).success();
    shop.assert_serves("b");
    assert_eq!(shop.project.service("other")[0].variable("VERSION"), "v1", "that of the release, not of its files");
    // What changes nothing is no release of its own.
    shop.project.kerek(&["deploy", "web"]).success();
    assert_eq!(shop.history()[4..], [good(5, 3, true)]);
}

#[test]
fn neither_files_nor_secrets_are_needed_from_where_it_was_deployed() {
    let shop = Shop::new("rollback-elsewhere", SHOP);
    shop.deploy("a");
    shop.deploy("b");
    let volumes = shop.project.docker(&["volume", "ls", "--quiet", "--filter", "label=kerek.release"]).success();
    let all: Vec<_> = volumes.stdout.lines().filter(|name| name.contains(shop.project.name())).collect();
    assert_eq!(all.len(), 2, "{all:?}");
    let inspected = shop.project.docker(&[&["volume", "inspect"], all.as_slice()].concat()).success();
    assert!(!inspected.stdout.contains("open-sesame") && !inspected.stdout.contains("PASSWORD"), "{inspected}");

    let elsewhere = tempfile::tempdir().expect("a folder");
    let name = shop.project.name();
    let run = |arguments: &[&str], key: Option<&str>| {
        let mut command = shop.project.kerek_command(arguments);
        command.current_dir(elsewhere.path()).env_remove("KEY");
        if let Some(key) = key {
            command.env("KEY", key);
        }
        crate::support::command::run(command)
    };
    let nameless = run(&["history"], None).exits(1);
    assert!(nameless.stderr.contains("--project-name"), "{nameless}");
    let table = run(&["history", "-p", name], None).success();
    assert!(table.stdout.contains("serving") && table.stdout.contains(&shop.image), "{table}");
    let unset = run(&["rollback", "-p", name], None).exits(1);
    assert!(unset.stderr.contains("KEY"), "{unset}");
    shop.assert_serves("b");
    run(&["rollback", "-p", name], Some("another")).success();
    shop.assert_serves("a");
    let web = &shop.project.service("web")[0];
    let copied = shop.project.docker(&["cp", &format!("{}:/run/secrets/key", web.id), "copied"]);
    copied.success();
    let key = std::fs::read_to_string(shop.project.path().join("copied")).expect("the secret");
    assert_eq!((web.variable("PASSWORD"), &*key), ("a$b", "another"));
}

#[test]
fn what_is_long_ago_is_forgotten() {
    let shop = Shop::new("rollback-old", &format!("{SHOP}\nx-kerek: {{releases: 2}}\n"));
    for version in ["a", "b", "c"] {
        shop.deploy(version);
    }
    assert_eq!(shop.history(), [good(2, 2, false), good(3, 3, true)]);
    let reference = format!("reference=kerek-release:{}.*", shop.project.name());
    let kept = || shop.project.docker(&["images", "--quiet", "--filter", &reference]).success().stdout;
    // Two versions of one service, and the other service's.
    assert_eq!(kept().lines().count(), 3, "{}", kept());
    let refused = shop.project.kerek(&["rollback", "1"]).exits(1);
    assert!(refused.stderr.contains("no release 1"), "{refused}");
    // Going back forgets nothing: what the files said then may be too few by now.
    shop.project.kerek(&["rollback"]).success();
    shop.assert_serves("b");
    assert_eq!(shop.history(), [good(2, 2, false), good(3, 3, false), good(4, 2, true)]);
    shop.deploy("d");
    assert_eq!(shop.history(), [good(4, 2, false), good(5, 5, true)]);
}

#[test]
fn a_release_tells_what_is_at_work_whatever_the_files_and_the_release_before_tell() {
    let mut shop = Shop::new("rollback-true", SHOP);
    let other = |shop: &Shop| {
        let other = shop.project.service("other");
        (other[0].id.clone(), other[0].variable("VERSION").to_owned())
    };
    let has_other = |shop: &Shop| {
        let lines = shop.project.kerek(&["history", "--format", "json"]).success().stdout;
        let last: Value = serde_json::from_str(lines.lines().last().expect("a release")).expect("JSON");
        last["services"]["other"].is_object()
    };
    shop.deploy("a");
    // Of a deployment that stopped half-way, the half that was done.
    shop.project.set("OTHER", "v1");
    shop.project.set_healthy(false);
    shop.project.kerek(&["deploy"]).exits(5);
    shop.project.set_healthy(true);
    shop.project.kerek(&["deploy", "--force-recreate", "web"]).success();
    assert_eq!(shop.history()[2..], [good(3, 3, true)]);
    let half = other(&shop);
    shop.build("b");
    shop.project.set_healthy(false);
    shop.project.kerek(&["deploy", "--pull", "missing", "web"]).exits(4);
    shop.project.kerek(&["rollback"]).success();
    assert_eq!(half.1, "v1");
    assert_eq!(other(&shop), half);
    shop.project.set_healthy(true);

    // What somebody has made from other files is nobody's release.
    shop.project.set("OTHER", "v9");
    shop.project.compose(&["up", "--detach", "other"]).success();
    shop.project.set("OTHER", "v1");
    shop.project.kerek(&["deploy", "web"]).success();
    assert!(!has_other(&shop));
    let by_hand = other(&shop);
    assert_eq!(by_hand.1, "v9");
    shop.project.set("REPLICAS", "2");
    shop.project.kerek(&["deploy", "web"]).success();
    shop.project.kerek(&["rollback", "--remove-orphans"]).success();
    assert_eq!(other(&shop), by_hand);
    shop.project.kerek(&["deploy"]).success();
    assert!(has_other(&shop));
}

#[test]
fn services_whose_images_share_a_name_go_back_to_their_own() {
    let shop = Shop::new(
        "rollback-shared",
        "
services:
  web: &app
    image: ${IMAGE}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, start_interval: 100ms, start_period: 20s}
    x-kerek: {drain: 1s}
  worker: *app
",
    );
    let version = |service: &str| shop.project.service(service)[0].variable("VERSION").to_owned();
    shop.deploy("a");
    shop.build("b");
    shop.project.kerek(&["deploy", "--pull", "missing", "web"]).success();
    assert_eq!((version("web"), version("worker")), ("b".into(), "a".into()));
    let before: Vec<_> = shop.project.containers().into_iter().map(|container| container.id).collect();
    // That is what serves.
    for options in [&["rollback", "2", "--dry-run"][..], &["rollback", "2"]] {
        let output = shop.project.kerek(options).success();
        assert!(output.stderr.contains("it serves already"), "{output}");
    }
    let after: Vec<_> = shop.project.containers().into_iter().map(|container| container.id).collect();
    assert_eq!(after, before);

    shop.project.kerek(&["deploy", "--pull", "missing"]).success();
    assert_eq!((version("web"), version("worker")), ("b".into(), "b".into()));
    shop.project.kerek(&["rollback"]).success();
    assert_eq!((version("web"), version("worker")), ("b".into(), "a".into()));
    assert_eq!(shop.history()[3..], [good(4, 2, true)]);
    shop.deploy("c");
    let refused = shop.project.kerek(&["rollback", "2"]).exits(1);
    assert!(refused.stderr.contains("web and worker were made of different images"), "{refused}");
    shop.project.kerek(&["rollback", "1"]).success();
    assert_eq!((version("web"), version("worker")), ("a".into(), "a".into()));
    // The images of all of them are kept.
    let reference = format!("reference=kerek-release:{}.*", shop.project.name());
    let kept = shop.project.docker(&["images", "--quiet", "--filter", &reference]).success().stdout;
    assert_eq!(kept.lines().collect::<BTreeSet<_>>().len(), 3, "{kept}");
}

#[test]
fn what_is_missing_of_a_release_or_was_not_in_it_is_noticed() {
    const WITH_JOB: &str = r#"
services:
  job:
    image: busybox:1.37
    command: echo done ${VERSION:-1}
    restart: "no"
  web:
    image: busybox:1.37
    command: sleep 1000
    init: true
    environment: [DEBUG]
    labels: {version: "${VERSION:-1}"}
"#;
    let mut project = Project::new("rollback-missing", WITH_JOB);
    let versions = |project: &Project| {
        let lines = project.kerek(&["history", "--format", "json"]).success().stdout;
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect("JSON");
        let all: Vec<_> = lines.lines().map(parse).collect();
        all.iter().map(|it| (it["release"].as_u64().unwrap_or(0), it["serving"] == true)).collect::<Vec<_>>()
    };
    project.kerek(&["deploy"]).success();
    // Something else has the name of the next one.
    let taken = format!("kerek-release-{}-2", project.name());
    project.docker(&["volume", "create", &taken]).success();
    project.set("VERSION", "2");
    project.kerek(&["deploy"]).success();
    project.docker(&["volume", "rm", &taken]).success();
    assert_eq!(versions(&project), [(1, false), (3, true)]);
    // A job that has done its work is there no more once somebody tidies up.
    project.docker(&["rm", &project.service("job")[0].id]).success();
    assert_eq!(versions(&project), [(1, false), (3, true)]);

    // What has no value there is not to get one from here.
    let mut filled = project.kerek_command(&["rollback"]);
    filled.env("DEBUG", "open-sesame");
    let refused = crate::support::command::run(filled).exits(1);
    assert!(refused.stderr.contains("without a value of DEBUG") && !refused.stderr.contains("sesame"), "{refused}");
    let output = project.kerek(&["rollback"]).success();
    assert!(output.stderr.contains("going back to release 1"), "{output}");
    assert_eq!(versions(&project), [(1, false), (3, false), (4, true)]);
    project.compose(&["down", "--timeout", "1"]);
}

#[test]
fn an_image_that_is_gone_is_named_before_anything_stops() {
    let shop = Shop::new("rollback-gone", SHOP);
    shop.deploy("a");
    shop.deploy("b");
    let reference = format!("reference=kerek-release:{}.*", shop.project.name());
    let listed = ["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &reference];
    let names = shop.project.docker(&listed).success().stdout;
    for name in names.lines() {
        // Those of what is at work stay.
        shop.project.docker(&["rmi", name]);
    }
    let before: Vec<_> = shop.project.containers().into_iter().map(|container| container.id).collect();
    let refused = shop.project.kerek(&["rollback"]).exits(1);
    assert!(refused.stderr.contains("the image of web") && refused.stderr.contains(&shop.image), "{refused}");
    let after: Vec<_> = shop.project.containers().into_iter().map(|container| container.id).collect();
    assert_eq!(before, after);
    shop.assert_serves("b");
}

#[test]
fn a_bad_way_back_leaves_all_as_it_was() {
    let shop = Shop::new("rollback-bad", SHOP);
    shop.build_with("a", "ENV BOOT_MS=2000\n");
    shop.project.kerek(&["deploy"]).success();
    shop.deploy("b");
    let image = || shop.project.docker(&["image", "inspect", "--format", "{{.Id}}", &shop.image]).success().stdout;
    let before = image();
    let output = shop.project.kerek(&["rollback", "--wait-timeout", "1"]).exits(4);
    assert!(output.stderr.contains("web"), "{output}");
    shop.assert_serves("b");
    assert_eq!(image(), before, "the name of the image stands for what is at work");
    assert_eq!(shop.history()[2..], [(3, 3, "failed".to_owned(), false)]);
}

/// What is waited for in vain with `--wait` was not touched.
#[test]
fn what_is_deployed_is_good_whatever_else_is_waited_for() {
    const WITH_LAZY: &str = r#"
services:
  lazy:
    image: busybox:1.37
    init: true
    command: sleep 1000
    volumes: ["./flags:/flags"]
    healthcheck: {test: test -e /flags/ready, interval: 10s, start_interval: 100ms, start_period: 300s}
  web:
    image: ${IMAGE}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, start_interval: 100ms, start_period: 20s}
    deploy: {update_config: {order: start-first}}
"#;
    let shop = Shop::new("waited-for", WITH_LAZY);
    let flag = shop.project.path().join("flags/ready");
    fs::create_dir(shop.project.path().join("flags")).and_then(|()| fs::write(&flag, "")).expect("a flag");
    shop.deploy("a");
    fs::remove_file(&flag).expect("a flag");
    shop.project.docker(&["restart", "--time", "0", &shop.project.service("lazy")[0].name]).success();

    shop.build("b");
    let output = shop.project.kerek(&["deploy", "--pull", "missing", "--wait", "--wait-timeout", "10"]).exits(5);
    assert!(output.stderr.contains("lazy-1 is not running or healthy after 10s"), "{output}");
    assert!(output.stderr.contains("docker logs "), "{output}");
    shop.assert_serves("b");
    assert_eq!(shop.history(), [good(1, 1, false), good(2, 2, true)]);
    shop.project.kerek(&["rollback"]).success();
    shop.assert_serves("a");
}

#[test]
fn images_go_by_the_name_that_compatibility_gives_them() {
    let project = Project::new("rollback-compatible", "services: {web: {build: ., init: true, command: sleep 1000}}");
    let deploy = |version: &str| {
        // Like no other test's: the last name of an image is another one's else.
        let lines = format!("FROM busybox:1.37\nENV VERSION={version}\nLABEL project={}\n", project.name());
        project.write("Dockerfile", &lines);
        project.kerek(&["deploy", "--compatibility", "--build"]).success();
    };
    let version = || project.service("web")[0].variable("VERSION").to_owned();
    deploy("a");
    deploy("b");
    let refused = project.kerek(&["rollback"]).exits(1);
    assert!(refused.stderr.contains("would be called") && refused.stderr.contains("--compatibility"), "{refused}");
    assert_eq!(version(), "b");
    let mut by_variable = project.kerek_command(&["rollback"]);
    by_variable.env("COMPOSE_COMPATIBILITY", "1");
    crate::support::command::run(by_variable).success();
    assert_eq!(version(), "a");
    project.compose(&["down", "--timeout", "1"]);
    project.docker(&["rmi", "--force", &format!("{}_web", project.name())]);
}

#[test]
fn a_release_is_recorded_when_only_orphans_go() {
    const BOTH: &str = "services:\n  web: &web {image: busybox:1.37, init: true, command: sleep 1000}\n  old: *web\n";
    let project = Project::new("rollback-orphans", BOTH);
    let serving = |number: u64| {
        let lines = project.kerek(&["history", "--format", "json"]).success().stdout;
        let last: Value = serde_json::from_str(lines.lines().last().expect("a release")).expect("JSON");
        assert_eq!((last["release"].as_u64(), &last["serving"]), (Some(number), &Value::Bool(true)), "{lines}");
    };
    project.kerek(&["deploy"]).success();
    serving(1);
    project.write("compose.yaml", BOTH.split("  old:").next().expect("a service"));
    project.kerek(&["deploy", "--remove-orphans"]).success();
    serving(2);
    project.kerek(&["deploy"]).success();
    serving(2);
    project.compose(&["down", "--timeout", "1"]);
}
