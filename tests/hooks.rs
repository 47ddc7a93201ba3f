//! Files and hooks: what the engine knows nothing of, and Compose and kerek do on their own. Real containers are looked
//! into, and compared with those that `docker compose up` makes.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::command::{self, Output};
use crate::support::project::Project;

const ORDERS: [&str; 2] = ["start-first", "stop-first"];

/// A service whose main process and hooks write what they do, one line each, into a file on the host.
const TELLING: &str = r#"
services:
  web:
    image: busybox:1.37
    environment: {VERSION: "${VERSION:-v0}"}
    command:
      - sh
      - -c
      - |
        echo main-$$VERSION >>/log
        trap 'echo term-'$$VERSION' >>/log; exit 0' TERM
        ${BOOT:-sleep 1}
        echo ready-$$VERSION >>/log
        touch /tmp/ready
        while :; do sleep 0.1; done
    healthcheck: {test: [CMD, test, -e, /tmp/ready], interval: 5s, start_interval: 100ms, start_period: 10s}
    volumes: ["./log:/log"]
    post_start:
      - command: [sh, -c, "${POST:-echo post-$$VERSION-$$PRICE-$$(id -u):$$(id -g)-$$(pwd) >>/log}"]
        user: "1000:1001"
        working_dir: /etc
        environment: {PRICE: 5$$}
    pre_stop:
      - command: [sh, -c, "${PRE:-echo pre-$$VERSION >>/log}"]
    deploy: {update_config: {order: "${ORDER:-start-first}"}}
    x-kerek: {drain: 0s}
"#;

fn telling(label: &str, order: &str) -> Project {
    let mut project = Project::new(label, TELLING);
    project.set("ORDER", order);
    clear_log(&project);
    project
}

/// Hooks of any user may write to it.
fn clear_log(project: &Project) {
    project.write("log", "");
    fs::set_permissions(project.path().join("log"), Permissions::from_mode(0o666)).expect("should set permissions");
}

fn log(project: &Project) -> Vec<String> {
    let log = fs::read_to_string(project.path().join("log")).expect("should read log");
    log.lines().map(str::to_owned).collect()
}

#[test]
fn hooks_run_after_the_start_and_before_the_stop() {
    for order in ORDERS {
        let mut project = telling("hooks", order);
        // The process and the hook wait for each other's lines: whoever is not there yet would come too late otherwise.
        let until = |line: &str| format!("until grep -q {line}-$VERSION /log; do sleep 0.1; done");
        let told = "echo post-$VERSION-$PRICE-$(id -u):$(id -g)-$(pwd) >>/log";
        project.set("BOOT", &until("post"));
        project.set("POST", &format!("{}; {told}", until("main")));
        project.kerek(&["deploy"]).success();
        assert_eq!(log(&project), ["main-v0", "post-v0-5$-1000:1001-/etc", "ready-v0"], "{order}");

        clear_log(&project);
        project.set("VERSION", "v1");
        let output = project.kerek(&["deploy"]).success();
        assert_contains(&output.stderr, "running post_start[0]");
        let new = ["main-v1", "post-v1-5$-1000:1001-/etc", "ready-v1"];
        let old = ["pre-v0", "term-v0"];
        let (first, second) = if order == "start-first" { (&new[..], &old[..]) } else { (&old[..], &new[..]) };
        assert_eq!(log(&project), [first, second].concat(), "{order}");
        assert_settled(&project);
    }
}

#[test]
fn a_failing_post_start_leaves_the_old_version_serving() {
    for order in ORDERS {
        let mut project = telling("post", order);
        project.kerek(&["deploy"]).success();
        let before = ids(&project);
        project.set("VERSION", "v1");
        // The hook of the old container runs with what the files say now: it must succeed there to serve again.
        project.set("POST", "echo told $VERSION; echo post-$VERSION >>/log; test $VERSION = v0 || exit 7");
        clear_log(&project);
        let output = project.kerek(&["deploy"]).exits(4);
        assert_contains(&output.stderr, "post_start[0] ended with code 7");
        assert_contains(&output.stderr, "told v1");
        assert_contains(&output.stderr, "Now web is served by 1 container of the old version");
        assert_eq!(ids(&project), before, "{order}");
        let restored = log(&project).contains(&"post-v0".to_owned());
        assert_eq!(restored, order == "stop-first", "{order}: {:?}", log(&project));
    }
}

