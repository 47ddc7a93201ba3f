//! Several deploys of one project at once, on a real engine: one of them works, the others name it, and nobody has to
//! clear up after one that was killed.

use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::command::Output;
use crate::support::project::Project;
use crate::support::terminal::{self, Answer, CTRL_C};

const WEB: &str = r#"
services:
  web:
    image: kerek-test-app
    environment: {VERSION: "${VERSION:-v0}", BOOT_MS: "${BOOT_MS:-0}"}
    healthcheck: {test: [CMD, /app, healthcheck], interval: 5s, start_interval: 100ms, start_period: 60s}
    deploy: {update_config: {order: start-first}}
    x-kerek: {drain: 0s}
"#;

#[test]
fn of_several_at_once_one_works_and_the_others_name_it() {
    const ROUNDS: usize = 20;
    let mut project = Project::new("lock", WEB);
    project.kerek(&["deploy"]).success();
    // Long enough for the others to come to the lock meanwhile.
    project.set("BOOT_MS", "700");
    for round in 0..ROUNDS {
        project.set("VERSION", &format!("v{}", round + 1));
        let all: Vec<_> = (0..2 + round % 3).map(|_| Background::start(&project, &["deploy", "web"])).collect();
        let outputs: Vec<_> = all.into_iter().map(Background::wait).collect();
        let winners = outputs.iter().filter(|output| output.code == Some(0)).count();
        // One that comes late finds nothing to do.
        assert!(winners >= 1, "{outputs:#?}");
        let updates = outputs.iter().filter(|output| output.stderr.contains("1 service updated")).count();
        assert_eq!(updates, 1, "{outputs:#?}");
        for output in outputs.iter().filter(|output| output.code != Some(0)) {
            assert_eq!(output.code, Some(6), "{output}");
            assert!(output.stderr.contains("`kerek deploy web`") && output.stderr.contains("--lock-wait"), "{output}");
        }
        let web = project.service("web");
        assert_eq!((web.len(), web[0].variable("VERSION")), (1, &*format!("v{}", round + 1)), "{web:#?}");
        assert_eq!(notes(&project), "");
    }
}

#[test]
fn who_waits_comes_next() {
    let mut project = Project::new("lock-wait", WEB);
    project.kerek(&["deploy"]).success();
    project.set("BOOT_MS", "10000");
    let first = at_work(&project);
    project.set("VERSION", "v1");
    let second = project.kerek(&["deploy", "--lock-wait", "1m"]).success();
    assert!(second.stderr.contains("has the lock"), "{second}");
    assert_eq!(first.wait().code, Some(0));
    assert_eq!(project.service("web")[0].variable("VERSION"), "v1");

    let first = at_work(&project);
    let impatient = project.kerek(&["deploy", "--lock-wait", "500ms"]).exits(6);
    assert!(impatient.stderr.contains("is being changed by"), "{impatient}");
    // To look is free.
    project.kerek(&["deploy", "--dry-run"]).success();
    assert_eq!(first.wait().code, Some(0));
}

#[test]
fn nobody_waits_for_one_that_was_killed() {
    let mut project = Project::new("lock-killed", WEB);
    project.kerek(&["deploy"]).success();
    project.set("BOOT_MS", "10000");
    let mut first = at_work(&project);
    first.child.kill().expect("should kill");
    first.child.wait().expect("should end");
    assert_ne!(notes(&project), "", "it could not clear up");
    project.set("BOOT_MS", "0");
    let output = project.kerek(&["deploy"]).success();
    let taken: Vec<_> = output.stderr.lines().filter(|line| line.contains("taking over the lock")).collect();
    // Not for its silence, which would have been waited for.
    assert!(matches!(taken.as_slice(), [line] if line.contains("whose process is gone")), "{output}");
    assert_eq!(notes(&project), "");
}

#[test]
fn one_whose_lock_is_gone_stops() {
    let mut project = Project::new("lock-gone", WEB);
    project.kerek(&["deploy"]).success();
    let before = project.service("web");
    project.set("BOOT_MS", "30000");
    let first = at_work(&project);
    let held = project.kerek(&["unlock", "--dry-run", project.name()]).success();
    assert!(held.stdout.contains("is locked by") && held.stdout.contains("`kerek deploy`"), "{held}");
    let unasked = project.kerek(&["unlock", project.name()]).exits(7);
    assert!(unasked.stderr.contains("unlock --force"), "{unasked}");
    let removed = project.kerek(&["unlock", "--force", project.name()]).success();
    assert!(removed.stdout.contains("not locked any more"), "{removed}");
    let output = first.wait();
    assert_eq!(output.code, Some(6), "{output}");
    // It may have looked in the very middle of that.
    let by = ["was removed", "`kerek unlock`"];
    assert!(by.iter().any(|by| output.stderr.contains(by)), "{output}");
    let web = project.service("web");
    assert!(web.iter().any(|container| container.id == before[0].id && container.state == "running"), "{web:#?}");
    assert_eq!(notes(&project), "");
    let output = project.kerek(&["unlock", project.name()]).success();
    assert!(output.stdout.contains("is not locked"), "{output}");
}

