//! Questions to whoever sits at the terminal.

use std::io::{self, IsTerminal};

use dialoguer::{Confirm, Password};

/// Whether there is somebody to ask: a terminal to ask on and to answer from.
#[must_use]
pub fn is_possible() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks for a yes or a no, which is what Return means. Waits for the answer without end. `None` if there is none, as
/// after Escape.
pub async fn confirm(question: String) -> Option<bool> {
    // A thread of its own, so that signals are heard meanwhile.
    let asked = tokio::task::spawn_blocking(move || Confirm::new().with_prompt(question).default(false).interact_opt());
    asked.await.ok()?.ok()?
}

/// Asks for a password, which is not shown. `None` if there is no answer.
pub async fn password(question: String) -> Option<String> {
    let asked = tokio::task::spawn_blocking(move || Password::new().with_prompt(question).interact());
    asked.await.ok()?.ok()
}