#[test]
fn hooks_that_cannot_run_fail() {
    let mut project = telling("cannot", "start-first");
    project.set("POST", "no-such-program");
    let output = project.kerek(&["deploy"]).exits(4);
    assert_contains(&output.stderr, "post_start[0] ended with code 127");
    assert_contains(&output.stderr, "no-such-program");
    // Compose itself passes over hooks whose folder does not exist.
    project.write("compose.yaml", &TELLING.replace("working_dir: /etc", "working_dir: /no-such-folder"));
    project.set("POST", "true");
    let output = project.kerek(&["deploy"]).exits(4);
    assert_contains(&output.stderr, "no-such-folder");
    assert!(ids(&project).is_empty());
}

#[test]
fn a_failing_pre_stop_keeps_nothing_from_stopping() {
    for order in ORDERS {
        let mut project = telling("pre", order);
        project.kerek(&["deploy"]).success();
        let before = ids(&project);
        project.set("VERSION", "v1");
        project.set("PRE", "echo cannot say goodbye; exit 9");
        let output = project.kerek(&["deploy"]).success();
        assert_contains(&output.stderr, "pre_stop[0] ended with code 9");
        assert_contains(&output.stderr, "cannot say goodbye");
        assert_contains(&output.stderr, "it is stopped all the same");
        assert!(ids(&project).is_disjoint(&before), "{order}");
        assert_contains(&log(&project).join("\n"), "term-v0");
        assert_settled(&project);
    }
}

#[test]
fn a_run_that_was_cut_off_in_a_hook_is_made_up_for() {
    let mut project = telling("cut", "start-first");
    project.set("POST", "echo begun-$VERSION >>/log; sleep 1; echo done-$VERSION >>/log");
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    let mut cut_off = project.kerek_command(&["deploy"]).stderr(Stdio::null()).spawn().expect("should run kerek");
    let deadline = Instant::now() + Duration::from_secs(60);
    while !log(&project).contains(&"begun-v1".to_owned()) {
        assert!(Instant::now() < deadline, "the hook should run: {:?}", log(&project));
        thread::sleep(Duration::from_millis(20));
    }
    cut_off.kill().expect("should kill kerek");
    cut_off.wait().expect("should wait for kerek");
    project.kerek(&["deploy"]).success();
    let begun = log(&project).into_iter().filter(|line| line == "begun-v1").count();
    assert_eq!(begun, 2, "once more in the same container: {:?}", log(&project));
    assert_settled(&project);
}

const FILES: &str = r#"
x-app: &app
  image: busybox:1.37
  command: sleep 1000
  stop_signal: KILL
  healthcheck: {test: "true", interval: 5s, start_interval: 100ms, start_period: 10s}
  configs:
    - inline
    - variable
    - mounted
    - {source: inline, target: /etc/deep/er/inline, mode: 0640}
    - {source: inline, target: relative/inline, uid: "12", gid: "13", mode: 0751}
    - {source: empty, target: /empty}
  secrets:
    - key
    - lines
    - mounted
    - {source: key, target: other, uid: "5", mode: 0400}
    - {source: key, target: /absolute/key}
services:
  web: {<<: *app}
  user: {<<: *app, user: "1000:1001"}
configs:
  inline: {content: "costs 5$$, ${INLINE:-at least}\n"}
  empty: {content: ""}
  variable: {environment: VARIABLE}
  mounted: {file: ./mounted}
secrets:
  key: {environment: KEY}
  lines: {environment: LINES_}
  mounted: {file: ./mounted}
"#;

fn files(label: &str) -> Project {
    let mut project = Project::new(label, FILES);
    project.set("KEY", "pa$$word");
    project.write(".env", "VARIABLE=from the file\nLINES_=\"-----BEGIN-----\nA=b\nx==\n-----END-----\"\nMORE=1\n");
    project.write("mounted", "one\n");
    project
}

/// Mode, owner, name and content of every file that a container was given.
fn given(project: &Project, service: &str) -> String {
    let files = "/inline /variable /mounted /etc/deep /etc/deep/er/* /relative/* /run/secrets /run/secrets/* \
                 /absolute /absolute/* /empty";
    let script = format!("for f in {files}; do stat -c '%a %u:%g %s %n' $f; test -f $f && cat $f && echo; done; true");
    let name = project.service(service)[0].name.clone();
    project.docker(&["exec", "--user", "0", &name, "sh", "-c", &script]).success().stdout
}

#[test]
fn files_are_as_compose_makes_them() {
    let project = files("files");
    project.kerek(&["deploy"]).success();
    let services = ["web", "user"];
    let ours = services.map(|service| given(&project, service));
    project.compose(&["up", "--detach", "--force-recreate", "--wait"]).success();
    let theirs = services.map(|service| given(&project, service));
    assert_eq!(ours, theirs);
    for part in ["costs 5$, at least", "pa$$word", "from the file", "A=b\nx==\n-----END-----\n", "751 12:13"] {
        assert_contains(&ours[0], part);
    }
    assert_settled(&project);
}

