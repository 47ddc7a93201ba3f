//! The lines of the live view: what is known of a service at work, and how it looks at a given moment.
//!
//! Rows are plain data that events change; their looks are a pure function of row, time and width. A line never takes
//! more columns than it may: what does not fit is cut, the least important at the end.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use super::paint::{Paint, truncate};
use super::plan::Tally;
use super::{Step, words};
use crate::compose::duration;
use crate::deploy::condition::is_serving;
use crate::deploy::plan::{ServicePlan, Slot};
use crate::engine::Container;
use crate::names::ContainerId;

/// A spinner's looks, one after the other.
const FRAMES: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];

/// How long each of them stays.
pub(super) const FRAME: Duration = Duration::from_millis(100);

/// Lines with less room than this leave out what can be guessed.
const NARROW: usize = 72;

/// Something at work, with a line of its own.
#[derive(Debug)]
pub(super) struct Row {
    /// Who is at work, escaped and padded.
    title: String,
    begin: Instant,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Compose(Creation),
    Service(Update),
}

/// Compose creating containers.
#[derive(Debug, Default)]
pub(super) struct Creation {
    /// How many; `None` before that is known.
    pub(super) containers: Option<usize>,
    /// Compose's last line, raw.
    pub(super) said: String,
}

/// What is known of a service before its turn.
#[derive(Clone, Debug, Default)]
pub(super) struct Prospect {
    /// Names of the containers that are replaced or removed.
    old: BTreeSet<String>,
    /// Names of those that are removed without a successor.
    surplus: BTreeSet<String>,
    /// Names of all that serve beforehand, in order.
    pub(super) serving: Vec<String>,
    tally: Tally,
}

impl Prospect {
    /// What a plan says about a service.
    pub(super) fn of(plan: &ServicePlan, containers: &[Container]) -> Self {
        let known = |id: &ContainerId| containers.iter().find(|container| container.id == *id);
        let there = plan.slots.iter().filter_map(|slot| match slot {
            Slot::Restart(id) => Some(id),
            slot => slot.old(),
        });
        let there = plan.kept.iter().chain(there).filter_map(known);
        let mut serving: Vec<_> = there.filter(|container| is_serving(container)).collect();
        serving.sort_by_key(|container| (container.number, &container.name));
        let serving = serving.into_iter().map(|container| container.name.clone()).collect();
        let mut prospect = Self { tally: Tally::of([plan]), serving, ..Self::default() };
        for slot in &plan.slots {
            let Some(container) = slot.old().and_then(known) else { continue };
            prospect.old.insert(container.name.clone());
            if matches!(slot, Slot::Remove(_)) {
                prospect.surplus.insert(container.name.clone());
            }
        }
        prospect
    }
}

/// The update of a service.
#[derive(Debug)]
pub(super) struct Update {
    prospect: Prospect,
    /// How many replicas are replaced, added or removed.
    slots: usize,
    /// Names of the containers for which the goal of a slot is reached.
    reached: BTreeSet<String>,
    failed: usize,
    /// How many replicas are taken back, if it has come to that.
    rolling_back: Option<usize>,
    /// Containers that something goes on with, in the order in which it began.
    active: Vec<Active>,
}

#[derive(Debug)]
struct Active {
    /// The container's name, raw.
    container: String,
    doing: Doing,
    since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Doing {
    Starting,
    Waiting { limit: Option<Duration> },
    Draining,
    Stopping,
}

impl Update {
    pub(super) fn new(prospect: Prospect, slots: usize) -> Self {
        Self { prospect, slots, reached: BTreeSet::new(), failed: 0, rolling_back: None, active: Vec::new() }
    }

    pub(super) fn roll_back(&mut self, slots: usize) {
        self.rolling_back = Some(slots);
    }

    /// Takes in what happened to a container.
    pub(super) fn step(&mut self, container: &str, step: &Step<'_>, now: Instant) {
        match step {
            Step::Starting => self.set(container, Some(Doing::Starting), now),
            Step::Waiting { healthcheck, deadline } => {
                // Without a healthcheck it is not the deadline that is waited for.
                let limit = healthcheck.then_some(*deadline);
                self.set(container, Some(Doing::Waiting { limit }), now);
            }
            Step::Working => self.set(container, Some(Doing::Waiting { limit: None }), now),
            Step::Ready { .. } | Step::Completed => {
                self.set(container, None, now);
                // An old one that is started again is back where it was.
                if !self.prospect.old.contains(container) {
                    self.reached.insert(container.to_owned());
                }
            }
            Step::Draining => self.set(container, Some(Doing::Draining), now),
            Step::Stopping => self.set(container, Some(Doing::Stopping), now),
            Step::Stopped { .. } | Step::Removed => {
                self.set(container, None, now);
                if self.prospect.surplus.contains(container) {
                    self.reached.insert(container.to_owned());
                }
            }
            Step::Failed { .. } => {
                self.set(container, None, now);
                self.reached.remove(container);
                self.failed += 1;
            }
            Step::Restored => self.set(container, None, now),
            Step::Watched { .. }
            | Step::Hook { .. }
            | Step::HookFailed { .. }
            | Step::Published
            | Step::Withdrawn
            | Step::Drained { .. }
            | Step::AddressChanged { .. } => {}
        }
    }

