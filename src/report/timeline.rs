//! A picture of a deploy that is over: a line for each container that took part, with when it ran and when it served.
//!
//! ```text
//! shop-web-1  ━━━━━━━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄■
//! shop-web-4       ┄┄┄┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━▶
//!             0s                                   8.2s
//! ```

use std::time::{Duration, Instant};

use super::paint::{Paint, columns, pad, truncate};
use super::{Step, words};
use crate::compose::duration;
use crate::names::ServiceName;

/// Containers that are drawn; nobody looks at more of them.
const MOST: usize = 40;

/// Columns of time that make a picture.
const NARROWEST: usize = 24;

/// Columns between names and time.
const GAP: usize = 2;

const LEGEND: [(&str, &str); 3] = [("━", "serves"), ("┄", "starts or leaves"), ("■", "ended")];

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    begin: Option<Instant>,
    /// In the order in which services, and within these containers, were heard of first.
    lives: Vec<Life>,
}

/// What is known of a container.
#[derive(Debug)]
struct Life {
    service: ServiceName,
    /// Its name, raw.
    container: String,
    /// When which phase began, since the beginning of all.
    phases: Vec<(Duration, Phase)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Absent,
    /// It runs, and gets no requests (any more).
    Hidden,
    Serving,
    Ended,
    /// It has turned out not to be fit.
    Bad,
}

impl Phase {
    /// What a step leads to, if it changes anything.
    const fn after(step: &Step<'_>) -> Option<Self> {
        match step {
            Step::Starting | Step::Withdrawn | Step::Draining | Step::Stopping => Some(Self::Hidden),
            Step::Ready { .. } | Step::Published | Step::Restored => Some(Self::Serving),
            Step::Completed | Step::Stopped { .. } | Step::Removed => Some(Self::Ended),
            Step::Failed { .. } => Some(Self::Bad),
            Step::Waiting { .. }
            | Step::Working
            | Step::Hook { .. }
            | Step::HookFailed { .. }
            | Step::Watched { .. }
            | Step::Drained { .. }
            | Step::AddressChanged { .. } => None,
        }
    }

    /// What must have been before the first step that is heard of.
    const fn before(step: &Step<'_>) -> Self {
        match step {
            Step::Starting => Self::Absent,
            Step::Waiting { .. } | Step::Working | Step::Ready { .. } | Step::Completed | Step::Failed { .. } => {
                Self::Hidden
            }
            _ => Self::Serving,
        }
    }

    const fn sign(self) -> &'static str {
        match self {
            Self::Absent => " ",
            Self::Hidden => "┄",
            Self::Serving => "━",
            Self::Ended => "■",
            Self::Bad => "✘",
        }
    }

    fn paint(self, text: &str, paint: Paint) -> String {
        match self {
            Self::Absent => text.to_owned(),
            Self::Hidden | Self::Ended => paint.faint(text),
            Self::Serving => paint.good(text),
            Self::Bad => paint.bad(text),
        }
    }
}

impl Timeline {
    /// Time begins then, unless it has begun.
    pub(super) fn begin_at(&mut self, begin: Instant) {
        self.begin.get_or_insert(begin);
    }

    /// Takes note of a container that serves, and has done so before.
    pub(super) fn record_serving(&mut self, at: Instant, service: &ServiceName, container: &str) {
        self.begin_at(at);
        self.life(service, container, Phase::Serving);
    }

    /// Takes note of a step.
    pub(super) fn record(&mut self, at: Instant, service: &ServiceName, container: &str, step: &Step<'_>) {
        let at = at.saturating_duration_since(*self.begin.get_or_insert(at));
        let life = self.life(service, container, Phase::before(step));
        let Some(phase) = Phase::after(step) else { return };
        // What is bad stays so until it is gone.
        let last = life.phases.last().map(|(_, phase)| *phase);
        if last != Some(phase) && !(last == Some(Phase::Bad) && phase != Phase::Serving) {
            life.phases.push((at, phase));
        }
    }

    fn life(&mut self, service: &ServiceName, container: &str, before: Phase) -> &mut Life {
        let known = self.lives.iter().position(|life| life.service == *service && life.container == container);
        let index = known.unwrap_or_else(|| {
            let beside = self.lives.iter().rposition(|life| life.service == *service);
            let index = beside.map_or(self.lives.len(), |index| index + 1);
            let phases = vec![(Duration::ZERO, before)];
            self.lives.insert(index, Life { service: service.clone(), container: container.to_owned(), phases });
            index
        });
        &mut self.lives[index]
    }

    /// The picture as of now, with so many columns; empty if there is nothing to be seen.
    pub(super) fn render(&self, now: Instant, width: usize, paint: Paint) -> String {
        let Some(Bars { mut lines, margin, room, span }) = self.bars(now, width, paint) else { return String::new() };
        let end = duration::format(span);
        let margin = " ".repeat(margin);
        lines.push(paint.faint(&format!("{margin}{}{end}", pad("0s", room.saturating_sub(columns(&end))))));
        lines.push(truncate(&paint.faint(&format!("{margin}{}", legend())), width));
        lines.join("\n")
    }

