//! Recorded events for the tests of renderers: a plan, the story of a deploy, and one where everything that can be
//! hostile is.

use std::time::Duration;

use super::{Event, Step};
use crate::compose::Order;
use crate::compose::policy::UpdatePolicy;
use crate::deploy::plan::{Plan, Reason, ServicePlan, Slot, Successor};
use crate::engine::Container;
use crate::names::{ContainerId, ImageId, ServiceName};

/// Hears of events one after the other.
pub(super) type Tell<'a> = dyn FnMut(&Event<'_>) + 'a;

/// Steers a terminal in several ways, and looks like a line of kerek's own.
pub(super) const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;title\u{7}\r\n[  0.0s] web: done\u{9b}31m\u{202e}\t\u{8}";

/// What no renderer may let through besides its own line ends and, if any, colours.
pub(super) fn is_harmful(character: char) -> bool {
    character.is_control() && character != '\n' || matches!(character, '\u{202a}'..='\u{202e}')
}

pub(super) fn container(name: &str) -> Container {
    let mut container = Container::example();
    container.id = ContainerId::new(format!("id of {name}"));
    container.name = name.to_owned();
    container
}

pub(super) fn id(name: &str) -> ContainerId {
    container(name).id
}

/// A service that nothing is to be done for.
pub(super) fn service(name: &str) -> ServicePlan {
    ServicePlan {
        service: ServiceName::new(name),
        reasons: Vec::new(),
        update: UpdatePolicy::default(),
        rollback: UpdatePolicy::default(),
        drain: crate::compose::policy::Drain::default(),
        aliases: std::collections::BTreeMap::new(),
        steers: true,
        interrupted: false,
        unserved: false,
        may_complete: false,
        shared_volumes: std::collections::BTreeSet::new(),
        kept: Vec::new(),
        discarded: Vec::new(),
        slots: Vec::new(),
    }
}

pub(super) fn replace(old: &str) -> Slot {
    Slot::Replace(id(old), Successor::Created)
}

/// A service `web` with three replicas to replace two at a time, and a `worker` to scale down.
pub(super) fn plan() -> (Plan, Vec<Container>) {
    let mut web = service("web");
    web.reasons = vec![Reason::ConfigChanged { old: "1f3a".repeat(16), new: "9bc0".repeat(16) }, Reason::Unhealthy];
    web.update.order = Order::StartFirst;
    web.update.parallelism = Some(2);
    web.update.delay = Duration::from_secs(10);
    web.slots = vec![replace("shop-web-1"), replace("shop-web-2"), replace("shop-web-3")];
    let mut worker = service("worker");
    worker.reasons = vec![Reason::Scaled { from: 2, to: 1 }];
    worker.kept = vec![id("shop-worker-1")];
    worker.slots = vec![Slot::Remove(id("shop-worker-2"))];
    let names = ["shop-web-1", "shop-web-2", "shop-web-3", "shop-worker-1", "shop-worker-2"];
    let services = vec![service("cache"), service("db"), web, worker];
    let plan = Plan { services, orphans: Vec::new(), networks: std::collections::BTreeMap::new() };
    (plan, names.map(container).into())
}

const fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}

/// Tells the story of [`plan`], up to the good end.
pub(super) fn good_end(tell: &mut Tell<'_>) {
    let (plan, containers) = plan();
    tell(&Event::Planned { plan: &plan, containers: &containers });
    tell(&Event::Creating { containers: 3 });
    tell(&Event::ComposeSaid(" Container shop-web-4  Creating "));
    let web = ServiceName::new("web");
    tell(&Event::ServiceBegun { service: &web, slots: 3, order: Order::StartFirst });
    for pairs in [&[("shop-web-1", "shop-web-4"), ("shop-web-2", "shop-web-5")][..], &[("shop-web-3", "shop-web-6")]] {
        let mut each = |new: bool, step: Step<'_>| {
            for pair in pairs {
                let container = if new { pair.1 } else { pair.0 };
                tell(&Event::Step { service: &web, container, step: step.clone() });
            }
        };
        each(true, Step::Starting);
        each(true, Step::Waiting { healthcheck: true, deadline: milliseconds(60_000) });
        each(true, Step::Ready { took: milliseconds(2_100) });
        each(true, Step::Published);
        each(false, Step::Withdrawn);
        each(false, Step::Draining);
        each(false, Step::Drained { took: milliseconds(2_000), busy: false });
        each(false, Step::Stopping);
        each(false, Step::Stopped { took: milliseconds(340) });
    }
    for container in ["shop-web-1", "shop-web-2", "shop-web-3"] {
        tell(&Event::Step { service: &web, container, step: Step::Removed });
    }
    tell(&Event::ServiceDone { service: &web, took: milliseconds(7_200) });
    let worker = ServiceName::new("worker");
    tell(&Event::ServiceBegun { service: &worker, slots: 1, order: Order::StopFirst });
    for step in [Step::Stopping, Step::Stopped { took: milliseconds(10_000) }, Step::Removed] {
        tell(&Event::Step { service: &worker, container: "shop-worker-2", step });
    }
    tell(&Event::ServiceDone { service: &worker, took: milliseconds(10_100) });
    tell(&Event::Finished { updated: 2, unchanged: 2, took: milliseconds(18_000) });
}

