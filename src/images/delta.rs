//! The decision which layers of an image are sent. Pure.

use std::collections::HashSet;

use super::digest::Digest;
use super::inventory::{Inventory, chains};
use super::manifest::{Descriptor, LAYER};

/// A layer of an image to send.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layer {
    /// Its digest when not compressed: what the configuration calls it.
    pub content: Digest,
    /// How the source keeps it, where the source can tell beforehand; else not compressed.
    pub blob: Option<Descriptor>,
}

impl Layer {
    /// Under which digest it is sent.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        self.blob.as_ref().map_or(&self.content, |blob| &blob.digest)
    }
}

/// What becomes of a layer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is sent.
    Send,
    /// The destination has it under the same digest.
    Keep,
    /// The destination has it under another digest, compressed in another way. The media type is empty where it takes a
    /// look at the content to know it.
    Replace(Descriptor),
}

/// Decides for each layer. `exact` keeps the destination's copy from standing in for a layer if it is compressed in
/// another way, so that the manifest stays the same.
#[must_use]
pub fn delta(layers: &[Layer], inventory: &Inventory, exact: bool) -> Vec<Fate> {
    match inventory {
        Inventory::Unknown => vec![Fate::Send; layers.len()],
        Inventory::Chains(known) => {
            let contents: Vec<_> = layers.iter().map(|layer| layer.content.clone()).collect();
            let chains = chains(&contents);
            chains.iter().map(|chain| if known.contains(chain) { Fate::Keep } else { Fate::Send }).collect()
        }
        Inventory::Layers(known) => layers
            .iter()
            .map(|layer| if known.contains(&layer.content) { by_content(layer) } else { Fate::Send })
            .collect(),
        Inventory::Blobs(blobs) => {
            let fate = |layer: &Layer| {
                if blobs.size(layer.digest()).is_some() {
                    return Fate::Keep;
                }
                let plain = blobs.size(&layer.content).map(|size| (&layer.content, size));
                match plain.or_else(|| blobs.compressed(&layer.content)).filter(|_| !exact) {
                    None => Fate::Send,
                    Some((digest, size)) => {
                        Fate::Replace(Descriptor { media_type: String::new(), digest: digest.clone(), size })
                    }
                }
            };
            layers.iter().map(fate).collect()
        }
    }
}

/// A store that knows layers by their content finds one only by that: a manifest has to call it so.
fn by_content(layer: &Layer) -> Fate {
    match &layer.blob {
        Some(blob) if blob.digest != layer.content => {
            let (media_type, digest) = (LAYER.to_owned(), layer.content.clone());
            Fate::Replace(Descriptor { media_type, digest, size: blob.size })
        }
        _ => Fate::Keep,
    }
}

