//! Questions to whoever sits at the terminal, which is left as it was found, whatever becomes of the question.

use std::io::{self, IsTerminal};

use dialoguer::{Confirm, Password};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

use super::console;

/// Shows the cursor.
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// Whether there is somebody to ask: a terminal to ask on and to answer from.
#[must_use]
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes or a no, which is what Return means. Waits for the answer without end. `None` if there is none, as
/// after Escape.
pub async fn confirm(question: String) -> Option<bool> {
    let _terminal = Terminal::keep();
    // A thread of its own, so that signals are heard meanwhile.
    let asked = tokio::task::spawn_blocking(move || Confirm::new().with_prompt(question).default(false).interact_opt());
    asked.await.ok()?.ok()?
}

/// Asks for a password, which is not shown. `None` if there is no answer.
pub async fn password(question: String) -> Option<String> {
    let _terminal = Terminal::keep();
    let asked = tokio::task::spawn_blocking(move || Password::new().with_prompt(question).interact());
    asked.await.ok()?.ok()
}

/// The terminal as it was before a question, which it becomes again when this is dropped. The thread that asks cannot
/// see to that: it hides the cursor or what is typed, and where a signal ends the wait, it is still reading when kerek
/// ends.
struct Terminal {
    /// `None` if there is none.
    before: Option<Termios>,
}

impl Terminal {
    fn keep() -> Self {
        Self { before: tcgetattr(io::stdin()).ok() }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let Some(before) = &self.before else { return };
        // Where the question was answered, it is as it was, and what was typed since is not lost.
        let is_changed = tcgetattr(io::stdin()).is_ok_and(|now| now.local_modes != before.local_modes);
        if is_changed {
            // Half a password is not for the next program to read. If the terminal is gone, there is nothing to do.
            let _ = tcsetattr(io::stdin(), OptionalActions::Flush, before);
        }
        if io::stderr().is_terminal() {
            console::err(SHOW_CURSOR);
        }
    }
}
