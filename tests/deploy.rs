//! Deployments of real projects by the real program on a real engine: good versions and bad ones, runs that are cut
//! off, wrong input, and peace with `docker compose up`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::command::{self, Output};
use crate::support::prober::Prober;
use crate::support::process::TIDY;
use crate::support::project::{Container, Project};

/// A service whose behaviour is set by variables, beside one that never changes.
const WEB: &str = r#"
services:
  steady:
    image: kerek-test-app
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 10s}
  web:
    image: kerek-test-app
    command: ${WEB_COMMAND:-}
    restart: ${RESTART:-no}
    scale: ${REPLICAS:-2}
    environment:
      VERSION: ${VERSION:-v0}
      HEALTH: ${HEALTH:-ok}
      CRASH_AFTER_MS: ${CRASH_AFTER_MS:-}
      EXIT_CODE: ${EXIT_CODE:-1}
      ON_TERM: ${ON_TERM:-graceful}
      BOOT_MS: ${BOOT_MS:-0}
    healthcheck:
      test: [CMD, /app, healthcheck]
      interval: 2s
      retries: 1
      start_interval: 100ms
      start_period: "${START_PERIOD:-60s}"
    deploy: {update_config: {order: "${ORDER:-start-first}"}}
    x-kerek: {drain: {minimum: 1s, quiet: 500ms, maximum: 3s}}
"#;

const ORDERS: [&str; 2] = ["start-first", "stop-first"];

/// What makes a version bad, the variables that do so, and what kerek has to say about it.
type BadVersion = (&'static str, &'static [(&'static str, &'static str)], &'static str);

const BAD_VERSIONS: [BadVersion; 5] = [
    ("never healthy", &[("HEALTH", "bad"), ("START_PERIOD", "1s")], "unhealthy"),
    ("crashes at start", &[("CRASH_AFTER_MS", "50"), ("EXIT_CODE", "3")], "exited with code 3"),
    ("ends at start", &[("CRASH_AFTER_MS", "50"), ("EXIT_CODE", "0"), ("RESTART", "always")], "again and again"),
    ("crash-loops", &[("CRASH_AFTER_MS", "50"), ("RESTART", "always")], "again and again"),
    // The words are the program's own: its last lines are to be shown.
    ("is given a wrong command", &[("WEB_COMMAND", "/no-such-program")], "no-such-program"),
];

/// Docker gives a container that is connected anew the lowest address that is free. Were it another one, whatever is on its
/// way to the container would be lost.
#[test]
fn connections_live_on_whatever_addresses_are_free() {
    let filler = "\n  filler: {image: kerek-test-app, scale: 3, stop_grace_period: 1s}\n";
    let mut project = Project::new("addresses", &format!("{WEB}{filler}"));
    project.set("REPLICAS", "3");
    for order in ORDERS {
        project.set("ORDER", order);
        // The lowest addresses, which are free later.
        project.compose(&["down", "--timeout", "1"]).success();
        project.kerek(&["deploy", "filler"]).success();
        project.kerek(&["deploy", "web"]).success();
        project.compose(&["stop", "filler"]).success();
        let prober = Prober::start(&project, "http://web:8080/slow?ms=500");
        let mut deploy = project.kerek_command(&["deploy", "web"]);
        deploy.env("VERSION", "v1");
        let output = command::run(deploy).success();
        let summary = prober.stop();
        assert!(!output.stderr.contains("address changed"), "{order}: {output}");
        assert_eq!(summary.failed, 0, "{order}: {summary}\n{output}");
        assert!(summary.versions["v1"].count > 0, "{order}: {summary}");
    }
    // Told by their program: there may be another image of the name by now, or none.
    let network = format!("network={}_default", project.name());
    let listed = ["ps", "--all", "--no-trunc", "--filter", &network, "--format", "{{.Command}}"];
    let commands = project.docker(&listed).success().stdout;
    assert!(commands.contains("/app") && !commands.contains("/hold"), "held for longer than it takes: {commands}");
}

#[test]
fn brings_up_updates_scales_and_settles() {
    let mut project = Project::new("life", WEB);
    let output = project.kerek(&["deploy", "--wait"]).success();
    assert_contains(&output.stderr, "no container yet");
    assert_serves(&project, "v0", 2);
    assert_settled(&project);
    let steady = ids(&project.service("steady"));

    for order in ORDERS {
        project.set("ORDER", order);
        for (version, replicas) in [("v1", 3), ("v2", 1), ("v3", 2)] {
            project.set("VERSION", version);
            project.set("REPLICAS", &replicas.to_string());
            project.kerek(&["deploy"]).success();
            assert_serves(&project, version, replicas);
            assert_settled(&project);
        }
    }
    assert_eq!(ids(&project.service("steady")), steady, "what has not changed stays");
}

#[test]
fn compose_and_kerek_agree() {
    let mut project = Project::new("agree", WEB);
    project.compose(&["up", "--detach", "--wait"]).success();
    assert_settled(&project);

    project.set("VERSION", "v1");
    project.compose(&["up", "--detach", "--wait"]).success();
    assert_settled(&project);

    project.set("VERSION", "v2");
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    project.compose(&["up", "--detach"]).success();
    assert_eq!(ids(&project.containers()), before, "Compose finds nothing to change");
}

#[test]
fn dry_run_tells_and_changes_nothing() {
    let mut project = Project::new("dry", WEB);
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "2 services to update");
    assert!(project.containers().is_empty());
    let networks = project.docker(&["network", "ls", "--format", "{{.Name}}"]).success().stdout;
    assert!(!networks.contains(project.name()), "{networks}");

    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    let before = ids(&project.containers());
    let output = project.kerek(&["--dry-run", "deploy"]).success();
    assert_contains(&output.stdout, "config changed");
    assert_contains(&output.stdout, &format!("replace  {}-web-1", project.name()));
    assert_contains(&output.stdout, "unchanged: steady");
    assert_eq!(ids(&project.containers()), before);
}

