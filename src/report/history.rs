//! Releases as a table for people and as objects for programs.

use std::fmt::Write;

use serde_json::json;

use super::words::safe;
use crate::deploy::releases::{Outcome, Part, Release};
use crate::engine::Container;
use crate::names::ServiceName;

/// Between columns.
const GAP: usize = 3;

/// A table, newest release first, each line ended. `containers` are those that are there now.
#[must_use]
pub fn table(releases: &[Release], containers: &[Container]) -> String {
    let header = ["RELEASE", "WHEN (UTC)", "BY", "COMMAND", "STATUS", "CHANGES"].map(str::to_owned);
    let serving = serving(releases, containers);
    let rows = releases.iter().enumerate().rev().map(|(index, release)| {
        let status = match release.outcome {
            _ if serving == Some(release.number) => "serving",
            outcome => outcome.as_str(),
        };
        let when = release.at.replacen('T', " ", 1).replacen('Z', "", 1);
        let changes = changes(release, before(&releases[..index]));
        [release.number.to_string(), safe(&when), safe(&release.by), safe(&release.what), status.to_owned(), changes]
    });
    let rows: Vec<_> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..rows[0].len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a string cannot fail.
            let _ = write!(line, "{cell:width$}{:GAP$}", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// An object a line, oldest release first.
#[must_use]
pub fn json(releases: &[Release], containers: &[Container]) -> String {
    let serving = serving(releases, containers);
    let lines = releases.iter().map(|release| {
        let part =
            |(name, part): (&ServiceName, &Part)| (name.to_string(), json!({"image": part.image, "image_id": part.id}));
        let object = json!({
            "release": release.number,
            "origin": release.origin,
            "at": release.at,
            "by": release.by,
            "command": release.what,
            "outcome": release.outcome.as_str(),
            "serving": serving == Some(release.number),
            "services": release.services.iter().map(part).collect::<serde_json::Map<_, _>>(),
        });
        [object.to_string(), "\n".to_owned()]
    });
    lines.flatten().collect()
}

/// The newest release that is at work.
fn serving(releases: &[Release], containers: &[Container]) -> Option<u64> {
    releases.iter().rfind(|release| release.serves(containers)).map(|release| release.number)
}

/// The good release before.
fn before(releases: &[Release]) -> Option<&Release> {
    releases.iter().rfind(|release| release.outcome == Outcome::Good)
}

/// What is not as it was in the release before, service by service.
fn changes(release: &Release, before: Option<&Release>) -> String {
    if release.outcome != Outcome::Good {
        return String::new();
    }
    if release.origin != release.number {
        return format!("as release {}", release.origin);
    }
    let services = release.services.iter().filter_map(|(name, part)| {
        let old = before.and_then(|before| before.services.get(name));
        match old {
            Some(old) if old == part => None,
            Some(Part { id, .. }) if *id == part.id => Some(format!("{name}: settings")),
            _ => Some(format!("{name}: {}", safe(&part.image))),
        }
    });
    let gone = before.into_iter().flat_map(|before| before.services.keys());
    let gone = gone.filter(|name| !release.services.contains_key(*name)).map(|name| format!("{name}: gone"));
    services.chain(gone).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use insta::assert_snapshot;

    use super::*;
    use crate::names::ImageId;

    fn release(number: u64, origin: u64, outcome: Outcome, services: &[(&str, &str, &str, &str)]) -> Release {
        let part = |&(name, image, id, hash): &(&str, &str, &str, &str)| {
            let (image, id, hash) = (image.to_owned(), Some(id.to_owned()), hash.to_owned());
            (ServiceName::new(name), Part { image, id, hash })
        };
        Release {
            number,
            origin,
            at: format!("2026-02-0{number}T04:05:06Z"),
            by: "alice@laptop".into(),
            what: if origin == number { "deploy".into() } else { format!("rollback {origin}") },
            outcome,
            services: services.iter().map(part).collect::<BTreeMap<_, _>>(),
            model: String::new(),
        }
    }

    fn releases() -> Vec<Release> {
        let first = [("db", "postgres:16", "p", "1"), ("web", "shop/web:1", "a", "1")];
        vec![
            release(1, 1, Outcome::Good, &first),
            release(2, 2, Outcome::Failed, &[]),
            release(3, 3, Outcome::Good, &[("db", "postgres:16", "p", "2"), ("web", "shop/web:2", "b", "2")]),
            release(4, 4, Outcome::Good, &[("web", "\u{1b}[2Jevil", "c", "3")]),
            release(5, 1, Outcome::Good, &first),
        ]
    }

    fn container(service: &str, image: &str, hash: &str) -> Container {
        Container {
            service: ServiceName::new(service),
            image: ImageId::new(image),
            config_hash: hash.to_owned(),
            ..Container::example()
        }
    }

    #[test]
    fn the_table_says_what_has_changed_and_what_serves() {
        let containers = [container("db", "p", "1"), container("web", "a", "1")];
        assert_snapshot!(table(&releases(), &containers), @r"
        RELEASE   WHEN (UTC)            BY             COMMAND      STATUS    CHANGES
        5         2026-02-05 04:05:06   alice@laptop   rollback 1   serving   as release 1
        4         2026-02-04 04:05:06   alice@laptop   deploy       good      web: \x1b[2Jevil, db: gone
        3         2026-02-03 04:05:06   alice@laptop   deploy       good      db: settings, web: shop/web:2
        2         2026-02-02 04:05:06   alice@laptop   deploy       failed
        1         2026-02-01 04:05:06   alice@laptop   deploy       good      db: postgres:16, web: shop/web:1
        ");
    }

    #[test]
    fn none_serves_if_anything_is_otherwise() {
        for containers in
            [vec![], vec![container("db", "p", "1")], vec![container("db", "p", "1"), container("web", "a", "2")]]
        {
            assert_eq!(serving(&releases(), &containers), None, "{containers:?}");
        }
        let mixed = [container("web", "a", "1"), container("web", "b", "2"), container("db", "p", "1")];
        assert_eq!(serving(&releases(), &mixed), None);
    }

    #[test]
    fn objects_are_lines() {
        let text = json(&releases(), &[]);
        assert_eq!(text.lines().count(), 5);
        let first: serde_json::Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["services"]["web"]["image"], "shop/web:1");
    }
}
