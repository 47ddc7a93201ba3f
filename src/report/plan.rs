//! The plan in words: what a run would do (the whole of a dry run), or is about to do (its opening).
//!
//! Services to update come in the order of execution, each with its reasons and a line for each replica; the others
//! share one line. [`render`] is a pure function.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::paint::{Paint, columns};
use super::{forecast, timeline, words};
use crate::compose::duration;
use crate::deploy::plan::{Plan, Reason, ServicePlan, Slot, Successor};
use crate::engine::Container;
use crate::names::{ContainerId, NetworkName, shorten};

/// How a plan is laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlanStyle {
    /// Whether to use colours.
    pub colour: bool,
    /// Columns to fill with names that share a line, before the rest is only counted; `None` names them all.
    pub width: Option<usize>,
    /// Whether to draw which container would serve when.
    pub pictures: bool,
}

/// Columns of pictures where nothing says how many there are.
const WIDTH: usize = 80;

/// Writes a plan for people, as lines that are each ended. `containers` are those the plan speaks of; one that is
/// missing there is called by its short ID.
#[must_use]
pub fn render(plan: &Plan, containers: &[Container], style: &PlanStyle) -> String {
    if plan.is_empty() {
        return match plan.services.len() {
            0 => "Nothing to do: there are no services.\n".to_owned(),
            1 => "Nothing to do: 1 service is up to date.\n".to_owned(),
            number => format!("Nothing to do: {number} services are up to date.\n"),
        };
    }
    let names = containers.iter().map(|container| (&container.id, container.name.as_str())).collect();
    let paint = Paint { colour: style.colour };
    let mut page = Page { text: String::new(), names, paint, width: style.width, pictures: style.pictures };
    let (unchanged, changed): (Vec<_>, Vec<_>) = plan.services.iter().partition(|service| service.is_empty());
    page.networks(&plan.networks);
    for service in &changed {
        page.service(service);
    }
    page.orphans(&plan.orphans);
    if !unchanged.is_empty() {
        let names = unchanged.iter().map(|service| words::safe(service.service.as_str()));
        page.names_line("unchanged: ", names.collect());
    }
    if style.pictures && changed.iter().any(|service| !service.slots.is_empty()) {
        let legend = page.paint.faint(&format!("{}; not to scale", timeline::legend()));
        page.line(&legend);
    }
    page.summary(&changed, unchanged.len(), plan.orphans.len());
    page.text
}

/// How many replicas meet which fate.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Tally {
    replaced: usize,
    added: usize,
    removed: usize,
    restarted: usize,
    discarded: usize,
}

impl Tally {
    pub(super) fn of<'a>(services: impl IntoIterator<Item = &'a ServicePlan>) -> Self {
        let mut tally = Self::default();
        for service in services {
            tally.discarded += service.discarded.len();
            for slot in &service.slots {
                match slot {
                    Slot::Replace(..) => tally.replaced += 1,
                    Slot::Add(_) => tally.added += 1,
                    Slot::Remove(_) => tally.removed += 1,
                    Slot::Restart(_) => tally.restarted += 1,
                }
            }
        }
        tally
    }

    /// Such as `2 replicas to replace, 1 to add`.
    fn to_do(self) -> String {
        self.list(["to replace", "to add", "to remove", "to restart", "left over to discard"])
    }

    /// Such as `2 replicas replaced, 1 added`.
    pub(super) fn done(self) -> String {
        self.list(["replaced", "added", "removed", "restarted", "left over discarded"])
    }

    fn list(self, verbs: [&str; 5]) -> String {
        let numbers = [self.replaced, self.added, self.removed, self.restarted, self.discarded];
        let mut list = String::new();
        for (number, verb) in numbers.into_iter().zip(verbs).filter(|&(number, _)| number > 0) {
            if list.is_empty() {
                list = format!("{} {verb}", words::count(number, "replica"));
            } else {
                let _ = write!(list, ", {number} {verb}");
            }
        }
        list
    }
}

/// A plan in the making.
struct Page<'a> {
    text: String,
    names: BTreeMap<&'a ContainerId, &'a str>,
    paint: Paint,
    width: Option<usize>,
    pictures: bool,
}

