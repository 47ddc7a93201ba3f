//! How much room a folder's file system has on a host that SSH leads to: asked with `df`, in whatever login shell.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::ssh::sessions::Sessions;

/// Time for an answer. Nothing depends on it but an early refusal.
const PATIENCE: Duration = Duration::from_secs(5);
/// What begins the line with the answer, among whatever login shells print.
const MARK: &str = "kerek room ";

/// Asks for the room on a host.
#[derive(Debug)]
pub struct Room(Arc<Sessions>);

impl Room {
    pub(super) fn on(sessions: &Arc<Sessions>) -> Self {
        Self(Arc::clone(sessions))
    }

    /// Bytes that are free where a folder is; `None` if that cannot be found out, for whatever reason.
    pub async fn at(&self, folder: &str) -> Option<u64> {
        let command = question(folder)?;
        let answer = timeout(PATIENCE, self.0.ask(&command, "")).await.ok()?.ok()?;
        free(&String::from_utf8_lossy(&answer))
    }
}

/// The command; `None` for a path with characters that a shell may heed.
fn question(folder: &str) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-@+:,=".contains(&byte);
    (folder.starts_with('/') && folder.bytes().all(is_plain)).then(|| {
        let script = format!("echo; df -P -k {folder} 2>/dev/null | while read a b c d e; do echo {MARK}$d; done");
        format!("sh -c '{script}'")
    })
}

/// Reads the answer: the fourth column, in kibibytes, after a line of titles.
fn free(answer: &str) -> Option<u64> {
    let columns = answer.lines().filter_map(|line| line.trim_end().strip_prefix(MARK));
    let kibibytes: u64 = columns.filter_map(|column| column.parse().ok()).next_back()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_among_noise() {
        assert_eq!(free("Welcome!\n\nkerek room Available\nkerek room 42\r\n"), Some(43_008));
        for none in ["", "kerek room Available", "kerek room -1", "kerek room 99999999999999999999"] {
            assert_eq!(free(none), None, "{none}");
        }
        assert_eq!(free(&format!("kerek room {}", u64::MAX)), None);
    }

    #[test]
    fn an_engine_cannot_give_commands() {
        assert!(question("/var/lib/docker").is_some_and(|command| command.contains(" /var/lib/docker ")));
        for folder in ["", "-x", "var", "/a b", "/a;reboot", "/a'b", "/$(reboot)", "/a\nb"] {
            assert_eq!(question(folder), None, "{folder}");
        }
    }

    #[tokio::test]
    async fn the_question_is_understood() {
        let command = question("/").expect("plain");
        let output = crate::process::Command::new("sh").args(["-c", &command]);
        let output = output.run(&tokio_util::sync::CancellationToken::new(), |_| {}).await.expect("an answer");
        assert!(free(&String::from_utf8_lossy(&output.stdout)).is_some_and(|free| free > 0));
    }
}
