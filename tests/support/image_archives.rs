//! Images made to measure: archives for `docker load` with layers of any content, and a look into what engines save.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The digits of the SHA-256 of some content.
pub(crate) fn hex(content: &[u8]) -> String {
    Sha256::digest(content).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A layer with one file of so many bytes that do not compress, other ones for each seed.
pub(crate) fn layer(seed: u64, size: usize) -> Vec<u8> {
    files(&[(&format!("file-{seed}"), &noise(seed, size))])
}

/// The same, but about half of it can be compressed away.
pub(crate) fn half_noise(seed: u64, size: usize) -> Vec<u8> {
    const BLOCK: usize = 4096;
    let mut content = noise(seed, size);
    for block in content.chunks_mut(2 * BLOCK) {
        let length = block.len().min(BLOCK);
        block[..length].fill(b'.');
    }
    files(&[(&format!("file-{seed}"), &content)])
}

fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut content = Vec::with_capacity(size + 8);
    while content.len() < size {
        // xorshift64*: plain and good enough for noise.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        content.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    content.truncate(size);
    content
}

/// A tar archive of files.
pub(crate) fn files(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive.append_data(&mut header, path, *content).expect("memory");
    }
    archive.into_inner().expect("memory")
}

/// An image to be made.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) name: String,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) architecture: &'static str,
    /// Whether layers are kept compressed, as those from a registry are.
    pub(crate) gzip: bool,
}

impl Recipe {
    pub(crate) fn new(name: &str, layers: &[&[u8]]) -> Self {
        let layers = layers.iter().map(|layer| layer.to_vec()).collect();
        Self { name: name.to_owned(), layers, architecture: "amd64", gzip: false }
    }

    fn config(&self) -> Vec<u8> {
        let layers: Vec<_> = self.layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
        json!({
            "architecture": self.architecture, "os": "linux", "config": { "Cmd": ["true"] },
            "rootfs": { "type": "layers", "diff_ids": layers },
        })
        .to_string()
        .into_bytes()
    }

    /// The digits of the digest of its configuration.
    pub(crate) fn config_hex(&self) -> String {
        hex(&self.config())
    }

    /// Its archive, for any engine.
    pub(crate) fn archive(&self) -> Vec<u8> {
        let config = self.config();
        let pack = |layer: &Vec<u8>| {
            if !self.gzip {
                return layer.clone();
            }
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(layer).expect("memory");
            encoder.finish().expect("memory")
        };
        let layers: Vec<_> = self.layers.iter().map(pack).collect();
        let path = |content: &[u8]| format!("blobs/sha256/{}", hex(content));
        let descriptor = |kind: &str, content: &[u8]| {
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({ "mediaType": media_type, "digest": format!("sha256:{}", hex(content)), "size": content.len() })
        };
        let kind = if self.gzip { "layer.v1.tar+gzip" } else { "layer.v1.tar" };
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor(kind, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut target = descriptor("manifest.v1+json", &manifest);
        target["annotations"] = json!({ "io.containerd.image.name": format!("docker.io/{}", self.name) });
        let index = json!({ "schemaVersion": 2, "manifests": [target] }).to_string().into_bytes();
        let paths: Vec<_> = layers.iter().map(|layer| path(layer)).collect();
        let list =
            json!([{ "Config": path(&config), "RepoTags": [self.name], "Layers": paths }]).to_string().into_bytes();
        let mut entries: BTreeMap<String, &[u8]> = BTreeMap::new();
        entries.extend(layers.iter().map(|layer| (path(layer), layer.as_slice())));
        entries.extend([(path(&config), config.as_slice()), (path(&manifest), &manifest)]);
        entries.extend([("index.json".to_owned(), index.as_slice()), ("manifest.json".to_owned(), &list)]);
        entries.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#);
        files(&entries.iter().map(|(path, content)| (path.as_str(), *content)).collect::<Vec<_>>())
    }

    /// Its archive as Docker before 25 saves it by its ID: layers under IDs of their own, and no name.
    pub(crate) fn old_archive(&self) -> Vec<u8> {
        let config = self.config();
        let config_path = format!("{}.json", hex(&config));
        let paths: Vec<_> = self.layers.iter().map(|layer| format!("{}/layer.tar", hex(&layer[..100]))).collect();
        let list = json!([{ "Config": config_path, "RepoTags": null, "Layers": paths }]).to_string().into_bytes();
        let mut entries: Vec<(&str, &[u8])> = Vec::new();
        entries.extend(paths.iter().zip(&self.layers).map(|(path, layer)| (path.as_str(), layer.as_slice())));
        entries.extend([(config_path.as_str(), config.as_slice()), ("manifest.json", &list)]);
        files(&entries)
    }
}

/// Looks into an archive that an engine has saved: all content matches its digest, and all layers are there. Returns the
/// digits of the configuration's digest.
pub(crate) fn inspect(archive: impl Read) -> String {
    let mut entries = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().expect("an archive") {
        let mut entry = entry.expect("readable");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("whole");
        entries.insert(entry.path().expect("a path").to_string_lossy().into_owned(), content);
    }
    for (path, content) in &entries {
        let name = path.strip_prefix("blobs/sha256/").or_else(|| path.strip_suffix(".tar"));
        if let Some(digits) = name.filter(|name| name.len() == 64) {
            assert_eq!(hex(content), digits, "{path}");
        }
    }
    let list: Value = serde_json::from_slice(&entries["manifest.json"]).expect("JSON");
    for layer in list[0]["Layers"].as_array().expect("layers") {
        assert!(entries.contains_key(layer.as_str().expect("a path")), "{layer} is missing");
    }
    let config = list[0]["Config"].as_str().expect("a configuration");
    let digits = config.trim_start_matches("blobs/sha256/").trim_end_matches(".json").to_owned();
    assert_eq!(hex(&entries[config]), digits);
    digits
}
