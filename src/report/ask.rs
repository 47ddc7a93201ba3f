//! Questions to whoever sits at the terminal, which is left as it was found, whatever becomes of the question.

use std::io::{self, IsTerminal};
use std::time::Duration;

use dialoguer::{Confirm, Password};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::time::timeout;

use super::console;
use crate::cancel::Cancel;

/// Shows the cursor.
const SHOW_CURSOR: &str = "\u{1b}[?25h";

/// Whether there is somebody to ask: a terminal to ask on and to answer from.
#[must_use]
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// How long after a Ctrl-C its signal may be heard: it ends a question and is passed on then.
const ECHO: Duration = Duration::from_millis(200);

/// Kerek is to end, so that no answer counts.
#[derive(Debug)]
pub struct Interrupted;

/// Asks for a yes or a no, which is what Return means. Waits for the answer without end. `None` if there is none, as
/// after Escape.
pub async fn confirm(question: String, cancel: &Cancel) -> Result<Option<bool>, Interrupted> {
    let ask = move || Confirm::new().with_prompt(question).default(false).interact_opt().ok().flatten();
    answer(ask, cancel).await
}

/// Asks for a password, which is not shown. `None` if there is no answer.
pub async fn password(question: String, cancel: &Cancel) -> Result<Option<String>, Interrupted> {
    answer(move || Password::new().with_prompt(question).interact().ok(), cancel).await
}

async fn answer<T: Send + 'static>(
    ask: impl FnOnce() -> Option<T> + Send + 'static,
    cancel: &Cancel,
) -> Result<Option<T>, Interrupted> {
    let _terminal = Terminal::keep();
    // A thread of its own, so that signals are heard meanwhile.
    let answer = tokio::select! {
        asked = tokio::task::spawn_blocking(ask) => asked.ok().flatten(),
        () = cancel.requested() => return Err(Interrupted),
    };
    if answer.is_none() && timeout(ECHO, cancel.requested()).await.is_ok() {
        return Err(Interrupted);
    }
    Ok(answer)
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
