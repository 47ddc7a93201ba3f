//! The options of `deploy` and the environment variables of Compose, each on a real engine.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::support::command::{self, Output};
use crate::support::json_lines;
use crate::support::project::Project;
use crate::support::registry::Registry;

const COMPOSE_PROJECT: &str = "com.docker.compose.project";

/// What all services here have in common: they are ready at once, and gone at once.
const SERVICE: &str = r#"
x-service: &service
  command: sleep 1000
  stop_signal: KILL
  healthcheck: {test: "true", interval: 5s, start_interval: 100ms, start_period: 10s}
  deploy: {update_config: {order: start-first}}
  x-kerek: {drain: 0s}
"#;

/// A project whose images go with it.
struct App {
    // Containers go before images: fields are dropped in this order.
    project: Project,
    _images: Images,
}

/// Removes the images of a project when dropped.
struct Images {
    label: String,
}

impl Drop for Images {
    fn drop(&mut self) {
        let docker = |arguments: &[&str]| {
            let mut docker = command::command("docker", &std::env::temp_dir());
            docker.args(arguments);
            command::run(docker)
        };
        let images = docker(&["image", "ls", "--quiet", "--filter", &format!("label={}", self.label)]).stdout;
        let images: BTreeSet<_> = images.lines().collect();
        if !images.is_empty() {
            let images: Vec<_> = images.into_iter().collect();
            docker(&[&["image", "rm", "--force"], images.as_slice()].concat());
        }
    }
}

impl App {
    /// A project with the given services, each of which may refer to `*service`.
    fn new(label: &str, services: &str) -> Self {
        let project = Project::new(label, &compose(services));
        let label = format!("{COMPOSE_PROJECT}={}", project.name());
        Self { project, _images: Images { label } }
    }

    /// A project with a service `web` that is built from the file `version`.
    fn built(label: &str, web: &str) -> Self {
        let app = Self::new(label, &format!("  web: {{<<: *service, build: .{web}}}\n"));
        app.project.write("Dockerfile", "FROM busybox:1.37\nCOPY version /version\n");
        app.project.write("version", "1");
        app
    }

    fn ids(&self) -> BTreeSet<String> {
        self.project.containers().into_iter().map(|container| container.id).collect()
    }

    /// What `web` was built from.
    fn version(&self) -> String {
        let name = self.project.service("web")[0].name.clone();
        self.project.docker(&["exec", &name, "cat", "/version"]).success().stdout
    }

    /// Runs kerek, which has to succeed and must leave all containers as they are.
    #[track_caller]
    fn unchanged_by(&self, arguments: &[&str]) -> Output {
        let before = self.ids();
        let output = self.project.kerek(arguments).success();
        assert_eq!(self.ids(), before, "{output}");
        output
    }

    /// Runs kerek, which has to succeed and must replace all containers.
    #[track_caller]
    fn replaced_by(&self, arguments: &[&str]) -> Output {
        let before = self.ids();
        let output = self.project.kerek(arguments).success();
        let after = self.ids();
        assert!(before.is_disjoint(&after) && !after.is_empty(), "{output}");
        output
    }

    /// Runs kerek, which has to fail with 1 and must leave all containers as they are.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> Output {
        let before = self.ids();
        let output = self.project.kerek(arguments).exits(1);
        assert_eq!(self.ids(), before, "{output}");
        output
    }
}

fn compose(services: &str) -> String {
    format!("{SERVICE}services:\n{services}")
}

#[track_caller]
fn assert_contains(text: &str, part: &str) {
    assert!(text.contains(part), "`{part}` should be in:\n{text}");
}

#[track_caller]
fn assert_lacks(text: &str, part: &str) {
    assert!(!text.contains(part), "`{part}` should not be in:\n{text}");
}

