//! `provision`: looks at hosts, asks, and makes them run containers.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, anyhow};
use futures_util::future::join_all;

use super::heeding_signals;
use crate::cancel::Cancel;
use crate::cli::{GlobalOptions, ProvisionOptions};
use crate::error::{Failure, Kind};
use crate::provision::facts::Rights;
use crate::provision::verify::Proof;
use crate::provision::{Done, Engine, Survey, Wish, context};
use crate::report::hosts::Hosts;
use crate::report::{ask, console, survey};
use crate::ssh::destination::Destination;
use crate::ssh::wrapper::folder;
use crate::suggestion;

/// Runs the command.
pub(super) async fn run(global: &GlobalOptions, options: &ProvisionOptions) -> Result<(), Failure> {
    let wishes = wishes(global, options)?;
    if options.ask_become_password && !global.dry_run && !ask::is_possible() {
        return Err(unconfirmed("there is no terminal to ask for a password on"));
    }
    let cancel = Cancel::new();
    let work = provision(global, options, wishes, &cancel);
    heeding_signals(&cancel, work, |cancel| {
        Failure::new(cancel.kind(), anyhow!("stopped at once"))
            .hint("What has begun on a host goes on there. Running the same command again does what is left.")
    })
    .await
}

async fn provision(
    global: &GlobalOptions,
    options: &ProvisionOptions,
    wishes: Vec<Wish>,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let mut outcome = Outcome { hosts: wishes.len(), failures: Vec::new(), told: Vec::new() };
    let surveys = outcome.keep(look(wishes, cancel).await);
    let text: Vec<_> = surveys.iter().map(|(_, it)| survey::render(it)).collect();
    if global.dry_run {
        console::out(&text.concat()).context("cannot write the plan")?;
        join_all(surveys.into_iter().map(|(_, survey)| survey.leave())).await;
        return outcome.end();
    }
    console::err(&text.concat());
    // Before the question: whoever answers it should know.
    outcome.tell();
    let password = match agree(options, &surveys, cancel).await {
        Ok(password) => password,
        Err(failure) => {
            join_all(surveys.into_iter().map(|(_, survey)| survey.leave())).await;
            return Err(outcome.refused(failure));
        }
    };
    let hosts = Hosts::new(surveys.iter().map(|(name, _)| name.clone()).collect());
    let work = surveys.into_iter().enumerate().map(async |(index, (name, survey))| {
        let next = next(options, &survey);
        let done = survey.carry_out(password.as_deref(), cancel, |news| hosts.tell(index, news)).await;
        match &done {
            Ok(done) => hosts.finish(index, &summary(done, &next)),
            Err(_) => hosts.fail(index),
        }
        (name, done)
    });
    let work = join_all(work).await;
    drop(hosts);
    outcome.keep(work);
    outcome.end()
}

/// What is to become of each host.
fn wishes(global: &GlobalOptions, options: &ProvisionOptions) -> Result<Vec<Wish>, Failure> {
    let usage = |words: String| Failure::new(Kind::Usage, anyhow!(words));
    if options.context_name.is_some() && options.destinations.len() > 1 {
        return Err(usage("--context-name is for a single host".to_owned()));
    }
    let mut contexts = BTreeSet::new();
    let wish = |destination: &Destination| {
        if destination.socket().is_some() {
            let error = format!("{destination} names a socket, where there may be no engine yet");
            return Err(usage(error).hint("Leave out what comes after the host."));
        }
        // Here is where docker looks anyway.
        let wanted = !options.no_context && !destination.is_localhost();
        let name = options.context_name.clone().unwrap_or_else(|| context::name_of(destination));
        if !contexts.insert(name.clone()) {
            return Err(usage(format!("{destination} is given twice, or shares its name with another host"))
                .hint("Set up such hosts one by one, with --context-name."));
        }
        Ok(Wish {
            destination: destination.clone(),
            engine: options.container_engine,
            ssh_config: options.ssh_config.clone(),
            password: options.ask_become_password,
            context: wanted.then_some(name),
            docker_config: global.config.clone(),
        })
    };
    options.destinations.iter().map(wish).collect()
}

/// Looks at all hosts: side by side, unless ssh may have something to ask.
async fn look(wishes: Vec<Wish>, cancel: &Cancel) -> Vec<(String, Result<Survey, Failure>)> {
    let folder = match folder::create().await {
        Ok(folder) => folder,
        Err(failure) => return vec![(String::new(), Err(failure))],
    };
    let look = async |wish: Wish, folder: &Path| {
        let name = name(&wish.destination);
        (name, Survey::make(wish, folder, cancel).await)
    };
    if !ask::is_possible() {
        return join_all(wishes.into_iter().map(|wish| look(wish, &folder))).await;
    }
    let mut looked = Vec::new();
    for wish in wishes {
        looked.push(look(wish, &folder).await);
    }
    looked
}