    fn set(&mut self, container: &str, doing: Option<Doing>, now: Instant) {
        self.active.retain(|active| active.container != container);
        if let Some(doing) = doing {
            self.active.push(Active { container: container.to_owned(), doing, since: now });
        }
    }

    fn progress(&self) -> String {
        match self.rolling_back {
            Some(slots) => format!("rolling back {}", words::count(slots, "replica")),
            None => format!("{}/{}", self.reached(), words::count(self.slots, "replica")),
        }
    }

    /// The progress for lines that need the room for something else.
    fn short_progress(&self) -> String {
        match self.rolling_back {
            Some(_) => "rolling back".to_owned(),
            None => format!("{}/{}", self.reached(), self.slots),
        }
    }

    fn reached(&self) -> usize {
        self.reached.len().min(self.slots)
    }

    /// What goes on, containers that are at the same point together.
    fn activity(&self, now: Instant) -> String {
        let mut groups: Vec<Vec<&Active>> = Vec::new();
        for active in &self.active {
            match groups.iter_mut().find(|group| group.iter().all(|other| other.doing == active.doing)) {
                Some(group) => group.push(active),
                None => groups.push(vec![active]),
            }
        }
        let activities = groups.iter().map(|group| activity_of(group, now));
        activities.collect::<Vec<_>>().join(", ")
    }

    /// What has been done, after a good end.
    fn result(&self) -> String {
        let tally = self.prospect.tally.done();
        let done = if tally.is_empty() { format!("{} updated", words::count(self.slots, "replica")) } else { tally };
        match self.failed {
            0 => done,
            failed => format!("{}, {failed} failed", self.progress()),
        }
    }
}

/// What containers that are at the same point do, with the time of the first of them.
fn activity_of(group: &[&Active], now: Instant) -> String {
    let Some(first) = group.first() else { return String::new() };
    let mut names = words::safe(&first.container);
    if group.len() > 1 {
        // All names would leave no room for what they do.
        let _ = write!(names, " +{}", group.len() - 1);
    }
    let time = whole_seconds(now.saturating_duration_since(first.since));
    let doing = match first.doing {
        Doing::Starting => "starting".to_owned(),
        Doing::Waiting { limit: Some(limit) } => format!("healthcheck {time} of {}", duration::format(limit)),
        Doing::Waiting { limit: None } => format!("settling {time}"),
        Doing::Draining => format!("draining {time}"),
        Doing::Stopping => format!("stopping {time}"),
    };
    format!("{names} {doing}")
}

impl Row {
    pub(super) fn compose(title: String, begin: Instant) -> Self {
        Self { title, begin, work: Work::Compose(Creation::default()) }
    }

    pub(super) fn service(title: String, begin: Instant, update: Update) -> Self {
        Self { title, begin, work: Work::Service(update) }
    }

    /// What Compose is creating, if this is its row.
    pub(super) fn creation(&mut self) -> Option<&mut Creation> {
        match &mut self.work {
            Work::Compose(creation) => Some(creation),
            Work::Service(_) => None,
        }
    }

    /// A service's update, if this is the row of one.
    pub(super) fn update(&mut self) -> Option<&mut Update> {
        match &mut self.work {
            Work::Service(update) => Some(update),
            Work::Compose(_) => None,
        }
    }

    /// The row while work goes on, at most `width` columns wide.
    pub(super) fn line(&self, now: Instant, width: usize, paint: Paint) -> String {
        let elapsed = self.elapsed(now);
        let frame = elapsed.as_millis() / FRAME.as_millis() % FRAMES.len() as u128;
        let spinner = FRAMES.get(usize::try_from(frame).unwrap_or(0)).copied().unwrap_or(' ');
        let (progress, activity) = match &self.work {
            Work::Compose(creation) => (creation.progress(), one_line(&creation.said)),
            Work::Service(update) if width < NARROW => (update.short_progress(), update.activity(now)),
            Work::Service(update) => (update.progress(), update.activity(now)),
        };
        let line = [
            format!("{} {}", paint.notice(&spinner.to_string()), paint.strong(&self.title)),
            progress,
            paint.faint(&format!("{:>3}", whole_seconds(elapsed))),
            activity,
        ];
        truncate(line.join("  ").trim_end(), width)
    }

