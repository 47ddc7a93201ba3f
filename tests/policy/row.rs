//! A row of a table: a service with some policy, of which one version is deployed after another.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::command::Output;
use crate::support::events::{Event, EventLog};
use crate::support::json_lines;
use crate::support::project::{Container, Project};

/// A service whose starts can be made to fail. Nothing is drained, as no row but those with a prober has any traffic. What
/// is healthy is hardly ever probed, as that would keep the machine busy.
const WEB: &str = r#"
services:
  web:
    image: kerek-test-app
    scale: REPLICAS
    environment:
      VERSION: "${VERSION}"
      BOOT_MS: "${BOOT_MS:-}"
      CRASH_AFTER_MS: "${CRASH_AFTER_MS:-}"
      EXIT_CODE: "3"
      SICK_AFTER_MS: "${SICK_AFTER_MS:-}"
      BAD_STARTS: "${BAD_STARTS:-}"
    restart: ${RESTART:-no}
    volumes: [starts:/starts]
    healthcheck: {disable: HEALTHLESS, test: [CMD, /app, healthcheck], interval: "${INTERVAL:-10s}", retries: 1, start_interval: 100ms, start_period: 60s}
    deploy:
      update_config: {UPDATE}
      rollback_config: {ROLLBACK}
    x-kerek: {drain: 0s}
volumes: {starts: {}}
"#;

/// The two orders.
pub(crate) const ORDERS: [Order; 2] = [Order::StartFirst, Order::StopFirst];

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    StartFirst,
    StopFirst,
}

impl Order {
    /// As Compose files write it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::StartFirst => "start-first",
            Self::StopFirst => "stop-first",
        }
    }

    /// What kerek does first with a replica.
    fn first_step(self) -> &'static str {
        match self {
            Self::StartFirst => "starting",
            Self::StopFirst => "stopping",
        }
    }
}

/// What is to be deployed.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    replicas: usize,
    update: String,
    rollback: String,
    checked: bool,
    old: Vec<(&'static str, &'static str)>,
    new: Vec<(&'static str, &'static str)>,
}

impl Row {
    /// Three replicas with a healthcheck, and an `update_config`.
    pub(crate) fn new(update: impl Into<String>) -> Self {
        let (rollback, old, new) = (String::new(), Vec::new(), Vec::new());
        Self { replicas: 3, update: update.into(), rollback, checked: true, old, new }
    }

    pub(crate) fn replicas(self, replicas: usize) -> Self {
        Self { replicas, ..self }
    }

    /// With a `rollback_config`.
    pub(crate) fn rollback(self, rollback: impl Into<String>) -> Self {
        Self { rollback: rollback.into(), ..self }
    }

    /// Without a healthcheck.
    pub(crate) fn unchecked(self) -> Self {
        Self { checked: false, ..self }
    }

    /// Variables of the old version.
    pub(crate) fn old(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.old.extend(variables);
        self
    }

    /// Variables of the new version.
    pub(crate) fn new_version(mut self, variables: &[(&'static str, &'static str)]) -> Self {
        self.new.extend(variables);
        self
    }

    /// The new version's starts with these numbers fail at once.
    pub(crate) fn failing_at(self, starts: &'static str) -> Self {
        self.new_version(&[("BAD_STARTS", starts), ("BOOT_MS", "300"), ("CRASH_AFTER_MS", "100")])
    }

    /// The project with its old version deployed, and the new version set.
    #[track_caller]
    pub(crate) fn begin(&self) -> Project {
        let compose = WEB
            .replace("REPLICAS", &self.replicas.to_string())
            .replace("UPDATE", &self.update)
            .replace("ROLLBACK", &self.rollback)
            .replace("HEALTHLESS", &(!self.checked).to_string());
        let mut project = Project::new("policy", &compose);
        project.set("VERSION", "old");
        for (name, value) in &self.old {
            project.set(name, value);
        }
        // Compose does not wait for what has no healthcheck.
        let up: &[&str] = if self.checked { &["up", "--detach", "--wait"] } else { &["up", "--detach"] };
        project.compose(up).success();
        project.set("VERSION", "new");
        for (name, _) in &self.old {
            project.set(name, "");
        }
        for (name, value) in &self.new {
            project.set(name, value);
        }
        project
    }

    /// Deploys the new version.
    #[track_caller]
    pub(crate) fn deploy(&self) -> Ran {
        let project = self.begin();
        let before = project.service("web");
        let log = EventLog::start(&project);
        let output = project.kerek(&["deploy", "--progress", "json"]);
        json_lines::parse(&output.stderr);
        let events = log.end(&project);
        Ran { project, before, output, events }
    }
}

/// A deploy that has come to its end.
pub(crate) struct Ran {
    pub(crate) project: Project,
    pub(crate) before: Vec<Container>,
    pub(crate) output: Output,
    events: Vec<Event>,
}

/// Containers by number: old ones begin with 1, and new ones follow them.
pub(crate) type Numbers = Vec<usize>;