#[test]
fn bad_versions_leave_the_old_one_serving_start_first() {
    bad_versions_leave_the_old_one_serving("start-first");
}

#[test]
fn bad_versions_leave_the_old_one_serving_stop_first() {
    bad_versions_leave_the_old_one_serving("stop-first");
}

fn bad_versions_leave_the_old_one_serving(order: &str) {
    let mut project = Project::new("bad", WEB);
    project.set("ORDER", order);
    let mut serving = "v0".to_owned();
    project.kerek(&["deploy"]).success();
    for (index, (kind, variables, words)) in BAD_VERSIONS.iter().enumerate() {
        let context = format!("{order}, {kind}");
        let before = ids(&project.containers());
        project.set("VERSION", "bad");
        for (name, value) in *variables {
            project.set(name, value);
        }
        let prober = Prober::start(&project, "http://web:8080/");
        let output = project.kerek(&["deploy"]).exits(4);
        let summary = prober.stop();
        assert_contains(&output.stderr, words);
        assert_contains(&output.stderr, "Now web is served by 2 containers of the old version");
        assert_eq!(ids(&project.containers()), before, "{context}: the old containers, nothing else");
        assert_serves(&project, &serving, 2);
        // Two replicas and a drained stop: not even stop-first need lose a request.
        assert_eq!(summary.failed, 0, "{context}: {summary}");
        assert_eq!(summary.versions.keys().collect::<Vec<_>>(), [&serving], "{context}: {summary}");

        for (name, _) in *variables {
            project.set(name, "");
        }
        serving = format!("v{}", index + 1);
        project.set("VERSION", &serving);
        project.kerek(&["deploy"]).success();
        assert_serves(&project, &serving, 2);
        assert_settled(&project);
    }
}

#[test]
fn a_bad_first_version_leaves_nothing() {
    let mut project = Project::new("first", WEB);
    // Were it updated in the same run, the outcome would be half-way, not as before.
    project.kerek(&["deploy", "steady"]).success();
    project.set_healthy(false);
    let output = project.kerek(&["deploy", "--wait-timeout", "30"]).exits(4);
    assert_contains(&output.stderr, "Nothing serves web now.");
    assert!(project.service("web").is_empty());
    project.set_healthy(true);
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v0", 2);
}

