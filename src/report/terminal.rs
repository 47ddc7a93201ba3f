//! The live view for terminals: a line for each service at work that is kept up to date, and above it, for good, what has
//! been done and what should be known. This module, with those in it, is the only one that uses
//! indicatif.
//!
//! Lines at work never wrap. A terminal that goes away does no harm: what cannot be written is dropped. When the view is
//! dropped, work that is still open leaves a line saying so, and the cursor stands at the beginning of a line. At the end,
//! good or bad, a picture shows when which container served.

pub(crate) mod board;
mod screen;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ::console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike};

use super::live::{self, Prospect, Row, Update};
use super::paint::{Paint, columns, pad};
use super::plan::{self, PlanStyle};
use super::timeline::Timeline;
use super::transfer::{self, Transfer};
use super::{Event, Reporter, Step, probe, words};
use crate::compose::duration;
use crate::deploy::plan::Plan;
use crate::engine::Container;
use crate::names::ServiceName;
use crate::probe::Report;
use screen::Screen;

/// How often the screen is drawn at most, per second: Compose's lines come in bursts.
const DRAWS: u8 = 20;

/// Columns for the names of services; a longer name only shifts its own line.
const WIDEST_TITLE: usize = 24;

const COMPOSE: &str = "compose";

/// Draws on standard error, whether that is a terminal or not.
#[derive(Debug)]
pub struct Terminal {
    bars: MultiProgress,
    screen: Screen,
    paint: Paint,
    now: fn() -> Instant,
    /// Whether lines move on their own between events.
    ticks: bool,
    state: RefCell<State>,
}

#[derive(Debug, Default)]
struct State {
    prospects: BTreeMap<ServiceName, Prospect>,
    title_width: usize,
    compose: Option<Live>,
    services: Vec<(ServiceName, Live)>,
    transfer: Option<ProgressBar>,
    timeline: Timeline,
}

impl State {
    /// The name of who is at work, as wide as those of the others.
    fn title(&self, name: &str) -> String {
        pad(&words::safe(name), self.title_width)
    }

    fn service(&self, name: &ServiceName) -> Option<&Live> {
        self.services.iter().find(|(service, _)| service == name).map(|(_, live)| live)
    }

    fn take_service(&mut self, name: &ServiceName) -> Option<Live> {
        let index = self.services.iter().position(|(service, _)| service == name)?;
        Some(self.services.remove(index).1)
    }
}

