//! A line for each of several hosts, kept up to date; above them, what lasts.

use std::time::Duration;

use ::console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use super::{DRAWS, WIDEST_TITLE};
use crate::report::paint::{Paint, columns, pad, truncate};

/// How often a line moves by itself.
const TICK: Duration = Duration::from_millis(100);
/// Columns of a line besides title and words: spinner, spaces, elapsed time.
const MARGIN: usize = 12;

/// Draws on standard error. Lines never wrap.
#[derive(Debug)]
pub(crate) struct Board {
    bars: MultiProgress,
    screen: Screen,
    paint: Paint,
    lines: Vec<(String, ProgressBar)>,
}

impl Board {
    /// A line for each name.
    pub(crate) fn new(names: &[String], colour: bool) -> Self {
        let screen = Screen::on(Term::buffered_stderr());
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), DRAWS);
        let bars = MultiProgress::with_draw_target(target);
        let width = names.iter().map(|name| columns(name)).max().unwrap_or(0).min(WIDEST_TITLE);
        let style = ProgressStyle::with_template("{spinner} {prefix} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let lines = names.iter().map(|name| {
            let bar = bars.add(ProgressBar::new_spinner().with_style(style.clone()));
            let title = pad(name, width);
            bar.set_prefix(title.clone());
            bar.enable_steady_tick(TICK);
            (title, bar)
        });
        let lines = lines.collect();
        Self { bars, screen, paint: Paint { colour }, lines }
    }

    /// Puts words into a host's line or, if they are to last, above all lines.
    pub(crate) fn tell(&self, host: usize, words: &str, lasting: bool) {
        let Some((title, bar)) = self.lines.get(host) else { return };
        if lasting {
            self.bars.suspend(|| self.screen.say(&format!("  {title} {words}")));
        } else {
            let room = self.screen.room().saturating_sub(columns(title) + MARGIN);
            bar.set_message(truncate(words, room));
        }
    }

    /// Ends a host's line.
    pub(crate) fn finish(&self, host: usize, words: &str, good: bool) {
        let Some((title, bar)) = self.lines.get(host) else { return };
        bar.finish_and_clear();
        let mark = if good { self.paint.good("✔") } else { self.paint.bad("✘") };
        self.bars.suspend(|| self.screen.say(&format!("{mark} {title} {words}")));
    }
}