#[test]
fn wait_timeout_ends_waiting() {
    let mut project = Project::new("timeout", WEB);
    project.kerek(&["deploy"]).success();
    project.set("BOOT_MS", "60000");
    let output = project.kerek(&["deploy", "--wait-timeout", "1"]).exits(4);
    assert_contains(&output.stderr, "was not ready within 1s");
    assert_serves(&project, "v0", 2);
}

#[test]
fn stop_timeout_ends_the_stubborn() {
    let mut project = Project::new("stubborn", WEB);
    project.set("ON_TERM", "ignore");
    project.set("REPLICAS", "1");
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    let output = project.kerek(&["deploy", "--timeout", "1"]).success();
    let (_, took) = output.stderr.split_once(" stopped after ").unwrap_or_else(|| panic!("{output}"));
    let seconds = took.lines().next().and_then(|took| took.strip_suffix('s')?.parse::<f64>().ok());
    assert!(seconds.is_some_and(|it| (1.0..9.0).contains(&it)), "before the engine's 10 seconds are over: {output}");
    assert_serves(&project, "v1", 1);
}

#[test]
fn named_services_alone_are_updated() {
    let compose = r#"
x-app: &app
  image: kerek-test-app
  environment: {VERSION: "${VERSION:-v0}"}
  healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, start_interval: 100ms, start_period: 5s}
services:
  a: {<<: *app, depends_on: [b]}
  b: {<<: *app}
  c: {<<: *app}
  p: {<<: *app, profiles: [extra]}
"#;
    let mut project = Project::new("named", compose);
    project.kerek(&["deploy"]).success();
    assert_eq!(versions(&project), ["a=v0", "b=v0", "c=v0"]);

    project.set("VERSION", "v1");
    project.kerek(&["deploy", "--no-deps", "a"]).success();
    assert_eq!(versions(&project), ["a=v1", "b=v0", "c=v0"]);
    project.kerek(&["deploy", "a"]).success();
    assert_eq!(versions(&project), ["a=v1", "b=v1", "c=v0"]);
    // A disabled profile's service is untouched unless it is named.
    project.kerek(&["deploy", "p"]).success();
    assert_eq!(versions(&project), ["a=v1", "b=v1", "c=v0", "p=v1"]);
    project.set("VERSION", "v2");
    project.kerek(&["deploy"]).success();
    assert_eq!(versions(&project), ["a=v2", "b=v2", "c=v2", "p=v1"]);

    let before: Vec<_> = project.containers();
    project.kerek(&["deploy", "--force-recreate", "a"]).success();
    let after: Vec<_> = project.containers();
    let kept: BTreeSet<_> = ids(&before).intersection(&ids(&after)).cloned().collect();
    assert_eq!(kept.len(), 3, "all but one stay");
    assert_ne!(before[0].id, after[0].id);
}

#[test]
fn what_others_made_is_untouched() {
    let project = Project::new("others", WEB);
    project.kerek(&["deploy"]).success();
    // A one-off container, and one made by hand on the same network.
    project.compose(&["run", "--detach", "--name", &format!("{}-once", project.name()), "web"]).success();
    let network = format!("{}_default", project.name());
    let label = format!("{}={}", crate::support::project::PROJECT_LABEL, project.name());
    let by_hand = format!("{}-by-hand", project.name());
    let run = ["run", "--detach", "--name", &by_hand, "--label", &label, "--network", &network, "kerek-test-app"];
    project.docker(&run).success();
    project.kerek(&["deploy", "--force-recreate"]).success();
    for name in [format!("{}-once", project.name()), by_hand.clone()] {
        let state = project.docker(&["inspect", "--format", "{{.State.Status}}", &name]).success().stdout;
        assert_eq!(state.trim(), "running", "{name}");
    }
    project.docker(&["rm", "--force", &by_hand]).success();
}

