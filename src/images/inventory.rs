//! Which layers a destination has, by the rules of its kind of store. Pure: what engines say is gathered elsewhere.
//!
//! An inventory is a guess: content may vanish between the question and the load. So nothing here is relied on without a
//! look at the loaded image afterwards.

use std::collections::{HashMap, HashSet};

use super::digest::Digest;

/// The layers of a destination.
#[derive(Clone, Debug, Default)]
pub enum Inventory {
    /// Nothing is known, nothing can be left out.
    #[default]
    Unknown,
    /// A layer is known by itself and all below it (Docker's classic stores): the chains there are.
    Chains(HashSet<Digest>),
    /// A layer is known by its content, wherever it is (podman): the digests when not compressed.
    Layers(HashSet<Digest>),
    /// Content is known by its digest as it is stored, compressed or not (containerd).
    Blobs(Blobs),
}

/// The content of a containerd store.
#[derive(Clone, Debug, Default)]
pub struct Blobs {
    /// Sizes by digest.
    sizes: HashMap<Digest, u64>,
    /// Content by what it is when not compressed.
    uncompressed: HashMap<Digest, Digest>,
}

impl Blobs {
    /// Adds content: its digest and size as it is stored, and its digest when not compressed, if that is known.
    pub fn add(&mut self, digest: Digest, size: u64, uncompressed: Option<Digest>) {
        if let Some(uncompressed) = uncompressed.filter(|uncompressed| *uncompressed != digest) {
            self.uncompressed.insert(uncompressed, digest.clone());
        }
        self.sizes.insert(digest, size);
    }

    /// The size of some content, if it is there.
    #[must_use]
    pub fn size(&self, digest: &Digest) -> Option<u64> {
        self.sizes.get(digest).copied()
    }

    /// Content that yields a layer when it is decompressed: its digest and size.
    #[must_use]
    pub fn compressed(&self, layer: &Digest) -> Option<(&Digest, u64)> {
        let digest = self.uncompressed.get(layer)?;
        Some((digest, self.size(digest)?))
    }
}

impl Inventory {
    /// Takes note of the layers of an image that is there, lowest first, by their digests when not compressed.
    pub fn add(&mut self, layers: &[Digest]) {
        match self {
            Self::Chains(known) => known.extend(chains(layers)),
            Self::Layers(known) => known.extend(layers.iter().cloned()),
            // Only the store itself can tell how it keeps them.
            Self::Unknown | Self::Blobs(_) => {}
        }
    }
}

/// What identifies each layer together with all below it, as the OCI image specification has it.
#[must_use]
pub fn chains(layers: &[Digest]) -> Vec<Digest> {
    let mut chains: Vec<Digest> = Vec::with_capacity(layers.len());
    for layer in layers {
        let chain = match chains.last() {
            None => layer.clone(),
            Some(below) => Digest::of(format!("{below} {layer}").as_bytes()),
        };
        chains.push(chain);
    }
    chains
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_made_of_the_one_below_and_the_layer() {
        let layers = [Digest::of(b"a"), Digest::of(b"b")];
        let chains = chains(&layers);
        assert_eq!(chains[0], layers[0]);
        assert_eq!(chains[1], Digest::of(format!("{} {}", layers[0], layers[1]).as_bytes()));
    }
}
