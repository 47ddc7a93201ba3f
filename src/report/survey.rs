//! What was found on a host and what is to be done there, in words, for those who are to agree to it.

use std::fmt::Write;

use super::words;
use crate::provision::context::Action;
use crate::provision::facts::{Facts, Rights};
use crate::provision::{Engine, Survey};

/// Lines on a host, each ended: its address, what it is, what is there, what would change.
#[must_use]
pub fn render(survey: &Survey) -> String {
    let mut text = String::new();
    let host = survey.destination();
    let host = if host.is_localhost() { "this machine".to_owned() } else { host.to_string() };
    let mut line = |indent: &str, words: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{indent}{words}");
    };
    line("", &format!("{host}: {}", system(&survey.facts)));
    line("  ", &format!("logged in as {}", rights(&survey.facts)));
    line("  ", &engine(&survey.facts, survey.engine()));
    for note in &survey.plan.notes {
        line("  ", &format!("note: {note}"));
    }
    if survey.plan.changes.is_empty() {
        line("  ", "nothing to change there");
    } else {
        line("  ", "to change there:");
        for change in &survey.plan.changes {
            line("  - ", &format!("{}: {change}", change.step()));
        }
    }
    if let Some(context) = &survey.context {
        let name = words::safe(&context.name);
        match context.action {
            Action::Create => line("  here: ", &format!("new Docker context {name}, which leads to {}", context.host)),
            Action::Update => line("  here: ", &format!("the Docker context {name} will lead to {}", context.host)),
            Action::Keep => line("  here: ", &format!("the Docker context {name} leads there already")),
            Action::Impossible => line("  here: ", "no Docker context, as there is no docker CLI"),
        }
    }
    text
}

fn system(facts: &Facts) -> String {
    let system = &facts.system;
    let name = if system.name.is_empty() { "an unknown system" } else { &system.name };
    let free = facts.rooms.iter().map(|room| room.free).min();
    let free = free.map_or_else(String::new, |free| format!(", {:.1} GB free", gigabytes(free)));
    format!("{name}, {}{}{free}", system.machine, if system.systemd { ", systemd" } else { "" })
}

#[expect(clippy::cast_precision_loss, reason = "one digit after the point is shown")]
fn gigabytes(kilobytes: u64) -> f64 {
    kilobytes as f64 / f64::from(1 << 20)
}

fn rights(facts: &Facts) -> String {
    let user = &facts.user.name;
    match facts.user.rights {
        Rights::Root => user.clone(),
        Rights::Sudo => format!("{user}, who may use sudo"),
        Rights::Password => format!("{user}, whose sudo asks for a password"),
        Rights::Terminal => format!("{user}, whose sudo wants a terminal"),
        Rights::None => format!("{user}, without sudo"),
    }
}

fn engine(facts: &Facts, engine: Engine) -> String {
    let version = match engine {
        Engine::Docker => &facts.docker.version,
        Engine::Podman => &facts.podman.version,
    };
    match version {
        Some(version) if version.is_empty() => format!("there is {engine}"),
        Some(version) => format!("there is {version}"),
        None => format!("no {engine} yet"),
    }
}