/// The path of a file in the container, a part of its new content, and how that comes about.
type Change = (&'static str, &'static str, fn(&mut Project));

#[test]
fn changed_contents_are_noticed_once() {
    let mut project = files("contents");
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
    let changes: [Change; 5] = [
        ("/inline", "at most", |project| project.set("INLINE", "at most")),
        ("/run/secrets/key", "other word", |project| project.set("KEY", "other word")),
        ("/run/secrets/lines", "BEGIN AGAIN", |project| project.write(".env", "VARIABLE=x\nLINES_=BEGIN AGAIN\n")),
        // In place.
        ("/mounted", "two", |project| project.write("mounted", "two\n")),
        // By another file of the same name, as editors do.
        ("/run/secrets/mounted", "three", |project| {
            project.write("new", "three\n");
            fs::rename(project.path().join("new"), project.path().join("mounted")).expect("should rename");
        }),
    ];
    for (path, content, change) in changes {
        let before = ids(&project);
        change(&mut project);
        let output = project.kerek(&["deploy", "--dry-run"]).success();
        assert_contains(&output.stdout, "content of /");
        assert_eq!(ids(&project), before);
        project.kerek(&["deploy"]).success();
        assert!(ids(&project).is_disjoint(&before), "{path}");
        for service in ["web", "user"] {
            assert_contains(&given(&project, service), content);
        }
        assert_settled(&project);
    }
}

#[test]
fn what_a_container_writes_into_its_own_files_is_no_change() {
    let compose = r#"
services:
  web:
    image: busybox:1.37
    command: sh -c 'sed -i s/NAME/world/ /template; exec sleep 1000'
    stop_signal: KILL
    configs: [{source: template, mode: 0666}]
configs: {template: {content: "hello NAME, ${GREETING:-hi}"}}
"#;
    let project = Project::new("template", compose);
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
}

#[test]
fn what_cannot_be_copied_is_refused_beforehand() {
    let mut project = files("refused");
    project.kerek(&["deploy"]).success();
    let before = ids(&project);
    project.write("compose.yaml", &FILES.replace("web: {<<: *app}", "web: {<<: *app, read_only: true}"));
    for arguments in [&["deploy", "--dry-run"][..], &["deploy"]] {
        let output = project.kerek(arguments).exits(1);
        assert_contains(&output.stderr, "services.web.read_only");
        assert_contains(&output.stderr, "configs.inline");
    }
    project.write("compose.yaml", &FILES.replace("environment: KEY", "environment: NO_SUCH_KEY"));
    project.set("INLINE", "at most");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "NO_SUCH_KEY, the content of secrets.key, is not set");
    assert_eq!(ids(&project), before);
}

#[test]
fn secrets_are_never_shown() {
    let compose = r#"
services:
  web:
    image: busybox:1.37
    command: sleep 1000
    stop_signal: KILL
    environment: {VERSION: "${VERSION:-v0}"}
    secrets: [key]
    configs: [inline]
    post_start:
      - command: [test, "${KEY}", "!=", "", -a, "$$VERSION", "!=", "${BAD:-none}"]
      - command: [sh, -c, "test $$VERSION != bad # ${KEY}"]
        environment: {PASSWORD: "${KEY}"}
configs: {inline: {content: "password: ${KEY}"}}
secrets: {key: {environment: KEY}}
"#;
    let mut project = Project::new("secret", compose);
    let secrets = ["first-sesame", "second-sesame"];
    let check = |output: Output| {
        for secret in secrets {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{output}");
        }
    };
    for secret in secrets {
        project.set("KEY", secret);
        check(project.kerek(&["--debug", "--dry-run", "deploy"]).success());
        check(project.kerek(&["--debug", "deploy"]).success());
    }
    project.set("VERSION", "bad");
    check(project.kerek(&["--debug", "deploy"]).exits(4));
}

/// A migration before the service starts, another one in a container of its own kind.
const MIGRATING: &str = r#"
services:
  web:
    image: busybox:1.37
    command: sh -c 'echo main-$$VERSION >>/log; exec sleep 1000'
    stop_signal: KILL
    user: "0"
    environment: {VERSION: "${VERSION:-v0}"}
    healthcheck: {test: "true", interval: 5s, start_interval: 100ms, start_period: 10s}
    volumes: ["./log:/log", "/anonymous"]
    configs: [inline]
    pre_start:
      - command: [sh, -c, "${MIGRATE:-sleep 1; echo first-$$VERSION-$$PRICE-$$(cat /inline) >>/log; touch /anonymous/x}"]
        environment: {PRICE: 5$$}
      - image: nginx:stable-alpine
        command: [sh, -c, "echo second-$$VERSION-$$(id -u) >>/log"]
        user: "1000"
    deploy: {replicas: 3, update_config: {order: "${ORDER:-start-first}"}}
    x-kerek: {drain: 0s}
