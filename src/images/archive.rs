//! Image archives as streams: what one engine saves is read, and what another one loads is written, entry by entry.
//!
//! Two layouts are read: Docker's since 25, where content lies under `blobs/sha256`, and podman's, where it lies at the
//! top. What is written is always the same: content by its digest, with both an OCI index and Docker's own list, so that
//! every store can load it, and without a name. Nothing is unpacked, and memory holds no layer.
//!
//! The engine that has saved the archive is not trusted: what does not belong into an archive is refused, and so is an
//! entry that has another size than it says. That content matches its digest is checked by who loads it.

mod allowance;

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};

use super::delta::{Fate, Layer};
use super::digest::Digest;
use super::manifest::{self, Config, Descriptor, LAYER, MANIFEST};
use allowance::Allowance;

/// The most bytes of a configuration, manifest or index.
pub const LARGEST_DOCUMENT: u64 = 8 << 20;
/// The most entries of an archive: layers have a few each.
const MOST_ENTRIES: usize = 16 * manifest::MOST_LAYERS;
/// The most bytes that may stand before an entry's content: a header, and others about a long name or a large size.
const LARGEST_HEAD: u64 = 32 << 10;
const BLOCK: usize = 512;

/// Why an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read or written on, or ends too early.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// It holds what no image archive holds.
    #[error("the archive is refused: {0}")]
    Hostile(String),
    /// It has another layout than those that can be read, or lacks something.
    #[error("the archive lacks {0}")]
    Lacks(String),
}

/// What of an image is to be sent.
#[derive(Clone, Debug)]
pub struct Shipment {
    /// The image's configuration.
    pub config: Digest,
    /// The layers, lowest first, and what becomes of each.
    pub layers: Vec<(Layer, Fate)>,
    /// Bytes of all layers, as their engine counts.
    pub size: u64,
    /// Whether it matters how big layers are that are left out. If not, no more is read than it takes.
    pub tells_sizes: bool,
}

impl Shipment {
    /// The digests to send.
    fn needed(&self) -> HashSet<Digest> {
        let sent = self.layers.iter().filter(|(_, fate)| *fate == Fate::Send);
        sent.map(|(layer, _)| layer.digest().clone()).collect()
    }
}

/// What an archive has become.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Packed {
    /// The manifest that was written.
    pub manifest: Digest,
    /// All content that the image consists of on the destination, with sizes.
    pub content: Vec<(Digest, u64)>,
    /// Bytes of layers that were written.
    pub written: u64,
    /// Bytes of layers that were left out.
    pub left_out: u64,
}

/// Reads an archive as an engine saves it and writes one with what is to be sent.
pub fn repack(input: impl Read, output: &mut impl Write, shipment: &Shipment) -> Result<Packed, Error> {
    let allowance = Allowance::default();
    let mut archive = tar::Archive::new(allowance.over(input));
    let mut found = Found { needed: shipment.needed(), ..Found::default() };
    let mut entries = archive.entries()?;
    for index in 0.. {
        allowance.set(Some(LARGEST_HEAD));
        let entry = entries.next();
        if allowance.is_used_up() {
            return Err(Error::Hostile("it has too much before an entry".to_owned()));
        }
        allowance.set(None);
        let Some(entry) = entry else { break };
        if index >= MOST_ENTRIES {
            return Err(Error::Hostile(format!("it has more than {MOST_ENTRIES} entries")));
        }
        let mut entry = entry?;
        match classify(&entry)? {
            Kind::Aside => {}
            Kind::Content(digest) if digest == shipment.config => {
                found.config(&mut entry, output, shipment)?;
            }
            Kind::Content(digest) => found.content(digest, &mut entry, output)?,
        }
        if !shipment.tells_sizes && found.is_all_that_is_needed() {
            break;
        }
        // The next one's head is what comes next.
        io::copy(&mut entry, &mut io::sink())?;
    }
    found.finish(output, shipment)
}

