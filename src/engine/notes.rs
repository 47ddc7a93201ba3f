//! Notes on an engine: volumes that hold nothing but labels.
//!
//! Whoever talks to an engine can read them, and of those who post the same note at once, exactly one is first. That is
//! all that several runs of kerek, from wherever, need to agree on something.

use std::collections::BTreeMap;

use super::Result;

/// The text of a note, by key.
pub type Text = BTreeMap<String, String>;

/// Where notes are.
#[expect(async_fn_in_trait, reason = "single-threaded by design, as for `Engine`")]
pub trait Notes {
    /// Posts a note, unless there is one of this name. Returns the text of the one that is there now.
    async fn post(&self, name: &str, text: &Text) -> Result<Text>;

    /// All notes whose text has a key with a value, by name.
    async fn notes(&self, key: &str, value: &str) -> Result<BTreeMap<String, Text>>;

    /// Takes a note away; fine if it is gone.
    async fn tear_off(&self, name: &str) -> Result<()>;
}
