//! Releases in memory: what is written can be read, where a rollback goes to, and what is forgotten.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::record::retired;
use super::*;

fn release(number: u64, origin: u64, outcome: Outcome, image: &str) -> Release {
    let part = Part { image: "shop/web".into(), id: Some(image.to_owned()), hash: format!("hash of {image}") };
    let good = outcome == Outcome::Good;
    Release {
        number,
        origin,
        at: "2026-02-03T04:05:06Z".into(),
        by: "alice@laptop".into(),
        what: "deploy".into(),
        outcome,
        services: if good { BTreeMap::from([(ServiceName::new("web"), part)]) } else { BTreeMap::new() },
        model: if good { format!("name: shop\nx-image: {image}\n") } else { String::new() },
    }
}

fn good(number: u64, image: &str) -> Release {
    release(number, number, Outcome::Good, image)
}

/// What is at work: a container of an image.
fn at_work(image: &str) -> Vec<Container> {
    vec![Container { image: ImageId::new(image), config_hash: format!("hash of {image}"), ..Container::example() }]
}

fn project() -> ProjectName {
    ProjectName::new("shop")
}

fn back(releases: &[Release], containers: &[Container]) -> Result<u64, Vec<String>> {
    previous(&project(), releases, containers).map(|release| release.number).map_err(|failure| failure.hints)
}

#[test]
fn what_is_written_can_be_read() {
    for release in [good(7, "a"), release(8, 7, Outcome::Good, "a"), release(9, 9, Outcome::Failed, "")] {
        let text = text::write(&project(), &release).expect("a text");
        assert_eq!(text::read(&text), Some(release));
    }
}

#[test]
fn what_others_have_written_is_left_out() {
    let whole = text::write(&project(), &good(1, "a")).expect("a text");
    for (key, value) in [
        ("number", "-1"),
        ("number", "18446744073709551616"),
        ("origin", "x"),
        ("outcome", "great"),
        ("services", "[]"),
        ("model", "no base64!"),
        ("model", "aGVsbG8="),
    ] {
        let mut text = whole.clone();
        text.insert(format!("kerek.release.{key}"), value.to_owned());
        assert_eq!(text::read(&text), None, "{key}: {value}");
    }
    for key in whole.keys().filter(|key| *key != text::PROJECT) {
        let mut text = whole.clone();
        text.remove(key);
        assert_eq!(text::read(&text), None, "{key}");
    }
}

#[test]
fn the_way_back_leads_to_what_was_good_before() {
    let releases = [good(1, "a"), good(2, "b"), good(3, "c")];
    assert_eq!(back(&releases, &at_work("c")), Ok(2));
    // By hand, or cut off.
    for containers in [at_work("x"), vec![], [at_work("b"), at_work("c")].concat()] {
        assert_eq!(back(&releases, &containers), Ok(3));
    }
    // What was there before a failed deployment is good: to go further back would be to go too far.
    let failed = [&releases[..2], &[release(3, 3, Outcome::Failed, "")]].concat();
    for containers in [at_work("b"), at_work("x")] {
        assert_eq!(back(&failed, &containers), Ok(2));
    }
}

#[test]
fn the_way_back_does_not_lead_forward() {
    let once = [good(1, "a"), good(2, "b"), good(3, "c"), release(4, 2, Outcome::Good, "b")];
    assert_eq!(back(&once, &at_work("b")), Ok(1));
    let twice = [&once[..], &[release(5, 1, Outcome::Good, "a")]].concat();
    let hints = back(&twice, &at_work("a")).expect_err("there is nothing before");
    assert!(hints.iter().any(|hint| hint.contains("2, 3, 4")), "{hints:?}");
    assert!(back(&[], &at_work("a")).is_err());
}

#[test]
fn only_good_releases_can_be_named() {
    let releases = [good(1, "a"), release(2, 2, Outcome::Failed, "")];
    assert_eq!(named(&project(), &releases, 1).map(|release| release.number).ok(), Some(1));
    for number in [0, 2, 3] {
        let failure = named(&project(), &releases, number).expect_err("not good");
        assert!(failure.hints[0].contains("named: 1."), "{:?}", failure.hints);
    }
}

#[test]
fn a_container_that_was_never_started_serves_nothing() {
    let new = Container { state: State::Created, ..at_work("a").remove(0) };
    let gone = Container { service: ServiceName::new("other"), ..at_work("a").remove(0) };
    assert!(!good(1, "a").serves(&[new, gone]));
    assert!(good(1, "a").serves(&at_work("a")));
}

proptest! {
    #[test]
    fn the_last_good_ones_are_kept(
        outcomes in prop::collection::vec(prop::sample::select(vec![Outcome::Good, Outcome::Failed]), 0..40),
        keep in 0_usize..12,
    ) {
        let releases: Vec<_> = (1..).zip(&outcomes).map(|(number, outcome)| release(number, number, *outcome, "a")).collect();
        let gone = retired(&releases, keep);
        let stay = releases.iter().filter(|release| !gone.contains(&release.number));
        let (good, bad): (Vec<_>, Vec<_>) = stay.partition(|release| release.outcome == Outcome::Good);
        let all_good = outcomes.iter().filter(|outcome| **outcome == Outcome::Good).count();
        prop_assert_eq!(good.len(), keep.min(all_good));
        prop_assert!(bad.len() <= keep);
        let newest_good = releases.iter().filter(|release| release.outcome == Outcome::Good).rev().take(keep);
        prop_assert!(newest_good.into_iter().all(|release| !gone.contains(&release.number)));
    }
}
