//! The renderer for programs: one JSON object a line on standard error, where Compose puts its own.
//!
//! Every object has `event`, the name of what happened, and `elapsed_ms`, the milliseconds since the start of the run.
//! Names and fields are stable: later versions may add some, but neither rename nor remove any. Times are whole
//! milliseconds in fields that end in `_ms`. Texts are as they came but for characters that steer terminals, which are
//! escaped the JSON way.
//!
//! `docs/events.schema.json` describes them all.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::transfer::Transfer;
use super::{Event, Reporter, Step, console, words};
use crate::deploy::plan::{Plan, Reason, ServicePlan, Slot, Successor};
use crate::engine::Container;
use crate::error::{Failure, Kind};
use crate::names::ContainerId;
use crate::probe::Report;

/// Writes lines to standard error.
#[derive(Debug)]
pub struct Json {
    begin: Instant,
}

impl Json {
    /// The run begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { begin: Instant::now() }
    }
}

impl Default for Json {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Json {
    fn report(&self, event: &Event<'_>) {
        console::err(&line(self.begin.elapsed(), object(event)));
    }
}

/// The line of a plan that is not carried out, ended.
#[must_use]
pub fn plan(plan: &Plan, containers: &[Container]) -> String {
    line(Duration::ZERO, object(&Event::Planned { plan, containers }))
}

/// The line of a failure, ended; `elapsed` is the time since the start of the run.
#[must_use]
pub fn failure(failure: &Failure, elapsed: Duration) -> String {
    let kind = match failure.kind {
        Kind::Unchanged => "unchanged",
        Kind::Usage => "usage",
        Kind::Unreachable => "unreachable",
        Kind::RolledBack => "rolled_back",
        Kind::Incomplete => "incomplete",
        Kind::Locked => "locked",
        Kind::Unconfirmed => "unconfirmed",
        Kind::Unfit => "unfit",
        Kind::NotExecutable => "not_executable",
        Kind::NotFound => "not_found",
        Kind::Interrupted => "interrupted",
        Kind::Terminated => "terminated",
    };
    let fields = json!({
        "event": "failed",
        "kind": kind,
        "exit_code": failure.kind.exit_code(),
        "message": failure.to_string(),
        "hints": failure.hints,
    });
    line(elapsed, fields)
}

fn line(elapsed: Duration, mut object: Value) -> String {
    object["elapsed_ms"] = milliseconds(elapsed);
    let mut line = String::new();
    for character in object.to_string().chars() {
        // Outside of strings there is nothing of the kind; in them, JSON knows them by their numbers, too.
        if character.is_control()
            || matches!(character, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            // Writing to a string cannot fail.
            let _ = write!(line, "\\u{:04x}", u32::from(character));
        } else {
            line.push(character);
        }
    }
    line.push('\n');
    line
}

fn milliseconds(time: Duration) -> Value {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).into()
}

fn object(event: &Event<'_>) -> Value {
    match event {
        Event::Planned { plan, containers } => planned(plan, containers),
        Event::ComposeSaid(line) => json!({ "event": "compose", "line": line.trim() }),
        Event::Creating { containers } => json!({ "event": "creating", "containers": containers }),
        Event::ServiceBegun { service, slots, order } => json!({
            "event": "service_begun",
            "service": service.as_str(),
            "replicas": slots,
            "order": words::order(*order),
        }),
        Event::Step { service, container, step } => {
            let mut object = json!({ "event": "step", "service": service.as_str(), "container": container });
            extend(&mut object, self::step(step));
            object
        }
        Event::ServiceDone { service, took } => {
            json!({ "event": "service_done", "service": service.as_str(), "took_ms": milliseconds(*took) })
        }
        Event::RollingBack { service, slots } => {
            json!({ "event": "rolling_back", "service": service.as_str(), "replicas": slots })
        }
        Event::Evidence { service, container, logs, probe } => json!({
            "event": "evidence",
            "service": service.as_str(),
            "container": container,
            "logs": logs,
            "probe": probe,
        }),
        Event::OrphanRemoved { container, took } => {
            json!({ "event": "orphan_removed", "container": container, "took_ms": milliseconds(*took) })
        }
        Event::Transfer(event) => transfer(event),
        Event::Probing { url, rate } => json!({ "event": "probing", "url": url.to_string(), "rate": rate }),
        Event::Probed(report) => probed(report),
        Event::Note(message) => json!({ "event": "note", "message": message }),
        Event::Warning(message) => json!({ "event": "warning", "message": message }),
        Event::Prepared { services, took } => {
            json!({ "event": "prepared", "services": services, "took_ms": milliseconds(*took) })
        }
        Event::Finished { updated, unchanged, took } => json!({
            "event": "finished",
            "updated": updated,
            "unchanged": unchanged,
            "took_ms": milliseconds(*took),
        }),
    }
}

