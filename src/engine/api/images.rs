//! The Engine API's calls on images: to look, to save, to load, to name.
//!
//! Small calls have a deadline of their own. Saving and loading take as long as they take: watching over them is up to the
//! caller, who can drop the future, which ends the call on both sides.

use std::time::Duration;

use hyper::StatusCode;
use hyper::body::{Body, Bytes, Incoming};
use percent_encoding::utf8_percent_encode;
use serde::Deserialize;
use serde_json::json;

use super::content::Content;
use super::http::garbled;
use super::{Api, REFERENCE, Version, escape, unless_status};
use crate::engine::{Error, ErrorKind, Result};
use crate::names::ImageId;

/// Time for a small call. An engine that is busy with an image may need some.
const DEADLINE: Duration = Duration::from_secs(60);
/// Since when engines can save one platform of several.
const SAVES_PLATFORM: Version = Version(1, 48);
/// Since when Docker reads zstd.
const READS_ZSTD: Version = Version(1, 42);

/// How an engine keeps images.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Store {
    /// Docker's own, with a driver such as overlay2.
    Docker,
    /// Docker's with containerd.
    Containerd,
    /// Podman's.
    Podman,
}

/// What there is to know about an engine before images are sent to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct About {
    /// How it keeps images.
    pub store: Store,
    /// Its operating system, such as `linux`.
    pub os: String,
    /// Its architecture, in Go's words.
    pub architecture: String,
    /// Bytes that are free where images are kept, if the engine tells.
    pub free: Option<u64>,
    /// The folder on its host with all that it keeps, if images are in it; raw.
    pub folder: Option<String>,
    /// Whether it decompresses zstd.
    pub reads_zstd: bool,
}

/// An image, as an engine describes it. All raw.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ImageDetails {
    /// Its ID.
    pub id: ImageId,
    /// The digests of its layers when not compressed, lowest first.
    pub layers: Vec<String>,
    /// Its names with tags.
    pub names: Vec<String>,
    /// Its names with digests.
    pub digests: Vec<String>,
    /// Its operating system.
    pub os: String,
    /// Its architecture.
    pub architecture: String,
    /// The variant of its architecture.
    pub variant: String,
    /// Bytes of its layers, unpacked or not, as the engine counts.
    pub size: u64,
}

impl Api {
    /// Asks for a sign of life.
    pub async fn ping(&self) -> Result<()> {
        self.http.get("ask for a sign of life", "/_ping").await?.accepted().map(drop)
    }

    /// What kind of engine this is.
    pub async fn about(&self) -> Result<About> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Versions {
            os: String,
            arch: String,
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Info {
            driver_status: Option<Vec<Vec<String>>>,
            docker_root_dir: Option<String>,
        }

        let call = "ask what kind of engine this is";
        let version = self.path("/version");
        let (versions, free) =
            within(call, async { tokio::try_join!(self.http.get(call, &version), self.free_space()) }).await?;
        let Versions { os, arch } = versions.accepted()?.json()?;
        let (store, folder) = if self.podman {
            (Store::Podman, None)
        } else {
            let info = within(call, self.http.get(call, &self.path("/info"))).await?.accepted()?.json::<Info>()?;
            let rows = info.driver_status.unwrap_or_default();
            let containerd = rows.iter().any(|row| row.iter().any(|cell| cell == "io.containerd.snapshotter.v1"));
            if containerd { (Store::Containerd, None) } else { (Store::Docker, info.docker_root_dir) }
        };
        let reads_zstd = self.podman || self.version >= READS_ZSTD;
        Ok(About { store, os, architecture: arch, free, folder, reads_zstd })
    }

    /// Bytes that are free for images. Only podman tells.
    async fn free_space(&self) -> Result<Option<u64>> {
        #[derive(Deserialize)]
        struct Info {
            store: Store,
        }

        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Store {
            graph_root_allocated: Option<u64>,
            graph_root_used: Option<u64>,
        }

        if !self.podman {
            return Ok(None);
        }
        let answer = self.http.get("ask for free space", "/v4.0.0/libpod/info").await?;
        let store = answer.accepted().and_then(|answer| answer.json::<Info>()).map(|info| info.store);
        Ok(store.ok().and_then(|store| store.graph_root_allocated?.checked_sub(store.graph_root_used?)))
    }

    /// Describes an image; `None` if there is none of this name or ID.
    pub async fn image_details(&self, reference: &str) -> Result<Option<ImageDetails>> {
        let call = format!("inspect image {reference}");
        let path = self.path(&format!("/images/{}/json", utf8_percent_encode(reference, REFERENCE)));
        let answer = within(&call, self.http.get(&call, &path)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.accepted()?.json::<Wire>().map(|wire| Some(wire.into()))
    }

    /// The IDs of all images, those without a name included.
    pub async fn image_ids(&self) -> Result<Vec<ImageId>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Listed {
            id: String,
        }

        let call = "list images";
        let path = self.path("/images/json?all=true");
        let listed: Vec<Listed> = within(call, self.http.get(call, &path)).await?.accepted()?.json()?;
        Ok(listed.into_iter().map(|image| ImageId::new(image.id)).collect())
    }

    /// Begins to save an image: a tar archive, as a stream. By its ID, an image is saved without names.
    ///
    /// `platform` (operating system, architecture, variant) chooses among several, where the engine can.
    pub async fn save_image(&self, id: &ImageId, platform: Option<[&str; 3]>) -> Result<Incoming> {
        let call = format!("save image {}", id.short());
        let query = match platform {
            Some([os, architecture, variant]) if self.version >= SAVES_PLATFORM && !self.podman => {
                let platform = json!({ "os": os, "architecture": architecture, "variant": variant });
                format!("?platform={}", escape(&platform.to_string()))
            }
            _ => String::new(),
        };
        let id = utf8_percent_encode(id.as_str(), REFERENCE);
        self.http.stream(&call, &self.path(&format!("/images/{id}/get{query}"))).await
    }

