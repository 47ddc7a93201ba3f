//! The engine that images come from: finding them, learning what they are made of, and getting them out.

use std::cell::RefCell;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::task::JoinSet;

use super::delta::Layer;
use super::digest::Digest;
use super::end::End;
use super::manifest::{Config, Descriptor, Document, Index, Manifest, Platform, digests};
use super::pipe::{Closed, Sink};
use crate::engine::api::Api;
use crate::engine::api::content::Content;
use crate::engine::api::images::{About, ImageDetails, Store};
use crate::engine::{Error, ErrorKind, Result};
use crate::names::ImageId;
use crate::text::escape;

/// The most bytes of a configuration, manifest or attestation.
const LARGEST_DOCUMENT: usize = 8 << 20;

/// An engine that images come from.
#[derive(Debug)]
pub struct Source {
    /// The engine, and the way there.
    pub end: End,
    content: Option<Content>,
    /// The image that the engine was asked for beforehand.
    begun: RefCell<Option<Begun>>,
}

/// An image that the engine saves. It ceases to when this is dropped.
#[derive(Debug)]
struct Begun {
    id: ImageId,
    archive: JoinSet<Result<Incoming>>,
}

/// An image that is to be sent.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its ID on the source.
    pub id: ImageId,
    /// What it runs on.
    pub platform: Platform,
    /// Its size, as its engine counts.
    pub size: u64,
    /// What it is made of, as far as the source can tell beforehand.
    pub form: Form,
}

/// What is known of an image before it is saved.
#[derive(Clone, Debug)]
pub enum Form {
    /// Its configuration and the digests of its layers when not compressed; an archive yields the rest.
    Archive {
        /// The configuration.
        config: Digest,
        /// The layers, lowest first.
        layers: Vec<Layer>,
    },
    /// All of it: content can be read piece by piece.
    Content(Box<Anatomy>),
    /// At most the digests of its layers when not compressed. Its archive can only be passed on as it is.
    Opaque(Vec<Digest>),
}

impl Form {
    /// The digest of the configuration, which is what stays the same in every store.
    #[must_use]
    pub fn config(&self) -> Option<&Digest> {
        match self {
            Self::Archive { config, .. } => Some(config),
            Self::Content(anatomy) => Some(&anatomy.manifest.config.digest),
            Self::Opaque(_) => None,
        }
    }

    /// The layers that can be sent or left out one by one, lowest first.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        match self {
            Self::Archive { layers, .. } => layers,
            Self::Content(anatomy) => &anatomy.layers,
            Self::Opaque(_) => &[],
        }
    }
}

/// What an image in a containerd store is made of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Anatomy {
    /// What its name stands for: an index or a manifest.
    pub target: Descriptor,
    /// The manifest for the platform.
    pub manifest: Manifest,
    /// The manifest as such.
    pub manifest_json: Vec<u8>,
    /// The configuration as such.
    pub config_json: Vec<u8>,
    /// What else belongs to it: the index, attestations.
    pub extras: Vec<Vec<u8>>,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// What it runs on.
    pub platform: Platform,
}

impl Source {
    /// Learns what the engine's store can do.
    pub async fn open(end: End, about: &About) -> Result<Self> {
        let content = if about.store == Store::Containerd { end.api.content().await? } else { None };
        Ok(Self { end, content, begun: RefCell::default() })
    }

    fn api(&self) -> &Api {
        &self.end.api
    }

