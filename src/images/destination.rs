//! The engine that images go to: what it has, whether a loaded image is whole, and what names stand for.

use std::collections::HashSet;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::delta::Fate;
use super::digest::Digest;
use super::end::End;
use super::inventory::{Blobs, Inventory};
use super::manifest::{Platform, digests, layer_type};
use super::reference::ImageName;
use super::source::{Form, Image, config_digest, dissect};
use crate::engine::Result;
use crate::engine::api::Api;
use crate::engine::api::content::{Blob, Content};
use crate::engine::api::images::{About, ImageDetails, Store};
use crate::names::ImageId;

/// Inspections under way at once.
const CONCURRENT_INSPECTIONS: usize = 16;
/// The most names that are looked up of what was loaded.
const MOST_NAMES: usize = 16;
/// Enough of some content to tell how it is compressed.
const BEGINNING: usize = 4;

/// An engine that images go to.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The engine, and the way there.
    pub end: End,
    /// What kind it is.
    pub about: About,
    content: Option<Content>,
}

/// Whether an image is there already.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Presence {
    /// Under its name.
    Named,
    /// Under this ID, but not by its name.
    Unnamed(ImageId),
    /// Not at all, or not whole.
    Absent,
}

impl Destination {
    /// Learns what the engine's store can do.
    pub async fn open(end: End, about: About) -> Result<Self> {
        let content = if about.store == Store::Containerd { end.api.content().await? } else { None };
        Ok(Self { end, about, content })
    }

    /// The engine's calls.
    #[must_use]
    pub fn api(&self) -> &Api {
        &self.end.api
    }

    /// What the engine's images run on.
    #[must_use]
    pub fn platform(&self) -> Platform {
        let About { os, architecture, .. } = self.about.clone();
        Platform { os, architecture, variant: String::new() }
    }

    /// Whether an image is there, and whole.
    pub async fn presence(&self, image: &Image, name: &ImageName) -> Result<Presence> {
        if let Some(named) = self.api().image_details(name.as_str()).await?
            && self.is_same(&named, image).await?
        {
            return Ok(Presence::Named);
        }
        let id = match (&self.about.store, &image.form) {
            (Store::Containerd, Form::Content(anatomy)) => Some(&anatomy.target.digest),
            (Store::Containerd, _) => None,
            (_, form) => form.config(),
        };
        let Some(id) = id else { return Ok(Presence::Absent) };
        let found = self.api().image_details(id.as_str()).await?;
        match found {
            Some(found) if self.is_same(&found, image).await? => Ok(Presence::Unnamed(found.id)),
            _ => Ok(Presence::Absent),
        }
    }

    /// Whether an image that is there is the one to be sent.
    async fn is_same(&self, there: &ImageDetails, image: &Image) -> Result<bool> {
        if self.about.store != Store::Containerd {
            return Ok(config_digest(&there.id).is_some_and(|id| Some(&id) == image.form.config()));
        }
        let (Some(content), Some(target)) = (&self.content, config_digest(&there.id)) else {
            return Ok(there.id == image.id);
        };
        // What cannot be read, for whatever reason, is not the image as a whole.
        let Ok(anatomy) = dissect(content, &target, &image.platform).await else { return Ok(false) };
        let manifest = &anatomy.manifest;
        let parts = manifest.layers.iter().chain([&manifest.config]);
        let parts: Vec<_> = parts.map(|part| (part.digest.clone(), part.size)).collect();
        Ok(Some(&manifest.config.digest) == image.form.config() && self.has(&parts).await?)
    }

    /// Learns what is there.
    pub async fn inventory(&self) -> Result<Inventory> {
        let mut inventory = match self.about.store {
            Store::Docker => Inventory::Chains(HashSet::new()),
            Store::Podman => Inventory::Layers(HashSet::new()),
            Store::Containerd => {
                return self.blobs().await.map(|blobs| blobs.map_or(Inventory::Unknown, Inventory::Blobs));
            }
        };
        let images: Vec<_> = stream::iter(self.api().image_ids().await?)
            .map(async |id| self.api().image_details(id.as_str()).await)
            .buffer_unordered(CONCURRENT_INSPECTIONS)
            .try_collect()
            .await?;
        // An image may vanish between list and inspection.
        for image in images.into_iter().flatten() {
            if let Some(layers) = digests(&image.layers) {
                inventory.add(&layers);
            }
        }
        Ok(inventory)
    }