impl Page<'_> {
    fn line(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn service(&mut self, service: &ServicePlan) {
        let name = self.paint.strong(&words::safe(service.service.as_str()));
        let way = self.paint.faint(&format!("({})", way(service)));
        self.line(&format!("{name} {way}"));
        for reason in &service.reasons {
            let reason = self.paint.caution(&reason_in_words(reason));
            self.line(&format!("  {reason}"));
        }
        for path in &service.shared_volumes {
            let text = format!("old and new container share the anonymous volume at {} for a while", words::safe(path));
            let warning = self.paint.caution(&text);
            self.line(&format!("  {warning}"));
        }
        if service.interrupted {
            let alarm = self.paint.bad("nothing serves: an earlier run was cut off");
            self.line(&format!("  {alarm}"));
        }
        for id in &service.discarded {
            let name = self.name(id);
            self.fate("discard", &format!("{name}, created by an earlier run and never started"));
        }
        for slot in &service.slots {
            self.slot(slot);
        }
        if !service.kept.is_empty() {
            let names = service.kept.iter().map(|id| self.name(id)).collect();
            self.names_line("  keep     ", names);
        }
        if self.pictures && !service.slots.is_empty() {
            self.picture(service);
        }
        self.line("");
    }

    /// Who is to serve when.
    fn picture(&mut self, service: &ServicePlan) {
        let width = self.width.unwrap_or(WIDTH).saturating_sub(2);
        let raw = |id: &ContainerId| self.names.get(id).copied().unwrap_or_else(|| id.short()).to_owned();
        let (timeline, end) = forecast::of(service, raw);
        let Some(bars) = timeline.bars(end, width, self.paint) else { return };
        self.line("");
        for line in bars.lines {
            self.line(&format!("  {line}"));
        }
    }

    fn slot(&mut self, slot: &Slot) {
        match slot {
            Slot::Replace(old, Successor::Created) => {
                let old = self.name(old);
                self.fate("replace", &old);
            }
            Slot::Replace(old, Successor::Adopted(new)) => {
                let (old, new) = (self.name(old), self.name(new));
                self.fate("replace", &format!("{old} with {new}, begun by an earlier run"));
            }
            Slot::Add(Successor::Created) => self.fate("add", "a replica"),
            Slot::Add(Successor::Adopted(new)) => {
                let new = self.name(new);
                self.fate("adopt", &format!("{new}, begun by an earlier run"));
            }
            Slot::Remove(old) => {
                let old = self.name(old);
                self.fate("remove", &old);
            }
            Slot::Restart(id) => {
                let name = self.name(id);
                self.fate("restart", &name);
            }
        }
    }

    fn fate(&mut self, verb: &str, what: &str) {
        let verb = format!("{verb:<7}");
        let verb = match verb.trim_end() {
            "remove" | "discard" | "stop" => self.paint.bad(&verb),
            _ => self.paint.good(&verb),
        };
        self.line(&format!("  {verb}  {what}"));
    }

    fn name(&self, id: &ContainerId) -> String {
        words::safe(self.names.get(id).copied().unwrap_or_else(|| id.short()))
    }

    /// As many names as fit, and the number of the others.
    fn names_line(&mut self, prefix: &str, names: Vec<String>) {
        // Room for the words at the end.
        const REST: usize = " and 999 more".len();
        let total = names.len();
        let mut line = prefix.to_owned();
        for (index, name) in names.into_iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let needed = columns(&line) + separator.len() + columns(&name);
            let room = if index + 1 == total { 0 } else { REST };
            if index > 0 && self.width.is_some_and(|width| needed + room > width) {
                let _ = write!(line, " and {} more", total - index);
                break;
            }
            line.push_str(separator);
            line.push_str(&name);
        }
        let line = self.paint.faint(&line);
        self.line(&line);
    }

    fn networks(&mut self, networks: &BTreeMap<NetworkName, BTreeSet<String>>) {
        for (network, interrupted) in networks {
            let heading = self.paint.strong(&format!("network {}", words::safe(network.as_str())));
            let why =
                self.paint.caution("its definition has changed: it is replaced, and what is on it stops for a while");
            self.line(&heading);
            self.line(&format!("  {why}"));
            for name in interrupted {
                self.fate("stop", &words::safe(name));
            }
            self.line("");
        }
    }

    fn orphans(&mut self, orphans: &[ContainerId]) {
        if orphans.is_empty() {
            return;
        }
        let heading = self.paint.strong("orphans");
        let why = self.paint.caution("their services are in no Compose file any more");
        self.line(&heading);
        self.line(&format!("  {why}"));
        for id in orphans {
            let name = self.name(id);
            self.fate("remove", &name);
        }
        self.line("");
    }

    fn summary(&mut self, changed: &[&ServicePlan], unchanged: usize, orphans: usize) {
        let services = words::count(changed.len(), "service");
        let replicas = Tally::of(changed.iter().copied()).to_do();
        let orphans = (orphans > 0).then(|| format!("{} to remove", words::count(orphans, "orphan")));
        let fates: Vec<_> =
            [Some(replicas).filter(|replicas| !replicas.is_empty()), orphans].into_iter().flatten().collect();
        self.line(&format!("{services} to update, {unchanged} unchanged: {}.", fates.join(", ")));
    }
}

