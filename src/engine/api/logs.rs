//! The end of a container's output, cut out of the stream the engine sends.
//!
//! Without a terminal, the engine interleaves stdout and stderr in frames; with one, the stream is the plain output.
//! Which of both it is, is seen from the first bytes, as the content type tells too little: Docker up to API 1.41 calls
//! both "raw", podman says nothing. Memory stays bounded whatever comes.

use std::collections::VecDeque;

/// Bytes kept of the whole output: its end.
const MAX_OUTPUT: usize = 64 << 10;
/// Characters kept of a line: its beginning.
const MAX_LINE: usize = 2048;
/// A frame's header: one byte for the stream, three zeros, four bytes for the length (big endian).
const HEADER: usize = 8;

/// Collects chunks of a log stream and keeps the last lines.
#[derive(Default)]
pub(super) struct Tail {
    state: Framing,
    /// The beginning of a header whose rest is still to come.
    header: Vec<u8>,
    /// The stream of the current frame, 0 before the first.
    stream: u8,
    output: VecDeque<u8>,
    cut: bool,
}

/// What the next byte is.
#[derive(Default)]
enum Framing {
    /// The first byte of all, or of a frame's header, or inside of it.
    #[default]
    Header,
    /// Output; so many bytes are left in this frame.
    Payload(usize),
    /// Output until the end: there are no frames.
    Plain,
}

impl Tail {
    /// Takes the next chunk, of any size.
    pub(super) fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            let taken = match self.state {
                Framing::Header => self.push_header(chunk),
                Framing::Payload(left) => {
                    let taken = left.min(chunk.len());
                    self.keep(&chunk[..taken]);
                    self.state = match left - taken {
                        0 => Framing::Header,
                        left => Framing::Payload(left),
                    };
                    taken
                }
                Framing::Plain => {
                    self.keep(chunk);
                    chunk.len()
                }
            };
            chunk = &chunk[taken..];
        }
    }

    fn push_header(&mut self, chunk: &[u8]) -> usize {
        let taken = (HEADER - self.header.len()).min(chunk.len());
        self.header.extend_from_slice(&chunk[..taken]);
        if let &[stream @ 0..=3, 0, 0, 0, a, b, c, d] = self.header.as_slice() {
            let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
            self.begin_frame(stream);
            self.header.clear();
            if length > 0 {
                self.state = Framing::Payload(length);
            }
        } else if self.header.len() == HEADER {
            let begin = std::mem::take(&mut self.header);
            self.keep(&begin);
            self.state = Framing::Plain;
        }
        taken
    }

    /// Keeps stdout and stderr on lines of their own where one of them writes half a line.
    fn begin_frame(&mut self, stream: u8) {
        let switched = std::mem::replace(&mut self.stream, stream) != stream;
        if switched && self.output.back().is_some_and(|&byte| byte != b'\n') {
            self.keep(b"\n");
        }
    }

    fn keep(&mut self, output: &[u8]) {
        let kept = output.len().min(MAX_OUTPUT);
        let excess = (self.output.len() + kept).saturating_sub(MAX_OUTPUT);
        self.cut |= excess > 0 || kept < output.len();
        self.output.drain(..excess);
        self.output.extend(&output[output.len() - kept..]);
    }

    /// The last `count` lines without their ends, at most; each cut at a length fit for reading.
    pub(super) fn into_lines(mut self, count: usize) -> Vec<String> {
        if self.stream == 0 {
            // Too short to tell: no frame has fewer bytes than a header.
            let begin = std::mem::take(&mut self.header);
            self.keep(&begin);
        }
        let output = Vec::from(self.output);
        let mut lines: Vec<&[u8]> = output.split(|&byte| byte == b'\n').collect();
        if lines.last().is_some_and(|line| line.is_empty()) {
            lines.pop();
        }
        if self.cut && lines.len() > 1 {
            // The beginning of the first line is lost.
            lines.remove(0);
        }
        let skipped = lines.len().saturating_sub(count);
        lines[skipped..].iter().map(|line| shorten(line)).collect()
    }
}

