//! One image on its way: from the source's connection through a thread that picks and compresses to the destination's.

use std::time::{Duration, Instant};

use anyhow::anyhow;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::{Options, TIDY, interrupted, on};
use crate::cancel::Cancel;
use crate::engine::api::images::Store;
use crate::engine::{Error, ErrorKind};
use crate::error::Failure;
use crate::images::archive::{self, Packed, Shipment};
use crate::images::compress::{Compression, Encoder};
use crate::images::delta::{self, Fate};
use crate::images::destination::Destination;
use crate::images::digest::Digest;
use crate::images::filter;
use crate::images::manifest::{self, Descriptor};
use crate::images::pipe::{ChannelReader, ChannelWriter, Meter, Sink, Upload, from_thread, to_thread, to_upload};
use crate::images::source::{Anatomy, Form, Image, Source};
use crate::names::ImageId;
use crate::report::transfer::Transfer;
use crate::report::{Event, Reporter};

/// Time between two reports of progress.
const TICK: Duration = Duration::from_millis(200);

/// Why an image did not arrive.
pub(super) enum Trouble {
    /// Something was left out that should not have been, perhaps: the whole image may do better.
    Doubt(String),
    /// The source's archive has a layout that cannot be picked from.
    Layout(String),
    /// There is no use in trying again.
    Fatal(Failure),
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Doubt(why) | Trouble::Layout(why) => {
                Self::from(anyhow!("the destination did not take the image: {why}"))
            }
            Trouble::Fatal(failure) => failure,
        }
    }
}

/// Failed calls of the destination: what it refuses, it may take as a whole.
impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error.kind {
            ErrorKind::Refused => Self::Doubt(error.message),
            ErrorKind::Unreachable | ErrorKind::Garbled => Self::Fatal(on("destination", error)),
        }
    }
}

/// What was sent.
pub(super) struct Sent {
    /// The image's ID on the destination.
    pub(super) id: Option<ImageId>,
    /// Whether it was there before.
    pub(super) was_there: bool,
    /// Bytes on the link.
    pub(super) bytes: u64,
    left_out: u64,
    took: Duration,
}

impl Sent {
    pub(super) fn report<'a>(&self, image: &'a str, fates: &[Fate]) -> Transfer<'a> {
        let kept = fates.iter().filter(|fate| **fate != Fate::Send).count();
        let &Self { bytes, left_out, took, .. } = self;
        Transfer::Sent { image, layers: fates.len(), kept, left_out, bytes, took }
    }
}

/// What it takes to send an image.
pub(super) struct Sending<'a> {
    pub(super) source: &'a Source,
    pub(super) destination: &'a Destination,
    pub(super) options: &'a Options,
    pub(super) reporter: &'a dyn Reporter,
    pub(super) cancel: &'a Cancel,
}

type Result<T, E = Trouble> = std::result::Result<T, E>;

