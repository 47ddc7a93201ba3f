//! Names of images stand for those of a release again, as long as anything is made of them.

use std::collections::BTreeMap;

use crate::deploy::images::is_same;
use crate::engine::api::Api;
use crate::engine::{self, Container, Engine};
use crate::images::reference::ImageName;
use crate::names::ImageId;

/// Names that were given to other images, and what they stood for before.
#[derive(Debug)]
pub struct Renaming<'a> {
    api: &'a Api,
    changes: Vec<Change>,
}

#[derive(Debug)]
struct Change {
    repository: String,
    tag: String,
    before: Option<ImageId>,
    now: ImageId,
}

impl<'a> Renaming<'a> {
    /// Gives images their names. If that fails, all is as before.
    pub async fn make(
        api: &'a Api,
        engine: &impl Engine,
        images: &BTreeMap<String, ImageId>,
    ) -> engine::Result<Renaming<'a>> {
        let mut renaming = Self { api, changes: Vec::new() };
        for (name, id) in images {
            if let Err(error) = renaming.add(engine, name, id).await {
                renaming.undo(&[]).await;
                return Err(error);
            }
        }
        Ok(renaming)
    }

    async fn add(&mut self, engine: &impl Engine, name: &str, id: &ImageId) -> engine::Result<()> {
        // A digest stands for the same image at any time.
        let Ok(parsed) = ImageName::parse(name) else { return Ok(()) };
        let Some((repository, tag)) = parsed.tag() else { return Ok(()) };
        let before = engine.image(name).await?.map(|image| image.id);
        if before.as_ref().is_none_or(|before| !is_same(before, id)) {
            self.api.tag_image(id, repository, tag).await?;
            let (repository, tag) = (repository.to_owned(), tag.to_owned());
            self.changes.push(Change { repository, tag, before, now: id.clone() });
        }
        Ok(())
    }

    /// Takes back the names of those images that none of these containers is made of.
    pub async fn undo(&self, containers: &[Container]) {
        for Change { repository, tag, before, now } in &self.changes {
            if containers.iter().any(|container| !container.one_off && is_same(&container.image, now)) {
                continue;
            }
            let undone = match before {
                Some(before) => self.api.tag_image(before, repository, tag).await,
                None => self.api.untag_image(repository, tag).await,
            };
            if let Err(error) = undone {
                tracing::debug!("{error}");
            }
        }
    }
}
