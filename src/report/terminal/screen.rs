//! What indicatif draws on: a terminal for which nothing ever fails, and on which lines end where their text does.
//!
//! Indicatif panics in places where it cannot write, and a deployment must not end because its terminal has. It also
//! fills lines with spaces up to the edge, so that the next begins by wrapping; then whatever the terminal echoes, such
//! as `^C`, goes to a line below that is never cleared. Here, filling a line only ends it.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::TermLike;

/// A terminal behind all handles cloned from this one.
#[derive(Clone, Debug)]
pub(super) struct Screen {
    terminal: Arc<dyn TermLike>,
    /// Whether what is written next belongs to a new line.
    at_end: Arc<AtomicBool>,
}

impl Screen {
    pub(super) fn on(terminal: impl TermLike + 'static) -> Self {
        Self { terminal: Arc::new(terminal), at_end: Arc::default() }
    }

    /// Writes a line that stays.
    pub(super) fn say(&self, line: &str) {
        let _ = self.write_line(line);
        let _ = self.flush();
    }

    /// Columns for lines that are redrawn. What the terminal echoes after them must not make them wrap.
    pub(super) fn room(&self) -> usize {
        usize::from(self.width()).saturating_sub("^C".len())
    }

    /// The terminal, for anything but writing on from where the cursor is.
    fn anew(&self) -> &dyn TermLike {
        self.at_end.store(false, Ordering::Relaxed);
        &*self.terminal
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        self.terminal.width()
    }

    fn height(&self) -> u16 {
        self.terminal.height()
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        forget(self.anew().move_cursor_up(lines))
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        forget(self.anew().move_cursor_down(lines))
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        forget(self.anew().move_cursor_right(columns))
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        forget(self.anew().move_cursor_left(columns))
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        forget(self.anew().write_line(line))
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.chars().all(|character| character == ' ') {
            self.at_end.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.at_end.swap(false, Ordering::Relaxed) {
            let _ = self.terminal.write_line("");
        }
        forget(self.terminal.write_str(text))
    }

    fn clear_line(&self) -> io::Result<()> {
        forget(self.anew().clear_line())
    }

    fn flush(&self) -> io::Result<()> {
        forget(self.terminal.flush())
    }
}

#[expect(clippy::unnecessary_wraps, reason = "this is what the trait wants")]
fn forget(result: io::Result<()>) -> io::Result<()> {
    drop(result);
    Ok(())
}