/// How requests went in each phase that there was.
fn probed(report: &Report) -> Value {
    let mut object = json!({ "event": "probed", "url": report.url.to_string() });
    for (phase, stretch) in &report.phases {
        let reasons = stretch.reasons.iter().map(|(reason, count)| json!({ "reason": reason, "count": count }));
        object[phase.name()] = json!({
            "requests": stretch.requests,
            "failed": stretch.failed,
            "p50_ms": stretch.p50.map(milliseconds),
            "p99_ms": stretch.p99.map(milliseconds),
            "outage_ms": milliseconds(stretch.outage),
            "reasons": reasons.collect::<Vec<_>>(),
        });
    }
    object
}

fn extend(object: &mut Value, more: Value) {
    if let (Value::Object(object), Value::Object(more)) = (object, more) {
        object.extend(more);
    }
}

/// A step's name, and what belongs to it.
fn step(step: &Step<'_>) -> Value {
    match step {
        Step::Starting => json!({ "step": "starting" }),
        Step::Waiting { healthcheck, deadline } => {
            json!({ "step": "waiting", "healthcheck": healthcheck, "deadline_ms": milliseconds(*deadline) })
        }
        Step::Working => json!({ "step": "working" }),
        Step::Hook { hook } => json!({ "step": "hook", "hook": hook }),
        Step::HookFailed { hook, code } => json!({ "step": "hook_failed", "hook": hook, "code": code }),
        Step::Ready { took } => json!({ "step": "ready", "took_ms": milliseconds(*took) }),
        Step::Completed => json!({ "step": "completed" }),
        Step::Watched { remaining } => json!({ "step": "watched", "remaining_ms": milliseconds(*remaining) }),
        Step::Published => json!({ "step": "published" }),
        Step::Withdrawn => json!({ "step": "withdrawn" }),
        Step::Draining => json!({ "step": "draining" }),
        Step::Drained { took, busy } => json!({ "step": "drained", "took_ms": milliseconds(*took), "busy": busy }),
        Step::Stopping => json!({ "step": "stopping" }),
        Step::Stopped { took } => json!({ "step": "stopped", "took_ms": milliseconds(*took) }),
        Step::Removed => json!({ "step": "removed" }),
        Step::Failed { reason } => json!({ "step": "failed", "reason": reason }),
        Step::Restored => json!({ "step": "restored" }),
        Step::AddressChanged { from, to } => json!({ "step": "address_changed", "from": from, "to": to }),
    }
}

/// What happens to an image on its way. Sizes are in bytes.
fn transfer(event: &Transfer<'_>) -> Value {
    let (image, mut object) = match event {
        Transfer::Held { image } => (image, json!({ "step": "held" })),
        Transfer::Named { image } => (image, json!({ "step": "named" })),
        Transfer::Begun { image, layers, kept } => {
            (image, json!({ "step": "sending", "layers": layers, "kept": kept }))
        }
        Transfer::Progress { image, taken, total, sent, elapsed } => {
            let took = milliseconds(*elapsed);
            (image, json!({ "step": "progress", "taken": taken, "total": total, "sent": sent, "took_ms": took }))
        }
        Transfer::Whole { image, why } => (image, json!({ "step": "whole", "why": why })),
        Transfer::Sent { image, layers, kept, left_out, bytes, took } => {
            let took = milliseconds(*took);
            let object = json!({
                "step": "sent", "layers": layers, "kept": kept, "left_out": left_out, "bytes": bytes, "took_ms": took,
            });
            (image, object)
        }
        Transfer::Finished { sent, held, bytes, took, dry_run } => {
            let took = milliseconds(*took);
            return json!({
                "event": "transferred",
                "sent": sent, "held": held, "bytes": bytes, "took_ms": took, "dry_run": dry_run,
            });
        }
    };
    extend(&mut object, json!({ "event": "image", "image": image }));
    object
}

