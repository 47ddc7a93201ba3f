//! Images on their way from one engine to another: only what the destination lacks is sent.
//!
//! - [`mod@reference`]: image names as people type them, and [`digest`]s.
//! - [`manifest`]: configurations, manifests and indexes, as far as they matter here.
//! - [`inventory`]: which layers the destination has, by the rules of its kind of store.
//! - [`delta`]: pure: which layers of an image are sent, and which are only referred to.
//! - [`archive`]: reads what an engine saves and writes what another one loads, as streams.
//! - [`compress`]: what happens to the archive on the link.
//! - [`pipe`]: between the engines' connections and the thread that works on the bytes.
//! - [`end`]: the engines, and whether they are still there.
//! - [`source`], [`destination`]: the two engines, with what their stores can do.
//! - [`transfer`]: all of it together, image by image.
//!
//! An image is loaded without a name first. Only when the destination has confirmed it whole does it get the name: a name
//! there never stands for something unverified, and whatever goes wrong before that leaves nothing but what was there.

pub mod archive;
pub mod compress;
pub mod delta;
pub mod destination;
pub mod digest;
pub mod end;
mod filter;
pub mod inventory;
pub mod manifest;
pub mod pipe;
pub mod reference;
pub mod source;
pub mod transfer;
