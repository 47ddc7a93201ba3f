//! Somebody at a terminal, who answers a program's questions once they are asked: what is typed before may be lost.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags};
use rustix::termios::{LocalModes, tcgetattr};

use super::command::Output;

/// How long a program may take until its next question, and to its end.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is typed to interrupt.
pub(crate) const CTRL_C: &str = "\u{3}";

/// What is typed.
#[derive(Clone, Copy)]
pub(crate) enum Answer<'a> {
    /// When a question with the former words is there, the latter.
    Shown(&'a str, &'a str),
    /// The same where it is not shown. Who asks so drops what was typed before, and does so after the question is there.
    Hidden(&'a str, &'a str),
    /// As the first, once something has been done while it is waited for.
    Late(&'a str, &'a dyn Fn(), &'a str),
}

/// Runs a line of shell on a terminal of its own, to its end. `script` is the program of that name, with all but its
/// arguments; what the terminal shows is the output.
#[track_caller]
pub(crate) fn run(mut script: Command, line: &str, answers: &[Answer<'_>]) -> Output {
    script.args(["--quiet", "--return", "--command", line, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = script.spawn().expect("should run script");
    // The terminal goes with its keyboard, which is kept to the end.
    let mut keyboard = child.stdin.take().expect("should have a stdin");
    let mut screen = Screen::new(&mut child);
    let mut problem = None;
    for answer in answers {
        let (question, text) = match *answer {
            Answer::Shown(question, text) | Answer::Hidden(question, text) | Answer::Late(question, _, text) => {
                (question, text)
            }
        };
        let is_there = screen.until(question) && (!matches!(answer, Answer::Hidden(..)) || stops_showing(&child));
        if !is_there {
            problem = Some(format!("was not asked: {question}"));
            break;
        }
        if let Answer::Late(_, meanwhile, _) = answer {
            meanwhile();
        }
        // It may have ended, which shows in its output.
        let _ = keyboard.write_all(text.as_bytes());
    }
    if problem.is_some() || !screen.until_end() {
        // With its terminal goes what runs there.
        let _ = child.kill();
        problem.get_or_insert_with(|| "has not ended".to_owned());
    }
    let status = child.wait().expect("should wait for script");
    let output = Output::new(line, status.code(), screen.text(), String::new());
    assert!(problem.is_none(), "{}: {output}", problem.unwrap_or_default());
    output
}

/// Types Ctrl-C at the last question of a line of shell, and asserts that the terminal is then as it was: it shows what is
/// typed, passes on lines, and has its cursor.
#[track_caller]
pub(crate) fn interrupt(script: Command, line: &str, answers: &[Answer<'_>]) -> Output {
    // The shell gets the signal, too, and lives on with a trap.
    let output = run(script, &format!("trap : INT; {line}; code=$?; stty -a; exit $code"), answers);
    let shown = &output.stdout;
    let settings = shown.split_whitespace().map(|word| word.trim_end_matches(';'));
    let settings: Vec<_> = settings.filter(|word| ["echo", "-echo", "icanon", "-icanon"].contains(word)).collect();
    assert!(settings.contains(&"echo") && settings.contains(&"icanon"), "{settings:?}: {output}");
    assert!(!settings.contains(&"-echo") && !settings.contains(&"-icanon"), "{settings:?}: {output}");
    assert!(shown.rfind("\u{1b}[?25h") >= shown.rfind("\u{1b}[?25l"), "no cursor: {output}");
    output
}

/// What a terminal has shown so far.
struct Screen {
    pieces: Receiver<Vec<u8>>,
    shown: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
}

impl Screen {
    fn new(child: &mut Child) -> Self {
        let mut stdout = child.stdout.take().expect("should have a stdout");
        let (sender, pieces) = mpsc::channel();
        thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(length @ 1..) = stdout.read(&mut piece) {
                if sender.send(piece[..length].to_vec()).is_err() {
                    break;
                }
            }
        });
        Self { pieces, shown: Vec::new(), seen: 0 }
    }

    /// Waits for words that come after those that were waited for before; `false` if they do not come.
    fn until(&mut self, words: &str) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let new = &self.shown[self.seen..];
            if let Some(place) = new.windows(words.len()).position(|window| window == words.as_bytes()) {
                self.seen += place + words.len();
                return true;
            }
            let Ok(piece) = self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) else {
                return false;
            };
            self.shown.extend(piece);
        }
    }

    /// Waits until nothing can come any more; `false` if that takes too long.
    fn until_end(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.pieces.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(piece) => self.shown.extend(piece),
                Err(error) => return error == mpsc::RecvTimeoutError::Disconnected,
            }
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shown).into_owned()
    }
}

/// Waits until the terminal does not show what is typed; `false` if it always does.
fn stops_showing(script: &Child) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(60) {
        if shows_input(script) == Some(false) {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    false
}

/// Whether the terminal shows what is typed; `None` if there is none (any more).
fn shows_input(script: &Child) -> Option<bool> {
    let id = script.id();
    let child = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
    let path = fs::read_link(format!("/proc/{}/fd/0", child.split_whitespace().next()?)).ok()?;
    let terminal = rustix::fs::open(path, OFlags::RDONLY | OFlags::NOCTTY, Mode::empty()).ok()?;
    Some(tcgetattr(&terminal).ok()?.local_modes.contains(LocalModes::ECHO))
}
