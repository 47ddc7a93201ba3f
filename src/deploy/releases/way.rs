//! What it takes to go back to a release. Pure.

use std::collections::BTreeMap;

use anyhow::anyhow;

use super::{Part, Release, is_same};
use crate::compose::Loaded;
use crate::compose::released::vet;
use crate::engine::Container;
use crate::error::{Failure, Kind};
use crate::names::{ImageId, ServiceName};
use crate::text::escape;

/// The way back to a release.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Way {
    /// The services to consider.
    pub services: Vec<ServiceName>,
    /// What the names of their images are to stand for. Those that hold a digest stand for themselves.
    pub images: BTreeMap<String, ImageId>,
}

impl Release {
    /// The way back from what there is.
    ///
    /// A name can stand for one image at a time. Where services had different ones of the same name, those that are at work
    /// as they were are left alone; fails if that is not enough.
    pub fn way_back(&self, containers: &[Container]) -> Result<Way, Failure> {
        let differs = |one: &Part, other: &Part| one.image == other.image && !same_image(one, other);
        let is_ambiguous = |part: &Part| self.services.values().any(|other| differs(part, other));
        let mut way = Way { services: Vec::new(), images: BTreeMap::new() };
        let mut owners = BTreeMap::<&str, (&ServiceName, &Part)>::new();
        for (name, part) in &self.services {
            if is_ambiguous(part) && self.has_at_work(name, containers) {
                continue;
            }
            way.services.push(name.clone());
            let Some(id) = &part.id else { continue };
            let (owner, first) = *owners.entry(&part.image).or_insert((name, part));
            if differs(first, part) {
                return Err(self.ambiguous(owner, name, &part.image));
            }
            way.images.insert(part.image.clone(), ImageId::new(id));
        }
        Ok(way)
    }

    fn ambiguous(&self, one: &ServiceName, other: &ServiceName, image: &str) -> Failure {
        let error = anyhow!(
            "release {} cannot be gone back to: {one} and {other} were made of different images, and both are called {}",
            self.number,
            escape(image)
        );
        let failure = Failure::new(Kind::Unchanged, error);
        failure.hint("Go back to another release (`kerek history` shows them), or deploy from the Compose files.")
    }

    /// Fails if Compose, as it is called now, reads something else from the model than what was released.
    pub fn check(&self, loaded: &Loaded) -> Result<(), Failure> {
        let unlike = |words: String, hint: String| {
            let error = anyhow!("release {} cannot be gone back to: {words}", self.number);
            Err(Failure::new(Kind::Unchanged, error).hint(hint))
        };
        for (name, part) in &self.services {
            let Some(service) = loaded.project.services.get(name) else { continue };
            if service.image != part.image {
                let (now, then) = (escape(&service.image), escape(&part.image));
                return unlike(
                    format!("the image of {name} would be called {now} now, and was called {then}"),
                    "Say `--compatibility` if, and only if, it was deployed so.".to_owned(),
                );
            }
        }
        match vet::filled_in(&self.model, &loaded.model)? {
            Some((service, variable)) => unlike(
                format!("{service} was deployed without a value of {variable}, and gets one here"),
                format!("Unset {variable}, also in `.env`, or deploy from the Compose files instead."),
            ),
            None => Ok(()),
        }
    }
}

/// Whether two services were made of the same image, as far as they were made at all.
fn same_image(one: &Part, other: &Part) -> bool {
    match (&one.id, &other.id) {
        (Some(one), Some(other)) => is_same(&ImageId::new(one), &ImageId::new(other)),
        _ => true,
    }
}
