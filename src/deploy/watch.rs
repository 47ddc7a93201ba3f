//! One subscription to the engine's events for a whole run, shared by everything that waits for a container.
//!
//! Events only make waiting shorter: whoever waits also looks for itself now and then, so that a lost subscription
//! costs time and nothing else.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::LocalBoxStream;
use tokio::sync::broadcast;

use crate::engine::{self, Engine, Event};
use crate::names::{ContainerId, ProjectName};

/// Enough for every container of a large project to change at once between two looks.
const BACKLOG: usize = 1024;

/// Pause before a lost subscription is renewed.
const RENEWAL: Duration = Duration::from_millis(500);

/// Distributes events.
#[derive(Debug)]
pub(super) struct Hub(broadcast::Sender<Event>);

/// Receives the events of one container.
#[derive(Debug)]
pub(super) struct Subscription {
    container: ContainerId,
    receiver: broadcast::Receiver<Event>,
}

impl Hub {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(BACKLOG))
    }

    /// Events of a container from now on.
    pub(super) fn subscribe(&self, container: &ContainerId) -> Subscription {
        Subscription { container: container.clone(), receiver: self.0.subscribe() }
    }

    /// Runs `work` with events flowing: first those of the given stream, if the engine has given any, and when it ends, those
    /// of a new one.
    pub(super) async fn during<E: Engine, T>(
        &self,
        engine: &E,
        project: &ProjectName,
        events: engine::Result<LocalBoxStream<'static, engine::Result<Event>>>,
        work: impl Future<Output = T>,
    ) -> T {
        let pump = async {
            let mut stream = events;
            loop {
                match stream {
                    Ok(mut events) => {
                        while let Some(Ok(event)) = events.next().await {
                            // Nobody waiting is fine.
                            let _ = self.0.send(event);
                        }
                        tracing::debug!("the engine ended the stream of events");
                    }
                    Err(error) => tracing::debug!("no events: {error}"),
                }
                tokio::time::sleep(RENEWAL).await;
                stream = engine.events(project).await;
            }
        };
        tokio::select! {
            result = work => result,
            () = pump => unreachable!("the pump never ends"),
        }
    }
}

impl Subscription {
    /// Forgets what has happened up to now: whoever looks at the container afterwards sees it.
    pub(super) fn catch_up(&mut self) {
        self.receiver = self.receiver.resubscribe();
    }

    /// Returns when something has happened to the container.
    pub(super) async fn changed(&mut self) {
        loop {
            match self.receiver.recv().await {
                Ok(event) if event.container != self.container => {}
                // Having missed some events is as good as an event.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}