    /// Loads an archive, compressed or not, and returns when the engine has done so. Whether what is there now is any good
    /// is for the caller to see: engines with containerd call it a success if layers are missing.
    ///
    /// Returns what it says to have loaded, IDs or names, raw.
    pub async fn load_image<B>(&self, archive: B) -> Result<Vec<String>>
    where
        B: Body<Data = Bytes, Error = std::io::Error> + Send + 'static,
    {
        #[derive(Deserialize)]
        struct Line {
            error: Option<String>,
            stream: Option<String>,
        }

        let call = "load an image";
        let answer = self.http.upload(call, &self.path("/images/load?quiet=1"), archive).await?.accepted()?;
        let lines = serde_json::Deserializer::from_slice(answer.body()).into_iter::<Line>();
        let mut loaded = Vec::new();
        for line in lines {
            let Line { error, stream } = line.map_err(|error| garbled(call, &error))?;
            let stream = stream.unwrap_or_default();
            loaded.extend(loaded_images(&stream));
            // So says containerd's store, and calls it a success.
            let unpacking = || stream.starts_with("Error unpacking").then_some(stream);
            if let Some(message) = error.or_else(unpacking) {
                return Err(Error { kind: ErrorKind::Refused, call: call.to_owned(), message });
            }
        }
        Ok(loaded)
    }

    /// Gives an image a name, which is taken from the image that had it.
    pub async fn tag_image(&self, id: &ImageId, repository: &str, tag: &str) -> Result<()> {
        let call = format!("name image {} {repository}:{tag}", id.short());
        let id = utf8_percent_encode(id.as_str(), REFERENCE);
        let path = self.path(&format!("/images/{id}/tag?repo={}&tag={}", escape(repository), escape(tag)));
        unless_status(within(&call, self.http.post(&call, &path)).await?, &[])
    }

    /// Takes a name from an image, and removes the image if that was its last one and nobody uses it. Fine if there is
    /// none of that name.
    pub async fn untag_image(&self, repository: &str, tag: &str) -> Result<()> {
        let name = format!("{repository}:{tag}");
        let call = format!("take the name {name} from its image");
        let path = self.path(&format!("/images/{}", utf8_percent_encode(&name, REFERENCE)));
        unless_status(within(&call, self.http.delete(&call, &path)).await?, &[StatusCode::NOT_FOUND])
    }

    /// Removes an image that nobody uses and nothing names any more; fine if it is gone.
    pub async fn remove_image(&self, id: &ImageId) -> Result<()> {
        let call = format!("remove image {}", id.short());
        let path = self.path(&format!("/images/{}", utf8_percent_encode(id.as_str(), REFERENCE)));
        unless_status(within(&call, self.http.delete(&call, &path)).await?, &[StatusCode::NOT_FOUND])
    }

    /// The store's content, where the engine gives access to it.
    pub async fn content(&self) -> Result<Option<Content>> {
        let call = "open the engine's content store";
        within(call, Content::connect(self.http.socket())).await
    }
}

/// The images that an engine says to have loaded: Docker has one in a line, podman all, and both say the ID of one that
/// has no name.
fn loaded_images(line: &str) -> Vec<String> {
    let names = ["Loaded image ID: ", "Loaded image: "].iter().find_map(|start| line.strip_prefix(start));
    let names = names.into_iter().flat_map(|names| names.split(',')).map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// Runs a small call, within its deadline.
async fn within<T>(call: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(DEADLINE, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", DEADLINE.as_secs());
        Err(Error { kind: ErrorKind::Unreachable, call: call.to_owned(), message })
    })
}

/// The answer of `GET /images/{name}/json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Wire {
    id: String,
    repo_tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
    os: Option<String>,
    architecture: Option<String>,
    variant: Option<String>,
    size: Option<i64>,
    #[serde(rename = "RootFS")]
    root: Option<Root>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Root {
    layers: Option<Vec<String>>,
}

impl From<Wire> for ImageDetails {
    fn from(wire: Wire) -> Self {
        Self {
            id: ImageId::new(wire.id),
            layers: wire.root.and_then(|root| root.layers).unwrap_or_default(),
            names: wire.repo_tags.unwrap_or_default(),
            digests: wire.repo_digests.unwrap_or_default(),
            os: wire.os.unwrap_or_default(),
            architecture: wire.architecture.unwrap_or_default(),
            variant: wire.variant.unwrap_or_default(),
            size: wire.size.and_then(|size| u64::try_from(size).ok()).unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_say_what_they_have_loaded() {
        // Docker 28.5 with either store, podman 4.3.
        assert_eq!(loaded_images("Loaded image ID: sha256:a7c8\n"), ["sha256:a7c8"]);
        assert_eq!(loaded_images("Loaded image: kerek-x:1\n"), ["kerek-x:1"]);
        assert_eq!(loaded_images("Loaded image: sha256:a7c8"), ["sha256:a7c8"]);
        assert_eq!(loaded_images("Loaded image: localhost/a:1,localhost/b:1"), ["localhost/a:1", "localhost/b:1"]);
        for other in ["", "\n", "Loaded image: ", "The image a:1 already exists, renaming the old one"] {
            assert!(loaded_images(other).is_empty(), "{other}");
        }
    }
}