#[test]
fn the_sick_the_stopped_and_the_left_over_are_replaced() {
    let project = Project::new("sick", WEB);
    project.kerek(&["deploy"]).success();
    let web = project.service("web");
    project.docker(&["stop", &web[0].name]).success();
    let output = project.kerek(&["deploy"]).success();
    assert_contains(&output.stderr, "does not run");
    assert_serves(&project, "v0", 2);
    assert!(ids(&project.service("web")).contains(&web[1].id), "the healthy one stays");

    let web = project.service("web");
    project.docker(&["network", "disconnect", &format!("{}_default", project.name()), &web[0].name]).success();
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v0", 2);
    assert_settled(&project);
}

#[test]
fn a_hand_scaled_service_keeps_its_size() {
    let compose = r#"
services:
  web:
    image: kerek-test-app
    networks: {default: {aliases: ["${ALIAS:-web}"]}}
    environment: {VERSION: "${VERSION:-v0}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, start_interval: 100ms, start_period: 5s}
"#;
    let mut project = Project::new("hand", compose);
    project.compose(&["up", "--detach", "--wait", "--scale", "web=3"]).success();
    project.set("VERSION", "v1");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v1", 3);

    // Names that the old ones do not have make no difference.
    project.set("ALIAS", "www");
    project.set("VERSION", "v2");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v2", 3);
    assert_settled(&project);
}

/// A healthcheck may be wrong, while what it is about serves.
#[test]
fn what_was_unhealthy_runs_again() {
    let compose = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}", HEALTH: bad}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 1s, start_interval: 100ms, start_period: 1s, retries: 1}
"#;
    let mut project = Project::new("unwell", compose);
    // Until it is unhealthy.
    project.compose(&["up", "--detach", "--wait"]).exits(1);
    let before = project.service("web");
    project.set("VERSION", "v1");
    let output = project.kerek(&["deploy"]).exits(4);
    let after = project.service("web");
    assert_eq!(ids(&after), ids(&before));
    assert_eq!(after[0].state, "running");
    assert!(after[0].is_known_as("web"), "{after:?}");
    assert_contains(
        &output.stderr,
        &format!("Now web is served by 1 container of the old version ({})", after[0].name),
    );
}

/// What is put back has the names it had, not those that only its successor was to have.
#[test]
fn names_do_not_move_to_what_is_put_back() {
    let compose = r#"
services:
  blue: {image: kerek-test-app, networks: {default: {aliases: [live]}}}
  green:
    image: kerek-test-app
    environment: {HEALTH: "${HEALTH:-ok}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 1s, start_interval: 100ms, start_period: "${START_PERIOD:-60s}", retries: 1}
"#;
    let mut project = Project::new("live", compose);
    project.kerek(&["deploy"]).success();
    let switched = compose.replace(", networks: {default: {aliases: [live]}}", "");
    project.write("compose.yaml", &format!("{switched}    networks: {{default: {{aliases: [live]}}}}\n"));
    project.set_healthy(false);
    // The other one has its turn first; it is to lose the name, and does.
    project.kerek(&["deploy", "green"]).exits(4);
    let [green] = &project.service("green")[..] else { panic!("there should be one") };
    assert!(green.is_known_as("green") && !green.is_known_as("live"), "{green:?}");
    let [blue] = &project.service("blue")[..] else { panic!("there should be one") };
    assert!(blue.is_known_as("live"), "{blue:?}");
}

/// An engine gives it when it creates a container, and another one when it connects it anew.
#[test]
fn a_mac_address_of_its_own_stays() {
    let compose = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}"}
    networks: {default: {mac_address: "02:42:ac:11:77:03"}}
    deploy: {update_config: {order: "${ORDER:-stop-first}"}}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 10s, start_interval: 100ms, start_period: 5s}
