//! What images are made of, in the words of the OCI image specification, which are also those of Docker's own format.
//!
//! Documents from engines are read as far as they matter here, and checked: a digest that is none, or a size below zero,
//! is no document. What is written is the one archive layout that every store can load.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::digest::Digest;

/// A whole image, without platforms.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// A list of images for different platforms.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer that is not compressed.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const COMPRESSED: [(&str, &[u8]); 2] = [("+gzip", &[0x1f, 0x8b]), ("+zstd", &[0x28, 0xb5, 0x2f, 0xfd])];
/// By which an attestation names the manifest that it is about.
const ATTESTS: &str = "vnd.docker.reference.digest";
/// The most layers that any store takes: what has more is no image.
pub const MOST_LAYERS: usize = 1024;

/// Points to content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor {
    /// What kind of content.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
}

/// What an image runs on.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Platform {
    /// Such as `linux`.
    #[serde(default)]
    pub os: String,
    /// In Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// Such as `v7`; empty if there is but one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// Reads `OS/ARCHITECTURE[/VARIANT]`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/').map(str::to_owned);
        let (os, architecture) = (parts.next()?, parts.next()?);
        let variant = parts.next().unwrap_or_default();
        let fine = |part: &String| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        let whole = parts.next().is_none() && !os.is_empty() && !architecture.is_empty();
        (whole && [&os, &architecture, &variant].into_iter().all(fine)).then_some(Self { os, architecture, variant })
    }

    /// Whether an image for this platform runs on a host of another one, as far as can be told.
    #[must_use]
    pub fn runs_on(&self, host: &Self) -> bool {
        // What is not said fits.
        let older = [("amd64", "386"), ("arm64", "arm")].contains(&(&host.architecture, &self.architecture));
        (self.os.is_empty() || self.os == host.os)
            && (self.architecture.is_empty() || self.architecture == host.architecture || older)
    }

    /// Whether this is what was asked for; a variant that is not said fits.
    #[must_use]
    pub fn is(&self, wanted: &Self) -> bool {
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && (wanted.variant.is_empty() || self.variant.is_empty() || self.variant == wanted.variant)
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { os, architecture, variant } = self;
        let slash = if variant.is_empty() { "" } else { "/" };
        write!(formatter, "{os}/{architecture}{slash}{variant}")
    }
}

/// A manifest: one image.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Manifest {
    /// How to run it.
    pub config: Descriptor,
    /// Its layers, lowest first.
    pub layers: Vec<Descriptor>,
}

/// An index: images for several platforms, and attestations about them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Index(pub Vec<Entry>);

/// An image in an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its manifest.
    pub manifest: Descriptor,
    /// What it runs on.
    pub platform: Option<Platform>,
    /// The manifest that this is an attestation about.
    pub attests: Option<Digest>,
}

/// A manifest or an index.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// Several.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index; `None` if it is neither.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        let wire: WireDocument = serde_json::from_slice(json).ok()?;
        match wire.media_type.as_deref() {
            Some(MANIFEST | DOCKER_MANIFEST) => wire.manifest(),
            Some(INDEX | DOCKER_LIST) => wire.index(),
            // The field may be missing.
            None | Some("") => wire.index().or_else(|| wire.manifest()),
            Some(_) => None,
        }
    }
}

/// The part of an image's configuration that tells what the image is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The digests of its layers when not compressed, lowest first.
    pub layers: Vec<Digest>,
    /// What it runs on.
    pub platform: Platform,
}

impl Config {
    /// Reads a configuration; `None` if it is none.
    #[must_use]
    pub fn read(json: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            rootfs: Rootfs,
            #[serde(flatten)]
            platform: Platform,
        }

        #[derive(Deserialize)]
        struct Rootfs {
            diff_ids: Option<Vec<String>>,
        }

        let wire: Wire = serde_json::from_slice(json).ok()?;
        Some(Self { layers: digests(&wire.rootfs.diff_ids.unwrap_or_default())?, platform: wire.platform })
    }
}

/// Reads digests; `None` if one of them is none, or if there are too many.
#[must_use]
pub fn digests(texts: &[String]) -> Option<Vec<Digest>> {
    if texts.len() > MOST_LAYERS {
        return None;
    }
    texts.iter().map(|text| Digest::parse(text)).collect()
}

/// The media type of a layer, by the beginning of its content.
#[must_use]
pub fn layer_type(beginning: &[u8]) -> String {
    let kind = COMPRESSED.iter().find(|(_, magic)| beginning.starts_with(magic));
    format!("{LAYER}{}", kind.map_or("", |(suffix, _)| suffix))
}

/// A manifest of our own for the given content: always the same for the same content.
#[must_use]
pub fn write(config: &Digest, config_size: u64, layers: &[Descriptor]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(descriptor).collect();
    let config = Descriptor { media_type: CONFIG.to_owned(), digest: config.clone(), size: config_size };
    json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(&config), "layers": layers })
        .to_string()
        .into_bytes()
}

/// The file `index.json` of an archive with one image, which has no name.
#[must_use]
pub fn write_index(target: &Descriptor) -> Vec<u8> {
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(target)] }).to_string().into_bytes()
}

/// The file `manifest.json` of an archive with one image, which has no name: what stores without manifests read.
#[must_use]
pub fn write_legacy(config: &Digest, layers: &[Descriptor]) -> Vec<u8> {
    let layers: Vec<_> = layers.iter().map(|layer| path(&layer.digest)).collect();
    json!([{ "Config": path(config), "RepoTags": null, "Layers": layers }]).to_string().into_bytes()
}

