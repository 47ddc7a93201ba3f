//! A sweep: the same run again and again, each time with something else going wrong; and how that went, as a row of a
//! table. Several lanes may share its cases, each with a project of its own.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{self, AssertUnwindSafe};
use std::time::Instant;
use std::{env, thread};

use super::chaos::{cases, tell};

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

/// What was asked meanwhile, by somebody who is to be answered throughout.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) sent: u64,
    pub(crate) lost: usize,
    /// Each request that was lost, in words, and what the engine did at that time.
    pub(crate) losses: Vec<String>,
    /// How many others were lost for a reason that the sweep knows of.
    pub(crate) excused: BTreeMap<&'static str, usize>,
}

/// Goes through a sweep, in as many lanes side by side as `KEREK_CHAOS_LANES` says; by default, there is one. Each makes
/// ready for itself, calls [`Lane::each`], and if it was asked meanwhile, [`Lane::hear`].
///
/// Prints the row, and fails if any case did, or a request was lost.
pub(crate) fn sweep(name: &str, go: impl Fn(&mut Lane<'_>) + Sync) {
    let begin = Instant::now();
    let lanes = env::var("KEREK_CHAOS_LANES").map_or(NonZero::<usize>::MIN, |lanes| {
        lanes.parse().unwrap_or_else(|_| panic!("KEREK_CHAOS_LANES is a number from 1 on: {lanes}"))
    });
    let whole = thread::scope(|scope| {
        let run = |number| Lane::new(name, number, lanes.get()).run(&go);
        let threads: Vec<_> = (0..lanes.get()).map(|number| scope.spawn(move || run(number))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().expect("panics are caught"));
        ended.reduce(Lane::join).expect("there is a lane")
    });
    tell(&format!("| {} | {} |", whole.cells(), begin.elapsed().as_secs()));
    let problems = [whole.problems, whole.asked.map_or_else(Vec::new, |asked| asked.losses)].concat();
    assert!(problems.is_empty(), "{name} ({COLUMNS}):\n{}", problems.join("\n"));
    assert!(whole.tried > 0 && whole.met > 0, "{name}: nothing was tried");
}

/// One lane of a sweep under way.
pub(crate) struct Lane<'a> {
    name: &'a str,
    /// Counted from 0.
    number: usize,
    lanes: usize,
    possible: usize,
    tried: usize,
    met: usize,
    passed: usize,
    problems: Vec<String>,
    asked: Option<Asked>,
}

impl<'a> Lane<'a> {
    fn new(name: &'a str, number: usize, lanes: usize) -> Self {
        let problems = Vec::new();
        Self { name, number, lanes, possible: 0, tried: 0, met: 0, passed: 0, problems, asked: None }
    }

    /// A panic outside of cases, as in making ready, is one of its problems; what the cases have come to is told all the same.
    fn run(mut self, go: impl Fn(&mut Self)) -> Self {
        if panic::catch_unwind(AssertUnwindSafe(|| go(&mut self))).is_err() {
            let problem = format!("{}: panicked outside of cases, see above", self.name);
            self.problems.push(problem);
        }
        self
    }

    /// Tries this lane's share of each kind of fault at each of so many points, the first of which is 1; or of a sample, by
    /// default of so many cases.
    pub(crate) fn each<T: Copy + std::fmt::Debug>(
        &mut self,
        kinds: &[T],
        points: usize,
        default: usize,
        mut case: impl FnMut(T, usize, &str) -> Verdict,
    ) {
        self.possible += kinds.len() * points;
        let cases: Vec<_> = cases(kinds, points, default).into_iter().skip(self.number).step_by(self.lanes).collect();
        let all = cases.len();
        for (kind, point) in cases {
            let name = format!("{}, {kind:?} at {point} of {points}", self.name);
            self.attempt(&name, |name| case(kind, point, name));
            let Self { name, number, lanes, tried, met, passed, .. } = self;
            // A long one may be cut off.
            let lane = *number + 1;
            tell(&format!(
                "{name}, lane {lane} of {lanes}: {tried} of {all} tried, {met} met their fault, {passed} passed"
            ));
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

    /// Takes in what was asked meanwhile.
    pub(crate) fn hear(&mut self, asked: Asked) {
        self.asked = Some(asked);
    }

    /// What both have found.
    fn join(mut self, other: Self) -> Self {
        // Runs may differ by a request or two.
        self.possible = self.possible.max(other.possible);
        self.tried += other.tried;
        self.met += other.met;
        self.passed += other.passed;
        self.problems.extend(other.problems);
        self.asked = self.asked.into_iter().chain(other.asked).reduce(Asked::join);
        self
    }

    /// What is told of it in the row, but for the time.
    fn cells(&self) -> String {
        let figures = [self.possible, self.tried, self.met, self.passed].map(|number| number.to_string()).join(" | ");
        let requests = self.asked.as_ref().map_or_else(|| "– | –".to_owned(), Asked::cells);
        format!("{} | {figures} | {requests}", self.name)
    }
}

impl Asked {
    fn join(mut self, other: Self) -> Self {
        for (reason, number) in other.excused {
            *self.excused.entry(reason).or_default() += number;
        }
        self.sent += other.sent;
        self.lost += other.lost;
        self.losses.extend(other.losses);
        self
    }

    /// What is told of it in the row.
    fn cells(&self) -> String {
        let excused: Vec<_> = self.excused.iter().map(|(reason, number)| format!("; {number} {reason}")).collect();
        format!("{} | {}{}", self.sent, self.lost, excused.concat())
    }
}
