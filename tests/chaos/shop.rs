//! What the sweeps deploy: a service of three replicas, in either order, and one of a single replica, start-first; beside
//! them what is none of kerek's business, and two clients that ask all the time.
//!
//! A [`Shop`] knows what has to be true after a run that something went wrong with, whatever it was; that the next run
//! mends it; and that one more has nothing to do.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use rustix::process::Pid;

use crate::support::command::{self, Output};
use crate::support::events::EventLog;
use crate::support::prober::Prober;
use crate::support::process::TIDY;
use crate::support::project::{Container, Project, processes_with};
use crate::support::sweep::{Asked, Verdict};

/// The services, and how many replicas each has.
const SERVICES: [(&str, usize); 2] = [("api", 1), ("web", 3)];
/// Seconds between probes of healthy containers, for all who need no other.
pub(crate) const INTERVAL: u32 = 30;
/// How many containers that makes.
const REPLICAS: usize = 4;
/// Seconds around a lost request of which is told what the engine did.
const BEFORE: f64 = 5.0;
const AFTER: f64 = 11.0;
/// How long a container may take to become healthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// In which order containers are replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Order {
    StartFirst,
    StopFirst,
}

/// The Compose file of a shop whose containers are probed so often, in seconds, once they are healthy: each probe costs
/// much of a machine with other work. A connection that begins while a container is withdrawn takes a second, so that
/// nobody may drain for less.
pub(crate) fn compose(order: Order, interval: u32) -> String {
    let service = |(name, replicas)| {
        let order = match order {
            Order::StopFirst if replicas > 1 => "stop-first",
            // The only replica cannot stop first without an interruption.
            _ => "start-first",
        };
        format!(
            r#"
  {name}:
    image: kerek-test-app
    environment: {{VERSION: "${{VERSION:-v0}}"}}
    healthcheck: {{test: [CMD, /app, healthcheck], interval: {interval}s, start_interval: 100ms, start_period: 60s}}
    deploy: {{replicas: {replicas}, update_config: {{order: {order}}}}}
    x-kerek: {{drain: {{minimum: 1500ms, quiet: 200ms, maximum: 4s}}}}"#
        )
    };
    format!("services:{}", SERVICES.map(service).concat())
}

/// A shop that is open.
pub(crate) struct Shop<'a> {
    project: &'a Project,
    order: Order,
    /// Of all containers that are neither of a service nor a case's business.
    bystanders: Vec<Bystander>,
    /// Options by which kerek reaches the engine.
    way: Vec<String>,
    /// Where kerek may put what is temporary.
    folder: tempfile::TempDir,
    version: Cell<usize>,
    probers: Vec<(&'static str, Prober<'a>)>,
    /// What the engine has done to the project, until it is restarted.
    log: EventLog,
    /// What was done from when on, in seconds since the Unix epoch.
    cases: RefCell<Vec<(f64, String)>>,
    excuses: RefCell<Vec<Excuse>>,
    /// Whether the engine was restarted.
    restarted: Cell<bool>,
}

/// Why requests may be lost that are due at a time, in seconds since the Unix epoch.
struct Excuse {
    begin: f64,
    end: f64,
    reason: &'static str,
}

/// What must not be touched: a container's ID, and when it was started.
type Bystander = String;

impl<'a> Shop<'a> {
    /// Brings a project with the Compose file of a shop up, and has it asked from now on.
    pub(crate) fn open(project: &'a Project, order: Order) -> Self {
        project.kerek(&["deploy"]).success();
        project.compose(&["run", "--detach", "web"]).success();
        let probers = SERVICES.map(|(name, _)| (name, Prober::start(project, &format!("http://{name}:8080/")))).into();
        Self {
            project,
            order,
            bystanders: bystanders(project),
            way: Vec::new(),
            folder: tempfile::tempdir().expect("temporary folder"),
            version: Cell::new(0),
            probers,
            log: EventLog::start(project),
            cases: RefCell::default(),
            excuses: RefCell::default(),
            restarted: Cell::new(false),
        }
    }

