//! What happens to an archive on the link: nothing, gzip, zstd at a level that follows the link, or what a program of the
//! user's makes of it.
//!
//! Engines decompress what they load by themselves, so nothing is needed on the other side. An archive becomes one zstd
//! frame after the other, which every engine reads; between two of them the level changes if the link was too slow or
//! too fast for it.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::{Duration, Instant};

use flate2::write::GzEncoder;
use zstd::stream::write::Encoder as ZstdEncoder;

use crate::engine::endpoint::Endpoint;

/// The levels that are used on their own account: higher ones take too much memory and time for what they gain.
const LOWEST: i32 = 1;
const HIGHEST: i32 = 7;
/// The highest level that may be asked for: beyond it, compressing takes more memory than all the rest of kerek.
const LIMIT: i32 = 12;
/// Bytes (not compressed) between two looks at the link.
const FRAME: usize = 4 << 20;

/// What is done to the archive.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Compression {
    /// What suits the link: nothing on this machine, [`Compression::Adaptive`] on the way to another one.
    #[default]
    Auto,
    /// Nothing.
    None,
    /// Zstd at a level that follows the link.
    Adaptive,
    /// Zstd at this level.
    Zstd(i32),
    /// Gzip at its usual level.
    Gzip,
    /// What a program prints that gets it on its standard input: its name, and its arguments.
    Program(Vec<String>),
}

/// What can be asked for by name.
const NAMED: [&str; 4] = ["auto", "none", "gzip", "zstd"];

impl Compression {
    /// What [`Compression::Auto`] stands for: nothing is gained on the way to a socket on this machine.
    #[must_use]
    pub fn on_the_way_to(self, endpoint: &Endpoint) -> Self {
        match (self, endpoint) {
            (Self::Auto, Endpoint::Unix(_)) => Self::None,
            (Self::Auto, _) => Self::Adaptive,
            (given, _) => given,
        }
    }
}

impl FromStr for Compression {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Adaptive),
            _ => level(text).map(Self::Zstd).or_else(|| program(text).map(Self::Program)).ok_or_else(|| {
                format!("expected auto, none, gzip, zstd, zstd:LEVEL from {LOWEST} to {LIMIT}, or a command line")
            }),
        }
    }
}

fn level(text: &str) -> Option<i32> {
    let level = text.strip_prefix("zstd:").filter(|level| level.bytes().all(|byte| byte.is_ascii_digit()))?;
    level.parse().ok().filter(|level| (LOWEST..=LIMIT).contains(level))
}

/// A command line in the quotation of shells. What looks like a name with a level is none.
fn program(text: &str) -> Option<Vec<String>> {
    let words = shlex::split(text)?;
    let first = words.first()?.to_ascii_lowercase();
    let is_named = NAMED.iter().any(|name| first.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')));
    let is_name = NAMED.contains(&first.as_str()) && words.len() == 1;
    (!first.is_empty() && !first.starts_with('-') && !is_named && !is_name).then_some(words)
}

impl fmt::Display for Compression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::None => formatter.write_str("none"),
            Self::Adaptive => formatter.write_str("zstd"),
            Self::Zstd(level) => write!(formatter, "zstd:{level}"),
            Self::Gzip => formatter.write_str("gzip"),
            // No argument has a NUL in it.
            Self::Program(words) => {
                formatter.write_str(&shlex::try_join(words.iter().map(String::as_str)).unwrap_or_default())
            }
        }
    }
}

/// Compresses what is written to it.
pub enum Encoder<W: Write> {
    /// Not at all.
    Plain(W),
    /// As gzip.
    Gzip(GzEncoder<W>),
    /// As zstd.
    Zstd(Frames<W>),
}

impl<W: Write> Encoder<W> {
    /// Begins. [`Compression::Auto`] has been decided on beforehand; it counts as none, and so does a program, which comes
    /// after this.
    pub fn new(output: W, compression: &Compression) -> io::Result<Self> {
        Ok(match *compression {
            Compression::Auto | Compression::None | Compression::Program(_) => Self::Plain(output),
            Compression::Gzip => Self::Gzip(GzEncoder::new(output, flate2::Compression::default())),
            Compression::Adaptive => Self::Zstd(Frames::new(output, LOWEST, true)?),
            Compression::Zstd(level) => Self::Zstd(Frames::new(output, level, false)?),
        })
    }

    /// Ends, and gives back where everything was written to.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Plain(output) => Ok(output),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(frames) => frames.finish(),
        }
    }
}

impl<W: Write> Write for Encoder<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(output) => output.write(content),
            Self::Gzip(encoder) => encoder.write(content),
            Self::Zstd(frames) => frames.write(content),
        }
    }

    /// Does nothing: whatever is written leaves in good time, and at the end.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Zstd frames, each at the level that the one before suggests.