"#;
    for order in ["stop-first", "start-first"] {
        let mut project = Project::new("mac", compose);
        project.set("ORDER", order);
        project.kerek(&["deploy"]).success();
        project.set("ORDER", "stop-first");
        for version in ["v0", "v1"] {
            project.set("VERSION", version);
            project.kerek(&["deploy"]).success();
            let id = &project.service("web")[0].id;
            let format = "{{range .NetworkSettings.Networks}}{{.MacAddress}}{{end}}";
            let output = project.docker(&["inspect", "--format", format, id]).success();
            assert_eq!(output.stdout.trim(), "02:42:ac:11:77:03", "{order}, {version}");
        }
        assert_settled(&project);
    }
}

#[test]
fn contents_of_env_files_count() {
    let compose = "services: {web: {image: kerek-test-app, env_file: [web.env]}}";
    let project = Project::new("envfile", compose);
    project.write("web.env", "VERSION=v0");
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
    project.write("web.env", "VERSION=v1");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v1", 1);
    assert_settled(&project);
}

#[test]
fn joined_namespaces_count_as_compose_counts_them() {
    let compose = r#"
services:
  a: {image: kerek-test-app}
  b: {image: kerek-test-app, network_mode: "service:a", environment: {PORT: "8081"}}
  c: {image: kerek-test-app, pid: "service:a"}
"#;
    let project = Project::new("joined", compose);
    project.kerek(&["deploy"]).success();
    assert_settled(&project);
    let before = ids(&project.containers());
    project.compose(&["up", "--detach"]).success();
    assert_eq!(ids(&project.containers()), before);
}

#[test]
fn signals_undo_the_slot() {
    for order in ORDERS {
        for (signal, code) in [("INT", 130), ("TERM", 143)] {
            let mut project = Project::new("signal", WEB);
            project.set("ORDER", order);
            project.kerek(&["deploy"]).success();
            let before = ids(&project.containers());
            project.set("VERSION", "v1");
            project.set("BOOT_MS", "30000");
            let output = run_until(&project, &["deploy"], "waiting for", signal);
            assert_eq!(output.code, Some(code), "{order}, {signal}: {output}");
            assert_contains(&output.stderr, "Now web is served by 2 containers of the old version");
            assert_eq!(ids(&project.containers()), before, "{order}, {signal}");
            assert_serves(&project, "v0", 2);
            assert_nothing_runs(&project);
        }
    }
}

/// A wrapper passes on what the terminal has sent to all of the job already.
#[test]
fn an_echo_of_a_signal_is_no_second_one() {
    let mut project = Project::new("echo", WEB);
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    project.set("VERSION", "v1");
    project.set("BOOT_MS", "30000");
    // While it is stopped, they gather, so that they come at once however busy the machine is.
    let output = run_until(&project, &["deploy"], "waiting for", "STOP INT TERM HUP CONT");
    assert!(matches!(output.code, Some(130 | 143)), "whichever comes first: {output}");
    assert_contains(&output.stderr, "Now web is served by 2 containers of the old version");
    assert_eq!(ids(&project.containers()), before);
}

/// Shells have what runs in the background of a script ignore it, which is about the terminal's.
#[test]
fn an_interrupt_counts_in_the_background() {
    let mut project = Project::new("background", WEB);
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    project.set("BOOT_MS", "30000");
    let deaf = "trap '' INT; exec \"$@\"";
    let kerek = ["-c", deaf, "sh", env!("CARGO_BIN_EXE_kerek"), "deploy", "--progress", "plain"];
    assert_eq!(signal_at(project.command("sh", &kerek), "waiting for", "INT").code, Some(130));
    assert_serves(&project, "v0", 2);
}

#[test]
fn what_is_to_outlive_its_terminal_does() {
    let mut project = Project::new("nohup", WEB);
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    project.set("BOOT_MS", "1000");
    let command = project.command("nohup", &[env!("CARGO_BIN_EXE_kerek"), "deploy", "--progress", "plain"]);
    assert_eq!(signal_at(command, "waiting for", "HUP").code, Some(0));
    assert_serves(&project, "v1", 2);
}

