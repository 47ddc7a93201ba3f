//! A sweep: the same deploy again and again, each time with something else going wrong; and how that went, as a row of
//! a table.

use std::panic::{self, AssertUnwindSafe};
use std::time::Instant;

use crate::shop::Asked;
use crate::support::chaos::{cases, tell};

/// The heads of the rows' columns, which `scripts/chaos.sh` prints too.
const COLUMNS: &str = "sweep, cases there are, tried, met their fault, passed, requests asked, lost, seconds";

/// How a case went.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Whether what was to go wrong did so: a run may be over before.
    pub(crate) met: bool,
    /// What is not as it has to be; nothing if all is well.
    pub(crate) problems: Vec<String>,
}

/// A sweep under way.
pub(crate) struct Sweep {
    name: String,
    begin: Instant,
    possible: usize,
    tried: usize,
    met: usize,
    passed: usize,
    problems: Vec<String>,
}

impl Sweep {
    pub(crate) fn new(name: &str) -> Self {
        let begin = Instant::now();
        Self { name: name.to_owned(), begin, possible: 0, tried: 0, met: 0, passed: 0, problems: Vec::new() }
    }

    /// Tries each kind of fault at each of so many points, the first of which is 1; or a sample, by default of so many
    /// cases.
    pub(crate) fn each<T: Copy + std::fmt::Debug>(
        &mut self,
        kinds: &[T],
        points: usize,
        default: usize,
        mut case: impl FnMut(T, usize, &str) -> Verdict,
    ) {
        self.possible += kinds.len() * points;
        for (kind, point) in cases(kinds, points, default) {
            let name = format!("{}, {kind:?} at {point} of {points}", self.name);
            self.attempt(&name, |name| case(kind, point, name));
        }
    }

    /// Tries a case. A panic in it is one of its problems, and does not end the sweep.
    fn attempt(&mut self, name: &str, case: impl FnOnce(&str) -> Verdict) {
        let tried = panic::catch_unwind(AssertUnwindSafe(|| case(name)));
        let verdict = tried.unwrap_or_else(|_| Verdict { met: true, problems: vec!["panicked, see above".to_owned()] });
        self.tried += 1;
        self.met += usize::from(verdict.met);
        self.passed += usize::from(verdict.problems.is_empty());
        let told = verdict.problems.into_iter().map(|problem| format!("{name}: {problem}"));
        for problem in told {
            tell(&problem);
            self.problems.push(problem);
        }
    }

    /// Prints the row, and fails if any case did, or a request was lost.
    pub(crate) fn end(self, asked: &Asked) {
        let Self { name, begin, possible, tried, met, passed, mut problems } = self;
        let Asked { sent, lost, losses, excused } = asked;
        let excused: Vec<_> = excused.iter().map(|(reason, number)| format!("; {number} {reason}")).collect();
        let excused = excused.concat();
        let seconds = begin.elapsed().as_secs();
        let figures = [possible, tried, met, passed].map(|number| number.to_string()).join(" | ");
        tell(&format!("| {name} | {figures} | {sent} | {lost}{excused} | {seconds} |"));
        problems.extend(losses.iter().cloned());
        assert!(tried > 0 && met > 0, "{name}: nothing was tried");
        assert!(problems.is_empty(), "{name} ({COLUMNS}):\n{}", problems.join("\n"));
    }
}