impl Sending<'_> {
    /// Sends an image and waits until it is loaded. Returns also what it has to consist of on the destination.
    pub(super) async fn send(&self, image: &Image, title: &str, fates: &[Fate]) -> Result<(Sent, Vec<(Digest, u64)>)> {
        let begin = Instant::now();
        let kept = fates.iter().filter(|fate| **fate != Fate::Send).count();
        self.reporter.report(&Event::Transfer(Transfer::Begun { image: title, layers: fates.len(), kept }));
        let meter = Meter::default();
        let job = Job::new(image, fates, self.destination.about.store);
        let there = self.there(image, job.target()).await?;
        let (packed, loaded) = tokio::select! {
            streamed = self.stream(image, job, &meter) => streamed?,
            trouble = self.accompany(title, image, &meter) => return Err(trouble),
        };
        let id = match (&packed, &loaded) {
            (Some(packed), _) => self.destination.id_of(image, &packed.manifest),
            (None, loaded) => match (self.destination.id_by_config(image), loaded) {
                (None, Ok(said)) => self.destination.loaded(said).await?,
                (id, _) => id,
            },
        };
        let was_there = id.as_ref().is_some_and(|id| there.contains(id));
        if let Err(trouble) = loaded {
            // Containerd keeps what it could not unpack.
            if let Some(id) = id.filter(|_| !was_there) {
                let _ = tokio::time::timeout(TIDY, self.destination.discard(&id)).await;
            }
            return Err(trouble);
        }
        let sent = Sent {
            id,
            was_there,
            bytes: meter.sent(),
            left_out: packed.as_ref().map_or(0, |packed| packed.left_out),
            took: begin.elapsed(),
        };
        Ok((sent, packed.map(|packed| packed.content).unwrap_or_default()))
    }

    /// The images on the destination of which the one that is sent may be one: what is passed on as it is has an ID that
    /// shows only when it has arrived.
    async fn there(&self, image: &Image, target: Option<&Digest>) -> Result<Vec<ImageId>> {
        let Some(target) = target else { return Ok(self.destination.api().image_ids().await?) };
        let Some(id) = self.destination.id_of(image, target) else { return Ok(Vec::new()) };
        let found = self.destination.api().image_details(id.as_str()).await?.is_some();
        Ok(if found { vec![id] } else { Vec::new() })
    }

    /// The bytes themselves. Each of the three parts ends when another one fails.
    /// What the thread has made of the image is `None` where it was passed on as it is; the other result is the
    /// destination's.
    async fn stream(&self, image: &Image, job: Job, meter: &Meter) -> Result<(Option<Packed>, Result<Vec<String>>)> {
        let compression = match &self.options.compression {
            Compression::Adaptive if !self.destination.about.reads_zstd => Compression::Gzip,
            compression => compression.clone(),
        };
        let (sink, reader) = to_thread(meter.clone());
        let (writer, upload, filter) = if let Compression::Program(words) = &self.options.compression {
            let (writer, archive) = from_thread(Meter::default());
            let (output, upload) = to_upload(meter.clone());
            (writer, upload, Some(filter::run(words, archive, output)))
        } else {
            let (writer, upload) = from_thread(meter.clone());
            (writer, upload, None)
        };
        let filter = async {
            match filter {
                Some(filter) => filter.await,
                None => Ok(()),
            }
        };
        let pieces = job.pieces();
        let worker = spawn_blocking(move || job.run(reader, writer, &compression));
        let (fed, packed, filtered, loaded) =
            tokio::join!(self.feed(image, pieces, sink), worker, filter, self.load(upload));
        let filtered = filtered
            .map_err(|error| Trouble::Fatal(Failure::from(error.context("cannot compress what is to be sent"))));
        let packed = packed.map_err(|error| Trouble::Fatal(Failure::from(anyhow::Error::new(error))))?;
        fed.map_err(|error| Trouble::Fatal(on("source", error)))?;
        match packed {
            Err(archive::Error::Hostile(what)) => {
                let error = anyhow!("the source engine sent what is no image: {what}");
                Err(Trouble::Fatal(Failure::from(error)))
            }
            Err(archive::Error::Lacks(what)) => Err(Trouble::Layout(format!("the source's archive lacks {what}"))),
            Err(archive::Error::Io(error)) => {
                filtered?;
                loaded?;
                let error = anyhow::Error::new(error).context("cannot read the source's archive");
                Err(Trouble::Fatal(Failure::from(error)))
            }
            Ok(packed) => {
                filtered?;
                Ok((packed, loaded))
            }
        }
    }

    async fn feed(&self, image: &Image, pieces: Option<Vec<(Digest, u64)>>, sink: Sink) -> crate::engine::Result<()> {
        match pieces {
            Some(pieces) => self.source.read(&pieces, sink).await,
            None => self.source.save(image, sink).await,
        }
    }

    /// Returns what the destination says to have loaded.
    async fn load(&self, mut upload: Upload) -> Result<Vec<String>> {
        if self.options.dry_run {
            // Only the number of bytes is of interest.
            while let Some(frame) = http_body_util::BodyExt::frame(&mut upload).await {
                if frame.is_err() {
                    break;
                }
            }
            return Ok(Vec::new());
        }
        Ok(self.destination.api().load_image(upload).await?)
    }

    /// Reports progress until something speaks against going on.
    async fn accompany(&self, title: &str, image: &Image, meter: &Meter) -> Trouble {
        let begin = Instant::now();
        let progress = async {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let (taken, sent) = (meter.taken(), meter.sent());
                let elapsed = begin.elapsed();
                self.reporter.report(&Event::Transfer(Transfer::Progress {
                    image: title,
                    taken,
                    total: image.size,
                    sent,
                    elapsed,
                }));
            }
        };
        tokio::select! {
            () = progress => Trouble::Doubt(String::new()),
            () = self.cancel.requested() => Trouble::Fatal(interrupted(self.cancel)),
            error = self.source.end.until_dead("source", meter) => Trouble::Fatal(on("source", error)),
            error = self.destination.end.until_dead("destination", meter) => {
                Trouble::Fatal(on("destination", error))
            }
        }
    }
}