#[test]
fn nothing_is_left_of_an_interrupted_creation() {
    let mut project = Project::new("creation", WEB);
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    // Enough that Compose is at it when it is interrupted, and that the engine has still some to make when it is gone.
    project.set("REPLICAS", "12");
    for signal in ["INT", "TERM"] {
        let output = run_until(&project, &["deploy"], "Creating", signal);
        assert!(matches!(output.code, Some(130 | 143)), "{output}");
        assert_eq!(ids(&project.containers()), before, "{output}");
        thread::sleep(Duration::from_secs(1));
        assert_eq!(ids(&project.containers()), before, "{output}");
    }
}

#[test]
fn signals_to_the_docker_command_count() {
    let mut project = Project::new("plugin", WEB);
    let plugins = project.home().join(".docker/cli-plugins");
    std::fs::create_dir_all(&plugins).expect("should make a folder");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_kerek"), plugins.join("docker-deploy")).expect("should link");
    if let Some(config) = std::env::var_os("DOCKER_CONFIG") {
        // It has a Compose of its own.
        let compose = Path::new(&config).join("cli-plugins/docker-compose");
        std::os::unix::fs::symlink(compose, plugins.join("docker-compose")).expect("should link");
        project.set("DOCKER_CONFIG", &project.home().join(".docker").to_string_lossy());
    }
    project.docker(&["deploy"]).success();
    let before = ids(&project.containers());
    project.set("VERSION", "v1");
    project.set("BOOT_MS", "30000");
    let command = project.command("docker", &["deploy", "--progress", "plain"]);
    let output = signal_at(command, "waiting for", "TERM");
    assert_eq!(output.code, Some(143), "{output}");
    assert_contains(&output.stderr, "Now web is served by 2 containers of the old version");
    assert_eq!(ids(&project.containers()), before);
}

#[test]
fn killed_runs_are_repaired_by_the_next() {
    for order in ORDERS {
        // Each is a line of progress after which kerek is killed on the spot.
        for moment in
            ["plan:", "compose:", "starting", "waiting for", " ready ", "published", "withdrawn", "stopping", "removed"]
        {
            let context = format!("{order}, killed at `{moment}`");
            let mut project = Project::new("killed", WEB);
            project.set("ORDER", order);
            project.kerek(&["deploy"]).success();
            project.set("VERSION", "v1");
            let output = run_until(&project, &["deploy"], moment, "KILL");
            // The removal is its last step: it may be through before the signal arrives.
            let is_through = moment == "removed" && output.code == Some(0);
            assert!(output.code.is_none() || is_through, "{context}: {output}");
            let serving = project.service("web").into_iter().filter(|container| container.state == "running").count();
            let least = if order == "start-first" { 2 } else { 1 };
            assert!(serving >= least, "{context}: {serving} running");
            assert_nothing_runs(&project);

            project.kerek(&["deploy"]).success();
            assert_serves(&project, "v1", 2);
            assert_settled(&project);
        }
    }
}

/// Left alone, the child would wait forever for somebody to write into a pipe.
#[test]
fn a_killed_run_leaves_no_child() {
    let project = Project::new("childless", "services: {web: {image: kerek-test-app, env_file: [pipe]}}");
    command::run(project.command("mkfifo", &["pipe"])).success();
    let mut kerek = project.kerek_command(&["deploy"]).stderr(Stdio::null()).spawn().expect("should run kerek");
    let begin = Instant::now();
    while !running_in(&project).iter().any(|command| command.contains("compose") && command.contains(" config")) {
        assert!(begin.elapsed() < Duration::from_secs(60), "it should run Compose: {:?}", running_in(&project));
        thread::sleep(Duration::from_millis(20));
    }
    kerek.kill().expect("should kill kerek");
    kerek.wait().expect("should wait for kerek");
    assert_nothing_runs(&project);
}