impl Terminal {
    /// A live view, coloured or not.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        let screen = Screen::on(Term::buffered_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), DRAWS);
        Self::on(screen, target, colour, Instant::now, true)
    }

    fn on(screen: Screen, target: ProgressDrawTarget, colour: bool, now: fn() -> Instant, ticks: bool) -> Self {
        Self {
            bars: MultiProgress::with_draw_target(target),
            screen,
            paint: Paint { colour },
            now,
            ticks,
            state: RefCell::default(),
        }
    }

    fn planned(&self, plan: &Plan, containers: &[Container]) {
        self.compose_done();
        let width = Some(self.screen.width().into());
        let style = PlanStyle { colour: self.paint.colour, width, pictures: false };
        self.print(&plan::render(plan, containers, &style));
        let changed = || plan.services.iter().filter(|service| !service.is_empty());
        let widest = changed().map(|service| columns(&words::safe(service.service.as_str()))).max();
        let mut state = self.state.borrow_mut();
        state.title_width = widest.unwrap_or(0).max(COMPOSE.len()).min(WIDEST_TITLE);
        state.prospects =
            changed().map(|service| (service.service.clone(), Prospect::of(service, containers))).collect();
        if !plan.is_empty() {
            drop(state);
            self.print("\n");
        }
    }

    /// Changes Compose's row, which appears with the first thing there is to say.
    fn compose(&self, change: impl FnOnce(&mut live::Creation)) {
        let mut state = self.state.borrow_mut();
        let title = state.title(COMPOSE);
        let live = state.compose.get_or_insert_with(|| self.add(Row::compose(title, (self.now)())));
        live.change(|row| row.creation().map(change));
    }

    /// Compose's part is over as soon as anything comes after it.
    fn compose_done(&self) {
        let Some(live) = self.state.borrow_mut().compose.take() else { return };
        self.close(&live, |row| row.done(row.elapsed((self.now)()), self.paint));
    }

    fn service_begun(&self, service: &ServiceName, slots: usize) {
        self.compose_done();
        let mut state = self.state.borrow_mut();
        let prospect = state.prospects.get(service).cloned().unwrap_or_default();
        for container in &prospect.serving {
            state.timeline.record_serving((self.now)(), service, container);
        }
        let row = Row::service(state.title(service.as_str()), (self.now)(), Update::new(prospect, slots));
        let live = self.add(row);
        state.services.push((service.clone(), live));
    }

    fn step(&self, service: &ServiceName, container: &str, step: &Step<'_>) {
        self.state.borrow_mut().timeline.record((self.now)(), service, container, step);
        if let Some(live) = self.state.borrow().service(service) {
            live.change(|row| row.update().map(|update| update.step(container, step, (self.now)())));
        }
        let sign = match step {
            Step::Failed { .. } => self.paint.bad("✘"),
            Step::Restored => self.paint.notice("↺"),
            Step::AddressChanged { .. } => self.paint.caution("!"),
            _ => return,
        };
        self.told(&sign, service, &format!("{} {}", words::safe(container), words::step(step)));
    }

    fn service_done(&self, service: &ServiceName, took: Duration) {
        let Some(live) = self.state.borrow_mut().take_service(service) else { return };
        self.close(&live, |row| row.done(took, self.paint));
    }

    fn rolling_back(&self, service: &ServiceName, slots: usize) {
        if let Some(live) = self.state.borrow().service(service) {
            live.change(|row| row.update().map(|update| update.roll_back(slots)));
        }
        let what = format!("rolling back {}", words::count(slots, "replica"));
        self.told(&self.paint.caution("↺"), service, &what);
    }

    fn evidence(&self, service: &ServiceName, container: &str, logs: &[String], probe: &str) {
        for (heading, lines) in words::evidence(logs, probe) {
            let heading = format!("{} {heading}", words::safe(container));
            self.told(&self.paint.bad("✘"), service, &heading);
            self.quote(&lines);
        }
    }

    /// An image on its way has a line that is kept up to date; what has become of it stays.
    fn transfer(&self, event: &Transfer<'_>) {
        let (image, what) = transfer::line(event);
        let text = image.map_or_else(|| what.clone(), |image| format!("{}  {what}", self.paint.strong(&image)));
        if let Transfer::Begun { .. } | Transfer::Progress { .. } = event {
            let mut state = self.state.borrow_mut();
            let bar = state.transfer.get_or_insert_with(|| self.bars.add(spinner(self.ticks)));
            bar.set_message(text);
            bar.tick();
            return;
        }
        if let Some(bar) = self.state.borrow_mut().transfer.take() {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        let sign = match event {
            Transfer::Finished { .. } => String::new(),
            Transfer::Whole { .. } => format!("{} ", self.paint.caution("!")),
            _ => format!("{} ", self.paint.good("✔")),
        };
        self.print(&format!("{sign}{text}"));
    }

    fn probed(&self, report: &Report) {
        for (is_good, line) in probe::lines(report) {
            let sign = if is_good { self.paint.good("✔") } else { self.paint.bad("✘") };
            self.print(&format!("{sign} {}  {line}", self.paint.strong("probe")));
        }
    }

    /// What has become of the containers, as a picture.
    fn timeline(&self, timeline: &Timeline, after: &str) {
        let picture = timeline.render((self.now)(), self.screen.room(), self.paint);
        if !picture.is_empty() {
            self.print(&format!("\n{picture}{after}"));
        }
    }

    fn message(&self, prefix: &str, message: &str) {
        let (first, rest) = words::paragraph(message);
        self.print(&format!("{prefix} {first}"));
        self.quote(&rest);
    }

    fn quote(&self, lines: &[String]) {
        let gutter = self.paint.faint("|");
        for line in lines {
            self.print(&format!("  {gutter} {line}"));
        }
    }

    /// Says something about a service for good.
    fn told(&self, sign: &str, service: &ServiceName, what: &str) {
        let title = self.paint.strong(&self.state.borrow().title(service.as_str()));
        self.print(&format!("{sign} {title}  {what}"));
    }

    /// Puts lines above those at work.
    fn print(&self, text: &str) {
        self.bars.suspend(|| {
            for line in text.lines() {
                self.screen.say(line);
            }
        });
    }

    fn add(&self, row: Row) -> Live {
        let row = Arc::new(Mutex::new(row));
        let style = ProgressStyle::with_template("{row}")
            .expect("the template is well-formed")
            .with_key("row", self.tracker(&row));
        let bar = self.bars.add(ProgressBar::new_spinner().with_style(style));
        if self.ticks {
            bar.enable_steady_tick(live::FRAME);
        }
        bar.tick();
        Live { row, bar }
    }

    /// What indicatif asks for the line's looks whenever it draws it.
    fn tracker(
        &self,
        row: &Arc<Mutex<Row>>,
    ) -> impl Fn(&ProgressState, &mut dyn std::fmt::Write) + Clone + Send + Sync + 'static {
        let (row, screen, paint, now) = (Arc::clone(row), self.screen.clone(), self.paint, self.now);
        move |_: &ProgressState, target: &mut dyn std::fmt::Write| {
            let line = lock(&row).line(now(), screen.room(), paint);
            // Writing to memory cannot fail.
            let _ = target.write_str(&line);
        }
    }

    /// Ends a row. What stays of it, if anything does, is told by `last`.
    fn close(&self, live: &Live, last: impl FnOnce(&Row) -> String) {
        live.bar.finish_and_clear();
        self.bars.remove(&live.bar);
        let trace = {
            let row = live.row();
            row.leaves_a_line().then(|| last(&row))
        };
        // Only now, with the row unlocked, may indicatif draw again.
        if let Some(trace) = trace {
            self.print(&trace);
        }
    }
}

