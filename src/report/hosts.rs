//! How work on several hosts goes on, side by side: a line for each on a terminal, else a line for each thing that happens.

use super::choose;
use super::console;
use super::terminal::board::Board;
use crate::provision::News;
use crate::provision::script::Verb;

/// Shows the work on hosts, which are known by their number.
#[derive(Debug)]
pub struct Hosts {
    names: Vec<String>,
    board: Option<Board>,
}

impl Hosts {
    /// The work begins. Names are escaped.
    #[must_use]
    pub fn new(names: Vec<String>) -> Self {
        let board = choose::live_colour().map(|colour| Board::new(&names, colour));
        Self { names, board }
    }

    /// Something has happened on a host.
    pub fn tell(&self, host: usize, news: &News<'_>) {
        let words = news.to_string();
        let lasting = match news {
            News::Asking => false,
            News::Step(line) => matches!(line.verb, Verb::Changed | Verb::Said),
        };
        match &self.board {
            Some(board) => board.tell(host, &words, lasting),
            None => self.say(host, &words),
        }
    }

    /// The work on a host has come to its good end.
    pub fn finish(&self, host: usize, words: &str) {
        match &self.board {
            Some(board) => board.finish(host, words, true),
            None => self.say(host, words),
        }
    }

    /// The work on a host has failed; what comes next says why.
    pub fn fail(&self, host: usize) {
        match &self.board {
            Some(board) => board.finish(host, "failed", false),
            None => self.say(host, "failed"),
        }
    }

    fn say(&self, host: usize, words: &str) {
        let name = self.names.get(host).map_or("", String::as_str);
        console::err(&format!("{name}: {words}\n"));
    }
}