/// Writes an archive of content whose sizes are known: `input` is one after the other of `content`.
///
/// `documents` are the configuration, the manifest and whatever else is small; `target` is what the archive is about, and
/// `layers` what Docker's own list names, lowest first.
pub fn pack(
    mut input: impl Read,
    output: &mut impl Write,
    content: &[(Digest, u64)],
    documents: &[Vec<u8>],
    target: &Descriptor,
    config: &Digest,
    layers: &[Descriptor],
) -> Result<(), Error> {
    for (digest, size) in content {
        copy(&mut input, output, &manifest::path(digest), *size)?;
    }
    for document in documents {
        write(output, &manifest::path(&Digest::of(document)), document)?;
    }
    close(output, target, config, layers)
}

/// What has been seen of an archive.
#[derive(Default)]
struct Found {
    needed: HashSet<Digest>,
    sizes: HashMap<Digest, u64>,
    config: Option<u64>,
    written: u64,
}

impl Found {
    fn config(
        &mut self,
        entry: &mut impl SizedRead,
        output: &mut impl Write,
        shipment: &Shipment,
    ) -> Result<(), Error> {
        let json = document(entry)?;
        let hostile = |what: &str| Error::Hostile(format!("its configuration {what}"));
        if Digest::of(&json) != shipment.config {
            return Err(hostile("has another digest than its name says"));
        }
        let config = Config::read(&json).ok_or_else(|| hostile("is none"))?;
        if !config.layers.iter().eq(shipment.layers.iter().map(|(layer, _)| &layer.content)) {
            return Err(hostile("names other layers than the engine did"));
        }
        if self.config.replace(entry.size()).is_none() {
            write(output, &manifest::path(&shipment.config), &json)?;
        }
        Ok(())
    }

    fn content(&mut self, digest: Digest, entry: &mut impl SizedRead, output: &mut impl Write) -> Result<(), Error> {
        let size = entry.size();
        if self.needed.contains(&digest) && !self.sizes.contains_key(&digest) {
            copy(&mut *entry, output, &manifest::path(&digest), size)?;
            self.written += size;
        }
        self.sizes.entry(digest).or_insert(size);
        Ok(())
    }

    fn is_all_that_is_needed(&self) -> bool {
        self.config.is_some() && self.needed.iter().all(|digest| self.sizes.contains_key(digest))
    }

    fn finish(self, output: &mut impl Write, shipment: &Shipment) -> Result<Packed, Error> {
        let config_size = self.config.ok_or_else(|| Error::Lacks(format!("configuration {}", shipment.config)))?;
        let mut layers = Vec::with_capacity(shipment.layers.len());
        for (layer, fate) in &shipment.layers {
            let unseen = (*fate == Fate::Keep && !shipment.tells_sizes).then_some(0);
            let seen = || self.sizes.get(layer.digest()).copied().or(unseen);
            let lacks = || Error::Lacks(format!("layer {}", layer.digest()));
            layers.push(match fate {
                Fate::Replace(descriptor) => descriptor.clone(),
                Fate::Keep | Fate::Send => Descriptor {
                    media_type: layer.blob.as_ref().map_or_else(|| LAYER.to_owned(), |blob| blob.media_type.clone()),
                    digest: layer.digest().clone(),
                    size: seen().ok_or_else(lacks)?,
                },
            });
        }
        let left_out = if shipment.tells_sizes {
            let left_out = shipment.layers.iter().filter(|(layer, _)| !self.needed.contains(layer.digest()));
            left_out.filter_map(|(layer, _)| self.sizes.get(layer.digest())).sum()
        } else {
            shipment.size.saturating_sub(self.written)
        };
        let json = manifest::write(&shipment.config, config_size, &layers);
        let manifest = Digest::of(&json);
        let size = json.len() as u64;
        write(output, &manifest::path(&manifest), &json)?;
        let target = Descriptor { media_type: MANIFEST.to_owned(), digest: manifest.clone(), size };
        close(output, &target, &shipment.config, &layers)?;
        let mut content: Vec<_> = layers.into_iter().map(|layer| (layer.digest, layer.size)).collect();
        content.extend([(shipment.config.clone(), config_size), (manifest.clone(), size)]);
        Ok(Packed { manifest, content, written: self.written, left_out })
    }
}

/// Content with a size that somebody claims.
trait SizedRead: Read {
    fn size(&self) -> u64;
}