    /// A line for each container with so many columns at most, if there is anything to be seen.
    pub(super) fn bars(&self, now: Instant, width: usize, paint: Paint) -> Option<Bars> {
        let span = self.begin.map_or(Duration::ZERO, |begin| now.saturating_duration_since(begin));
        let drawn = &self.lives[..self.lives.len().min(MOST)];
        let names: Vec<_> = drawn.iter().map(|life| truncate(&words::safe(&life.container), width / 3)).collect();
        let margin = names.iter().map(|name| columns(name)).max().unwrap_or(0) + GAP;
        let room = width.checked_sub(margin + 1).filter(|room| *room >= NARROWEST && !span.is_zero())?;
        let line = |(life, name): (&Life, String)| format!("{}{}", pad(&name, margin), life.bar(span, room, paint));
        let mut lines: Vec<_> = drawn.iter().zip(names).map(|life| line(life).trim_end().to_owned()).collect();
        if self.lives.len() > MOST {
            let more = words::count(self.lives.len() - MOST, "container");
            lines.push(format!("{}… and {more}", " ".repeat(margin)));
        }
        Some(Bars { lines, margin, room, span })
    }
}

/// What the signs mean.
pub(super) fn legend() -> String {
    LEGEND.map(|(sign, meaning)| format!("{sign} {meaning}")).join("   ")
}

/// Lines of a picture, without what explains them.
#[derive(Debug)]
pub(super) struct Bars {
    pub(super) lines: Vec<String>,
    /// Columns before time begins.
    margin: usize,
    /// Columns of time.
    room: usize,
    /// How much time that is.
    span: Duration,
}

impl Life {
    /// The phases from the beginning to `span` in so many columns, and a tip if it lives on. None is too short to be seen,
    /// unless the next one begins in the same column.
    fn bar(&self, span: Duration, width: usize, paint: Paint) -> String {
        let column = |at: Duration| {
            let column = at.as_millis() * width as u128 / span.as_millis().max(1);
            usize::try_from(column).unwrap_or(width).min(width - 1)
        };
        let mut cells = vec![Phase::Absent; width];
        for (at, phase) in &self.phases {
            let (first, later) = cells[column(*at)..].split_first_mut().expect("there is a column");
            *first = *phase;
            later.fill(if matches!(phase, Phase::Ended | Phase::Bad) { Phase::Absent } else { *phase });
        }
        let runs = cells.chunk_by(|one, other| one == other);
        let mut bar: String = runs.map(|run| run[0].paint(&run[0].sign().repeat(run.len()), paint)).collect();
        if let Some(last @ (Phase::Serving | Phase::Hidden)) = cells.last() {
            bar.push_str(&last.paint("▶", paint));
        }
        bar
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEPS: [(u64, &str, Step<'_>); 13] = [
        (0, "shop-web-3", Step::Starting),
        (100, "shop-web-3", Step::Waiting { healthcheck: true, deadline: Duration::from_secs(60) }),
        (2_000, "shop-web-3", Step::Ready { took: Duration::from_secs(2) }),
        (2_100, "shop-web-3", Step::Published),
        (2_200, "shop-web-1", Step::Withdrawn),
        (2_200, "shop-web-1", Step::Draining),
        (5_000, "shop-web-1", Step::Stopping),
        (6_000, "shop-web-1", Step::Stopped { took: Duration::from_secs(1) }),
        (6_000, "shop-web-4", Step::Starting),
        (8_000, "shop-web-4", Step::Failed { reason: "unhealthy" }),
        (8_100, "shop-web-4", Step::Removed),
        (8_100, "shop-web-1", Step::Starting),
        (9_000, "shop-web-1", Step::Restored),
    ];

    fn timeline() -> (Instant, Timeline) {
        let (begin, mut timeline) = (Instant::now(), Timeline::default());
        for (at, container, step) in STEPS {
            timeline.record(begin + Duration::from_millis(at), &ServiceName::new("web"), container, &step);
        }
        (begin + Duration::from_secs(10), timeline)
    }

    #[test]
    fn shows_who_served_when() {
        let (end, timeline) = timeline();
        insta::assert_snapshot!(timeline.render(end, 73, Paint { colour: false }), @"
        shop-web-3  ┄┄┄┄┄┄┄┄┄┄┄┄━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━▶
        shop-web-1  ━━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄┄■           ┄┄┄┄┄┄━━━━━━▶
        shop-web-4                                      ┄┄┄┄┄┄┄┄┄┄┄┄✘
                    0s                                                       10s
                    ━ serves   ┄ starts or leaves   ■ ended
        ");
    }

    #[test]
    fn fits_any_width_or_is_left_out() {
        let (end, timeline) = timeline();
        for width in 0..200 {
            let picture = timeline.render(end, width, Paint { colour: true });
            assert!(picture.lines().all(|line| columns(line) <= width), "{width}: {picture}");
            assert_eq!(picture.is_empty(), width < 37, "{width}: {picture}");
        }
        assert_eq!(Timeline::default().render(end, 80, Paint { colour: false }), "");
    }

    #[test]
    fn services_stay_together_and_many_containers_are_cut_short() {
        let (begin, mut timeline) = (Instant::now(), Timeline::default());
        for number in 1..=30 {
            for service in ["api", "web"] {
                let container = format!("shop-{service}-{number}");
                timeline.record(begin, &ServiceName::new(service), &container, &Step::Starting);
            }
        }
        let picture = timeline.render(begin + Duration::from_secs(1), 80, Paint { colour: false });
        let lines: Vec<_> = picture.lines().collect();
        assert!(lines[29].starts_with("shop-api-30") && lines[30].starts_with("shop-web-1 "), "{picture}");
        assert!(lines[40].trim() == "… and 20 containers", "{picture}");
    }
}