impl Ran {
    /// The old containers, in the order in which they are replaced.
    pub(crate) fn old(&self) -> Numbers {
        (1..=self.before.len()).collect()
    }

    /// The new containers, in the order in which they were started.
    pub(crate) fn brought_in(&self) -> Numbers {
        let mut started: Vec<_> =
            self.moments("start").into_iter().filter(|(number, _)| *number > self.before.len()).collect();
        started.sort_by(|one, other| one.1.total_cmp(&other.1));
        started.into_iter().map(|(number, _)| number).collect()
    }

    /// When something last happened to each container, by number.
    fn moments(&self, action: &str) -> BTreeMap<usize, f64> {
        let prefix = format!("container {action} {}-web-", self.project.name());
        let happened =
            self.events.iter().filter_map(|event| Some((event.what.strip_prefix(&prefix)?.parse().ok()?, event.at)));
        happened.collect()
    }

    /// When something last happened to some containers, in the order of time.
    #[track_caller]
    pub(crate) fn times(&self, action: &str, containers: &[usize]) -> Vec<f64> {
        let moments = self.moments(action);
        let time = |number| *moments.get(number).unwrap_or_else(|| panic!("no {action} of {number}:\n{self}"));
        let mut times: Vec<_> = containers.iter().map(time).collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Asserts that containers took the place of others so many at a time, in an order, with a pause in between.
    #[track_caller]
    pub(crate) fn assert_pace(
        &self,
        incoming: &[usize],
        outgoing: &[usize],
        order: Order,
        at_a_time: usize,
        pause: f64,
    ) {
        let ready = self.times("health_status: healthy", incoming);
        let (begins, ends) = match order {
            Order::StartFirst => (self.times("start", incoming), self.times("die", outgoing)),
            Order::StopFirst => (self.times("die", outgoing), ready.clone()),
        };
        for index in at_a_time..begins.len() {
            let before = ends[index / at_a_time * at_a_time - 1];
            assert!(begins[index] - before >= pause, "{index} begins too early:\n{self}");
        }
        let goes = self.times("die", outgoing);
        let comes = self.times("start", incoming);
        for (batch, (goes, comes)) in goes.chunks(at_a_time).zip(comes.chunks(at_a_time)).enumerate() {
            match order {
                // Each waits for its own successor only.
                Order::StartFirst => assert!(goes[0] > ready[batch * at_a_time], "{batch} goes too early:\n{self}"),
                Order::StopFirst => assert!(comes[0] > goes[0], "{batch} comes too early:\n{self}"),
            }
        }
    }

    /// Asserts how many replicas kerek is at together, from some event of its on.
    #[track_caller]
    pub(crate) fn assert_together(&self, event: &str, order: Order, at_a_time: usize) {
        let steps = self.told().into_iter().skip_while(|told| told["event"] != event);
        let steps = steps.filter(|told| told["event"] == "step").map(|told| told["step"].clone());
        let begun = steps.take_while(|step| step == order.first_step()).count();
        assert_eq!(begun, at_a_time, "begin together:\n{self}");
    }

    /// What kerek told of, an object each.
    fn told(&self) -> Vec<Value> {
        let lines = self.output.stderr.lines().chain(self.output.stdout.lines());
        lines.map(json_lines::parse_line).collect()
    }

    /// Asserts how it ended, and that nothing is left but these old containers and so many new ones, all of them serving.
    #[track_caller]
    pub(crate) fn assert_serve(&self, code: i32, old: &[usize], new: usize) {
        self.assert_left(code, old, new, &[]);
    }

    /// The same with some old containers that are stopped.
    #[track_caller]
    pub(crate) fn assert_left(&self, code: i32, old: &[usize], new: usize, stopped: &[usize]) {
        assert_eq!(self.output.code, Some(code), "{self}");
        let (running, idle): (Vec<_>, Vec<_>) =
            self.project.service("web").into_iter().partition(|container| container.state == "running");
        let among = |containers: &[Container]| -> Numbers {
            let is_there =
                |number: &usize| containers.iter().any(|container| container.id == self.before[number - 1].id);
            self.old().into_iter().filter(is_there).collect()
        };
        assert_eq!(among(&running), old, "old ones that run: {running:#?}\n{self}");
        assert_eq!(running.len(), old.len() + new, "{running:#?}\n{self}");
        assert_eq!(among(&idle), stopped, "old ones that are stopped: {idle:#?}\n{self}");
        assert_eq!(idle.len(), stopped.len(), "{idle:#?}\n{self}");
        for container in &running {
            assert!(matches!(container.health.as_deref(), None | Some("healthy")), "{container:#?}\n{self}");
            assert!(container.is_known_as("web"), "{container:#?}\n{self}");
        }
    }
}

impl std::fmt::Display for Ran {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for event in &self.events {
            writeln!(formatter, "{:.3} {}", event.at, event.what)?;
        }
        write!(formatter, "{}", self.output)
    }
}
