//! What Compose says it would do (`docker compose --dry-run create`), line by line.
//!
//! Compose 2 marks each line as a rehearsal, Compose 5 does not; the words are the same.

use super::Rehearsal;
use crate::names::{NetworkName, VolumeName};

/// Reads what Compose told on stderr, and what it would have asked on stdout.
pub(super) fn parse(told: &str, asked: &str) -> Rehearsal {
    let mut rehearsal = Rehearsal::default();
    let mut changed = Vec::new();
    for line in told.lines() {
        let action = line.split_once("DRY-RUN MODE -").map_or(line, |(_, action)| action);
        let words: Vec<_> = action.split_whitespace().collect();
        match words[..] {
            ["Container", name, state] if state.starts_with("Recreat") => changed.push(name),
            ["Container", name, _] => {
                rehearsal.kept.insert(name.to_owned());
            }
            ["Network", name, "Removing" | "Removed"] => {
                rehearsal.networks.insert(NetworkName::new(name));
            }
            _ => {}
        }
    }
    for name in changed {
        rehearsal.kept.remove(name);
    }
    let questions = asked.split("Volume \"").skip(1).filter_map(|rest| rest.split_once("\" exists but doesn't match"));
    rehearsal.volumes = questions.map(|(name, _)| VolumeName::new(name)).collect();
    rehearsal
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn reads_both_ways_of_speaking() {
        let two = " DRY-RUN MODE -  Container shop-web-1  Stopping\n DRY-RUN MODE -  Network shop_front  Removed\n \
                   DRY-RUN MODE -  Container shop-web-1  Running\n DRY-RUN MODE -  Container shop-db-1  Recreate\n \
                   DRY-RUN MODE -  Container shop-db-1  Recreated\n";
        let five = two.replace(" DRY-RUN MODE - ", "").replace("  ", " ");
        let asked = "Volume \"shop_data\" exists but doesn't match configuration in compose file. Recreate (data will be lost)?";
        let expected = Rehearsal {
            kept: BTreeSet::from(["shop-web-1".to_owned()]),
            networks: BTreeSet::from([NetworkName::new("shop_front")]),
            volumes: BTreeSet::from([VolumeName::new("shop_data")]),
        };
        assert_eq!(parse(two, asked), expected);
        assert_eq!(parse(&five, asked), expected);
        assert_eq!(parse("", ""), Rehearsal::default());
    }
}