impl<R: Read> SizedRead for tar::Entry<'_, R> {
    fn size(&self) -> u64 {
        tar::Entry::size(self)
    }
}

enum Kind {
    /// Content by its digest.
    Content(Digest),
    /// Something that is made anew, or that nobody needs.
    Aside,
}

/// Sorts an entry by its path, without which nothing of it is read.
fn classify<R: Read>(entry: &tar::Entry<'_, R>) -> Result<Kind, Error> {
    let bytes = entry.path_bytes();
    let shown = || crate::text::escape(&String::from_utf8_lossy(&bytes[..bytes.len().min(200)]));
    let path = std::str::from_utf8(&bytes).map_err(|_| Error::Hostile(format!("its entry {} is no text", shown())))?;
    let path = path.strip_prefix("./").unwrap_or(path);
    let parts: Vec<_> = path.trim_end_matches('/').splitn(4, '/').collect();
    let hex = |text: &str| Digest::from_hex(text);
    let kind = entry.header().entry_type();
    let unexpected = || Err(Error::Hostile(format!("its entry {} does not belong into one", shown())));
    match parts.as_slice() {
        ["." | "" | "blobs"] | ["blobs", "sha256"] if kind.is_dir() => Ok(Kind::Aside),
        [folder] if kind.is_dir() && hex(folder).is_some() => Ok(Kind::Aside),
        // An old way to say that two layers are one: podman writes it beside the new one.
        [folder, "layer.tar"] if kind.is_symlink() && hex(folder).is_some() => Ok(Kind::Aside),
        _ if !kind.is_file() => unexpected(),
        ["manifest.json" | "index.json" | "oci-layout" | "repositories"] => Ok(Kind::Aside),
        [folder, "VERSION" | "json" | "layer.tar"] if hex(folder).is_some() => Ok(Kind::Aside),
        ["blobs", "sha256", name] => hex(name).map_or_else(unexpected, |digest| Ok(Kind::Content(digest))),
        [name] => match name.strip_suffix(".tar").or_else(|| name.strip_suffix(".json")).and_then(hex) {
            Some(digest) => Ok(Kind::Content(digest)),
            None => unexpected(),
        },
        _ => unexpected(),
    }
}

/// Reads a small entry whole.
fn document(entry: &mut impl SizedRead) -> Result<Vec<u8>, Error> {
    let size = entry.size();
    if size > LARGEST_DOCUMENT {
        return Err(Error::Hostile(format!("its configuration has {size} bytes")));
    }
    let mut content = Vec::new();
    entry.take(LARGEST_DOCUMENT).read_to_end(&mut content)?;
    if content.len() as u64 == size { Ok(content) } else { Err(cut().into()) }
}

fn copy(input: &mut impl Read, output: &mut impl Write, path: &str, size: u64) -> Result<(), Error> {
    header(output, path, size)?;
    if io::copy(&mut input.take(size), output)? != size {
        return Err(cut().into());
    }
    Ok(pad(output, size)?)
}

fn write(output: &mut impl Write, path: &str, content: &[u8]) -> Result<(), Error> {
    copy(&mut &content[..], output, path, content.len() as u64)
}

/// Writes what tells how the content belongs together, and the end.
fn close(output: &mut impl Write, target: &Descriptor, config: &Digest, layers: &[Descriptor]) -> Result<(), Error> {
    write(output, "oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write(output, "index.json", &manifest::write_index(target))?;
    write(output, "manifest.json", &manifest::write_legacy(config, layers))?;
    output.write_all(&[0; 2 * BLOCK])?;
    Ok(output.flush()?)
}

fn header(output: &mut impl Write, path: &str, size: u64) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_mtime(0);
    header.set_cksum();
    output.write_all(header.as_bytes())
}

fn pad(output: &mut impl Write, size: u64) -> io::Result<()> {
    let rest = usize::try_from(size % BLOCK as u64).unwrap_or(0);
    output.write_all(&[0; BLOCK][..(BLOCK - rest) % BLOCK])
}

fn cut() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the archive is cut short")
}

#[cfg(test)]
mod tests;
