//! What benchmarks have in common: times, medians, and a table of figures that says which miss their targets.

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// A figure with what it may be at most.
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) target: String,
    pub(crate) met: bool,
}

/// Prints figures as a table in Markdown. Fails if a target is missed.
pub(crate) fn print(figures: &[Figure]) -> ExitCode {
    println!("\n{}\n", machine());
    println!("| what | measured | target | |\n|---|---|---|---|");
    for Figure { what, measured, target, met } in figures {
        println!("| {what} | {measured} | {target} | {} |", if *met { "met" } else { "**missed**" });
    }
    if figures.iter().all(|figure| figure.met) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn machine() -> String {
    let output = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().expect("should run");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    format!(
        "kerek {}, Docker {}, Compose {}, Linux {}, {} CPUs",
        env!("CARGO_PKG_VERSION"),
        output("docker", &["version", "--format", "{{.Server.Version}}"]),
        output("docker", &["compose", "version", "--short"]),
        output("uname", &["-r"]),
        std::thread::available_parallelism().map_or(0, usize::from),
    )
}

pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let begin = Instant::now();
    work();
    begin.elapsed()
}

pub(crate) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

pub(crate) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}