    /// The same, when kerek is to reach the engine by other options.
    pub(crate) fn reached_by(self, options: &[&str]) -> Self {
        Self { way: options.iter().map(ToString::to_string).collect(), ..self }
    }

    /// A deploy of the version that is wanted now.
    pub(crate) fn deploy(&self) -> Command {
        let mut command = self.project.kerek_command(&["deploy", "--progress", "plain"]);
        command.args(&self.way).env("VERSION", self.wanted()).env("TMPDIR", self.folder.path());
        command
    }

    /// The same, undisturbed; it waits until the lock of a former run is given up.
    fn deploy_again(&self) -> Output {
        let mut command = self.deploy();
        command.args(["--lock-wait", "60s"]);
        command::run(command)
    }

    fn wanted(&self) -> String {
        format!("v{}", self.version.get())
    }

    /// How many events there have been; none are told any more when the engine was restarted.
    pub(crate) fn events(&self) -> usize {
        self.log.len()
    }

    /// Deploys a new version without trouble. Returns how many events that takes.
    pub(crate) fn undisturbed(&self) -> usize {
        let before = self.events();
        let mut events = 0;
        let verdict = self.survive("undisturbed", &[Some(0)], |deploy| {
            let output = command::run(deploy);
            events = self.events() - before;
            (output, true)
        });
        assert!(verdict.problems.is_empty() && events > 0, "{events}, {verdict:#?}");
        events
    }

    /// Deploys a new version in a way that something goes wrong with, and says whether all is as it has to be: now, after
    /// it was deployed again, and after one more time. The run returns its output, and whether the fault was met; it may
    /// end with one of the codes.
    pub(crate) fn survive(
        &self,
        case: &str,
        codes: &[Option<i32>],
        run: impl FnOnce(Command) -> (Output, bool),
    ) -> Verdict {
        self.cases.borrow_mut().push((now(), case.to_owned()));
        let former = ids(&self.services());
        self.version.set(self.version.get() + 1);
        let (output, met) = run(self.deploy());
        self.excuse_killed(&output);
        let mut problems = Vec::new();
        if !codes.contains(&output.code) {
            problems.push(format!("unexpected exit code\n{output}"));
        }
        let wrong = self.wrong_after(&output, &former);
        problems.extend(wrong.into_iter().map(|wrong| format!("{wrong}\n{output}")));

        let mut again = self.deploy_again();
        if self.restarted.get() && matches!(again.code, Some(4 | 5)) && is_spoiled(&again) {
            // The run that finds out removes the container, and the old version serves.
            again = self.deploy_again();
        }
        let wrong = if again.code == Some(0) { self.wrong_after(&again, &former) } else { vec!["not mended".into()] };
        problems.extend(wrong.into_iter().map(|wrong| format!("{wrong}, by the next run\n{again}\nafter\n{output}")));

        let settled = ids(&self.services());
        let idle = self.deploy_again();
        let nothing = idle.code == Some(0) && idle.stderr.contains("0 services updated");
        if !nothing || ids(&self.services()) != settled {
            problems.push(format!("a third run has something to do\n{idle}\nafter\n{again}\nafter\n{output}"));
        }
        if !self.locks().is_empty() {
            problems.push(format!("a third run leaves a lock\n{idle}"));
        }
        Verdict { met, problems }
    }