/// What the thread does.
enum Job {
    /// Passes on an archive as it is.
    Pass,
    /// Picks from an archive.
    Repack(Shipment),
    /// Packs content that comes piece by piece.
    Pack(Box<Parcel>),
}

/// Content to pack, and all that is not content.
struct Parcel {
    pieces: Vec<(Digest, u64)>,
    documents: Vec<Vec<u8>>,
    target: Descriptor,
    config: Digest,
    layers: Vec<Descriptor>,
    left_out: u64,
}

impl Job {
    fn new(image: &Image, fates: &[Fate], to: Store) -> Self {
        match &image.form {
            Form::Archive { config, layers } if fates.len() == layers.len() => {
                let layers = layers.iter().cloned().zip(fates.iter().cloned()).collect();
                // Docker's own store reads a mere list of layers, the others a manifest.
                let tells_sizes = to != Store::Docker;
                Self::Repack(Shipment { config: config.clone(), layers, size: image.size, tells_sizes })
            }
            Form::Content(anatomy) => Self::Pack(Box::new(Parcel::new(anatomy, fates))),
            Form::Archive { .. } | Form::Opaque(_) => Self::Pass,
        }
    }

    /// Content to read from the source; `None` for its archive.
    fn pieces(&self) -> Option<Vec<(Digest, u64)>> {
        match self {
            Self::Pack(parcel) => Some(parcel.pieces.clone()),
            Self::Pass | Self::Repack(_) => None,
        }
    }

    /// By which a store with manifests knows the image, if that is known beforehand; else the configuration.
    fn target(&self) -> Option<&Digest> {
        match self {
            Self::Pack(parcel) => Some(&parcel.target.digest),
            Self::Repack(shipment) => Some(&shipment.config),
            Self::Pass => None,
        }
    }

    fn run(
        self,
        mut reader: ChannelReader,
        writer: ChannelWriter,
        compression: &Compression,
    ) -> Result<Option<Packed>, archive::Error> {
        let mut output = Encoder::new(writer, compression)?;
        let packed = match self {
            Self::Pass => {
                std::io::copy(&mut reader, &mut output)?;
                None
            }
            Self::Repack(shipment) => Some(archive::repack(&mut reader, &mut output, &shipment)?),
            Self::Pack(parcel) => Some(parcel.pack(&mut reader, &mut output)?),
        };
        output.finish()?.end()?;
        Ok(packed)
    }
}

impl Parcel {
    fn new(anatomy: &Anatomy, fates: &[Fate]) -> Self {
        let needed = delta::needed(&anatomy.layers, fates);
        let mut pieces: Vec<(Digest, u64)> = Vec::new();
        let mut left_out = 0;
        for layer in &anatomy.manifest.layers {
            if !needed.contains(&layer.digest) {
                left_out += layer.size;
            } else if pieces.iter().all(|(digest, _)| *digest != layer.digest) {
                pieces.push((layer.digest.clone(), layer.size));
            }
        }
        let config = anatomy.manifest.config.clone();
        let mut documents = vec![anatomy.config_json.clone()];
        let replaced = fates.iter().any(|fate| matches!(fate, Fate::Replace(_)));
        let (target, layers) = if replaced {
            let layers = anatomy.manifest.layers.iter().zip(fates).map(|(layer, fate)| match fate {
                Fate::Replace(descriptor) => descriptor.clone(),
                Fate::Keep | Fate::Send => layer.clone(),
            });
            let layers: Vec<_> = layers.collect();
            let json = manifest::write(&config.digest, config.size, &layers);
            let (digest, size) = (Digest::of(&json), json.len() as u64);
            documents.push(json);
            (Descriptor { media_type: manifest::MANIFEST.to_owned(), digest, size }, layers)
        } else {
            documents.push(anatomy.manifest_json.clone());
            documents.extend(anatomy.extras.iter().cloned());
            (anatomy.target.clone(), anatomy.manifest.layers.clone())
        };
        Self { pieces, documents, target, config: config.digest, layers, left_out }
    }

    fn pack(self, reader: &mut ChannelReader, output: &mut Encoder<ChannelWriter>) -> Result<Packed, archive::Error> {
        let Self { pieces, documents, target, config, layers, left_out } = self;
        archive::pack(reader, output, &pieces, &documents, &target, &config, &layers)?;
        let written = pieces.iter().map(|(_, size)| size).sum();
        let mut content: Vec<_> = layers.into_iter().map(|layer| (layer.digest, layer.size)).collect();
        content.extend(documents.iter().map(|document| (Digest::of(document), document.len() as u64)));
        Ok(Packed { manifest: target.digest, content, written, left_out })
    }
}
