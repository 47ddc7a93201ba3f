//! Ranges of published ports: each container takes one of a range that is free.

use std::fmt;

/// Ports of the host, of which a container publishes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PortRange {
    first: u16,
    last: u16,
    /// The container's port.
    target: u16,
}

impl PortRange {
    /// Reads `FIRST-LAST`; `None` if it is something else.
    #[must_use]
    pub fn parse(published: &str, target: u16) -> Option<Self> {
        let (first, last) = published.split_once('-')?;
        let (first, last) = (first.parse().ok()?, last.parse().ok()?);
        (first > 0 && first <= last).then_some(Self { first, last, target })
    }

    /// How many containers have room in it.
    #[must_use]
    pub fn width(&self) -> usize {
        usize::from(self.last - self.first) + 1
    }

    /// One with room for so many, from the same port on where that is possible.
    #[must_use]
    pub fn widened(&self, width: usize) -> Self {
        let more = u16::try_from(width.saturating_sub(1)).unwrap_or(u16::MAX - 1);
        let first = self.first.min(u16::MAX - more);
        Self { first, last: first + more, target: self.target }
    }
}

impl fmt::Display for PortRange {
    /// As it is written in a Compose file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}:{}", self.first, self.last, self.target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counts_and_widens_ranges() {
        let range = PortRange::parse("8080-8081", 80).expect("a range");
        assert_eq!((range.width(), range.to_string().as_str()), (2, "8080-8081:80"));
        assert_eq!(range.widened(4).to_string(), "8080-8083:80");
        let high = PortRange::parse("65534-65535", 80).expect("a range");
        assert_eq!(high.widened(3).to_string(), "65533-65535:80");
        assert_eq!(high.widened(1_000_000).width(), 65_535);
        for wrong in ["8080", "8081-8080", "0-1", "a-b", "1-65536", "-", ""] {
            assert_eq!(PortRange::parse(wrong, 80), None, "{wrong}");
        }
    }
}