impl Reporter for Terminal {
    fn report(&self, event: &Event<'_>) {
        match event {
            Event::Planned { plan, containers } => self.planned(plan, containers),
            Event::ComposeSaid(line) => self.compose(|creation| (*line).clone_into(&mut creation.said)),
            Event::Creating { containers } => {
                self.compose(|creation| creation.containers = Some(*containers));
            }
            Event::ServiceBegun { service, slots, .. } => self.service_begun(service, *slots),
            Event::Step { service, container, step } => self.step(service, container, step),
            Event::ServiceDone { service, took } => self.service_done(service, *took),
            Event::RollingBack { service, slots } => self.rolling_back(service, *slots),
            Event::Evidence { service, container, logs, probe } => {
                self.evidence(service, container, logs, probe);
            }
            Event::OrphanRemoved { container, took } => {
                let title = self.paint.strong(&self.state.borrow().title("orphans"));
                let (sign, took) = (self.paint.good("✔"), duration::format(*took));
                self.print(&format!("{sign} {title}  {} removed after {took}", words::safe(container)));
            }
            Event::Transfer(event) => self.transfer(event),
            Event::Probing { url, rate } => {
                self.print(&format!("{} {}", self.paint.notice("probe:"), probe::begun(url, *rate)));
            }
            Event::Probed(report) => self.probed(report),
            Event::Note(message) => self.message(&self.paint.notice("note:"), message),
            Event::Warning(message) => self.message(&self.paint.caution("warning:"), message),
            Event::Prepared { services, took } => {
                self.compose_done();
                if *services > 0 {
                    self.print(&format!("\n{}", self.paint.strong(&words::prepared(*services, *took))));
                }
            }
            Event::Finished { updated, unchanged, took } => {
                self.compose_done();
                // The plan has said so already if there was nothing to do.
                if *updated > 0 {
                    self.timeline(&std::mem::take(&mut self.state.borrow_mut().timeline), "");
                    let finished = words::finished(*updated, *unchanged, *took);
                    self.print(&format!("\n{}", self.paint.strong(&finished)));
                }
            }
        }
    }
}

impl Drop for Terminal {
    /// Work that is still open will not be finished.
    fn drop(&mut self) {
        let state = self.state.take();
        if let Some(bar) = state.transfer {
            bar.finish_and_clear();
        }
        for live in state.compose.iter().chain(state.services.iter().map(|(_, live)| live)) {
            self.close(live, |row| row.given_up((self.now)(), self.paint));
        }
        // What is said of the failure comes next.
        self.timeline(&state.timeline, "\n\n");
    }
}

/// A line for something that is not finished, whose text is as long as fits.
fn spinner(ticks: bool) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {wide_msg}").expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    if ticks {
        bar.enable_steady_tick(live::FRAME);
    }
    bar
}

/// A line that is kept up to date.
#[derive(Debug)]
struct Live {
    row: Arc<Mutex<Row>>,
    bar: ProgressBar,
}

impl Live {
    fn row(&self) -> MutexGuard<'_, Row> {
        lock(&self.row)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Row) -> T) {
        change(&mut self.row());
        // Drawing takes the lock again.
        self.bar.tick();
    }
}

/// Whoever panicked while holding the row has left it good enough to be shown.
fn lock(row: &Mutex<Row>) -> MutexGuard<'_, Row> {
    row.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