#[test]
fn build_updates_what_has_changed() {
    let app = App::built("build", "");
    app.project.kerek(&["deploy"]).success();
    assert_eq!(app.version(), "1");
    app.project.write("version", "2");
    assert_lacks(&app.unchanged_by(&["deploy"]).stderr, "note:");

    let rehearsed = app.unchanged_by(&["--dry-run", "deploy", "--build"]);
    assert_contains(&rehearsed.stdout, "Nothing to do");
    assert_contains(&rehearsed.stderr, "neither builds nor pulls");
    // So nothing was built.
    assert_lacks(&app.unchanged_by(&["deploy"]).stderr, "note:");

    let output = app.replaced_by(&["deploy", "--build"]);
    assert_eq!(app.version(), "2");
    assert_contains(&output.stderr, &format!("image {}-web changed ", app.project.name()));
    assert_contains(&output.stderr, "COPY version /version");
    app.unchanged_by(&["deploy", "--build"]);
    let compose = app.project.compose(&["up", "--detach", "--dry-run"]).success();
    assert_lacks(&compose.stderr, "Recreate");
}

#[test]
fn a_failing_build_changes_nothing() {
    let app = App::built("badbuild", "");
    app.project.kerek(&["deploy"]).success();
    app.project.write("Dockerfile", "FROM busybox:1.37\nRUN echo so it ends; exit 7\n");
    let output = app.refused(&["deploy", "--build", "--force-recreate"]);
    assert_contains(&output.stderr, "exit code: 7");
    assert_contains(&output.stderr, "so it ends");
    assert_eq!(app.version(), "1");
}

#[test]
fn no_build_uses_what_is_there() {
    let app = App::built("nobuild", "");
    let output = app.refused(&["deploy", "--no-build"]);
    assert_contains(&output.stderr, &format!("{}-web", app.project.name()));
    assert!(app.ids().is_empty());
    app.project.compose(&["build"]).success();
    app.project.kerek(&["deploy", "--no-build"]).success();
    assert_eq!(app.version(), "1");
}

#[test]
fn a_name_used_again_is_worth_a_note() {
    let app = App::built("reused", "");
    app.project.kerek(&["deploy"]).success();
    app.project.write("version", "2");
    app.project.compose(&["build"]).success();
    let image = format!("{}-web", app.project.name());
    for arguments in [&["deploy"][..], &["--dry-run", "deploy"], &["deploy", "--pull", "never"]] {
        let output = app.unchanged_by(arguments);
        assert_contains(&output.stderr, &format!("web stays with the image that {image} was before"));
        assert_eq!(output.stderr.matches("stays with").count(), 1, "{output}");
        assert_contains(&output.stderr, "`kerek deploy --pull missing web`");
    }
    let rehearsed = app.unchanged_by(&["--dry-run", "deploy", "--pull", "missing"]);
    assert_contains(&rehearsed.stdout, &format!("image {image} changed "));
    let output = app.replaced_by(&["deploy", "--pull", "missing"]);
    assert_lacks(&output.stderr, "stays with");
    assert_eq!(app.version(), "2");
    app.unchanged_by(&["deploy", "--pull", "missing"]);
}

/// A policy, what it is in the Compose file or on the command line, and whether a new image behind the same name comes
/// of it.
const PULLS: [(&str, &[&str], bool); 9] = [
    ("", &[], false),
    ("", &["--pull", "always"], true),
    ("", &["--pull", "always", "--quiet-pull", "--debug"], true),
    ("", &["--pull", "missing"], false),
    ("always", &[], true),
    ("always", &["--pull", "never"], false),
    ("always", &["--pull", "missing"], false),
    ("daily", &[], false),
    ("every_1s", &[], true),
];

