//! What happens to images on their way, and the words for it.

use std::time::Duration;

use super::words;
use crate::compose::duration;

/// Something that happened to an image on its way.
#[derive(Clone, Debug)]
pub enum Transfer<'a> {
    /// It is there already, under its name.
    Held {
        /// Its name.
        image: &'a str,
    },
    /// It was there already, and has got its name.
    Named {
        /// Its name.
        image: &'a str,
    },
    /// It is being sent.
    Begun {
        /// Its name.
        image: &'a str,
        /// How many layers it has; 0 if that is not known.
        layers: usize,
        /// How many of them the destination has.
        kept: usize,
    },
    /// How far it is.
    Progress {
        /// Its name.
        image: &'a str,
        /// Bytes that the source has given.
        taken: u64,
        /// About how many there are.
        total: u64,
        /// Bytes that went over the link.
        sent: u64,
        /// Since it has begun.
        elapsed: Duration,
    },
    /// It is sent as a whole.
    Whole {
        /// Its name.
        image: &'a str,
        /// Why, raw.
        why: &'a str,
    },
    /// It has arrived, and has its name.
    Sent {
        /// Its name.
        image: &'a str,
        /// How many layers it has.
        layers: usize,
        /// How many of them the destination had.
        kept: usize,
        /// Bytes of these.
        left_out: u64,
        /// Bytes that went over the link.
        bytes: u64,
        /// How long it took.
        took: Duration,
    },
    /// All images are there.
    Finished {
        /// How many were sent.
        sent: usize,
        /// How many were there.
        held: usize,
        /// Bytes that went over the link.
        bytes: u64,
        /// How long it took.
        took: Duration,
        /// Whether nothing of it was done.
        dry_run: bool,
    },
}

/// An event in words: the image, or `None` if it is about all, and what happened. Safe to show.
pub(super) fn line(event: &Transfer<'_>) -> (Option<String>, String) {
    let (image, what) = match event {
        Transfer::Held { image } => (image, "there already".to_owned()),
        Transfer::Named { image } => (image, "there already, now under this name".to_owned()),
        Transfer::Begun { image, layers: 0, .. } => (image, "sending".to_owned()),
        Transfer::Begun { image, layers, kept } => {
            (image, format!("sending {} of {}", layers - kept, words::count(*layers, "layer")))
        }
        Transfer::Progress { image, taken, total, sent, elapsed } => (image, progress(*taken, *total, *sent, *elapsed)),
        Transfer::Whole { image, why } => (image, format!("sent as a whole: {}", words::safe(why))),
        Transfer::Sent { image, layers, kept, left_out, bytes, took } => {
            let skipped = match kept {
                0 => String::new(),
                _ => format!(", skipped {kept} of {}, {}", words::count(*layers, "layer"), size(*left_out)),
            };
            (image, format!("{} sent in {}{skipped}", size(*bytes), duration::format(*took)))
        }
        Transfer::Finished { sent, held, bytes, took, dry_run } => {
            let there = if *held > 0 { format!(", {held} there already") } else { String::new() };
            let sent = words::count(*sent, "image");
            let done = match dry_run {
                true => format!("{sent} to send, {}{there}", size(*bytes)),
                false => format!("{sent} sent, {}{there} in {}", size(*bytes), duration::format(*took)),
            };
            return (None, done);
        }
    };
    (Some(words::safe(image)), what)
}

fn progress(taken: u64, total: u64, sent: u64, elapsed: Duration) -> String {
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = sent.saturating_mul(1000) / milliseconds;
    let share = taken.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
    let left = match total.checked_sub(taken) {
        Some(rest @ 1..) if taken > 0 => {
            let left = u128::from(milliseconds) * u128::from(rest) / u128::from(taken) / 1000;
            let left = Duration::from_secs(u64::try_from(left).unwrap_or(u64::MAX - 1) + 1);
            format!(", {} left", duration::format(left))
        }
        _ => String::new(),
    };
    format!("{share} %, {} sent, {}/s{left}", size(sent), size(rate))
}

/// Bytes as people read them, in powers of ten.
#[must_use]
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (1_000, "1.0 kB"), (549_300_000, "549.3 MB"), (2_060_000_000, "2.0 GB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn words_say_what_was_saved() {
        let (image, what) = line(&Transfer::Sent {
            image: "shop/web",
            layers: 8,
            kept: 7,
            left_out: 549_000_000,
            bytes: 1_200_000,
            took: Duration::from_millis(2_100),
        });
        assert_eq!(image.as_deref(), Some("shop/web"));
        assert_eq!(what, "1.2 MB sent in 2.1s, skipped 7 of 8 layers, 549.0 MB");
        let elapsed = Duration::from_secs(2);
        let progress = Transfer::Progress { image: "x", taken: 50, total: 200, sent: 20_000, elapsed };
        assert_eq!(line(&progress).1, "25 %, 20.0 kB sent, 10.0 kB/s, 7s left");
        let hostile = Transfer::Whole { image: "x", why: "\u{1b}[2J\nweb: done" };
        assert!(!line(&hostile).1.contains(char::is_control), "{hostile:?}");
    }
}
