//! A sweep: the same deploy again and again, each time with something else going wrong; and how that went, as a row of
//! a table.
//!
//! `KEREK_CHAOS` says how many cases a sweep tries: `all`, or a number of them, evenly spread; by default a few.

use std::panic::{self, AssertUnwindSafe};
use std::time::Instant;

use crate::shop::Asked;

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
        for (kind, point) in chosen(kinds, points, sample(default)) {
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

/// How many cases of a sweep are to be tried; `None` if all.
fn sample(default: usize) -> Option<usize> {
    match std::env::var("KEREK_CHAOS").as_deref() {
        Err(_) | Ok("") => Some(default),
        Ok("all") => None,
        Ok(number) => Some(number.parse().unwrap_or_else(|_| panic!("KEREK_CHAOS is \"all\" or a number: {number}"))),
    }
}

/// All combinations, or a sample of them in which kinds take turns and points are spread evenly.
fn chosen<T: Copy>(kinds: &[T], points: usize, sample: Option<usize>) -> Vec<(T, usize)> {
    let all = kinds.len() * points;
    match sample {
        Some(size) if size < all => {
            (0..size).map(|index| (kinds[index % kinds.len()], (2 * index + 1) * points / (2 * size) + 1)).collect()
        }
        _ => (1..=points).flat_map(|point| kinds.iter().map(move |kind| (*kind, point))).collect(),
    }
}

/// For `--nocapture`: what comes of the sweeps, while they go on.
#[expect(clippy::print_stdout, reason = "the outcome of a test")]
fn tell(line: &str) {
    // On a line of its own, whatever the test harness has begun to say.
    println!("\n{line}");
}