    /// What is not as it has to be, given how a run has ended and which containers there were before.
    fn wrong_after(&self, output: &Output, former: &BTreeSet<String>) -> Vec<String> {
        let mut wrong = Vec::new();
        let containers = self.settled();
        let all = containers.len();
        let serving: Vec<_> = containers.iter().filter(|container| serves(container)).collect();
        for (name, replicas) in SERVICES {
            let strength = serving.iter().filter(|container| container.service == name).count();
            // A run that is cut off cannot put anything back.
            let away = usize::from(replicas > 1 && self.order == Order::StopFirst && is_cut_off(output));
            if strength < replicas - away {
                wrong.push(format!("{strength} containers serve {name}: {containers:#?}"));
            }
        }
        let wanted = self.wanted();
        let good = serving.iter().filter(|container| container.variable("VERSION") == wanted).count();
        if output.code == Some(0) && (good, all) != (REPLICAS, REPLICAS) {
            wrong.push(format!("a success with {good} good containers of {all}: {containers:#?}"));
        }
        let stays = |id: &String| serving.iter().any(|container| container.id == *id);
        if matches!(output.code, Some(1 | 4)) && !former.iter().all(stays) {
            wrong.push(format!("the old version does not serve: {containers:#?}"));
        }
        let cut_off = is_cut_off(output);
        let litter = containers.iter().filter(|container| container.state == "created").count();
        if litter > 0 && !cut_off && !output.stderr.contains("the next deploy removes it") {
            wrong.push(format!("{litter} containers are left that never ran: {containers:#?}"));
        }
        let lock = self.locks();
        // Who has just done all may find that the link is broken over which the lock is to be given back.
        if !lock.is_empty() && !cut_off && self.way.is_empty() {
            wrong.push(format!("the lock is left: {lock}"));
        }
        if bystanders(self.project) != self.bystanders {
            wrong.push("others' containers were touched".to_owned());
        }
        wrong.extend(self.left());
        wrong
    }

    /// The services' containers, in any state.
    fn services(&self) -> Vec<Container> {
        let mut containers = self.project.containers();
        containers.retain(|container| !is_one_off(container));
        containers
    }

    /// The same when it is known how each of them is: an engine that comes back asks them anew.
    fn settled(&self) -> Vec<Container> {
        let begin = Instant::now();
        loop {
            let containers = self.services();
            let is_unknown = |it: &Container| it.state == "running" && it.health.as_deref() == Some("starting");
            if !containers.iter().any(is_unknown) || begin.elapsed() > PATIENCE {
                return containers;
            }
            sleep(Duration::from_millis(200));
        }
    }

    /// Volumes by which runs agree.
    fn locks(&self) -> String {
        let label = format!("label=kerek.lock={}", self.project.name());
        self.project.docker(&["volume", "ls", "--quiet", "--filter", &label]).success().stdout
    }