/// The order of a service's update, and how many replicas at a time.
fn way(service: &ServicePlan) -> String {
    let mut way = words::order(service.update.order).to_owned();
    let slots = service.slots.len();
    if slots < 2 {
        return way;
    }
    match service.update.parallelism {
        Some(1) => way.push_str(", one at a time"),
        Some(batch) if batch < slots => {
            let _ = write!(way, ", {batch} at a time");
        }
        _ => {
            way.push_str(", all at once");
            return way;
        }
    }
    if !service.update.delay.is_zero() {
        let _ = write!(way, ", {} apart", duration::format(service.update.delay));
    }
    way
}

fn reason_in_words(reason: &Reason) -> String {
    match reason {
        Reason::Missing => "no container yet".to_owned(),
        Reason::ConfigChanged { old, new } => format!("config changed {} → {}", hash(old), hash(new)),
        Reason::ParentReplaced { service } => {
            format!("shares what a container of {} has, which is replaced", words::safe(service.as_str()))
        }
        Reason::ImageChanged { name, old, new } => {
            let (old, new) = (words::safe(old.short()), words::safe(new.short()));
            format!("image {} changed {old} → {new}", words::safe(name))
        }
        Reason::FileChanged { path } => format!("content of {} changed", words::safe(path)),
        Reason::DependencyReplaced { service } => {
            format!("depends on {}, which gets other containers or was started again", words::safe(service.as_str()))
        }
        Reason::Forced => "asked for by --force-recreate".to_owned(),
        Reason::Stopped => "a container does not run".to_owned(),
        Reason::Unhealthy => "a container is unhealthy".to_owned(),
        Reason::Unfinished => "an earlier run did not finish".to_owned(),
        Reason::Scaled { from, to } => format!("number of replicas changed {from} → {to}"),
    }
}

