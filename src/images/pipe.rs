//! Between the connections to the engines and the thread that works on the bytes: bounded channels that look like files.
//!
//! An end is an end only if it was said: whoever drops their side without [`Sink::end`] or [`ChannelWriter::end`] makes the
//! other side fail, so that a cut archive never passes for a whole one.

use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use hyper::body::{Body, Bytes, Frame};
use tokio::sync::mpsc;

/// Pieces under way in one direction; with pieces of at most [`PIECE`] bytes this bounds memory.
const PIECES: usize = 32;
/// Bytes of a piece, at most.
const PIECE: usize = 64 << 10;

/// Bytes that went through so far.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    taken: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
}

impl Meter {
    /// Bytes that the source has given.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Bytes that the destination has taken.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

enum Piece {
    Data(Bytes),
    End,
}

/// Feeds a [`ChannelReader`].
#[derive(Debug)]
pub struct Sink {
    channel: mpsc::Sender<Piece>,
    meter: Meter,
}

/// A channel to be read like a file by another thread.
#[must_use]
pub fn to_thread(meter: Meter) -> (Sink, ChannelReader) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (Sink { channel: sender, meter }, ChannelReader { channel: receiver, piece: Bytes::new(), ended: false })
}

impl Sink {
    /// Passes bytes on, when there is room for them. Fails if nobody reads any more.
    pub async fn send(&self, mut bytes: Bytes) -> Result<(), Closed> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(PIECE));
            self.meter.taken.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.channel.send(Piece::Data(piece)).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Says that this was all.
    pub async fn end(self) -> Result<(), Closed> {
        self.channel.send(Piece::End).await.map_err(|_| Closed)
    }
}

/// Nobody is at the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Closed;

/// Reads what a [`Sink`] sends. Blocks its thread.
#[derive(Debug)]
pub struct ChannelReader {
    channel: mpsc::Receiver<Piece>,
    piece: Bytes,
    ended: bool,
}

impl Read for ChannelReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() && !self.ended {
            match self.channel.blocking_recv() {
                Some(Piece::Data(piece)) => self.piece = piece,
                Some(Piece::End) => self.ended = true,
                None => return Err(io::ErrorKind::ConnectionAborted.into()),
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}

/// A channel that one thread writes to like a file, and that becomes the body of a request.
#[must_use]
pub fn from_thread(meter: Meter) -> (ChannelWriter, Upload) {
    let (sender, receiver) = mpsc::channel(PIECES);
    (
        ChannelWriter { channel: sender, buffer: Vec::with_capacity(PIECE) },
        Upload { channel: receiver, meter, ended: false },
    )
}

/// A channel whose one end is filled here and whose other end becomes the body of a request.
#[must_use]
pub fn to_upload(meter: Meter) -> (Sink, Upload) {
    let (sender, receiver) = mpsc::channel(PIECES);
    // What goes in here was counted where it came from.
    (Sink { channel: sender, meter: Meter::default() }, Upload { channel: receiver, meter, ended: false })
}

/// Writes for an [`Upload`]. Blocks its thread while there is no room.
#[derive(Debug)]
pub struct ChannelWriter {
    channel: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl ChannelWriter {
    /// Says that this was all.
    pub fn end(mut self) -> io::Result<()> {
        self.flush()?;
        self.channel.blocking_send(Piece::End).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for ChannelWriter {
    fn write(&mut self, content: &[u8]) -> io::Result<usize> {
        let length = content.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&content[..length]);
        if self.buffer.len() == PIECE {
            self.flush()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        self.channel.blocking_send(Piece::Data(piece.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// The body of a request that somebody else writes. If that one stops before the end, the request fails.
#[derive(Debug)]
pub struct Upload {
    channel: mpsc::Receiver<Piece>,
    meter: Meter,
    ended: bool,
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.channel.poll_recv(context));
        self.ended = !matches!(piece, Some(Piece::Data(_)));
        Poll::Ready(match piece {
            Some(Piece::Data(bytes)) => {
                self.meter.sent.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                Some(Ok(Frame::data(bytes)))
            }
            Some(Piece::End) => None,
            None => Some(Err(io::ErrorKind::ConnectionAborted.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn bytes_go_through_a_thread_and_are_counted() {
        let meter = Meter::default();
        let (sink, mut reader) = to_thread(meter.clone());
        let (mut writer, upload) = from_thread(meter.clone());
        let worker = tokio::task::spawn_blocking(move || {
            io::copy(&mut reader, &mut writer)?;
            writer.end()
        });
        let feed = async {
            for _ in 0..100 {
                sink.send(Bytes::from_static(&[7; 10_000])).await.expect("somebody reads");
            }
            sink.end().await.expect("somebody reads");
        };
        let ((), body) = tokio::join!(feed, upload.collect());
        worker.await.expect("a thread").expect("whole");
        assert_eq!(body.expect("whole").to_bytes(), vec![7; 1_000_000]);
        assert_eq!((meter.taken(), meter.sent()), (1_000_000, 1_000_000));
    }

    #[tokio::test]
    async fn what_stops_without_an_end_is_no_end() {
        let (sink, mut reader) = to_thread(Meter::default());
        sink.send(Bytes::from_static(b"half")).await.expect("room");
        drop(sink);
        let mut read = Vec::new();
        let worker = tokio::task::spawn_blocking(move || (reader.read_to_end(&mut read).is_err(), read));
        assert_eq!(worker.await.expect("a thread"), (true, b"half".to_vec()));

        let (mut writer, upload) = from_thread(Meter::default());
        writer.write_all(b"half").expect("room");
        drop(writer);
        assert!(upload.collect().await.is_err());
    }

    #[tokio::test]
    async fn nobody_writes_for_nobody() {
        let (mut writer, upload) = from_thread(Meter::default());
        drop(upload);
        let worker =
            tokio::task::spawn_blocking(move || writer.write_all(&vec![0; 2 * PIECE]).map_err(|error| error.kind()));
        assert_eq!(worker.await.expect("a thread"), Err(io::ErrorKind::BrokenPipe));
        let (sink, reader) = to_thread(Meter::default());
        drop(reader);
        assert_eq!(sink.send(Bytes::from_static(b"x")).await, Err(Closed));
    }
}