    /// Looks for an image; `None` if there is none of the name. Among several platforms, `platform` is taken.
    pub async fn find(&self, name: &str, platform: &Platform) -> Result<Option<(Image, ImageDetails)>> {
        let Some(details) = self.api().image_details(name).await? else { return Ok(None) };
        let platform_said = Platform {
            os: details.os.clone(),
            architecture: details.architecture.clone(),
            variant: details.variant.clone(),
        };
        let digest = config_digest(&details.id);
        let (platform, form) = match (&self.content, digest, digests(&details.layers)) {
            (Some(content), Some(target), _) => {
                let anatomy = dissect(content, &target, platform).await?;
                (anatomy.platform.clone(), Form::Content(Box::new(anatomy)))
            }
            (None, Some(config), Some(layers)) if !details.layers.is_empty() && !is_containerd(&details) => {
                let layers = layers.into_iter().map(|content| Layer { content, blob: None }).collect();
                (platform_said, Form::Archive { config, layers })
            }
            (_, _, layers) => (platform_said, Form::Opaque(layers.unwrap_or_default())),
        };
        Ok(Some((Image { id: details.id.clone(), platform, size: details.size, form }, details)))
    }

    /// Has the engine begin to save an image that will be asked for next, if it takes an archive: an engine may be seconds
    /// at it before the first byte.
    pub fn begin(&self, image: &Image) {
        if matches!(image.form, Form::Archive { .. }) {
            let (api, image) = (self.api().clone(), image.clone());
            let id = image.id.clone();
            let mut archive = JoinSet::new();
            archive.spawn(async move { archive_of(&api, &image).await });
            *self.begun.borrow_mut() = Some(Begun { id, archive });
        }
    }

    /// Saves an image into a sink.
    pub async fn save(&self, image: &Image, sink: Sink) -> Result<()> {
        let begun = self.begun.take().filter(|begun| begun.id == image.id);
        let begun = match begun {
            Some(mut begun) => begun.archive.join_next().await.and_then(Result::ok),
            None => None,
        };
        let mut body = match begun {
            Some(archive) => archive?,
            None => archive_of(self.api(), image).await?,
        };
        let call = || format!("save image {}", image.id.short());
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| broken(call(), &error))?;
            let Ok(data) = frame.into_data() else { continue };
            if sink.send(data).await == Err(Closed) {
                // Who read has seen enough, or has failed and tells so.
                return Ok(());
            }
        }
        // Its end, too, is nobody's business if nobody reads any more.
        let _ = sink.end().await;
        Ok(())
    }

    /// Reads content, one after the other, into a sink.
    pub async fn read(&self, pieces: &[(Digest, u64)], sink: Sink) -> Result<()> {
        for (digest, size) in pieces {
            let call = || format!("read {digest} from the engine's store");
            let Some(content) = &self.content else {
                return Err(broken(call(), &"it gives no access to its content"));
            };
            let mut reading = content.open(digest.as_str(), 0).await?;
            let mut left = *size;
            while let Some(piece) = reading.next().await? {
                let length = piece.len() as u64;
                left = left.checked_sub(length).ok_or_else(|| broken(call(), &"it is longer than it should be"))?;
                if sink.send(piece).await == Err(Closed) {
                    return Ok(());
                }
            }
            if left > 0 {
                return Err(broken(call(), &"it is shorter than it should be"));
            }
        }
        let _ = sink.end().await;
        Ok(())
    }
}

async fn archive_of(api: &Api, image: &Image) -> Result<Incoming> {
    let Platform { os, architecture, variant } = &image.platform;
    api.save_image(&image.id, Some([os, architecture, variant])).await
}

/// Where a manifest is an image's ID, the ID also is the digest in its names.
fn is_containerd(details: &ImageDetails) -> bool {
    details.digests.iter().any(|name| name.ends_with(details.id.as_str()))
}

/// The configuration's digest, where it is the image's ID; podman may leave the algorithm out.
#[must_use]
pub fn config_digest(id: &ImageId) -> Option<Digest> {
    Digest::parse(id.as_str()).or_else(|| Digest::from_hex(id.as_str()))
}