    /// The line that stays after a good end.
    pub(super) fn done(&self, took: Duration, paint: Paint) -> String {
        let took = duration::format(took);
        let (sign, result) = match &self.work {
            Work::Compose(creation) => (paint.good("✔"), creation.result()),
            Work::Service(update) if update.failed > 0 => (paint.caution("!"), update.result()),
            Work::Service(update) => (paint.good("✔"), update.result()),
        };
        format!("{sign} {}  {result} in {took}", paint.strong(&self.title))
    }

    /// The line that stays if the run ends before the work does.
    pub(super) fn given_up(&self, now: Instant, paint: Paint) -> String {
        let after = duration::format(self.elapsed(now));
        let progress = match &self.work {
            Work::Compose(creation) => format!("{}, ", creation.progress()),
            // The renderer does not hear how a rollback ends.
            Work::Service(Update { rolling_back: Some(_), .. }) => String::new(),
            Work::Service(update) => format!("{}, ", update.progress()),
        };
        format!("{} {}  {progress}given up after {after}", paint.bad("✘"), paint.strong(&self.title))
    }

    /// Whether the end of the work is worth a line that stays: reading the files is not, creating containers is.
    pub(super) fn leaves_a_line(&self) -> bool {
        !matches!(self.work, Work::Compose(Creation { containers: None, .. }))
    }

    /// The time since work began.
    pub(super) fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begin)
    }
}

impl Creation {
    fn progress(&self) -> String {
        self.containers.map_or_else(
            || "working".to_owned(),
            |containers| format!("creating {}", words::count(containers, "container")),
        )
    }

    fn result(&self) -> String {
        self.containers.map_or_else(
            || "done".to_owned(),
            |containers| format!("{} created", words::count(containers, "container")),
        )
    }
}