#[test]
fn wrong_input_is_named_with_a_way_out() {
    let project = Project::new("wrong", WEB);
    let cases: [(&[&str], i32, &[&str]); 6] = [
        (&["deploy", "--file", "missing.yaml"], 1, &["missing.yaml", "no such file", "docker compose"]),
        (&["deploy", "nosuch"], 1, &["no such service: nosuch"]),
        (&["deploy", "--nosuch"], 2, &["--nosuch"]),
        (&["deploy", "--progress", "loud"], 2, &["loud", "plain"]),
        (&["--host", "unix:///no/such.sock", "deploy"], 3, &["/no/such.sock", "Hint:"]),
        (&["--context", "nosuch", "deploy"], 1, &["nosuch"]),
    ];
    for (arguments, code, words) in cases {
        let output = project.kerek(arguments).exits(code);
        for word in words {
            assert_contains(&output.stderr, word);
        }
    }
    project.write("compose.yaml", "services: {web: {image: 3, x-y: [");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "yaml");
    assert_contains(&output.stderr, "did not find expected node content");
    project.write("compose.yaml", "services: {web: {image: kerek-test-app, x-kerek: {drian: 1s}}}");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "services.web.x-kerek.drian");
    assert!(project.containers().is_empty());
}

#[test]
fn a_missing_image_fails_before_anything_stops() {
    let mut project =
        Project::new("image", "services: {web: {image: \"${IMAGE:-kerek-test-app}\", pull_policy: never}}");
    project.kerek(&["deploy"]).success();
    let before = ids(&project.containers());
    project.set("IMAGE", "kerek-test-no-such-image");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "kerek-test-no-such-image");
    let last = "Nothing was deployed: what was there serves on.\n";
    assert!(output.stderr.ends_with(last), "{output}");
    assert_eq!(ids(&project.containers()), before);
}

#[test]
fn what_cannot_overlap_is_refused() {
    let compose = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}"}
    ports: ["127.0.0.1:28471:8080"]
    deploy: {update_config: {order: "${ORDER:-start-first}"}}
"#;
    let mut project = Project::new("overlap", compose);
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "services.web.ports");
    assert_contains(&output.stderr, "order: stop-first");
    assert_serves(&project, "v0", 1);
    project.set("ORDER", "stop-first");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v1", 1);
}

#[test]
fn a_narrow_range_of_ports_is_refused() {
    let compose = r#"
services:
  web:
    image: kerek-test-app
    scale: 2
    environment: {VERSION: "${VERSION:-v0}"}
    ports: ["127.0.0.1:28475-${LAST:-28476}:8080"]
    deploy: {update_config: {order: start-first}}
"#;
    let mut project = Project::new("narrow", compose);
    project.kerek(&["deploy"]).success();
    project.set("VERSION", "v1");
    let output = project.kerek(&["deploy"]).exits(1);
    assert_contains(&output.stderr, "`28475-28476:8080` has room for 2");
    assert_contains(&output.stderr, "`\"28475-28477:8080\"`");
    assert_serves(&project, "v0", 2);
    project.set("LAST", "28477");
    project.kerek(&["deploy"]).success();
    assert_serves(&project, "v1", 2);
}

#[test]
fn compose_is_required_in_a_recent_version() {
    let project = Project::new("nocompose", WEB);
    let bin = project.path().join("bin");
    std::fs::create_dir(&bin).expect("should make a folder");
    // An old Compose, as kerek sees it: it calls itself old, and knows nothing of what kerek asks for.
    let plugins = bin.join("cli-plugins");
    std::fs::create_dir(&plugins).expect("should make a folder");
    let old = "#!/bin/sh\ncase \"$*\" in *version*) echo 2.20.1;; *) echo 'unknown flag' >&2; exit 16;; esac\n";
    let path = plugins.join("docker-compose");
    std::fs::write(&path, old).expect("should write file");
    let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&path, executable).expect("should make executable");
    let mut command = project.kerek_command(&["deploy"]);
    // No docker command there, which would look for Compose by itself.
    command.env("PATH", &bin).env("DOCKER_CONFIG", &bin);
    let output = crate::support::command::run(command).exits(1);
    assert_contains(&output.stderr, "Docker Compose is too old");
    assert_contains(&output.stderr, "2.20.1");
}

