//! Newtypes for the identifiers that must not be confused with each other, nor with any other string.
//!
//! They promise no more than to be of one kind; what comes from outside is validated where it enters.

use std::fmt;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub struct $name(String);

        impl $name {
            /// Wraps the raw name.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The raw name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(&self.0)
            }
        }
    };
}

name! {
    /// A Compose project, as in the label `com.docker.compose.project`.
    ProjectName
}
name! {
    /// A service of a Compose project; ordered by Unicode code point.
    ServiceName
}
name! {
    /// A container's full ID.
    ContainerId
}
name! {
    /// An image's ID as its engine gives it, usually `sha256:…`.
    ImageId
}
name! {
    /// A network's name on the engine, such as `shop_default`.
    NetworkName
}

name! {
    /// A volume's name on the engine, such as `shop_data`.
    VolumeName
}

impl ContainerId {
    /// The first twelve characters, as engines print IDs for people.
    #[must_use]
    pub fn short(&self) -> &str {
        shorten(&self.0)
    }
}

impl ImageId {
    /// `sha256:` and twelve digits are enough to tell images apart.
    #[must_use]
    pub fn short(&self) -> &str {
        shorten(self.0.strip_prefix("sha256:").unwrap_or(&self.0))
    }
}

/// The first twelve characters of a hash, fewer if there are fewer.
#[must_use]
pub fn shorten(hash: &str) -> &str {
    hash.char_indices().nth(12).map_or(hash, |(end, _)| &hash[..end])
}