    /// Processes and files that a run has left, in words.
    fn left(&self) -> Option<String> {
        let begin = Instant::now();
        loop {
            let files = fs::read_dir(self.folder.path()).into_iter().flatten().flatten().map(|entry| entry.path());
            let files: Vec<_> = files.collect();
            let processes = processes_with(&format!("TMPDIR={}", self.folder.path().display()));
            if files.is_empty() && processes.is_empty() {
                return None;
            }
            if begin.elapsed() > TIDY {
                return Some(format!("left: {files:?}, {processes:?}"));
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Does what makes that nobody can look up a name, until it is done and a moment later.
    pub(crate) fn without_engine(&self, act: impl FnOnce()) {
        let begin = now() - 1.0;
        self.restarted.set(true);
        act();
        self.excuse(begin, now() + 5.0, "while the engine was away");
    }

    /// Who is killed between the two calls that take a container out of DNS and let it live on cannot make the second one.
    /// What was on its way to it right then is lost.
    fn excuse_killed(&self, output: &Output) {
        let is_detached = |container: &Container| container.state == "running" && container.endpoints.is_empty();
        if output.code.is_none() && self.services().iter().any(is_detached) {
            self.excuse(now() - 2.0, now(), "killed while it reconnected");
        }
    }

    fn excuse(&self, begin: f64, end: f64, reason: &'static str) {
        self.excuses.borrow_mut().push(Excuse { begin, end, reason });
    }

    /// Ends the asking, and tells what came of it.
    pub(crate) fn close(mut self) -> Asked {
        let mut asked = Asked::default();
        for (service, prober) in std::mem::take(&mut self.probers) {
            let summary = prober.stop();
            asked.sent += summary.sent;
            for failure in &summary.failures {
                let at = summary.began + failure.at;
                let excuses = self.excuses.borrow();
                if let Some(excuse) = excuses.iter().find(|excuse| (excuse.begin..=excuse.end).contains(&at)) {
                    *asked.excused.entry(excuse.reason).or_default() += 1;
                    continue;
                }
                if self.restarted.get() && failure.reason.contains("Temporary failure in name resolution") {
                    *asked.excused.entry("as a restarted engine did not know a name").or_default() += 1;
                    continue;
                }
                asked.lost += 1;
                asked.losses.extend(self.tell(service, at, failure.after, &failure.reason));
            }
            let untold = usize::try_from(summary.failed).unwrap_or(usize::MAX) - summary.failures.len();
            if untold > 0 {
                asked.lost += untold;
                asked.losses.push(format!("lost of {service}: {untold} more"));
            }
        }
        asked
    }

    /// Tells of a lost request, and what the engine did to its service at that time.
    fn tell(&self, service: &str, at: f64, after: f64, reason: &str) -> Vec<String> {
        let cases = self.cases.borrow();
        let (begin, case) = cases.iter().rev().find(|(begin, _)| *begin <= at).unwrap_or(&cases[0]);
        let when = at - begin;
        let lost = format!("{case}: lost of {service} {when:.3} s into it, after {after:.3} s: {reason}");
        let mut events = self.log.between(at - BEFORE, at + AFTER);
        events.retain(|event| event.what.contains(&format!("-{service}-")));
        let events = events.into_iter().map(|event| format!("    {:+.3} s: {}", event.at - at, event.what));
        std::iter::once(lost).chain(events).collect()
    }
}

/// Runs a command to its end, and does something at a certain moment, given its process; what it has said so far tells
/// whether that is now. Returns its output, and whether that moment came.
pub(crate) fn run(mut command: Command, is_now: impl Fn(&str) -> bool, act: impl FnOnce(Pid)) -> (Output, bool) {
    let file = tempfile::NamedTempFile::new().expect("temporary file");
    let said = || fs::read_to_string(file.path()).expect("text");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file.reopen().expect("temporary file"));
    let name = format!("{command:?}");
    let mut child = command.spawn().expect("should run kerek");
    let mut act = Some(act);
    let status = loop {
        if let Some(status) = child.try_wait().expect("should wait") {
            break status;
        }
        if is_now(&said())
            && let Some(act) = act.take()
        {
            act(Pid::from_child(&child));
        }
        sleep(Duration::from_millis(2));
    };
    (Output::new(&name, status.code(), String::new(), said()), act.is_none())
}

/// Whether a run has met a container that an engine has spoiled which crashed while it started it: such engines have been seen
/// unable to connect it ever after, or ending it once it was started again.
fn is_spoiled(output: &Output) -> bool {
    ["network sandbox for container", "failed: exited with code 137"].iter().any(|words| output.stderr.contains(words))
}

/// Whether a run had no chance to leave things in order.
fn is_cut_off(output: &Output) -> bool {
    matches!(output.code, None | Some(3))
}

/// Whether clients find a container, and it answers them.
fn serves(container: &Container) -> bool {
    let healthy = container.state == "running" && container.health.as_deref() == Some("healthy");
    healthy && container.is_known_as(&container.service)
}

fn is_one_off(container: &Container) -> bool {
    container.labels.get("com.docker.compose.oneoff").is_some_and(|value| value == "True")
}

fn ids(containers: &[Container]) -> BTreeSet<String> {
    containers.iter().map(|container| container.id.clone()).collect()
}

fn bystanders(project: &Project) -> Vec<Bystander> {
    let label = format!("label=com.docker.compose.project={}", project.name());
    let one_off = "label=com.docker.compose.oneoff=True";
    let listed = project.docker(&["ps", "--all", "--quiet", "--filter", &label, "--filter", one_off]).success().stdout;
    let format = "{{.Id}} {{.State.Status}} {{.State.StartedAt}} {{json .NetworkSettings.Networks}}";
    let ids: Vec<_> = listed.split_whitespace().collect();
    let inspected = project.docker(&[&["inspect", "--format", format], &ids[..]].concat()).success().stdout;
    inspected.lines().map(str::to_owned).collect()
}

/// Seconds since the Unix epoch.
fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