pub struct Frames<W: Write> {
    /// `None` only after a frame could not be ended.
    encoder: Option<ZstdEncoder<'static, Timed<W>>>,
    level: i32,
    adapts: bool,
    /// Bytes in this frame so far.
    written: usize,
    begin: Instant,
}

impl<W: Write> Frames<W> {
    fn new(output: W, level: i32, adapts: bool) -> io::Result<Self> {
        let output = Timed { output, waited: Duration::ZERO };
        let encoder = Some(ZstdEncoder::new(output, level)?);
        Ok(Self { encoder, level, adapts, written: 0, begin: Instant::now() })
    }

    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        if self.adapts && self.written >= FRAME {
            self.next_frame()?;
        }
        let encoder = self.encoder.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let written = encoder.write(content)?;
        self.written += written;
        Ok(written)
    }

    fn next_frame(&mut self) -> io::Result<()> {
        let mut output = self.encoder.take().ok_or(io::ErrorKind::BrokenPipe)?.finish()?;
        let waited = output.waited;
        self.level = adapt(self.level, self.begin.elapsed().saturating_sub(waited), waited);
        output.waited = Duration::ZERO;
        self.encoder = Some(ZstdEncoder::new(output, self.level)?);
        (self.written, self.begin) = (0, Instant::now());
        Ok(())
    }

    fn finish(self) -> io::Result<W> {
        Ok(self.encoder.ok_or(io::ErrorKind::BrokenPipe)?.finish()?.output)
    }
}

/// The level that suits a link which had us work and wait for so long. Pure.
fn adapt(level: i32, worked: Duration, waited: Duration) -> i32 {
    let step = if waited > worked.saturating_mul(2) {
        1
    } else if worked > waited.saturating_mul(2) {
        -1
    } else {
        0
    };
    (level + step).clamp(LOWEST, HIGHEST)
}

/// Measures how long writing takes.
struct Timed<W> {
    output: W,
    waited: Duration,
}

impl<W: Write> Write for Timed<W> {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let begin = Instant::now();
        let result = self.output.write(content);
        self.waited += begin.elapsed();
        result
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    fn compress(content: &[u8], compression: &Compression) -> Vec<u8> {
        let mut encoder = Encoder::new(Vec::new(), compression).expect("an encoder");
        for piece in content.chunks(100_000) {
            encoder.write_all(piece).expect("written");
        }
        encoder.finish().expect("an end")
    }

    #[test]
    fn is_read_as_it_is_typed() {
        for good in ["auto", "none", "gzip", "zstd", "zstd:1", "zstd:12", "pigz -9", "zstd -T0", "sh -c 'xz | cat'"] {
            let compression: Compression = good.parse().expect("known");
            assert_eq!(compression.to_string(), good);
        }
        for bad in ["", "ZSTD", "zstd:", "zstd:0", "zstd:13", "zstd:-1", "zstd:+1", "gzip:1", "ZSTD:3", "-9", "sh -c '"]
        {
            assert!(bad.parse::<Compression>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_level_follows_the_link() {
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(100));
        assert_eq!(adapt(3, short, long), 4);
        assert_eq!(adapt(3, long, short), 2);
        assert_eq!(adapt(3, long, long), 3);
        assert_eq!(adapt(HIGHEST, short, long), HIGHEST);
        assert_eq!(adapt(LOWEST, long, short), LOWEST);
    }

    #[test]
    fn many_frames_are_one_stream() {
        let content: Vec<u8> = (0..3 * FRAME).map(|number| (number / 7).to_le_bytes()[0]).collect();
        let compressed = compress(&content, &Compression::Adaptive);
        assert!(compressed.len() < content.len() / 4);
        assert!(zstd::stream::decode_all(compressed.as_slice()).expect("zstd") == content);
        let frames = compressed.windows(4).filter(|bytes| *bytes == [0x28, 0xb5, 0x2f, 0xfd]).count();
        assert!(frames >= 3, "{frames}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost(content: Vec<u8>, choice in 0usize..4) {
            let compression =
                [Compression::None, Compression::Gzip, Compression::Adaptive, Compression::Zstd(LIMIT)][choice].clone();
            let compressed = compress(&content, &compression);
            let mut decompressed = Vec::new();
            match compression {
                Compression::Gzip => {
                    flate2::read::GzDecoder::new(compressed.as_slice()).read_to_end(&mut decompressed).expect("gzip");
                }
                Compression::None => decompressed = compressed,
                _ => decompressed = zstd::stream::decode_all(compressed.as_slice()).expect("zstd"),
            }
            prop_assert_eq!(decompressed, content);
        }
    }
}