/// The digests to send: each once, however often an image has the layer.
#[must_use]
pub fn needed(layers: &[Layer], fates: &[Fate]) -> HashSet<Digest> {
    let sent = layers.iter().zip(fates).filter(|(_, fate)| **fate == Fate::Send);
    sent.map(|(layer, _)| layer.digest().clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::images::inventory::Blobs;

    fn digest(number: u8) -> Digest {
        Digest::of(&[number])
    }

    fn plain(number: u8) -> Layer {
        Layer { content: digest(number), blob: None }
    }

    /// A layer that the source keeps compressed, in one of several ways.
    fn compressed(number: u8, way: u8) -> Layer {
        let blob = Descriptor { media_type: "x+gzip".to_owned(), digest: Digest::of(&[number, way]), size: 5 };
        Layer { content: digest(number), blob: Some(blob) }
    }

    fn layers(numbers: &[u8]) -> Vec<Layer> {
        numbers.iter().copied().map(plain).collect()
    }

    fn contents(numbers: &[u8]) -> Vec<Digest> {
        numbers.iter().copied().map(digest).collect()
    }

    fn sent(layers: &[Layer], inventory: &Inventory) -> Vec<bool> {
        delta(layers, inventory, false).iter().map(|fate| *fate == Fate::Send).collect()
    }

    #[test]
    fn a_chain_breaks_where_something_is_inserted() {
        let mut inventory = Inventory::Chains(HashSet::new());
        inventory.add(&contents(&[1, 2, 3]));
        assert_eq!(sent(&layers(&[1, 2, 4]), &inventory), [false, false, true]);
        assert_eq!(sent(&layers(&[9, 1, 2]), &inventory), [true, true, true]);
        assert_eq!(sent(&layers(&[1, 2]), &inventory), [false, false]);
    }

    #[test]
    fn podman_finds_layers_anywhere_but_by_their_content_only() {
        let mut inventory = Inventory::Layers(HashSet::new());
        inventory.add(&contents(&[1, 2, 3]));
        assert_eq!(sent(&layers(&[9, 1, 3]), &inventory), [true, false, false]);
        let fates = delta(&[compressed(1, 0), compressed(9, 0)], &inventory, true);
        let Fate::Replace(descriptor) = &fates[0] else { panic!("{fates:?}") };
        assert_eq!((&descriptor.digest, descriptor.media_type.as_str()), (&digest(1), LAYER));
        assert_eq!(fates[1], Fate::Send);
    }

    #[test]
    fn containerd_finds_content_and_what_it_is_when_not_compressed() {
        let mut blobs = Blobs::default();
        let same = compressed(1, 0);
        blobs.add(same.digest().clone(), 5, Some(digest(1)));
        blobs.add(digest(2), 7, Some(digest(2)));
        let inventory = Inventory::Blobs(blobs);
        assert_eq!(delta(&[same.clone(), plain(2)], &inventory, true), [Fate::Keep, Fate::Keep]);
        let replace = |digest: &Digest, size| {
            Fate::Replace(Descriptor { media_type: String::new(), digest: digest.clone(), size })
        };
        let others = [plain(1), compressed(1, 9), compressed(2, 9), plain(3)];
        let expected = [replace(same.digest(), 5), replace(same.digest(), 5), replace(&digest(2), 7), Fate::Send];
        assert_eq!(delta(&others, &inventory, false), expected);
        assert_eq!(delta(&others, &inventory, true), vec![Fate::Send; 4]);
    }

    proptest! {
        /// Whatever is there: a chain is kept only as a whole from the bottom, and only if an image there has it so.
        #[test]
        fn only_whole_chains_are_kept(there in vec(vec(0u8..4, 0..5), 0..4), image in vec(0u8..4, 0..6)) {
            let mut inventory = Inventory::Chains(HashSet::new());
            for other in &there {
                inventory.add(&contents(other));
            }
            let fates = sent(&layers(&image), &inventory);
            let kept = fates.iter().take_while(|sent| !**sent).count();
            prop_assert!(fates[kept..].iter().all(|sent| *sent));
            prop_assert_eq!(kept > 0, there.iter().any(|other| !image.is_empty() && other.first() == image.first()));
            prop_assert!(kept == 0 || there.iter().any(|other| other.starts_with(&image[..kept])));
        }

        /// After an image has been loaded, it is there.
        #[test]
        fn what_was_sent_is_not_sent_again(image in vec(0u8..9, 0..6), chained: bool) {
            let mut inventory =
                if chained { Inventory::Chains(HashSet::new()) } else { Inventory::Layers(HashSet::new()) };
            inventory.add(&contents(&image));
            prop_assert!(sent(&layers(&image), &inventory).iter().all(|sent| !sent));
        }

        /// A layer that an image has twice is sent once.
        #[test]
        fn each_layer_is_sent_once(image in vec(0u8..3, 0..9)) {
            let image = layers(&image);
            let needed = needed(&image, &delta(&image, &Inventory::Unknown, false));
            let distinct: HashSet<_> = image.iter().map(|layer| layer.content.clone()).collect();
            prop_assert_eq!(needed, distinct);
        }
    }
}