/// Where content is in an archive.
#[must_use]
pub fn path(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

fn descriptor(descriptor: &Descriptor) -> serde_json::Value {
    json!({ "mediaType": descriptor.media_type, "digest": descriptor.digest.as_str(), "size": descriptor.size })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDocument {
    media_type: Option<String>,
    config: Option<WireDescriptor>,
    layers: Option<Vec<WireDescriptor>>,
    manifests: Option<Vec<WireDescriptor>>,
}

impl WireDocument {
    fn manifest(&self) -> Option<Document> {
        let layers = self.layers.as_deref().unwrap_or_default();
        if layers.len() > MOST_LAYERS {
            return None;
        }
        let layers = layers.iter().map(WireDescriptor::read).collect::<Option<_>>()?;
        Some(Document::Manifest(Manifest { config: self.config.as_ref()?.read()?, layers }))
    }

    fn index(&self) -> Option<Document> {
        let manifests = self.manifests.as_ref()?;
        if manifests.len() > MOST_LAYERS {
            return None;
        }
        let entry = |wire: &WireDescriptor| {
            let attests = wire.annotations.as_ref().and_then(|annotations| annotations.get(ATTESTS)?.as_str());
            let attests = attests.and_then(Digest::parse);
            Some(Entry { manifest: wire.read()?, platform: wire.platform.clone(), attests })
        };
        Some(Document::Index(Index(manifests.iter().map(entry).collect::<Option<_>>()?)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDescriptor {
    media_type: Option<String>,
    digest: String,
    size: u64,
    platform: Option<Platform>,
    annotations: Option<serde_json::Map<String, serde_json::Value>>,
}

impl WireDescriptor {
    fn read(&self) -> Option<Descriptor> {
        let media_type = self.media_type.clone().unwrap_or_default();
        Some(Descriptor { media_type, digest: Digest::parse(&self.digest)?, size: self.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(content: &str) -> Descriptor {
        Descriptor { media_type: LAYER.to_owned(), digest: Digest::of(content.as_bytes()), size: 7 }
    }

    #[test]
    fn reads_what_it_writes() {
        let config = Digest::of(b"config");
        let layers = vec![layer("a"), layer("b")];
        let json = write(&config, 9, &layers);
        let Some(Document::Manifest(manifest)) = Document::read(&json) else { panic!("{json:?}") };
        assert_eq!((&manifest.config.digest, manifest.config.size, &manifest.layers), (&config, 9, &layers));
        let target = Descriptor { media_type: MANIFEST.to_owned(), digest: Digest::of(&json), size: 3 };
        let Some(Document::Index(Index(entries))) = Document::read(&write_index(&target)) else { panic!("no index") };
        assert_eq!(entries, [Entry { manifest: target, platform: None, attests: None }]);
        let legacy = String::from_utf8(write_legacy(&config, &layers)).expect("text");
        assert!(legacy.contains(&format!("\"blobs/sha256/{}\"", config.hex())) && legacy.contains("\"RepoTags\":null"));
    }

    #[test]
    fn refuses_documents_that_lie() {
        let digest = Digest::of(b"x");
        for bad in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"config": {"digest": "sha256:x", "size": 1}}"#,
            &format!(r#"{{"config": {{"digest": "{digest}", "size": -1}}}}"#),
            &format!(r#"{{"mediaType": "text/plain", "config": {{"digest": "{digest}", "size": 1}}}}"#),
            &format!(r#"{{"manifests": [{{"digest": "../{digest}", "size": 1}}]}}"#),
        ] {
            assert_eq!(Document::read(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Config::read(br#"{"rootfs": {"diff_ids": ["/etc/passwd"]}}"#), None);
        let many = vec![digest.as_str().to_owned(); MOST_LAYERS + 1];
        assert_eq!(digests(&many), None);
    }

    #[test]
    fn configurations_tell_layers_and_platform() {
        let json = format!(
            r#"{{"os": "linux", "architecture": "arm", "variant": "v7", "rootfs": {{"diff_ids": ["{}"]}}, "x": 1}}"#,
            Digest::of(b"a")
        );
        let config = Config::read(json.as_bytes()).expect("a configuration");
        assert_eq!(config.platform.to_string(), "linux/arm/v7");
        assert_eq!(config.layers, [Digest::of(b"a")]);
    }

    #[test]
    fn platforms_fit_or_not() {
        let platform = |text| Platform::parse(text).expect("a platform");
        assert!(platform("linux/386").runs_on(&platform("linux/amd64")));
        assert!(!platform("linux/amd64").runs_on(&platform("linux/arm64")));
        assert!(Platform::default().runs_on(&platform("linux/arm64")));
        assert!(platform("linux/arm/v7").is(&platform("linux/arm")));
        assert!(!platform("linux/arm/v7").is(&platform("linux/arm/v6")));
        for bad in ["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/am d64", "linux/\n"] {
            assert_eq!(Platform::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn layers_tell_how_they_are_compressed() {
        assert_eq!(layer_type(&[0x1f, 0x8b, 8]), "application/vnd.oci.image.layer.v1.tar+gzip");
        assert_eq!(layer_type(&[0x28, 0xb5, 0x2f, 0xfd]), "application/vnd.oci.image.layer.v1.tar+zstd");
        assert_eq!(layer_type(b"usr/"), LAYER);
    }
}