/// Reads what an image in a containerd store is made of, for the given platform.
pub async fn dissect(content: &Content, target: &Digest, wanted: &Platform) -> Result<Anatomy> {
    let target_json = read(content, target).await?;
    let descriptor = |media_type: &str, digest: &Digest, json: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: digest.clone(),
        size: json.len() as u64,
    };
    let unknown = |digest: &Digest| broken(format!("read {digest}"), &"it is neither a manifest nor an index");
    let (target, manifest_digest, extras) = match Document::read(&target_json).ok_or_else(|| unknown(target))? {
        Document::Manifest(_) => {
            (descriptor(super::manifest::MANIFEST, target, &target_json), target.clone(), Vec::new())
        }
        Document::Index(index) => {
            let manifest = choose(&index, wanted).ok_or_else(|| lacks(target, &index, wanted))?;
            let mut extras = attestations(content, &index, &manifest).await;
            let target = descriptor(super::manifest::INDEX, target, &target_json);
            extras.push(target_json.clone());
            (target, manifest, extras)
        }
    };
    let manifest_json =
        if manifest_digest == target.digest { target_json } else { read(content, &manifest_digest).await? };
    let Some(Document::Manifest(manifest)) = Document::read(&manifest_json) else {
        return Err(unknown(&manifest_digest));
    };
    let config_json = read(content, &manifest.config.digest).await?;
    let config = Config::read(&config_json)
        .filter(|config| config.layers.len() == manifest.layers.len())
        .ok_or_else(|| broken(format!("read {}", manifest.config.digest), &"it does not fit the manifest"))?;
    let layers = config.layers.iter().zip(&manifest.layers);
    let layers = layers.map(|(content, blob)| Layer { content: content.clone(), blob: Some(blob.clone()) }).collect();
    Ok(Anatomy { target, manifest, manifest_json, config_json, extras, layers, platform: config.platform })
}

/// The manifest that runs best on a platform.
fn choose(index: &Index, wanted: &Platform) -> Option<Digest> {
    let images = || index.0.iter().filter(|entry| entry.attests.is_none());
    let fits = |fit: fn(&Platform, &Platform) -> bool| {
        images().find(|entry| entry.platform.as_ref().is_some_and(|platform| fit(platform, wanted)))
    };
    let chosen = fits(Platform::is).or_else(|| fits(Platform::runs_on));
    // Without platforms, a single image is the image.
    let single = || images().next().filter(|entry| entry.platform.is_none() && images().count() == 1);
    chosen.or_else(single).map(|entry| entry.manifest.digest.clone())
}

/// What is said about a manifest, with all that belongs to it. Nobody runs it: what cannot be read is left out.
async fn attestations(content: &Content, index: &Index, manifest: &Digest) -> Vec<Vec<u8>> {
    let mut documents = Vec::new();
    for entry in index.0.iter().filter(|entry| entry.attests.as_ref() == Some(manifest)) {
        let Ok(json) = read(content, &entry.manifest.digest).await else { continue };
        if let Some(Document::Manifest(attestation)) = Document::read(&json) {
            for part in std::iter::once(&attestation.config).chain(&attestation.layers) {
                documents.extend(read(content, &part.digest).await);
            }
        }
        documents.push(json);
    }
    documents
}

/// Reads a document, and checks that it is the one that was meant.
async fn read(content: &Content, digest: &Digest) -> Result<Vec<u8>> {
    let json = content.read(digest.as_str(), LARGEST_DOCUMENT).await?;
    if Digest::of(&json) == *digest {
        Ok(json)
    } else {
        Err(broken(format!("read {digest} from the engine's store"), &"it has other content, or too much"))
    }
}

fn lacks(target: &Digest, index: &Index, wanted: &Platform) -> Error {
    let there: Vec<_> =
        index.0.iter().filter_map(|entry| entry.platform.as_ref().filter(|_| entry.attests.is_none())).collect();
    let there = there.iter().map(|platform| escape(&platform.to_string())).collect::<Vec<_>>().join(", ");
    let message = format!("it has no image for {wanted}, only for {there}");
    Error { kind: ErrorKind::Refused, call: format!("look into image {target}"), message }
}

fn broken(call: String, reason: &dyn std::fmt::Display) -> Error {
    Error { kind: ErrorKind::Garbled, call, message: reason.to_string() }
}