fn planned(plan: &Plan, containers: &[Container]) -> Value {
    let name = |id: &ContainerId| {
        let container = containers.iter().find(|container| container.id == *id);
        container.map_or_else(|| id.short().to_owned(), |container| container.name.clone())
    };
    let names = |ids: &[ContainerId]| ids.iter().map(name).collect::<Vec<_>>();
    let service = |service: &ServicePlan| {
        json!({
            "service": service.service.as_str(),
            "order": words::order(service.update.order),
            "reasons": service.reasons.iter().map(reason).collect::<Vec<_>>(),
            "replicas": service.slots.iter().map(|slot| replica(slot, name)).collect::<Vec<_>>(),
            "keep": names(&service.kept),
            "discard": names(&service.discarded),
        })
    };
    let networks: Map<_, Value> =
        plan.networks.iter().map(|(network, stopped)| (network.to_string(), json!(stopped))).collect();
    json!({
        "event": "planned",
        "services": plan.services.iter().map(service).collect::<Vec<_>>(),
        "orphans": names(&plan.orphans),
        "networks": networks,
    })
}

/// What becomes of a replica: `action`, the container that goes (`old`), the one that comes (`new`, if it is there), the
/// one that is restarted (`kept`).
fn replica(slot: &Slot, name: impl Fn(&ContainerId) -> String) -> Value {
    let action = match slot {
        Slot::Add(_) => "add",
        Slot::Replace(..) => "replace",
        Slot::Remove(_) => "remove",
        Slot::Restart(_) => "restart",
    };
    let mut object = Map::from_iter([("action".to_owned(), action.into())]);
    if let Slot::Restart(kept) = slot {
        object.insert("kept".to_owned(), name(kept).into());
    }
    if let Some(old) = slot.old() {
        object.insert("old".to_owned(), name(old).into());
    }
    if let Some(Successor::Adopted(new)) = slot.successor() {
        object.insert("new".to_owned(), name(new).into());
    }
    object.into()
}