// --- helpers

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` should be in:\n{text}");
}

fn ids(containers: &[Container]) -> BTreeSet<String> {
    containers.iter().map(|container| container.id.clone()).collect()
}

/// The containers of `web`: as many as wanted, all of a version, at work and known by the service's name.
#[track_caller]
fn assert_serves(project: &Project, version: &str, replicas: usize) {
    let web = project.service("web");
    assert_eq!(web.len(), replicas, "{web:#?}");
    for container in &web {
        assert_eq!(container.state, "running", "{container:#?}");
        assert!(matches!(container.health.as_deref(), None | Some("healthy")), "{container:#?}");
        assert!(container.is_known_as("web"), "{container:#?}");
        if !container.variable("VERSION").is_empty() {
            assert_eq!(container.variable("VERSION"), version, "{container:#?}");
        }
    }
}

/// Another run has nothing to do and does nothing; nothing is left over.
#[track_caller]
fn assert_settled(project: &Project) {
    let before = ids(&project.containers());
    let output = project.kerek(&["deploy", "--dry-run"]).success();
    assert_contains(&output.stdout, "Nothing to do");
    let output = project.compose(&["up", "--detach", "--dry-run"]).success();
    for verb in ["Create", "Recreate", "Starting", "Creating"] {
        assert!(!output.stderr.contains(verb), "Compose would change something:\n{output}");
    }
    project.kerek(&["deploy"]).success();
    assert_eq!(ids(&project.containers()), before);
    let states: BTreeSet<_> = project.containers().into_iter().map(|container| container.state).collect();
    assert_eq!(states, BTreeSet::from(["running".to_owned()]));
}

/// `SERVICE=VERSION` of all containers.
fn versions(project: &Project) -> Vec<String> {
    let containers = project.containers();
    containers.iter().map(|container| format!("{}={}", container.service, container.variable("VERSION"))).collect()
}

/// Runs kerek and sends it a signal as soon as it prints a line with the given text.
fn run_until(project: &Project, arguments: &[&str], text: &str, signal: &str) -> Output {
    let mut command = project.kerek_command(arguments);
    command.args(["--progress", "plain"]);
    signal_at(command, text, signal)
}

/// Runs a command and sends it a signal, or several, as soon as it prints a line with the given text on stderr.
fn signal_at(mut command: Command, text: &str, signals: &str) -> Output {
    let name = format!("{command:?}");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("should start the command");
    let stderr = child.stderr.take().expect("is piped");
    let mut output = String::new();
    let mut sent = false;
    for line in BufReader::new(stderr).lines().map_while(Result::ok) {
        output.push_str(&line);
        output.push('\n');
        if !sent && line.contains(text) {
            sent = true;
            let pid = child.id().to_string();
            // The shell's own `kill`: a small system may have no program of that name.
            let kill = ["-c", "for it in $1; do kill -s \"$it\" \"$2\" || exit; done", "sh", signals, &pid];
            let status = Command::new("sh").args(kill).status().expect("should run a shell");
            assert!(status.success());
        }
    }
    assert!(sent, "`{text}` should be in:\n{output}");
    let status = child.wait().expect("should have ended");
    Output::new(&name, status.code(), String::new(), output)
}

/// Command lines of the processes that have the project's folder as their own.
fn running_in(project: &Project) -> Vec<String> {
    let folder = project.path();
    std::fs::read_dir("/proc")
        .expect("should read /proc")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|process| std::fs::read_link(process.join("cwd")).is_ok_and(|cwd| cwd == folder))
        .map(|process| std::fs::read_to_string(process.join("cmdline")).unwrap_or_default().replace('\0', " "))
        .collect()
}

/// No child of kerek's is left.
#[track_caller]
fn assert_nothing_runs(project: &Project) {
    let deadline = Instant::now() + TIDY;
    loop {
        let left = running_in(project);
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:?}");
        thread::sleep(Duration::from_millis(50));
    }
}
