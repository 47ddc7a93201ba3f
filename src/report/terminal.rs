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
use super::{Event, Reporter, Step, words};
use crate::compose::duration;
use crate::deploy::plan::Plan;
use crate::engine::Container;
use crate::names::ServiceName;
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
        let style = PlanStyle { colour: self.paint.colour, width: Some(self.screen.width().into()) };
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

    /// What has become of the containers, as a picture.
    fn timeline(&self, timeline: &Timeline) {
        let picture = timeline.render((self.now)(), self.screen.room(), self.paint);
        if !picture.is_empty() {
            self.print(&format!("\n{picture}"));
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
                    self.timeline(&std::mem::take(&mut self.state.borrow_mut().timeline));
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
        self.timeline(&state.timeline);
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
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::sync::LazyLock;

    use indicatif::InMemoryTerm;

    use super::*;
    use crate::compose::Order;
    use crate::report::recorded::{self, is_harmful};

    thread_local! {
        /// The time of a test, since it began.
        static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    fn now() -> Instant {
        static BEGIN: LazyLock<Instant> = LazyLock::new(Instant::now);
        *BEGIN + TIME.get()
    }

    fn pass(milliseconds: u64) {
        TIME.set(TIME.get() + Duration::from_millis(milliseconds));
    }

    /// A view without colours whose lines move only with events.
    fn view(width: u16) -> (InMemoryTerm, Terminal) {
        let memory = InMemoryTerm::new(100, width);
        let screen = Screen::on(memory.clone());
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        (memory, Terminal::on(screen, target, false, now, false))
    }

    #[test]
    fn a_good_end() {
        insta::assert_snapshot!(good_end_on(80), @"
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

        ✔ compose  3 containers created in 200ms
        ✔ web      3 replicas replaced in 7.2s
        ✔ worker   1 replica removed in 10.1s

        shop-web-4     ┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-5      ┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-1     ━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
        shop-web-2     ━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
        shop-web-6                                    ┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄■
        shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄■
                       0s                                                        3.6s
                       ━ serves   ┄ starts or leaves   ■ ended

        2 services updated, 2 unchanged in 18s
        ");
    }

    fn good_end_on(width: u16) -> String {
        let (memory, terminal) = view(width);
        recorded::good_end(&mut |event| {
            pass(100);
            terminal.report(event);
        });
        drop(terminal);
        memory.contents()
    }

    #[test]
    fn a_good_end_on_a_narrow_terminal() {
        insta::assert_snapshot!(good_end_on(60), @"
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
        2 services to update, 2 unchanged: 3 replicas to replace, 1
        to remove.

        ✔ compose  3 containers created in 200ms
        ✔ web      3 replicas replaced in 7.2s
        ✔ worker   1 replica removed in 10.1s

        shop-web-4     ┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-5      ┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-1     ━━━━━━━━━┄┄┄┄┄┄┄┄┄■
        shop-web-2     ━━━━━━━━━━┄┄┄┄┄┄┄┄┄■
        shop-web-6                          ┄┄━━━━━━━━━━━━━━━━━━━▶
        shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄■
        shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄■
                       0s                                    3.6s
                       ━ serves   ┄ starts or leaves   ■ ended

        2 services updated, 2 unchanged in 18s
        ");
    }

    #[test]
    fn a_good_end_on_a_wide_terminal() {
        insta::assert_snapshot!(good_end_on(120), @"
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

        ✔ compose  3 containers created in 200ms
        ✔ web      3 replicas replaced in 7.2s
        ✔ worker   1 replica removed in 10.1s

        shop-web-4     ┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-5       ┄┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-1     ━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
        shop-web-2     ━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄■
        shop-web-6                                                        ┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-3     ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄■
        shop-worker-2  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━┄┄┄■
                       0s                                                                                                3.6s
                       ━ serves   ┄ starts or leaves   ■ ended

        2 services updated, 2 unchanged in 18s
        ");
    }

    #[test]
    fn a_bad_end() {
        let (memory, terminal) = view(80);
        recorded::bad_end(&mut |event| {
            pass(100);
            terminal.report(event);
        });
        drop(terminal);
        insta::assert_snapshot!(memory.contents(), @"
        ! web  shop-web-1 address changed 172.18.0.2 → 172.18.0.9, its connections are c
        ut
        ✘ web  shop-web-4 failed: exited with code 1
        ✘ web  shop-web-4 last output:
          | Starting
          | panic: no such table
        ✘ web  shop-web-4 last health probe:
          | curl: (7) Failed to connect
        ↺ web  rolling back 1 replica
        ↺ web  shop-web-1 restored
        note: add a healthcheck to web
          | to update faster
        warning: stop container 1f3a: timed out; it is left behind
        ✘ web  given up after 1.3s

        shop-web-3  ┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-1  ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-4                             ┄┄┄┄┄✘
                    0s                                                           1.2s
                    ━ serves   ┄ starts or leaves   ■ ended
        ");
    }

    #[test]
    fn work_is_shown_below_what_stays() {
        let (memory, terminal) = view(60);
        let (api, web) = (ServiceName::new("api"), ServiceName::new("web"));
        let (plan, containers) = recorded::plan();
        terminal.planned(&plan, &containers);
        terminal.report(&Event::Creating { containers: 3 });
        terminal.report(&Event::ComposeSaid(" web Pulling  [=====>     ]  12.5MB/29.1MB and so on and on"));
        let mut shown = vec![last_lines(&memory, 1)];
        pass(2_000);
        terminal.report(&Event::ServiceBegun { service: &api, slots: 1, order: Order::StopFirst });
        terminal.report(&Event::ServiceBegun { service: &web, slots: 3, order: Order::StartFirst });
        for container in ["shop-web-4", "shop-web-5"] {
            let deadline = Duration::from_secs(60);
            let step = Step::Waiting { healthcheck: true, deadline };
            terminal.report(&Event::Step { service: &web, container, step });
        }
        pass(12_000);
        terminal.report(&Event::Note("two lines\nof text"));
        let step = Step::Starting;
        terminal.report(&Event::Step { service: &api, container: "shop-api-1", step });
        let step = Step::Stopping;
        terminal.report(&Event::Step { service: &web, container: "shop-web-1", step });
        shown.push(last_lines(&memory, 5));
        terminal.report(&Event::ServiceDone { service: &api, took: Duration::from_millis(12_345) });
        shown.push(last_lines(&memory, 4));
        insta::assert_snapshot!(shown.join("\n---\n"), @"
        ⠋ compose  creating 3 containers   0s  web Pulling [=====…
        ---
        ✔ compose  3 containers created in 2s
        note: two lines
          | of text
        ⠋ api      0/1  12s  shop-api-1 starting
        ⠋ web      0/3  12s  shop-web-4 +1 healthcheck 12s of 1m,…
        ---
        note: two lines
          | of text
        ✔ api      1 replica updated in 12.3s
        ⠋ web      0/3  12s  shop-web-4 +1 healthcheck 12s of 1m,…
        ");
    }

    fn last_lines(memory: &InMemoryTerm, number: usize) -> String {
        let contents = memory.contents();
        let lines: Vec<_> = contents.lines().collect();
        lines[lines.len().saturating_sub(number)..].join("\n")
    }

    #[test]
    fn the_cursor_ends_at_the_beginning_of_a_line() {
        for story in [recorded::good_end, recorded::bad_end] {
            let (memory, terminal) = view(80);
            story(&mut |event| terminal.report(event));
            drop(terminal);
            let before = memory.contents();
            memory.write_str("$ ").expect("memory");
            assert_eq!(memory.contents(), format!("{before}\n$"));
        }
    }

    #[test]
    fn what_the_terminal_echoes_leaves_no_trace() {
        let (memory, terminal) = view(40);
        for name in ["api", "web"] {
            let service = &ServiceName::new(name);
            terminal.report(&Event::ServiceBegun { service, slots: 1, order: Order::StopFirst });
            for number in 1..10 {
                let container = format!("shop-{name}-{number}");
                let step = if number % 2 == 0 { Step::Starting } else { Step::Stopping };
                terminal.report(&Event::Step { service, container: &container, step });
            }
        }
        memory.write_str("^C").expect("memory");
        assert!(memory.contents().ends_with("…^C"), "{}", memory.contents());
        let service = &ServiceName::new("web");
        terminal.report(&Event::Step { service, container: "shop-web-10", step: Step::Starting });
        assert_eq!(memory.contents().lines().count(), 2, "{}", memory.contents());
        drop(terminal);
        assert_eq!(memory.contents().lines().count(), 2, "{}", memory.contents());
        assert!(!memory.contents().contains("^C"), "{}", memory.contents());
    }

    #[test]
    fn nothing_to_do_is_said_once() {
        let (memory, terminal) = view(80);
        let plan = Plan { services: vec![recorded::service("web")], orphans: Vec::new(), networks: BTreeMap::new() };
        terminal.report(&Event::Planned { plan: &plan, containers: &[] });
        terminal.report(&Event::Finished { updated: 0, unchanged: 1, took: Duration::ZERO });
        drop(terminal);
        assert_eq!(memory.contents(), "Nothing to do: 1 service is up to date.");
    }

    #[test]
    fn hostile_text_does_not_reach_the_terminal() {
        let (memory, terminal) = view(80);
        let mut written = String::new();
        recorded::hostile(&mut |event| {
            terminal.report(event);
            written.push_str(&memory.moves_since_last_check());
        });
        assert!(written.contains(r"x\\x1b[2J"), "{written}");
        // The record is in Rust's notation: what is harmful would be in it as `\u{…}`, `\r` or the like.
        let plain = written.replace(r"\\", "");
        assert!(!plain.contains('\\') && !plain.contains(is_harmful), "{plain}");
    }

    #[test]
    fn reading_the_files_leaves_no_trace() {
        let (memory, terminal) = view(80);
        terminal.report(&Event::ComposeSaid("reading"));
        assert_eq!(memory.contents(), "⠋ compose  working   0s  reading");
        let plan = Plan { services: vec![recorded::service("web")], orphans: Vec::new(), networks: BTreeMap::new() };
        terminal.report(&Event::Planned { plan: &plan, containers: &[] });
        assert_eq!(memory.contents(), "Nothing to do: 1 service is up to date.");
    }

    /// A terminal whose other end has hung up.
    #[derive(Debug)]
    struct Gone;

    impl TermLike for Gone {
        fn width(&self) -> u16 {
            80
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn write_line(&self, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn write_str(&self, _: &str) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn clear_line(&self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    #[test]
    fn a_terminal_that_is_gone_does_no_harm() {
        let screen = Screen::on(Gone);
        let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
        let terminal = Terminal::on(screen, target, true, now, true);
        let mut events = 0;
        recorded::good_end(&mut |event| {
            terminal.report(event);
            events += 1;
        });
        assert!(events > 30);
    }
}