fn shorten(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line));
    match line.char_indices().nth(MAX_LINE) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("short payload").to_be_bytes();
        [&[stream, 0, 0, 0], length.as_slice(), payload].concat()
    }

    fn lines(stream: &[u8], count: usize) -> Vec<String> {
        let mut tail = Tail::default();
        tail.push(stream);
        tail.into_lines(count)
    }

    #[test]
    fn takes_frames_apart() {
        let stream = [frame(1, b"out\n"), frame(2, b"err\r\n"), frame(1, b"a"), frame(1, b"b\nc\n\n")].concat();
        assert_eq!(lines(&stream, 10), ["out", "err", "ab", "c", ""]);
        assert_eq!(lines(&stream, 2), ["c", ""]);
        assert_eq!(lines(&stream, 0), [""; 0]);
    }

    #[test]
    fn half_lines_of_both_streams_stay_apart() {
        let stream = [frame(1, b"half"), frame(1, b""), frame(2, b"error\n"), frame(1, b"of it")].concat();
        assert_eq!(lines(&stream, 10), ["half", "error", "of it"]);
    }

    #[test]
    fn a_terminal_has_no_frames() {
        assert_eq!(lines(b"out\r\nerr\r\npartial", 10), ["out", "err", "partial"]);
        assert_eq!(lines(b"short", 10), ["short"]);
        assert_eq!(lines(b"\x01\0\0", 10), ["\x01\0\0"]);
        assert_eq!(lines(b"\x01\x02\x03 not a header\n", 10), ["\x01\x02\x03 not a header"]);
        assert_eq!(lines(b"", 10), [""; 0]);
    }

    #[test]
    fn broken_frames_are_shown_as_far_as_they_go() {
        assert_eq!(lines(&frame(1, b"whole\n")[..10], 10), ["wh"]);
        assert_eq!(lines(&[&frame(1, b"whole\n"), &b"\x01\0\0"[..]].concat(), 10), ["whole"]);
        assert_eq!(
            lines(&[&frame(1, b"whole\n"), &b"no header at all"[..]].concat(), 10),
            ["whole", "no header at all"]
        );
    }

    #[test]
    fn keeps_the_end_of_much_output_and_the_beginning_of_long_lines() {
        let many = (0..100_000).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
        for stream in [many.as_bytes().to_vec(), frame(1, many.as_bytes())] {
            let lines = lines(&stream, usize::MAX);
            assert_eq!(lines.last().map(String::as_str), Some("line 99999"));
            assert_eq!(lines.first(), Some(&format!("line {}", 100_000 - lines.len())));
            assert!(lines.iter().map(|line| line.len() + 1).sum::<usize>() <= MAX_OUTPUT);
        }

        let long = "ü".repeat(1_000_000);
        let lines = lines(long.as_bytes(), 10);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].chars().count(), MAX_LINE + 1);
        assert!(lines[0].ends_with('…'));
    }

    proptest! {
        /// How the transport cuts the stream into chunks makes no difference, and nothing panics.
        #[test]
        fn chunks_do_not_matter(
            stream in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..200),
                proptest::collection::vec((1_u8..=2, "[a-z\n]{0,20}"), 0..10)
                    .prop_map(|frames| frames.iter().flat_map(|(stream, text)| frame(*stream, text.as_bytes())).collect()),
            ],
            cuts in proptest::collection::vec(1_usize..30, 0..40),
        ) {
            let mut tail = Tail::default();
            let mut rest = stream.as_slice();
            for cut in cuts {
                let (chunk, others) = rest.split_at(cut.min(rest.len()));
                tail.push(chunk);
                rest = others;
            }
            tail.push(rest);
            prop_assert_eq!(tail.into_lines(100), lines(&stream, 100));
        }
    }
}
