//! Orphans: containers of the project whose service is in no Compose file any more.
//!
//! Services whose profiles are not enabled are in the files, and what `compose run` has made is nobody's orphan. What
//! becomes of orphans is for the user to say; kerek removes them last, after all else has gone well.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::anyhow;
use futures_util::future;
use tokio::time::Instant;

use super::Request;
use super::plan::Plan;
use crate::compose::{Compose, Project};
use crate::engine::{self, Container, Engine};
use crate::error::{Failure, Kind};
use crate::names::ContainerId;
use crate::report::{Event, Reporter};

/// The variables that say what becomes of orphans where the command line does not.
const REMOVE: &str = "COMPOSE_REMOVE_ORPHANS";
const IGNORE: &str = "COMPOSE_IGNORE_ORPHANS";

/// Finds the orphans that are to be removed. If there are others, and nobody has said that they do not matter, warns of
/// them.
pub(super) async fn to_remove<C: Compose>(
    compose: &C,
    project: &Project,
    containers: &[Container],
    request: &Request,
    reporter: &dyn Reporter,
) -> Result<Vec<ContainerId>, Failure> {
    let mut orphans: Vec<_> = containers
        .iter()
        .filter(|container| !container.one_off && !project.services.contains_key(&container.service))
        .collect();
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    let services = compose.all_services().await?;
    orphans.retain(|container| !services.contains(&container.service));
    if orphans.is_empty() {
        return Ok(Vec::new());
    }
    orphans.sort_by_key(|container| (&container.service, container.number, &container.id));
    let variables = compose.variables(&BTreeSet::from([REMOVE, IGNORE].map(str::to_owned))).await?;
    let remove = request.remove_orphans.unwrap_or_else(|| is_set(&variables, REMOVE));
    let ignore = is_set(&variables, IGNORE);
    if remove && ignore {
        let error = anyhow!("orphans are to be removed (--remove-orphans) and left alone ({IGNORE}) at once");
        return Err(Failure::new(Kind::Unchanged, error).hint(format!("Unset {IGNORE}, or leave out the option.")));
    }
    if remove && !request.no_start {
        return Ok(orphans.into_iter().map(|container| container.id.clone()).collect());
    }
    if !ignore {
        let names: Vec<_> = orphans.iter().map(|container| container.name.as_str()).collect();
        reporter.report(&Event::Warning(&format!(
            "the services of these containers are in no Compose file any more: {}; `--remove-orphans` removes them{}",
            names.join(", "),
            if remove { ", once something may be started and stopped" } else { "" }
        )));
    }
    Ok(Vec::new())
}

/// Whether a variable says yes, in the words that Compose takes for it.
fn is_set(variables: &BTreeMap<String, String>, name: &str) -> bool {
    let value = variables.get(name).map(|value| value.trim().to_ascii_lowercase());
    value.is_some_and(|value| matches!(value.as_str(), "1" | "t" | "true" | "y"))
}

/// Stops and removes the orphans of a plan. Their volumes stay: they hold data.
pub(super) async fn remove<E: Engine>(
    engine: &E,
    plan: &Plan,
    containers: &[Container],
    request: &Request,
    reporter: &dyn Reporter,
) -> Result<(), Failure> {
    let orphans = containers.iter().filter(|container| plan.orphans.contains(&container.id));
    let removals = orphans.map(|container| async {
        let begin = Instant::now();
        engine.stop(&container.id, request.stop_timeout).await?;
        engine.remove(&container.id, false).await?;
        reporter.report(&Event::OrphanRemoved { container: &container.name, took: begin.elapsed() });
        engine::Result::Ok(())
    });
    let results: engine::Result<Vec<()>> = future::join_all(removals).await.into_iter().collect();
    results.map(drop).map_err(|error| {
        let kind = match error.kind {
            engine::ErrorKind::Unreachable => Kind::Unreachable,
            engine::ErrorKind::Refused | engine::ErrorKind::Garbled => Kind::Incomplete,
        };
        Failure::new(kind, error)
            .hint("All services are up to date; only orphans are left. Running the same command again removes them.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_yes_as_compose_takes_it() {
        for (value, yes) in [
            ("1", true),
            ("True", true),
            ("y", true),
            (" t ", true),
            ("yes", false),
            ("on", false),
            ("0", false),
            ("", false),
        ] {
            let variables = BTreeMap::from([(REMOVE.to_owned(), value.to_owned())]);
            assert_eq!(is_set(&variables, REMOVE), yes, "{value:?}");
        }
        assert!(!is_set(&BTreeMap::new(), REMOVE));
    }
}