configs: {inline: {content: told}}
"#;

fn migrating(label: &str, order: &str) -> Project {
    let mut project = Project::new(label, MIGRATING);
    project.set("DOCKER_CONFIG", newest_compose());
    project.set("ORDER", order);
    clear_log(&project);
    project
}

/// A client configuration with a Compose that knows `pre_start`, which the set-up script fetches where it is missing.
fn newest_compose() -> &'static str {
    static CONFIG: OnceLock<String> = OnceLock::new();
    CONFIG.get_or_init(|| {
        let mut setup = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/setup.sh"));
        setup.args(["--compose", "5.6.1"]);
        let exports = command::run(setup).success().stdout;
        let config = exports.lines().find_map(|line| line.strip_prefix("export DOCKER_CONFIG="));
        // Where it is what everybody uses, there is nothing to tell.
        config.map_or_else(
            || {
                let home = env::home_dir().expect("should have a home");
                env::var("DOCKER_CONFIG").unwrap_or_else(|_| home.join(".docker").display().to_string())
            },
            str::to_owned,
        )
    })
}

/// Those that run hooks, whatever they are labelled as.
fn hook_containers(project: &Project) -> Vec<String> {
    let names = project.containers().into_iter().map(|container| container.name);
    names.filter(|name| name.contains("pre_start")).collect()
}

#[test]
fn pre_start_runs_once_before_a_version_starts() {
    for order in ORDERS {
        let mut project = migrating("pre-start", order);
        for version in ["v0", "v1"] {
            project.set("VERSION", version);
            let output = project.kerek(&["deploy"]).success();
            assert_contains(&output.stderr, "running pre_start[1]");
            let main = format!("main-{version}");
            let hooks = [format!("first-{version}-5$-told"), format!("second-{version}-1000")];
            assert_eq!(log(&project), [&hooks[..], &[main.clone(), main.clone(), main]].concat(), "{order}");
            assert!(hook_containers(&project).is_empty());
            clear_log(&project);
        }
        // Nothing has changed, and more of the same.
        project.kerek(&["deploy"]).success();
        project.write("compose.yaml", &MIGRATING.replace("replicas: 3", "replicas: 4"));
        project.kerek(&["deploy"]).success();
        assert_eq!(log(&project), ["main-v1"], "{order}");
    }
}

#[test]
fn a_failing_pre_start_stops_nothing() {
    for order in ORDERS {
        let mut project = migrating("migration", order);
        project.kerek(&["deploy"]).success();
        let before = ids(&project);
        clear_log(&project);
        project.set("VERSION", "v1");
        project.set("MIGRATE", "echo table is locked; exit 7");
        let output = project.kerek(&["deploy"]).exits(4);
        assert_contains(&output.stderr, "pre_start[0] ended with code 7");
        assert_contains(&output.stderr, "table is locked");
        assert_contains(&output.stderr, "Now web is served by 3 containers of the old version");
        assert_eq!(ids(&project), before, "{order}");
        assert!(log(&project).is_empty(), "{order}: {:?}", log(&project));
    }
}

#[test]
fn an_interrupted_pre_start_leaves_nothing() {
    let mut project = migrating("interrupted", "start-first");
    project.set("MIGRATE", "echo begun >>/log; sleep 1000");
    let mut kerek = project.kerek_command(&["deploy"]).stderr(Stdio::null()).spawn().expect("should run kerek");
    let deadline = Instant::now() + Duration::from_secs(60);
    while log(&project).is_empty() {
        assert!(Instant::now() < deadline, "the hook should run");
        thread::sleep(Duration::from_millis(20));
    }
    let interrupt = project.command("sh", &["-c", &format!("kill -INT {}", kerek.id())]);
    command::run(interrupt).success();
    let status = kerek.wait().expect("should wait for kerek");
    assert_eq!(status.code(), Some(130));
    assert!(project.containers().is_empty(), "{:?}", project.containers());
}

#[track_caller]
fn assert_settled(project: &Project) {
    let before = ids(project);
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");
    let output = project.compose(&["up", "--detach", "--dry-run"]).success();
    for verb in ["Create", "Recreate", "Starting", "Creating"] {
        assert!(!output.stderr.contains(verb), "Compose would change something:\n{output}");
    }
    project.kerek(&["deploy"]).success();
    assert_eq!(ids(project), before);
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` should be in:\n{text}");
}

fn ids(project: &Project) -> BTreeSet<String> {
    project.containers().into_iter().map(|container| container.id).collect()
}