/// Asks whether to go ahead if anything is to change, and for a password if that takes one.
async fn agree(
    options: &ProvisionOptions,
    surveys: &[(String, Survey)],
    cancel: &Cancel,
) -> Result<Option<String>, Failure> {
    let changing = || surveys.iter().filter(|(_, survey)| !survey.plan.changes.is_empty());
    if changing().next().is_none() {
        return Ok(None);
    }
    let interrupted = |_| Failure::new(cancel.kind(), anyhow!("interrupted: nothing has changed"));
    if !options.force {
        if !ask::is_possible() {
            return Err(unconfirmed("there is no terminal to ask on whether to go ahead")
                .hint("Say --force to go ahead without a question, or --dry-run to see what would be done."));
        }
        let names: Vec<_> = changing().map(|(name, _)| name.as_str()).collect();
        let question = format!("Go ahead on {}?", names.join(", "));
        let agreed = ask::confirm(question, cancel).await.map_err(interrupted)?;
        if agreed != Some(true) {
            return Err(unconfirmed("not agreed to"));
        }
    }
    if !changing().any(|(_, survey)| survey.facts.user.rights == Rights::Password) {
        return Ok(None);
    }
    let password = ask::password("Password for sudo".to_owned(), cancel).await.map_err(interrupted)?;
    password.map(Some).ok_or_else(|| unconfirmed("no password was given"))
}

fn unconfirmed(words: &str) -> Failure {
    Failure::new(Kind::Unconfirmed, anyhow!("{words}: nothing has changed"))
}

fn name(destination: &Destination) -> String {
    if destination.is_localhost() { "localhost".to_owned() } else { destination.to_string().replace("ssh://", "") }
}

/// The command to go on with.
fn next(options: &ProvisionOptions, survey: &Survey) -> String {
    let config = options.ssh_config.as_ref().map_or_else(String::new, |path| {
        let path = path.to_string_lossy();
        format!(" -F {}", suggestion::quote(&path))
    });
    match &survey.context {
        Some(context) if context.is_there() => format!("kerek --context {} deploy{config}", context.name),
        _ if !survey.destination().is_localhost() => format!("kerek --host {} deploy{config}", survey.address()),
        _ if survey.engine() == Engine::Podman => "kerek deploy --container-engine podman".to_owned(),
        _ => "kerek deploy".to_owned(),
    }
}

fn summary(done: &Done, next: &str) -> String {
    let changes = match done.changes {
        1 => "1 change".to_owned(),
        changes => format!("{changes} changes"),
    };
    match &done.proof {
        Proof::Works { engine } => format!("{changes}, {engine} works. Next: {next}"),
        Proof::AfterLogin => format!("{changes}. Log in again, for your new group to count. Next: {next}"),
    }
}

/// What becomes of several hosts.
struct Outcome {
    hosts: usize,
    failures: Vec<(String, Failure)>,
    /// The kinds of those failures that were told.
    told: Vec<Kind>,
}

impl Outcome {
    /// Takes the failures out of what was done on hosts.
    fn keep<T>(&mut self, results: Vec<(String, Result<T, Failure>)>) -> Vec<(String, T)> {
        let mut good = Vec::new();
        for (name, result) in results {
            match result {
                Ok(value) => good.push((name, value)),
                Err(failure) => self.failures.push((name, failure)),
            }
        }
        good
    }

    /// Tells the failures so far, if they are of several hosts: that of a single one is that of the command.
    fn tell(&mut self) {
        if self.hosts == 1 {
            return;
        }
        for (name, failure) in self.failures.drain(..) {
            self.told.push(failure.kind);
            console::tell(&Failure { error: failure.error.context(name), ..failure });
        }
    }

    /// The failure of the command where nothing is done to the hosts that are left. The worst decides.
    fn refused(self, failure: Failure) -> Failure {
        let kinds = self.told.into_iter().chain([failure.kind]);
        Failure { kind: kinds.max_by_key(|kind| kind.exit_code()).unwrap_or(failure.kind), ..failure }
    }

    /// The failure of a single host is that of the command; of several, all are told, and the worst decides.
    fn end(mut self) -> Result<(), Failure> {
        if self.hosts == 1 {
            return self.failures.pop().map_or(Ok(()), |(_, failure)| Err(failure));
        }
        self.tell();
        let Some(worst) = self.told.iter().copied().max_by_key(|kind| kind.exit_code()) else {
            return Ok(());
        };
        Err(Failure::new(worst, anyhow!("{} of {} hosts failed, see above", self.told.len(), self.hosts)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_also_if_the_rest_is_refused() {
        for (kind, worst) in [(Kind::Unreachable, Kind::Unconfirmed), (Kind::Unfit, Kind::Unfit)] {
            let mut outcome = Outcome { hosts: 2, failures: Vec::new(), told: Vec::new() };
            let failure = Failure::new(kind, anyhow!("no"));
            assert!(outcome.keep::<()>(vec![("vps".to_owned(), Err(failure))]).is_empty());
            outcome.tell();
            assert_eq!(outcome.refused(unconfirmed("not agreed to")).kind, worst);
        }
    }
}