#[test]
fn images_are_pulled_when_the_policy_says_so() {
    let app = App::new("pull", "");
    let registry = Registry::start(&app.project);
    let label = (COMPOSE_PROJECT, app.project.name());
    for (index, (policy, options, pulls)) in PULLS.into_iter().enumerate() {
        let case = format!("pull_policy `{policy}`, {options:?}");
        let image = format!("kerek-test-{index}:1");
        registry.publish(&image, &format!("{index}-old"), label);
        let policy = if policy.is_empty() { String::new() } else { format!(", pull_policy: {policy}") };
        let web = format!("  web: {{<<: *service, image: '{}'{policy}}}\n", registry.name(&image));
        app.project.write("compose.yaml", &compose(&web));
        // Older versions of Compose know no times, and say so.
        if (policy.contains("daily") || policy.contains("every")) && crate::support::compose::is_older_than("2.33") {
            assert_contains(&app.project.kerek(&["deploy"]).exits(1).stderr, "pull_policy must be one of");
            continue;
        }
        app.project.kerek(&["deploy"]).success();
        let version = || app.project.service("web")[0].variable("VERSION").to_owned();
        assert_eq!(version(), format!("{index}-old"), "{case}");
        registry.publish(&image, &format!("{index}-new"), label);
        // Only of names that it gives itself does the engine tell the time.
        app.project.docker(&["tag", &registry.name(&image), &registry.name(&image)]).success();
        thread::sleep(Duration::from_millis(1100));
        let arguments = [&["deploy"], options].concat();
        let rehearsed = app.unchanged_by(&[&["--dry-run"], arguments.as_slice()].concat());
        assert_eq!(rehearsed.stderr.contains("neither builds nor pulls"), pulls, "{case}: {rehearsed}");
        if pulls {
            let output = app.replaced_by(&arguments);
            assert_eq!(version(), format!("{index}-new"), "{case}");
            let quiet = options.contains(&"--quiet-pull");
            assert!(quiet || output.stderr.contains("Pulled"), "{case}: {output}");
            assert_eq!(output.stderr.contains("--quiet"), quiet, "{case}: {output}");
        } else {
            app.unchanged_by(&arguments);
            assert_eq!(version(), format!("{index}-old"), "{case}");
        }
    }
}

#[test]
fn a_failing_pull_changes_nothing() {
    let app = App::new("badpull", "");
    let registry = Registry::start(&app.project);
    registry.publish("kerek-test-bad:1", "1", (COMPOSE_PROJECT, app.project.name()));
    let image = registry.name("kerek-test-bad:1");
    app.project.write("compose.yaml", &compose(&format!("  web: {{<<: *service, image: '{image}'}}\n")));
    let missing = app.refused(&["deploy", "--pull", "never"]);
    assert_contains(&missing.stderr, &image);
    app.project.kerek(&["deploy"]).success();
    registry.clear();
    let output = app.refused(&["deploy", "--pull", "always", "--force-recreate"]);
    assert_contains(&output.stderr, "manifest unknown");
    app.unchanged_by(&["deploy", "--pull", "missing"]);
}

#[test]
fn pull_policy_build_builds_each_time() {
    let app = App::built("policy", ", pull_policy: build");
    app.project.kerek(&["deploy"]).success();
    app.project.write("version", "2");
    app.replaced_by(&["deploy"]);
    assert_eq!(app.version(), "2");
    app.project.write("version", "3");
    for options in [&["deploy", "--no-build"][..], &["deploy", "--pull", "never"]] {
        app.unchanged_by(options);
    }
    app.unchanged_by(&["--dry-run", "deploy"]);
}