fn reason(reason: &Reason) -> Value {
    match reason {
        Reason::Missing => json!({ "reason": "missing" }),
        Reason::ConfigChanged { old, new } => json!({ "reason": "config_changed", "old": old, "new": new }),
        Reason::ParentReplaced { service } => json!({ "reason": "parent_replaced", "parent": service.as_str() }),
        Reason::ImageChanged { name, old, new } => {
            json!({ "reason": "image_changed", "image": name, "old": old.as_str(), "new": new.as_str() })
        }
        Reason::FileChanged { path } => json!({ "reason": "file_changed", "path": path }),
        Reason::DependencyReplaced { service } => {
            json!({ "reason": "dependency_replaced", "dependency": service.as_str() })
        }
        Reason::Forced => json!({ "reason": "forced" }),
        Reason::Stopped => json!({ "reason": "stopped" }),
        Reason::Unhealthy => json!({ "reason": "unhealthy" }),
        Reason::Unfinished => json!({ "reason": "unfinished" }),
        Reason::Scaled { from, to } => json!({ "reason": "scaled", "from": from, "to": to }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::recorded::{self, HOSTILE, Tell};

    fn told(story: fn(&mut Tell<'_>)) -> Vec<String> {
        let mut lines = Vec::new();
        story(&mut |event| lines.push(line(Duration::from_millis(1500), object(event))));
        lines
    }

    fn objects(story: fn(&mut Tell<'_>)) -> Vec<Value> {
        told(story).iter().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    #[test]
    fn a_plan_tells_all_of_it() {
        let plan = &objects(recorded::good_end)[0];
        assert_eq!((&plan["event"], &plan["orphans"]), (&json!("planned"), &json!([])));
        let services = plan["services"].as_array().expect("services");
        let names: Vec<_> = services.iter().map(|service| &service["service"]).collect();
        assert_eq!(names, ["cache", "db", "web", "worker"]);
        let (web, worker) = (&services[2], &services[3]);
        assert_eq!(web["order"], "start-first");
        assert_eq!(
            web["reasons"],
            json!([
                { "reason": "config_changed", "old": "1f3a".repeat(16), "new": "9bc0".repeat(16) },
                { "reason": "unhealthy" },
            ])
        );
        assert_eq!(web["replicas"][2], json!({ "action": "replace", "old": "shop-web-3" }));
        assert_eq!(worker["reasons"], json!([{ "reason": "scaled", "from": 2, "to": 1 }]));
        assert_eq!(worker["replicas"], json!([{ "action": "remove", "old": "shop-worker-2" }]));
        assert_eq!((&worker["keep"], &worker["discard"]), (&json!(["shop-worker-1"]), &json!([])));
    }

    #[test]
    fn steps_tell_what_belongs_to_them() {
        let objects = objects(recorded::bad_end);
        let of = |step: &str| objects.iter().find(|object| object["step"] == step).expect("a step");
        assert_eq!(
            of("drained"),
            &json!({
                "event": "step", "elapsed_ms": 1500, "service": "web", "container": "shop-web-1",
                "step": "drained", "took_ms": 10_000, "busy": true,
            })
        );
        assert_eq!(of("waiting")["deadline_ms"], 60_000);
        assert_eq!(of("failed")["reason"], "exited with code 1");
        assert_eq!(of("address_changed")["to"], "172.18.0.9");
        let evidence = objects.iter().find(|object| object["event"] == "evidence").expect("evidence");
        assert_eq!(evidence["logs"], json!(["Starting", "panic: no such table"]));
        assert_eq!(evidence["probe"], "curl: (7) Failed to connect\n");
    }

    #[test]
    fn every_event_is_one_object_on_a_line_of_its_own_as_documented() {
        let schema = serde_json::from_str(include_str!("../../docs/events.schema.json")).expect("JSON");
        let schema = jsonschema::validator_for(&schema).expect("a JSON Schema");
        for story in [recorded::good_end, recorded::bad_end, recorded::hostile] {
            for line in told(story) {
                assert_eq!(line.lines().count(), 1, "{line:?}");
                assert!(!line.contains(recorded::is_harmful), "{line:?}");
                let object: Value = serde_json::from_str(&line).expect("JSON");
                assert!(schema.is_valid(&object), "{object}");
                assert_eq!(object["elapsed_ms"], 1500, "{object}");
            }
        }
    }

    #[test]
    fn images_on_their_way_are_told_of_one_by_one() {
        let took = Duration::from_millis(2100);
        let sent = Transfer::Sent { image: "shop/web", layers: 8, kept: 7, left_out: 549, bytes: 12, took };
        assert_eq!(
            object(&Event::Transfer(sent)),
            json!({
                "event": "image", "image": "shop/web", "step": "sent",
                "layers": 8, "kept": 7, "left_out": 549, "bytes": 12, "took_ms": 2100,
            })
        );
        let all = Transfer::Finished { sent: 1, held: 2, bytes: 12, took, dry_run: false };
        assert_eq!(
            object(&Event::Transfer(all)),
            json!({ "event": "transferred", "sent": 1, "held": 2, "bytes": 12, "took_ms": 2100, "dry_run": false })
        );
    }

    #[test]
    fn texts_arrive_as_they_were() {
        let line = line(Duration::ZERO, object(&Event::Note(HOSTILE)));
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(object["message"], HOSTILE);
    }

    #[test]
    fn a_failure_has_its_exit_code_and_hints() {
        let failed = Failure::new(Kind::RolledBack, anyhow::anyhow!("bad\u{9b}")).hint("Mend it.");
        let line = failure(&failed, Duration::from_secs(2));
        assert!(!line.contains('\u{9b}'), "{line}");
        let object: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(
            object,
            json!({
                "event": "failed", "elapsed_ms": 2000, "kind": "rolled_back", "exit_code": 4,
                "message": "bad\u{9b}", "hints": ["Mend it."],
            })
        );
    }
}
