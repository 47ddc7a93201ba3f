//! What the engine did to a project's containers and networks, and when: for telling what a failure coincides with.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use super::project::Project;

/// A log that is being kept; ends when dropped.
pub(crate) struct EventLog {
    docker: Child,
    events: Arc<Mutex<Vec<Event>>>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// Seconds since the Unix epoch.
    pub(crate) at: f64,
    /// Such as `container start shop-web-1`.
    pub(crate) what: String,
}

impl EventLog {
    /// Logs what happens from now on.
    pub(crate) fn start(project: &Project) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = now.as_secs().to_string();
        let mut docker = project
            .command("docker", &["events", "--since", &since, "--format", "{{json .}}"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("should run docker");
        let events = Arc::default();
        let stdout = docker.stdout.take().expect("stdout should be piped");
        let log = Self { docker, events: Arc::clone(&events) };
        let containers = project.containers().into_iter();
        let listener = Listener {
            project: project.name().to_owned(),
            names: containers.map(|container| (container.id, container.name)).collect(),
        };
        thread::spawn(move || listener.listen(stdout, &events));
        log
    }

    /// Ends the log. Returns all that has happened up to now: the engine is made to tell of something that comes after it.
    pub(crate) fn end(self, project: &Project) -> Vec<Event> {
        let mark = format!("{}-mark", project.name());
        project.docker(&["network", "create", &mark]).success();
        project.docker(&["network", "rm", &mark]).success();
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let events = self.between(0.0, f64::INFINITY);
            if events.iter().any(|event| event.what.starts_with("network destroy")) {
                return events;
            }
            assert!(Instant::now() < deadline, "the engine should tell of the end of {mark}: {events:#?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// How much has happened.
    pub(crate) fn len(&self) -> usize {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// What happened between two times, in seconds since the Unix epoch.
    pub(crate) fn between(&self, from: f64, to: f64) -> Vec<Event> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().filter(|event| (from..=to).contains(&event.at)).cloned().collect()
    }
}

impl Drop for EventLog {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.docker.kill();
        let _ = self.docker.wait();
    }
}

/// Makes events of what the engine says about a project.
struct Listener {
    project: String,
    /// Of its containers, by ID: events of networks tell only the latter.
    names: HashMap<String, String>,
}

impl Listener {
    fn listen(mut self, stdout: ChildStdout, events: &Mutex<Vec<Event>>) {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if let Some(event) = self.parse(&line) {
                events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
            }
        }
    }

    /// An event from a line of JSON; `None` if it is of another project, or about a healthcheck's process.
    fn parse(&mut self, line: &str) -> Option<Event> {
        let event: Value = serde_json::from_str(line).ok()?;
        let attributes = &event["Actor"]["Attributes"];
        let name = attributes["name"].as_str()?;
        let (kind, action) = (event["Type"].as_str()?, event["Action"].as_str()?);
        let subject = match kind {
            "container" if attributes["com.docker.compose.project"] == self.project.as_str() => {
                let id = event["Actor"]["ID"].as_str()?;
                self.names.insert(id.to_owned(), name.to_owned());
                name
            }
            "network" if name.starts_with(&self.project) => {
                let id = attributes["container"].as_str().unwrap_or_default();
                self.names.get(id).map_or(id, String::as_str)
            }
            _ => return None,
        };
        if action.starts_with("exec_") {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "microseconds are enough")]
        let at = event["timeNano"].as_u64()? as f64 / 1e9;
        Some(Event { at, what: format!("{kind} {action} {subject}") })
    }
}
