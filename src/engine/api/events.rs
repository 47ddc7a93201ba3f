//! The engine's events: one JSON object a line, without end.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;

use super::http::{MAX_ANSWER, garbled, transport_error};
use super::wire::verdict;
use crate::engine::{Action, Result};
use crate::names::ContainerId;

/// Splits the body of `GET /events` into events.
pub(super) struct Lines {
    call: String,
    body: Incoming,
    buffer: Vec<u8>,
    /// Bytes at the beginning of the buffer that are known to hold no line end.
    searched: usize,
}

/// What an event says.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Message {
    /// Something happened to a container.
    Happened(ContainerId, Action),
    /// A container's health was checked, with a verdict that has to be asked for (podman).
    Probed(ContainerId),
}

impl Lines {
    pub(super) fn new(call: &str, body: Incoming) -> Self {
        Self { call: call.to_owned(), body, buffer: Vec::new(), searched: 0 }
    }

    /// The next event that matters, or `None` when the engine has ended the stream.
    pub(super) async fn next(&mut self) -> Result<Option<Message>> {
        while let Some(line) = self.line().await? {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            let event: Event = serde_json::from_slice(line).map_err(|error| garbled(&self.call, &error))?;
            if let Some(message) = event.into_message() {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    async fn line(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n') {
                let rest = self.buffer.split_off(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(std::mem::replace(&mut self.buffer, rest)));
            }
            self.searched = self.buffer.len();
            if self.searched > MAX_ANSWER {
                return Err(garbled(&self.call, &format_args!("an event has more than {MAX_ANSWER} bytes")));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => self.buffer.extend(frame.data_ref().into_iter().flatten()),
                Some(Err(error)) => return Err(transport_error(&self.call, &error)),
                None => return Ok(None),
            }
        }
    }
}

/// An event. Docker 29 has dropped the lower-case fields, which tell nothing else.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    #[serde(rename = "Type")]
    kind: Option<String>,
    action: Option<String>,
    actor: Option<Actor>,
}

#[derive(Deserialize)]
struct Actor {
    #[serde(rename = "ID")]
    id: Option<String>,
    #[serde(rename = "Attributes")]
    attributes: Option<Attributes>,
}

#[derive(Default, Deserialize)]
struct Attributes {
    health_status: Option<String>,
}

impl Event {
    /// `None` for events of no interest, and for incomplete ones: an inspection will tell.
    fn into_message(self) -> Option<Message> {
        let actor = self.actor?;
        let id = ContainerId::new(actor.id?);
        let action = self.action.unwrap_or_default();
        if self.kind.is_some_and(|kind| kind != "container") || action.starts_with("exec_") {
            // Each health probe makes three events of commands that run in the container.
            return None;
        }
        let action = match action.as_str() {
            "start" => Action::Started,
            "die" | "died" => Action::Died,
            // Podman calls it "remove"; what Docker calls so is no event.
            "destroy" | "remove" => Action::Destroyed,
            _ => match action.strip_prefix("health_status") {
                None => Action::Other,
                Some(status) => {
                    let attribute = actor.attributes.unwrap_or_default().health_status;
                    let status = status.strip_prefix(": ").or(attribute.as_deref());
                    match status.and_then(verdict) {
                        Some(health) => Action::Health(health),
                        None => return Some(Message::Probed(id)),
                    }
                }
            },
        };
        Some(Message::Happened(id, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Health;

    fn message(json: &str) -> Option<Message> {
        serde_json::from_str::<Event>(json).expect("an event").into_message()
    }

    fn container_event(action: &str, attributes: &str) -> String {
        format!(
            r#"{{"status":"x","id":"c1","Type":"container","Action":"{action}","Actor":{{"ID":"c1","Attributes":{attributes}}},"scope":"local","time":1,"timeNano":1}}"#
        )
    }

    fn happened(action: Action) -> Message {
        Message::Happened(ContainerId::new("c1"), action)
    }

    #[test]
    fn knows_the_actions_that_matter() {
        for (action, expected) in [
            ("start", Some(happened(Action::Started))),
            ("die", Some(happened(Action::Died))),
            ("died", Some(happened(Action::Died))),
            ("destroy", Some(happened(Action::Destroyed))),
            ("remove", Some(happened(Action::Destroyed))),
            ("health_status: healthy", Some(happened(Action::Health(Health::Healthy)))),
            ("health_status: unhealthy", Some(happened(Action::Health(Health::Unhealthy)))),
            ("health_status: starting", Some(happened(Action::Health(Health::Starting)))),
            ("health_status: confused", Some(Message::Probed(ContainerId::new("c1")))),
            ("health_status", Some(Message::Probed(ContainerId::new("c1")))),
            ("oom", Some(happened(Action::Other))),
            ("kill", Some(happened(Action::Other))),
            ("", Some(happened(Action::Other))),
            ("exec_create: true", None),
            ("exec_die", None),
        ] {
            assert_eq!(message(&container_event(action, "{}")), expected, "{action}");
        }
        let event = container_event("health_status", r#"{"health_status": "unhealthy", "name": "x"}"#);
        assert_eq!(message(&event), Some(happened(Action::Health(Health::Unhealthy))));
    }

    #[test]
    fn reads_incomplete_and_newer_events() {
        // Docker 29 leaves out the lower-case fields.
        let newer = r#"{"Type":"container","Action":"die","Actor":{"ID":"c1","Attributes":null},"NewField":[{}]}"#;
        assert_eq!(message(newer), Some(happened(Action::Died)));
        assert_eq!(message(r#"{"Action":"die","Actor":{"ID":"c1"}}"#), Some(happened(Action::Died)));
        for incomplete in [
            "{}",
            r#"{"Action":"die"}"#,
            r#"{"Action":"die","Actor":{}}"#,
            r#"{"Type":"network","Action":"destroy","Actor":{"ID":"n1"}}"#,
        ] {
            assert_eq!(message(incomplete), None, "{incomplete}");
        }
    }
}