/// How a new version comes about, and the options that prepare it.
type Preparation = (&'static str, fn(&mut App), &'static [&'static str]);

const PREPARATIONS: [Preparation; 2] = [
    ("configuration", |app| app.project.set("LEVEL", "2"), &[]),
    ("image", |app| app.project.write("version", "2"), &["--build"]),
];

#[test]
fn no_start_prepares_what_the_next_deploy_rolls_to() {
    for (case, change, options) in PREPARATIONS {
        let mut app = App::built("nostart", ", environment: {LEVEL: '${LEVEL:-1}'}");
        app.project.kerek(&["deploy"]).success();
        let before = app.ids();
        change(&mut app);
        let output = app.project.kerek(&[&["deploy", "--no-start"], options].concat()).success();
        assert_contains(&output.stderr, "1 service prepared");
        let (old, new): (Vec<_>, Vec<_>) =
            app.project.containers().into_iter().partition(|container| before.contains(&container.id));
        assert_eq!(old.iter().map(|container| container.state.as_str()).collect::<Vec<_>>(), ["running"], "{case}");
        let [new] = new.as_slice() else { panic!("{case}: one is prepared, but {new:?}") };
        assert_eq!(new.state, "created", "{case}");
        // Once more makes no difference.
        app.unchanged_by(&[&["deploy", "--no-start"], options].concat());
        app.project.kerek(&["deploy"]).success();
        assert_eq!(app.ids(), BTreeSet::from([new.id.clone()]), "{case}");
        assert_eq!(app.project.service("web")[0].state, "running", "{case}");
    }
}

#[test]
fn no_start_can_come_first_and_be_forced() {
    let app = App::new("nostart-first", "  web: {<<: *service, image: 'busybox:1.37'}\n");
    app.project.kerek(&["deploy", "--no-start"]).success();
    assert_eq!(app.project.service("web")[0].state, "created");
    let first = app.ids();
    app.project.kerek(&["deploy"]).success();
    assert_eq!((app.ids(), app.project.service("web")[0].state.as_str()), (first.clone(), "running"));
    app.project.kerek(&["deploy", "--no-start", "--force-recreate"]).success();
    let prepared: BTreeSet<_> = app.ids().difference(&first).cloned().collect();
    app.project.kerek(&["deploy", "--force-recreate"]).success();
    assert_eq!(app.ids(), prepared);
}

const WITH_OLD: &str = "  web: {<<: *service, image: 'busybox:1.37'}
  extra: {<<: *service, image: 'busybox:1.37', profiles: [extra]}
  old: {<<: *service, image: 'busybox:1.37'}
";

/// Environment, options, and what comes of them.
type Case<T> = (&'static [(&'static str, &'static str)], &'static [&'static str], T);

/// What becomes of orphans.
const ORPHANS: [Case<Fate>; 9] = [
    (&[], &[], Fate::Warned),
    (&[], &["web"], Fate::Warned),
    (&[("COMPOSE_IGNORE_ORPHANS", "true")], &[], Fate::Ignored),
    (&[("COMPOSE_IGNORE_ORPHANS", "yes")], &[], Fate::Warned),
    (&[], &["--remove-orphans", "--no-start"], Fate::Warned),
    (&[("COMPOSE_IGNORE_ORPHANS", "1")], &["--remove-orphans"], Fate::Refused),
    (&[], &["--remove-orphans"], Fate::Removed),
    (&[("COMPOSE_REMOVE_ORPHANS", "1")], &[], Fate::Removed),
    (&[], &["web", "--remove-orphans"], Fate::Removed),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fate {
    Warned,
    Ignored,
    Removed,
    Refused,
}

#[test]
fn orphans_are_told_of_and_removed_if_asked_for() {
    let app = App::new("orphans", WITH_OLD);
    let (web, _) = WITH_OLD.split_once("  old:").expect("there is an old service");
    let old_name = format!("{}-old-1", app.project.name());
    for (environment, options, fate) in ORPHANS {
        let case = format!("{environment:?} {options:?}");
        app.project.write("compose.yaml", &compose(WITH_OLD));
        app.project.kerek(&["deploy", "--profile", "extra"]).success();
        app.project.compose(&["run", "--detach", "old"]).success();
        app.project.write("compose.yaml", &compose(web));
        for dry_run in [true, false] {
            let dry: &[&str] = if dry_run { &["--dry-run"] } else { &[] };
            let mut kerek = app.project.kerek_command(&[dry, &["deploy"], options].concat());
            kerek.envs(environment.iter().copied());
            let before = app.ids();
            let output = command::run(kerek).exits(i32::from(fate == Fate::Refused));
            let warned = output.stderr.contains("--remove-orphans` removes them");
            assert_eq!(warned, fate == Fate::Warned, "{case}: {output}");
            let named = output.stderr.contains(&old_name) || output.stdout.contains(&old_name);
            assert_eq!(named, matches!(fate, Fate::Warned | Fate::Removed), "{case}: {output}");
            let gone: Vec<_> = before.difference(&app.ids()).cloned().collect();
            assert_eq!(gone.len(), usize::from(fate == Fate::Removed && !dry_run), "{case}: {output}");
        }
        // What `compose run` has made stays, and so does what is of a disabled profile.
        let services = app.project.containers().into_iter().map(|container| container.service);
        let mut expected = vec!["extra", "old", "web"];
        if fate != Fate::Removed {
            expected.insert(1, "old");
        }
        assert_eq!(services.collect::<Vec<_>>(), expected, "{case}");
        app.project.compose(&["rm", "--stop", "--force"]).success();
        let one_off = format!("label={COMPOSE_PROJECT}={}", app.project.name());
        let ids = app.project.docker(&["ps", "-aq", "--filter", "name=old-run", "--filter", &one_off]).success().stdout;
        app.project.docker(&[&["rm", "--force"], ids.lines().collect::<Vec<_>>().as_slice()].concat()).success();
    }
}

#[test]
fn the_projects_own_environment_speaks_of_orphans_too() {
    let app = App::new("orphans-env", WITH_OLD);
    app.project.kerek(&["deploy"]).success();
    app.project.write("compose.yaml", &compose("  web: {<<: *service, image: 'busybox:1.37'}\n"));
    app.project.write(".env", "COMPOSE_IGNORE_ORPHANS=1\n");
    assert_lacks(&app.unchanged_by(&["deploy"]).stderr, "orphans");
    app.project.write(".env", "COMPOSE_REMOVE_ORPHANS=1\n");
    app.project.kerek(&["deploy", "--force-recreate"]).success();
    assert_eq!(app.project.containers().len(), 1);
}

const WEB: &str = "  web: {<<: *service, image: 'busybox:1.37', environment: {LEVEL: '${LEVEL:-1}'}}\n";

#[test]
fn json_is_an_object_a_line() {
    let mut app = App::new("json", WEB);
    let output = app.project.kerek(&["deploy", "--progress", "json"]).success();
    let names: Vec<_> =
        json_lines::parse(&output.stderr).iter().map(|line| line["event"].as_str().map(str::to_owned)).collect();
    for name in ["planned", "creating", "compose", "service_begun", "step", "service_done", "finished"] {
        assert!(names.contains(&Some(name.to_owned())), "{name}: {output}");
    }
    assert_eq!(output.stdout, "");

    app.project.set("LEVEL", "2");
    let output = app.unchanged_by(&["--dry-run", "deploy", "--progress", "json"]);
    let [plan] = json_lines::parse(&output.stdout).try_into().expect("one plan");
    let reason = &plan["services"][0]["reasons"][0];
    assert_eq!(reason["reason"], "config_changed", "{plan}");
    assert_ne!(reason["old"], reason["new"], "{plan}");

    app.project.set("COMPOSE_PROGRESS", "json");
    let output = app.refused(&["deploy", "-f", "no-such-file.yaml"]);
    let last = json_lines::parse(&output.stderr).pop().expect("a line");
    assert_eq!((&last["event"], &last["exit_code"]), (&"failed".into(), &1.into()), "{last}");
    assert_contains(last["message"].as_str().unwrap_or_default(), "no-such-file.yaml");
}

/// A part of what is on standard error; nothing at all if it is empty.
const OUTPUTS: [Case<&str>; 6] = [
    (&[], &["--progress", "plain"], "s] web: updating 1 replica"),
    (&[], &["--progress", "quiet"], ""),
    (&[("COMPOSE_PROGRESS", "quiet")], &[], ""),
    (&[("COMPOSE_PROGRESS", "quiet")], &["--progress", "auto"], "s] web: updating 1 replica"),
    (&[], &["--ansi", "always"], "\u{1b}["),
    (&[("COMPOSE_ANSI", "always"), ("COMPOSE_PROGRESS", "")], &[], "\u{1b}["),
];

#[test]
fn output_is_as_asked_for() {
    let app = App::new("output", WEB);
    for (environment, options, part) in OUTPUTS {
        let mut kerek = app.project.kerek_command(&[&["deploy", "--force-recreate"], options].concat());
        kerek.envs(environment.iter().copied());
        let output = command::run(kerek).success();
        assert_contains(&output.stderr, part);
        assert_eq!(output.stderr.is_empty(), part.is_empty(), "{environment:?} {options:?}: {output}");
    }
}

/// What Compose reads on its own: files to write, environment, options, and the services that come of it, with their
/// `LEVEL`s.
type Reading = (
    &'static [(&'static str, &'static str)],
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const OVERRIDE: &str = "services: {web: {environment: {LEVEL: override}}}";
const SIDE: &str = "services: {side: {extends: {file: compose.yaml, service: web}, environment: {LEVEL: side}}}";

const READINGS: [Reading; 15] = [
    (&[], &[], &["--detach"], &[("web", "1")]),
    (&[], &[], &["-d", "--parallel", "1"], &[("web", "1")]),
    (&[("o.yaml", OVERRIDE)], &[], &["-f", "compose.yaml", "-f", "o.yaml"], &[("web", "override")]),
    (&[("o.yaml", OVERRIDE)], &[("COMPOSE_FILE", "compose.yaml:o.yaml")], &[], &[("web", "override")]),
    (
        &[("o.yaml", OVERRIDE)],
        &[("COMPOSE_FILE", "compose.yaml;o.yaml"), ("COMPOSE_PATH_SEPARATOR", ";")],
        &[],
        &[("web", "override")],
    ),
    (&[("o.yaml", SIDE)], &[], &["-f", "compose.yaml", "-f", "o.yaml"], &[("side", "side"), ("web", "1")]),
    (&[(".env", "LEVEL=dot")], &[], &[], &[("web", "dot")]),
    (&[(".env", "LEVEL=dot")], &[("COMPOSE_DISABLE_ENV_FILE", "1")], &[], &[("web", "1")]),
    (&[("a", "LEVEL=a\nX=x"), ("b", "LEVEL=b")], &[], &["--env-file", "a", "--env-file", "b"], &[("web", "b")]),
    (&[("a", "LEVEL=a"), ("b", "LEVEL=b")], &[("COMPOSE_ENV_FILES", "b,a")], &[], &[("web", "a")]),
    (&[], &[("LEVEL", "own")], &[], &[("web", "own")]),
    (&[], &[("COMPOSE_PROFILES", "extra")], &[], &[("extra", "1"), ("web", "1")]),
    (&[], &[], &["--profile", "extra", "--parallel", "-1"], &[("extra", "1"), ("web", "1")]),
    (&[], &[("COMPOSE_PARALLEL_LIMIT", "2")], &["extra"], &[("extra", "1")]),
    (&[], &[], &["--project-directory", "."], &[("web", "1")]),
];

#[test]
fn what_compose_reads_arrives() {
    let services = format!("{WEB}{}", WEB.replace("web:", "extra:").replace("}}\n", "}, profiles: [extra]}\n"));
    for (files, environment, options, expected) in READINGS {
        let app = App::new("reading", &services);
        for (file, content) in files {
            app.project.write(file, content);
        }
        let mut kerek = app.project.kerek_command(&[&["deploy"], options].concat());
        kerek.envs(environment.iter().copied());
        let output = command::run(kerek).success();
        let containers = app.project.containers();
        let found: Vec<_> =
            containers.iter().map(|container| (container.service.as_str(), container.variable("LEVEL"))).collect();
        assert_eq!(found, expected, "{environment:?} {options:?}: {output}");
    }
}

#[test]
fn a_bad_limit_is_refused_by_compose_itself() {
    let mut app = App::new("limit", WEB);
    app.project.set("COMPOSE_PARALLEL_LIMIT", "many");
    assert_contains(&app.refused(&["deploy"]).stderr, "COMPOSE_PARALLEL_LIMIT");
}

#[test]
fn a_project_can_come_from_standard_input() {
    for environment in [None, Some(("COMPOSE_FILE", "-"))] {
        let app = App::new("stdin", WEB);
        let file = compose(WEB).replace("LEVEL:-1", "LEVEL:-stdin");
        let options: &[&str] = if environment.is_some() { &["deploy"] } else { &["deploy", "-f", "-"] };
        for _ in 0..2 {
            let mut kerek = app.project.kerek_command(options);
            kerek.envs(environment);
            let mut child = kerek.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().expect("should run kerek");
            child.stdin.take().expect("stdin").write_all(file.as_bytes()).expect("should read its input");
            assert!(child.wait().expect("should end").success(), "{options:?}");
        }
        assert_eq!(app.project.service("web")[0].variable("LEVEL"), "stdin");
    }
}

#[test]
fn the_environment_names_the_project() {
    let mut app = App::new("named", WEB);
    app.project.write("compose.yaml", &format!("name: kerek-test-other\n{}", compose(WEB)));
    let name = app.project.name().to_owned();
    app.project.set("COMPOSE_PROJECT_NAME", &name);
    app.project.kerek(&["deploy"]).success();
    assert_eq!(app.project.containers().len(), 1);
}

#[test]
fn compatibility_names_as_the_first_compose_did() {
    let app = App::built("compatible", "");
    app.project.kerek(&["deploy", "--compatibility"]).success();
    assert_eq!(app.project.service("web")[0].name, format!("{}_web_1", app.project.name()));
    app.project.write("version", "2");
    app.replaced_by(&["deploy", "--compatibility", "--build"]);
    assert_eq!(app.version(), "2");
}
