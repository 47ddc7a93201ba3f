//! Hooks: commands from the Compose file that are run inside a container right after its start and right before its stop.
//!
//! The engine knows nothing of them. They are run one after the other, and the first that fails ends the list. Their
//! commands and variables may hold secrets and are never shown; their output is, if they fail.

use super::exchange::Context;
use super::ready::Unready;
use crate::cancel::Cancel;
use crate::engine::{Container, Engine, ErrorKind, Exec};
use crate::names::ServiceName;
use crate::report::{Event, Step};

/// Runs hooks in one container.
#[derive(Debug)]
pub(super) struct Runner<'a, E> {
    pub(super) context: &'a Context<'a, E>,
    pub(super) service: &'a ServiceName,
    pub(super) container: &'a Container,
}

impl<E: Engine> Runner<'_, E> {
    /// Runs a list of hooks, `key` being its name in the Compose file. There is no time limit, as with Compose.
    pub(super) async fn run(&self, key: &str, hooks: &[Exec], cancel: &Cancel) -> Result<(), Unready> {
        for (index, hook) in hooks.iter().enumerate() {
            let name = format!("{key}[{index}]");
            self.step(Step::Hook { hook: &name });
            let outcome = tokio::select! {
                outcome = self.context.engine.exec(&self.container.id, hook) => outcome,
                () = cancel.requested() => return Err(Unready::Cancelled),
            };
            match outcome {
                Ok(outcome) if outcome.code == 0 => {}
                Ok(outcome) => {
                    self.step(Step::HookFailed { hook: &name, code: outcome.code });
                    self.show(&outcome.output);
                    return Err(Unready::Unfit(format!("failed in its hook {name} with code {}", outcome.code)));
                }
                // A container that has ended already, a user that does not exist.
                Err(error) if error.kind == ErrorKind::Refused => {
                    return Err(Unready::Unfit(format!("could not run its hook {name}: {}", error.message)));
                }
                Err(error) => return Err(Unready::Engine(error)),
            }
        }
        Ok(())
    }

    fn show(&self, output: &[String]) {
        let container = &self.container.name;
        let event = Event::Evidence { service: self.service, container, logs: output, probe: "" };
        self.context.reporter.report(&event);
    }

    fn step(&self, step: Step<'_>) {
        self.context.reporter.report(&Event::Step { service: self.service, container: &self.container.name, step });
    }
}
