//! A release as the text of a note, and back. What is read may be from anybody who can talk to the engine.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::{Outcome, Part, Release};
use crate::engine::notes::Text;
use crate::names::{ProjectName, ServiceName};

/// The key by which all releases of a project are found.
pub(super) const PROJECT: &str = "kerek.release";
const NUMBER: &str = "kerek.release.number";
const ORIGIN: &str = "kerek.release.origin";
const AT: &str = "kerek.release.at";
const BY: &str = "kerek.release.by";
const WHAT: &str = "kerek.release.what";
const OUTCOME: &str = "kerek.release.outcome";
const SERVICES: &str = "kerek.release.services";
/// Compressed: it is some ten kilobytes otherwise, in each list of all volumes.
const MODEL: &str = "kerek.release.model";

/// More is not read: no project is so large.
const LARGEST_MODEL: u64 = 64 << 20;

pub(super) fn write(project: &ProjectName, release: &Release) -> std::io::Result<Text> {
    let pairs = [
        (PROJECT, project.to_string()),
        (NUMBER, release.number.to_string()),
        (ORIGIN, release.origin.to_string()),
        (AT, release.at.clone()),
        (BY, release.by.clone()),
        (WHAT, release.what.clone()),
        (OUTCOME, release.outcome.as_str().to_owned()),
        (SERVICES, serde_json::to_string(&by_name(release))?),
        (MODEL, pack(&release.model)?),
    ];
    Ok(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

fn by_name(release: &Release) -> BTreeMap<&str, &Part> {
    release.services.iter().map(|(name, part)| (name.as_str(), part)).collect()
}

pub(super) fn read(text: &Text) -> Option<Release> {
    let part = |key| text.get(key).cloned();
    let services: BTreeMap<String, Part> = serde_json::from_str(text.get(SERVICES)?).ok()?;
    let outcome = [Outcome::Good, Outcome::Failed, Outcome::Incomplete];
    Some(Release {
        number: part(NUMBER)?.parse().ok()?,
        origin: part(ORIGIN)?.parse().ok()?,
        at: part(AT)?,
        by: part(BY)?,
        what: part(WHAT)?,
        outcome: outcome.into_iter().find(|outcome| Some(outcome.as_str()) == text.get(OUTCOME).map(String::as_str))?,
        services: services.into_iter().map(|(name, part)| (ServiceName::new(name), part)).collect(),
        model: unpack(text.get(MODEL)?)?,
    })
}

fn pack(model: &str) -> std::io::Result<String> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 0)?;
    encoder.write_all(model.as_bytes())?;
    Ok(BASE64_STANDARD.encode(encoder.finish()?))
}

fn unpack(packed: &str) -> Option<String> {
    let packed = BASE64_STANDARD.decode(packed).ok()?;
    let mut model = String::new();
    let decoder = zstd::Decoder::with_buffer(packed.as_slice()).ok()?;
    decoder.take(LARGEST_MODEL + 1).read_to_string(&mut model).ok()?;
    (model.len() as u64 <= LARGEST_MODEL).then_some(model)
}