    async fn blobs(&self) -> Result<Option<Blobs>> {
        let Some(content) = &self.content else { return Ok(None) };
        let Some(list) = content.list().await? else { return Ok(None) };
        let mut blobs = Blobs::default();
        for Blob { digest, size, uncompressed } in list {
            if let Some(digest) = Digest::parse(&digest) {
                blobs.add(digest, size, uncompressed.as_deref().and_then(Digest::parse));
            }
        }
        Ok(Some(blobs))
    }

    /// Whether all of some content is there, in the right sizes. Where nobody can tell, it is taken for granted.
    async fn has(&self, parts: &[(Digest, u64)]) -> Result<bool> {
        let Some(blobs) = self.blobs().await? else { return Ok(true) };
        Ok(parts.iter().all(|(digest, size)| blobs.size(digest) == Some(*size)))
    }

    /// Finds out what content is that stands in for a layer.
    pub async fn complete(&self, fates: &mut [Fate]) -> Result<()> {
        for fate in fates {
            if let (Fate::Replace(descriptor), Some(content)) = (fate, &self.content)
                && descriptor.media_type.is_empty()
            {
                let beginning = content.read(descriptor.digest.as_str(), BEGINNING).await?;
                descriptor.media_type = layer_type(&beginning);
            }
        }
        Ok(())
    }

    /// The ID that an image has here, with the given manifest or index.
    #[must_use]
    pub fn id_of(&self, image: &Image, target: &Digest) -> Option<ImageId> {
        let digest = if self.about.store == Store::Containerd { Some(target) } else { image.form.config() };
        digest.map(|digest| ImageId::new(digest.as_str()))
    }

    /// The ID that an image has here whatever its manifest, in stores that know it by its configuration.
    #[must_use]
    pub fn id_by_config(&self, image: &Image) -> Option<ImageId> {
        let config = image.form.config().filter(|_| self.about.store != Store::Containerd)?;
        Some(ImageId::new(config.as_str()))
    }

    /// The ID of the image that was loaded, by what the engine says to have loaded; `None` if that is none or several.
    pub async fn loaded(&self, said: &[String]) -> Result<Option<ImageId>> {
        let mut loaded = None;
        for reference in said.iter().take(MOST_NAMES) {
            let id = match Digest::parse(reference) {
                Some(_) => Some(ImageId::new(reference.as_str())),
                None => self.api().image_details(reference).await?.map(|named| named.id),
            };
            if id.is_none() || loaded.is_some() && loaded != id {
                return Ok(None);
            }
            loaded = id;
        }
        Ok(loaded)
    }

    /// Whether an image that was loaded is whole and what it should be.
    pub async fn verify(&self, id: &ImageId, image: &Image, parts: &[(Digest, u64)]) -> Result<bool> {
        let Some(details) = self.api().image_details(id.as_str()).await? else { return Ok(false) };
        if let Form::Opaque(layers) = &image.form {
            return self.resembles(&details, image, layers).await;
        }
        if self.about.store == Store::Containerd {
            return Ok(self.has(parts).await? && (self.content.is_none() || self.is_same(&details, image).await?));
        }
        let layers = digests(&details.layers).unwrap_or_default();
        Ok(layers.iter().eq(image.form.layers().iter().map(|layer| &layer.content)))
    }

    /// Whether an image that was loaded is whole and has these layers, which is all that its source has told.
    async fn resembles(&self, there: &ImageDetails, image: &Image, layers: &[Digest]) -> Result<bool> {
        if let (Some(content), Some(target)) = (&self.content, config_digest(&there.id)) {
            let Ok(anatomy) = dissect(content, &target, &image.platform).await else { return Ok(false) };
            let manifest = &anatomy.manifest;
            let parts: Vec<_> = manifest.layers.iter().map(|part| (part.digest.clone(), part.size)).collect();
            let same = anatomy.layers.iter().map(|layer| &layer.content).eq(layers);
            return Ok(same && self.has(&parts).await?);
        }
        Ok(digests(&there.layers).is_some_and(|there| there == layers))
    }

    /// Removes an image that has no name. One that has got some in the meantime is somebody's.
    pub async fn discard(&self, id: &ImageId) -> Result<()> {
        match self.api().image_details(id.as_str()).await? {
            Some(details) if details.names.iter().all(|name| name.contains("<none>")) => {
                self.api().remove_image(id).await
            }
            _ => Ok(()),
        }
    }
}
