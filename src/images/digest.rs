//! Digests: what content is known by in every store.

use std::fmt;

use sha2::{Digest as _, Sha256};

const ALGORITHM: &str = "sha256:";
const DIGITS: usize = 64;

/// The SHA-256 of some content, in the form `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Digest(String);

impl Digest {
    /// Reads a digest; `None` if it is not of the one form that engines use.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix(ALGORITHM)?;
        is_hex(hex).then(|| Self(text.to_owned()))
    }

    /// Reads the digits alone, as they stand in file names.
    #[must_use]
    pub fn from_hex(hex: &str) -> Option<Self> {
        is_hex(hex).then(|| Self(format!("{ALGORITHM}{hex}")))
    }

    /// The digest of some content.
    #[must_use]
    pub fn of(content: &[u8]) -> Self {
        Self(Sha256::digest(content).iter().fold(ALGORITHM.to_owned(), |text, byte| format!("{text}{byte:02x}")))
    }

    /// The whole digest.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0[ALGORITHM.len()..]
    }
}

fn is_hex(text: &str) -> bool {
    text.len() == DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    /// Twelve digits tell digests apart.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.hex()[..12])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_form_only() {
        let digest = Digest::of(b"");
        assert_eq!(digest.as_str(), "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(Digest::parse(digest.as_str()).as_ref(), Some(&digest));
        assert_eq!(Digest::from_hex(digest.hex()).as_ref(), Some(&digest));
        let upper = digest.as_str().replace("sha256:e", "sha256:E");
        for bad in ["", "sha256:", digest.hex(), upper.as_str(), "sha512:00", "sha256:../../../etc/passwd"] {
            assert_eq!(Digest::parse(bad), None, "{bad}");
        }
        assert_eq!(Digest::from_hex(digest.as_str()), None);
    }
}
