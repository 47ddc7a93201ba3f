//! A client in a project's network that asks a service all the time, as any other service would: by name, on a new
//! connection for each request.
//!
//! It is the load generator in a container beside the project. The addresses behind the name take turns and none stands
//! in for another, so that a replica which is known but does not answer is a failure, never papered over.

use super::load::Summary;
use super::project::{PROJECT_LABEL, Project};

/// Requests per second.
const RATE: &str = "20";

/// A probe under way; dropping it ends it unheard.
pub(crate) struct Prober<'a> {
    project: &'a Project,
    container: String,
}

impl<'a> Prober<'a> {
    /// Begins to ask a URL such as `http://web:8080/` 20 times a second from within the project's default network, which
    /// must be there.
    #[track_caller]
    pub(crate) fn start(project: &'a Project, url: &str) -> Self {
        let network = format!("{}_default", project.name());
        let label = format!("{PROJECT_LABEL}={}", project.name());
        let image = ["--entrypoint", "/load", "kerek-test-app"];
        let run = ["run", "--detach", "--network", &network, "--label", &label];
        let load = ["--url", url, "--rate", RATE, "--json", "-"];
        let container = project.docker(&[&run[..], &image, &load].concat()).success().stdout;
        Self { project, container: container.trim().to_owned() }
    }

    /// Ends when open requests are answered, and tells how it went.
    #[track_caller]
    pub(crate) fn stop(self) -> Summary {
        // More than a request may take.
        self.project.docker(&["stop", "--timeout", "15", &self.container]).success();
        let logs = self.project.docker(&["logs", &self.container]).success();
        serde_json::from_str(&logs.stdout).unwrap_or_else(|error| panic!("no summary: {error}: {logs}"))
    }
}

impl Drop for Prober<'_> {
    fn drop(&mut self) {
        // If this fails, the project's end removes it.
        self.project.docker(&["rm", "--force", &self.container]);
    }
}