/// Whoever comes meanwhile cannot tell it from one that is gone.
#[test]
fn one_that_was_stopped_changes_nothing_more() {
    let mut project = Project::new("lock-stopped", &WEB.replace("drain: 0s", "drain: 6s"));
    project.kerek(&["deploy"]).success();
    let old = project.service("web").remove(0).id;
    let first = at_work(&project);
    // The next thing it does is to stop the old container.
    until("it should leave the old container alone", || {
        let web = project.service("web").into_iter().find(|container| container.id == old);
        web.is_some_and(|old| old.endpoints.values().all(|endpoint| !endpoint.names.iter().any(|name| name == "web")))
    });
    let process = Pid::from_child(&first.child);
    kill_process(process, Signal::STOP).expect("should stop");
    project.set("BOOT_MS", "20000");
    project.set("VERSION", "v1");
    let second = Background::start(&project, &["deploy", "--lock-wait", "1m"]);
    let running = || -> BTreeSet<_> {
        let all = project.service("web").into_iter().filter(|container| container.state == "running");
        all.map(|container| (container.variable("VERSION").to_owned(), container.id)).collect()
    };
    until("the other one should be at work", || running().iter().any(|(version, _)| version == "v1"));
    let before = running();
    assert!(before.iter().any(|(_, id)| *id == old), "{before:?}");
    kill_process(process, Signal::CONT).expect("should go on");
    let output = first.wait();
    assert_eq!(running(), before, "{output}");
    assert_eq!(output.code, Some(6), "{output}");
    assert!(output.stderr.contains("is now held by"), "{output}");
    let output = second.wait();
    assert_eq!(output.code, Some(0), "{output}");
    assert!(output.stderr.contains("no sign of life"), "{output}");
    assert_eq!(project.service("web")[0].variable("VERSION"), "v1");
    assert_eq!(notes(&project), "");
}

#[test]
fn a_lock_that_changes_hands_during_the_question_stays() {
    let project = Project::new("lock-hands", WEB);
    let lock = format!("kerek-lock-{}", project.name());
    let hold = |who: &str| {
        let label = format!("kerek.lock={}", project.name());
        let [nonce, who] = [("nonce", who), ("who", who)].map(|(key, value)| format!("kerek.lock.{key}={value}"));
        let labels = ["--label", &label, "--label", &nonce, "--label", &who];
        project.docker(&[&["volume", "create"], &labels[..], &[&lock]].concat()).success();
    };
    hold("alice");
    let kerek = project.kerek_command(&["unlock", project.name()]);
    let words = [kerek.get_program()].into_iter().chain(kerek.get_args());
    let line = words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    let script = || {
        let mut script = Command::new("script");
        script.envs(kerek.get_envs().filter_map(|(name, value)| Some((name, value?))));
        script
    };
    let hand_over = || {
        project.docker(&["volume", "rm", &lock]).success();
        hold("bob");
    };
    let answers = [Answer::Late("Remove the lock?", &hand_over, "y"), Answer::Shown("Remove the lock?", "n")];
    let shown = terminal::run(script(), &line, &answers).exits(7);
    let (first, second) = shown.stdout.split_once("changed hands").expect("it should tell");
    assert!(first.contains("locked by alice") && second.contains("locked by bob"), "{shown}");
    terminal::interrupt(script(), &line, &[Answer::Hidden("Remove the lock?", CTRL_C)]).exits(130);
    let output = project.kerek(&["unlock", "--dry-run", project.name()]).success();
    assert!(output.stdout.contains("locked by bob"), "{output}");
    project.kerek(&["unlock", "--force", project.name()]).success();
    assert_eq!(notes(&project), "");
}

/// A deploy that has got the lock and will work for a while.
fn at_work(project: &Project) -> Background {
    let work = Background::start(project, &["deploy", "--force-recreate"]);
    // The lock comes before the new container.
    until("it should begin", || project.service("web").len() >= 2);
    work
}

#[track_caller]
fn until(words: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < deadline, "{words}");
        sleep(Duration::from_millis(50));
    }
}

/// Names of the volumes by which runs agree.
fn notes(project: &Project) -> String {
    let label = format!("label=kerek.lock={}", project.name());
    project.docker(&["volume", "ls", "--quiet", "--filter", &label]).success().stdout
}

/// A kerek that runs meanwhile.
struct Background {
    child: Child,
    command: String,
}

impl Background {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        let mut command: Command = project.kerek_command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("should run kerek"), command: arguments.join(" ") }
    }

    fn wait(self) -> Output {
        let output = self.child.wait_with_output().expect("should end");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Output::new(&self.command, output.status.code(), text(&output.stdout), text(&output.stderr))
    }
}