/// Compose aligns its lines in columns; one alone reads better without.
fn one_line(said: &str) -> String {
    words::safe(&said.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn whole_seconds(duration: Duration) -> String {
    duration::format(Duration::from_secs(duration.as_secs()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::report::paint::columns;
    use crate::report::recorded::{self, is_harmful};

    const PAINT: Paint = Paint { colour: false };

    /// The update of `web` in the recorded plan, with three replicas.
    fn web() -> Update {
        let (plan, containers) = recorded::plan();
        Update::new(Prospect::of(&plan.services[2], &containers), 3)
    }

    /// The line of a row after each of these steps, one second apart.
    fn lines(steps: &[(&str, Step<'_>)]) -> String {
        let begin = Instant::now();
        let mut now = begin;
        let mut row = Row::service("web".to_owned(), begin, web());
        let mut lines = Vec::new();
        for (container, step) in steps {
            row.update().expect("a service").step(container, step, now);
            now += Duration::from_secs(1);
            lines.push(row.line(now, 100, PAINT));
        }
        lines.join("\n")
    }

    fn waiting(healthcheck: bool) -> Step<'static> {
        Step::Waiting { healthcheck, deadline: Duration::from_secs(60) }
    }

    #[test]
    fn a_row_follows_its_containers() {
        let took = Duration::ZERO;
        insta::assert_snapshot!(lines(&[
            ("shop-web-4", Step::Starting),
            ("shop-web-4", waiting(true)),
            ("shop-web-5", waiting(true)),
            ("shop-web-6", waiting(true)),
            ("shop-web-7", waiting(false)),
            ("shop-web-4", Step::Ready { took }),
            ("shop-web-1", Step::Draining),
            ("shop-web-1", Step::Stopping),
            ("shop-web-1", Step::Stopped { took }),
            ("shop-web-5", Step::Failed { reason: "exited" }),
            ("shop-web-6", Step::Completed),
            ("shop-web-7", Step::Removed),
        ]), @"
        ⠋ web  0/3 replicas   1s  shop-web-4 starting
        ⠋ web  0/3 replicas   2s  shop-web-4 healthcheck 1s of 1m
        ⠋ web  0/3 replicas   3s  shop-web-4 +1 healthcheck 2s of 1m
        ⠋ web  0/3 replicas   4s  shop-web-4 +2 healthcheck 3s of 1m
        ⠋ web  0/3 replicas   5s  shop-web-4 +2 healthcheck 4s of 1m, shop-web-7 settling 1s
        ⠋ web  1/3 replicas   6s  shop-web-5 +1 healthcheck 4s of 1m, shop-web-7 settling 2s
        ⠋ web  1/3 replicas   7s  shop-web-5 +1 healthcheck 5s of 1m, shop-web-7 settling 3s, shop-web-1 dr…
        ⠋ web  1/3 replicas   8s  shop-web-5 +1 healthcheck 6s of 1m, shop-web-7 settling 4s, shop-web-1 st…
        ⠋ web  1/3 replicas   9s  shop-web-5 +1 healthcheck 7s of 1m, shop-web-7 settling 5s
        ⠋ web  1/3 replicas  10s  shop-web-6 healthcheck 7s of 1m, shop-web-7 settling 6s
        ⠋ web  2/3 replicas  11s  shop-web-7 settling 7s
        ⠋ web  2/3 replicas  12s
        ");
    }

    #[test]
    fn only_new_replicas_are_progress() {
        let now = Instant::now();
        let mut update = web();
        update.step("shop-web-1", &Step::Ready { took: Duration::ZERO }, now);
        update.step("shop-web-1", &Step::Stopped { took: Duration::ZERO }, now);
        assert_eq!(update.progress(), "0/3 replicas");
        update.step("shop-web-4", &Step::Ready { took: Duration::ZERO }, now);
        assert_eq!(update.progress(), "1/3 replicas");
        update.step("shop-web-4", &Step::Failed { reason: "" }, now);
        assert_eq!(update.progress(), "0/3 replicas");
    }

    #[test]
    fn a_surplus_replica_is_done_with_when_it_has_stopped() {
        let (plan, containers) = recorded::plan();
        let now = Instant::now();
        let mut update = Update::new(Prospect::of(&plan.services[3], &containers), 1);
        update.step("shop-worker-2", &Step::Stopping, now);
        assert_eq!(update.progress(), "0/1 replica");
        update.step("shop-worker-2", &Step::Stopped { took: Duration::ZERO }, now);
        update.step("shop-worker-2", &Step::Removed, now);
        assert_eq!(update.progress(), "1/1 replica");
        assert_eq!(update.result(), "1 replica removed");
    }

    #[test]
    fn what_stays_tells_how_it_went() {
        let begin = Instant::now();
        let took = Duration::from_millis(7_200);
        let mut row = Row::service("web".to_owned(), begin, web());
        assert_eq!(row.done(took, PAINT), "✔ web  3 replicas replaced in 7.2s");
        assert_eq!(row.given_up(begin + took, PAINT), "✘ web  0/3 replicas, given up after 7.2s");
        let update = row.update().expect("a service");
        update.step("shop-web-4", &Step::Completed, begin);
        update.step("shop-web-5", &Step::Failed { reason: "exited" }, begin);
        assert_eq!(row.done(took, PAINT), "! web  1/3 replicas, 1 failed in 7.2s");
        row.update().expect("a service").roll_back(1);
        assert_eq!(row.line(begin, 100, PAINT), "⠋ web  rolling back 1 replica   0s");
        assert_eq!(row.given_up(begin + took, PAINT), "✘ web  given up after 7.2s");
    }

    #[test]
    fn compose_is_quoted_on_one_line() {
        let begin = Instant::now();
        let mut row = Row::compose("compose".to_owned(), begin);
        assert!(!row.leaves_a_line());
        assert_eq!(row.line(begin, 100, PAINT), "⠋ compose  working   0s");
        let creation = row.creation().expect("Compose's");
        creation.containers = Some(2);
        creation.said = "  #1 [web 1/2]\u{1b}[2K  RUN   make\n".to_owned();
        let line = row.line(begin + Duration::from_secs(72), 100, PAINT);
        assert_eq!(line, "⠋ compose  creating 2 containers  1m12s  #1 [web 1/2]\\x1b[2K RUN make");
        assert!(row.leaves_a_line());
        assert_eq!(row.done(Duration::from_secs(1), PAINT), "✔ compose  2 containers created in 1s");
    }

    #[test]
    fn the_spinner_turns() {
        let begin = Instant::now();
        let row = Row::compose(String::new(), begin);
        let frame = |number| row.line(begin + FRAME * number, 100, PAINT).chars().next();
        let frames: Vec<_> = (0..10).filter_map(frame).collect();
        assert_eq!(frames, FRAMES);
        assert_eq!(frame(10), frame(0));
    }

    proptest! {
        #[test]
        fn no_line_is_too_wide_or_harmful(
            width in 0_usize..150,
            colour: bool,
            title: String,
            containers in prop::collection::vec(any::<String>(), 0..5),
            said: String,
        ) {
            let now = Instant::now();
            let mut update = web();
            for (index, container) in containers.iter().enumerate() {
                update.step(container, &if index % 2 == 0 { Step::Starting } else { Step::Draining }, now);
            }
            let title = words::safe(&title);
            let mut compose = Row::compose(title.clone(), now);
            compose.creation().expect("Compose's").said = said;
            for row in [Row::service(title, now, update), compose] {
                let line = row.line(now, width, Paint { colour });
                prop_assert!(columns(&line) <= width, "{:?}", line);
                prop_assert!(!::console::strip_ansi_codes(&line).contains(is_harmful), "{:?}", line);
                prop_assert!(!line.contains('\n'), "{:?}", line);
                prop_assert!(colour || !line.contains('\u{1b}'), "{:?}", line);
            }
        }
    }
}