fn hash(hash: &str) -> String {
    if hash.is_empty() { "none".to_owned() } else { words::safe(shorten(hash)) }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compose::Order;
    use crate::report::Event;
    use crate::report::recorded::{self, container, id, is_harmful, replace, service};

    const PLAIN: PlanStyle = PlanStyle { colour: false, width: None, pictures: false };

    fn rendered(services: Vec<ServicePlan>) -> String {
        let names = ["web-1", "web-2", "web-3", "web-4"];
        render(&Plan { services, orphans: Vec::new(), networks: BTreeMap::new() }, &names.map(container), &PLAIN)
    }

    #[test]
    fn services_to_update_have_reasons_and_replicas() {
        let (plan, containers) = recorded::plan();
        insta::assert_snapshot!(render(&plan, &containers, &PLAIN), @"
        web (start-first, 2 at a time, 10s apart)
          config changed 1f3a1f3a1f3a → 9bc09bc09bc0
          a container is unhealthy
          replace  shop-web-1
          replace  shop-web-2
          replace  shop-web-3

        worker (stop-first)
          number of replicas changed 2 → 1
          remove   shop-worker-2
          keep     shop-worker-1

        unchanged: cache, db
        2 services to update, 2 unchanged: 3 replicas to replace, 1 to remove.
        ");
    }

    #[test]
    fn a_picture_shows_who_is_to_serve_when() {
        let (plan, containers) = recorded::plan();
        insta::assert_snapshot!(render(&plan, &containers, &PlanStyle { width: Some(60), pictures: true, ..PLAIN }), @"
        web (start-first, 2 at a time, 10s apart)
          config changed 1f3a1f3a1f3a → 9bc09bc09bc0
          a container is unhealthy
          replace  shop-web-1
          replace  shop-web-2
          replace  shop-web-3

          shop-web-1        ━━━━━━━━━━━━━┄┄┄┄■
          shop-web-1 (new)      ┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━▶
          shop-web-2        ━━━━━━━━━━━━━┄┄┄┄■
          shop-web-2 (new)      ┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━▶
          shop-web-3        ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄■
          shop-web-3 (new)                       ┄┄┄┄┄┄┄┄┄━━━━━━━━━▶

        worker (stop-first)
          number of replicas changed 2 → 1
          remove   shop-worker-2
          keep     shop-worker-1

          shop-worker-2  ━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄■

        unchanged: cache, db
        ━ serves   ┄ starts or leaves   ■ ended; not to scale
        2 services to update, 2 unchanged: 3 replicas to replace, 1 to remove.
        ");
    }

    #[test]
    fn leftovers_of_an_earlier_run_are_told() {
        let mut web = service("web");
        web.interrupted = true;
        web.reasons = vec![Reason::Unfinished, Reason::Stopped, Reason::Forced, Reason::Missing];
        web.update.parallelism = None;
        web.slots = vec![
            Slot::Add(Successor::Adopted(id("web-2"))),
            Slot::Replace(id("web-1"), Successor::Adopted(id("web-3"))),
            Slot::Add(Successor::Created),
            Slot::Remove(ContainerId::new("0123456789abcdef")),
        ];
        web.discarded = vec![id("web-4")];
        insta::assert_snapshot!(rendered(vec![web]), @"
        web (stop-first, all at once)
          an earlier run did not finish
          a container does not run
          asked for by --force-recreate
          no container yet
          nothing serves: an earlier run was cut off
          discard  web-4, created by an earlier run and never started
          adopt    web-2, begun by an earlier run
          replace  web-1 with web-3, begun by an earlier run
          add      a replica
          remove   0123456789ab

        1 service to update, 0 unchanged: 1 replica to replace, 2 to add, 1 to remove, 1 left over to discard.
        ");
    }

    #[test]
    fn nothing_to_do_is_one_line() {
        assert_eq!(rendered(vec![]), "Nothing to do: there are no services.\n");
        assert_eq!(rendered(vec![service("a")]), "Nothing to do: 1 service is up to date.\n");
        assert_eq!(rendered(vec![service("a"), service("b")]), "Nothing to do: 2 services are up to date.\n");
    }

    #[test]
    fn unchanged_services_share_a_line_that_fits() {
        let mut services: Vec<_> = (1..50).map(|number| service(&format!("service-{number}"))).collect();
        let mut web = service("web");
        web.slots = vec![replace("web-1")];
        services.push(web);
        let plan = Plan { services, orphans: Vec::new(), networks: BTreeMap::new() };
        for width in 20..200 {
            let text = render(&plan, &[], &PlanStyle { width: Some(width), ..PLAIN });
            let line = text.lines().find(|line| line.starts_with("unchanged: service-1")).expect("a line");
            let rest = line.rsplit_once(" and ").map(|(_, rest)| rest.trim_end_matches(" more"));
            let rest: usize = rest.and_then(|rest| rest.parse().ok()).expect("a number");
            assert_eq!(line.matches("service-").count() + rest, 49, "{line}");
            // The first name always stands.
            assert!(columns(line) <= width.max("unchanged: service-1 and 48 more".len()), "{line}");
        }
        let text = render(&plan, &[], &PLAIN);
        assert_eq!(text.matches("service-").count(), 49);
        assert!(text.ends_with("1 service to update, 49 unchanged: 1 replica to replace.\n"), "{text}");
    }

    #[test]
    fn the_way_is_told_as_far_as_it_matters() {
        let mut web = service("web");
        web.update.order = Order::StartFirst;
        web.update.delay = Duration::from_secs(5);
        web.slots = vec![replace("web-1")];
        assert_eq!(way(&web), "start-first");
        web.slots = vec![replace("web-1"), replace("web-2"), replace("web-3")];
        for (parallelism, text) in [
            (Some(1), "start-first, one at a time, 5s apart"),
            (Some(2), "start-first, 2 at a time, 5s apart"),
            (Some(3), "start-first, all at once"),
            (None, "start-first, all at once"),
        ] {
            web.update.parallelism = parallelism;
            assert_eq!(way(&web), text);
        }
    }

    #[test]
    fn hostile_names_are_escaped() {
        recorded::hostile(&mut |event| {
            if let Event::Planned { plan, containers } = event {
                let text = render(plan, containers, &PLAIN);
                assert!(!text.contains(is_harmful), "{text:?}");
                assert_eq!(text.matches("\\x1b[2J").count(), 11, "{text}");
            }
        });
    }

    #[test]
    fn colours_change_nothing_but_colours() {
        let (plan, containers) = recorded::plan();
        let coloured = render(&plan, &containers, &PlanStyle { colour: true, ..PLAIN });
        assert!(coloured.contains("\u{1b}[1mweb\u{1b}[0m"), "{coloured:?}");
        assert_eq!(::console::strip_ansi_codes(&coloured), render(&plan, &containers, &PLAIN));
    }
}