/// The story of a new version that is not fit, after a replica that was.
pub(super) fn bad_end(tell: &mut Tell<'_>) {
    let web = ServiceName::new("web");
    tell(&Event::ServiceBegun { service: &web, slots: 2, order: Order::StartFirst });
    let mut step = |container, step| tell(&Event::Step { service: &web, container, step });
    step("shop-web-3", Step::Starting);
    step("shop-web-3", Step::Waiting { healthcheck: false, deadline: milliseconds(60_000) });
    step("shop-web-3", Step::Ready { took: milliseconds(5_000) });
    step("shop-web-1", Step::Drained { took: milliseconds(10_000), busy: true });
    step("shop-web-1", Step::AddressChanged { from: "172.18.0.2", to: "172.18.0.9" });
    step("shop-web-4", Step::Starting);
    step("shop-web-4", Step::Failed { reason: "exited with code 1" });
    tell(&Event::Evidence {
        service: &web,
        container: "shop-web-4",
        logs: &["Starting".to_owned(), "panic: no such table".to_owned()],
        probe: "curl: (7) Failed to connect\n",
    });
    tell(&Event::Step { service: &web, container: "shop-web-4", step: Step::Removed });
    tell(&Event::RollingBack { service: &web, slots: 1 });
    tell(&Event::Step { service: &web, container: "shop-web-1", step: Step::Restored });
    tell(&Event::Note("add a healthcheck to web\nto update faster"));
    tell(&Event::Warning("stop container 1f3a: timed out; it is left behind"));
}

/// Every event, with hostile text wherever text goes.
pub(super) fn hostile(tell: &mut Tell<'_>) {
    let name = ServiceName::new(HOSTILE);
    let mut hostile = service(HOSTILE);
    let image = || ImageId::new(HOSTILE);
    hostile.reasons = vec![
        Reason::ConfigChanged { old: HOSTILE.to_owned(), new: String::new() },
        Reason::ImageChanged { name: HOSTILE.to_owned(), old: image(), new: image() },
    ];
    hostile.slots = vec![replace(HOSTILE), Slot::Remove(ContainerId::new(HOSTILE))];
    hostile.kept = vec![id(HOSTILE)];
    hostile.discarded = vec![id(HOSTILE)];
    let plan = Plan {
        services: vec![hostile, service(HOSTILE)],
        orphans: vec![id(HOSTILE)],
        networks: std::collections::BTreeMap::new(),
    };
    tell(&Event::Planned { plan: &plan, containers: &[container(HOSTILE)] });
    tell(&Event::Creating { containers: 1 });
    tell(&Event::ComposeSaid(HOSTILE));
    tell(&Event::ServiceBegun { service: &name, slots: 2, order: Order::StopFirst });
    for step in [
        Step::Starting,
        Step::Waiting { healthcheck: true, deadline: Duration::MAX },
        Step::Failed { reason: HOSTILE },
        Step::AddressChanged { from: HOSTILE, to: HOSTILE },
        Step::Restored,
        Step::Stopping,
    ] {
        tell(&Event::Step { service: &name, container: HOSTILE, step });
    }
    let logs = [HOSTILE.to_owned()];
    tell(&Event::Evidence { service: &name, container: HOSTILE, logs: &logs, probe: HOSTILE });
    tell(&Event::RollingBack { service: &name, slots: 1 });
    tell(&Event::OrphanRemoved { container: HOSTILE, took: Duration::ZERO });
    tell(&Event::Prepared { services: 1, took: Duration::ZERO });
    tell(&Event::Note(HOSTILE));
    tell(&Event::Warning(HOSTILE));
    tell(&Event::ServiceDone { service: &name, took: Duration::ZERO });
}
