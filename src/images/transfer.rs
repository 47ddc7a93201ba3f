//! Images from one engine to another: what is there already is named, what is missing is sent, checked, then named.
//!
//! All names are looked up, and everything that speaks against sending is found, before the first byte is sent. Then
//! images go one after the other, each as a load of its own; what one has brought, the next need not bring.

mod send;

use std::time::{Duration, Instant};

use anyhow::anyhow;

use super::compress::Compression;
use super::delta::{self, Fate};
use super::destination::{Destination, Presence};
use super::end::Ends;
use super::inventory::Inventory;
use super::manifest::Platform;
use super::reference::ImageName;
use super::source::{Form, Image, Source};
use crate::cancel::Cancel;
use crate::engine::api::images::Store;
use crate::engine::{Error, ErrorKind};
use crate::error::{Failure, Kind};
use crate::names::ImageId;
use crate::report::transfer::{Transfer, size};
use crate::report::{Event, Reporter};
use crate::text::escape;
use send::{Sending, Trouble};

/// Time for tidying up after a failure: the link may be the reason for it.
const TIDY: Duration = Duration::from_secs(5);

/// How images are sent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Send everything, whatever is there.
    pub force: bool,
    /// What happens to archives on the link. `Auto` has been decided on.
    pub compression: Compression,
    /// Which of several platforms; that of the destination's engine if `None`.
    pub platform: Option<Platform>,
    /// Change nothing, only find out what would be sent.
    pub dry_run: bool,
}

/// Sends images that are known under `names` on the engine `source` to the engine `destination`.
pub async fn transfer(
    ends: Ends,
    names: &[ImageName],
    options: &Options,
    reporter: &dyn Reporter,
    cancel: &Cancel,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let Ends { source, destination } = ends;
    let (from, to) = tokio::join!(source.api.about(), destination.api.about());
    let (from, to) = (from.map_err(|error| on("source", error))?, to.map_err(|error| on("destination", error))?);
    let (source, destination) = tokio::join!(Source::open(source, &from), Destination::open(destination, to));
    let source = source.map_err(|error| on("source", error))?;
    let destination = destination.map_err(|error| on("destination", error))?;
    let work = Work { source, destination, options, reporter, cancel };
    let orders = work.look_up(names).await?;
    let mut summary = Summary::default();
    let dry_run = options.dry_run;
    let done = Box::pin(work.carry_out(orders, &mut summary)).await;
    done.map_err(|failure| if dry_run { failure } else { after(failure, &summary) })?;
    let Summary { sent, held, bytes, .. } = summary;
    let took = begin.elapsed();
    reporter.report(&Event::Transfer(Transfer::Finished { sent, held, bytes, took, dry_run }));
    Ok(())
}

/// What has been done so far.
#[derive(Default)]
struct Summary {
    /// Images that were sent.
    sent: usize,
    /// Images that were there.
    held: usize,
    /// Names that were given, or moved from another image.
    named: usize,
    /// Whether that may have happened to one more: the answer has not come.
    unsure: bool,
    /// Bytes on the link.
    bytes: u64,
}

/// An image, and all names by which it was asked for.
struct Order {
    image: Image,
    names: Vec<ImageName>,
    /// Whether one of the names holds a digest, which only the very same manifest has.
    exact: bool,
}

impl Order {
    /// What to call it.
    fn title(&self) -> &str {
        self.names.first().map_or("", ImageName::as_str)
    }

    /// Bytes that it takes at least on a destination that has the given content: nothing is known of how big the layers in
    /// an archive are one by one.
    fn least(&self, inventory: &Inventory) -> u64 {
        let layers = self.image.form.layers();
        let fates = delta::delta(layers, inventory, self.exact);
        match &self.image.form {
            Form::Content(_) => {
                let sent = layers.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Send);
                sent.filter_map(|(layer, _)| Some(layer.blob.as_ref()?.size)).sum()
            }
            Form::Archive { .. } if fates.iter().all(|fate| *fate == Fate::Send) => self.image.size,
            Form::Archive { .. } | Form::Opaque(_) => 0,
        }
    }
}

/// What is true of all images of a transfer.
struct Work<'a> {
    source: Source,
    destination: Destination,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    cancel: &'a Cancel,
}

impl Work<'_> {
    /// Finds the images behind the names, and refuses what cannot come to a good end.
    async fn look_up(&self, names: &[ImageName]) -> Result<Vec<Order>, Failure> {
        let host = self.destination.platform();
        let wanted = self.options.platform.as_ref().unwrap_or(&host);
        let mut orders: Vec<Order> = Vec::new();
        for name in names {
            let found = self.source.find(name.as_str(), wanted).await.map_err(|error| on("source", error))?;
            let Some((image, details)) = found else { return Err(not_found(name)) };
            let fits = match &self.options.platform {
                Some(wanted) => image.platform.is(wanted),
                None => image.platform.runs_on(&host),
            };
            if !fits {
                return Err(wrong_platform(name, &image.platform, wanted, self.options.platform.is_some()));
            }
            let name = if name.is_id_of(details.id.as_str(), &details.names) {
                ImageName::parse(details.id.as_str()).map_err(|error| Failure::from(anyhow!("image ID: {error}")))?
            } else {
                name.clone()
            };
            let exact = name.digest().is_some();
            match orders.iter_mut().find(|order| order.image.id == image.id) {
                None => orders.push(Order { image, names: vec![name], exact }),
                Some(order) => {
                    order.exact |= exact;
                    if !order.names.contains(&name) {
                        order.names.push(name);
                    }
                }
            }
        }
        Ok(orders)
    }

    /// Names what is there, then sends what is missing.
    async fn carry_out(&self, orders: Vec<Order>, summary: &mut Summary) -> Result<(), Failure> {
        let mut missing = Vec::new();
        for order in orders {
            match self.presence(&order).await? {
                Some(state) => self.name_what_is_there(&order, state, summary).await?,
                None => missing.push(order),
            }
        }
        if let Some(first) = missing.first() {
            self.source.begin(&first.image);
            let inventory = self.destination.inventory().await.map_err(|error| on("destination", error))?;
            self.send_all(missing, inventory, summary).await?;
        }
        Ok(())
    }

    /// What there is of an image under each of its names; `None` if it has to be sent.
    async fn presence(&self, order: &Order) -> Result<Option<Vec<Presence>>, Failure> {
        if self.options.force {
            return Ok(None);
        }
        let mut states = Vec::new();
        for name in &order.names {
            let state =
                self.destination.presence(&order.image, name).await.map_err(|error| on("destination", error))?;
            if state == Presence::Absent {
                return Ok(None);
            }
            states.push(state);
        }
        Ok(Some(states))
    }

    /// Gives an image that is there those of its names that it lacks.
    async fn name_what_is_there(
        &self,
        order: &Order,
        states: Vec<Presence>,
        summary: &mut Summary,
    ) -> Result<(), Failure> {
        for (name, state) in order.names.iter().zip(states) {
            let image = name.as_str();
            match (state, name.tag()) {
                (Presence::Unnamed(id), Some((repository, tag))) => {
                    if !self.options.dry_run {
                        let named = self.name(&id, repository, tag, summary).await;
                        named.map_err(|error| on("destination", error))?;
                    }
                    self.reporter.report(&Event::Transfer(Transfer::Named { image }));
                }
                _ => self.reporter.report(&Event::Transfer(Transfer::Held { image })),
            }
        }
        summary.held += 1;
        Ok(())
    }

    /// Gives an image a name, whichever image had it before.
    async fn name(&self, id: &ImageId, repository: &str, tag: &str, summary: &mut Summary) -> Result<(), Error> {
        // Whoever is cut off here does not hear how it went.
        summary.unsure = true;
        let named = self.destination.api().tag_image(id, repository, tag).await;
        summary.named += usize::from(named.is_ok());
        summary.unsure = named.as_ref().is_err_and(|error| error.kind != ErrorKind::Refused);
        named
    }

    async fn send_all(&self, orders: Vec<Order>, inventory: Inventory, summary: &mut Summary) -> Result<(), Failure> {
        let mut inventory = if self.options.force { Inventory::Unknown } else { inventory };
        self.check_room(&orders, &inventory).await?;
        for order in orders {
            summary.bytes += self.send(&order, &inventory, summary).await?;
            summary.sent += 1;
            if let Inventory::Blobs(_) = inventory {
                inventory = self.destination.inventory().await.map_err(|error| on("destination", error))?;
            } else {
                let layers: Vec<_> = order.image.form.layers().iter().map(|layer| layer.content.clone()).collect();
                inventory.add(&layers);
            }
        }
        Ok(())
    }

    /// Sends what is missing of an image; on any doubt about the result, all of it. Returns bytes on the link.
    async fn send(&self, order: &Order, inventory: &Inventory, summary: &mut Summary) -> Result<u64, Failure> {
        let image = &order.image;
        let layers = image.form.layers();
        let mut fates = delta::delta(layers, inventory, order.exact);
        self.destination.complete(&mut fates).await.map_err(|error| on("destination", error))?;
        let kept = fates.iter().filter(|fate| **fate != Fate::Send).count();
        if matches!(image.form, Form::Opaque(_)) {
            let why = "the source does not tell what the image consists of";
            self.reporter.report(&Event::Transfer(Transfer::Whole { image: order.title(), why }));
        } else if matches!(inventory, Inventory::Unknown) && !self.options.force {
            let why = "the destination does not tell what it has";
            self.reporter.report(&Event::Transfer(Transfer::Whole { image: order.title(), why }));
        }
        let (why, whole) = match self.attempt(order, fates, summary).await {
            Err(Trouble::Doubt(why)) if kept > 0 => (why, vec![Fate::Send; layers.len()]),
            // It can still be passed on as it is.
            Err(Trouble::Layout(why)) => (why, Vec::new()),
            result => return result.map_err(Failure::from),
        };
        self.reporter.report(&Event::Transfer(Transfer::Whole { image: order.title(), why: &why }));
        self.attempt(order, whole, summary).await.map_err(Failure::from)
    }

    /// Sends, checks and names an image. Whatever fails before it has a name, what was loaded goes again.
    async fn attempt(&self, order: &Order, fates: Vec<Fate>, summary: &mut Summary) -> Result<u64, Trouble> {
        let image = &order.image;
        let sending = Sending {
            source: &self.source,
            destination: &self.destination,
            options: self.options,
            reporter: self.reporter,
            cancel: self.cancel,
        };
        let (sent, parts) = sending.send(image, order.title(), &fates).await?;
        if self.options.dry_run {
            return Ok(sent.bytes);
        }
        let Some(id) = &sent.id else {
            return Err(Trouble::Fatal(Failure::from(anyhow!("cannot tell which image {} has become", order.title()))));
        };
        let finish = async {
            let whole = self.destination.verify(id, image, &parts).await?;
            if !whole {
                return Err(Trouble::Doubt("what has arrived is not whole".to_owned()));
            }
            for (repository, tag) in order.names.iter().filter_map(ImageName::tag) {
                self.name(id, repository, tag, summary).await?;
            }
            Ok(())
        };
        let finished = tokio::select! {
            finished = finish => finished,
            () = self.cancel.requested() => Err(Trouble::Fatal(interrupted(self.cancel))),
        };
        if let Err(trouble) = finished {
            if !sent.was_there {
                // If this fails too, the first failure is the one to tell.
                let _ = tokio::time::timeout(TIDY, self.destination.discard(id)).await;
            }
            return Err(trouble);
        }
        self.reporter.report(&Event::Transfer(sent.report(order.title(), &fates)));
        self.check_names(order).await;
        Ok(sent.bytes)
    }

    /// Says so if the destination cannot know the image by a digest.
    async fn check_names(&self, order: &Order) {
        for name in order.names.iter().filter(|name| name.digest().is_some()) {
            if !matches!(self.destination.api().image_details(name.as_str()).await, Ok(Some(_))) {
                self.reporter.report(&Event::Warning(&format!(
                    "the destination keeps no digest of images that came without a registry, and does not know {name} \
                     by it; refer to it by a tag"
                )));
            }
        }
    }

    /// Refuses what cannot have room for sure.
    async fn check_room(&self, orders: &[Order], inventory: &Inventory) -> Result<(), Failure> {
        if matches!(inventory, Inventory::Unknown) {
            // All of it may be there already.
            return Ok(());
        }
        let needed = orders.iter().map(|order| order.least(inventory)).max().unwrap_or(0);
        let Destination { end, about, .. } = &self.destination;
        match end.free(about).await {
            Some(free) if free < needed => {
                let prune = if about.store == Store::Podman { "podman image prune" } else { "docker image prune" };
                let [free, needed] = [free, needed].map(size);
                let error = anyhow!("the destination has {free} left for images, and at least {needed} are needed");
                Err(Failure::from(error).hint(format!("Make room there, as with `{prune}`.")))
            }
            _ => Ok(()),
        }
    }
}

/// Which engine has failed at what.
fn on(which: &str, error: Error) -> Failure {
    let kind = if error.kind == ErrorKind::Unreachable { Kind::Unreachable } else { Kind::Unchanged };
    Failure::new(kind, anyhow::Error::new(error).context(format!("{which} engine")))
}

fn interrupted(cancel: &Cancel) -> Failure {
    let reason = cancel.reason().unwrap_or(crate::cancel::Reason::Interrupt);
    Failure::new(reason.kind(), anyhow!("stopped; the image on its way was dropped"))
}

/// A failure with what had been done before it.
fn after(mut failure: Failure, summary: &Summary) -> Failure {
    let done = match summary {
        Summary { sent: 1.., .. } => "Images before this one have arrived.",
        Summary { named: 1.., .. } => "Names were given or moved.",
        Summary { unsure: true, .. } => "A name may have been given or moved.",
        // Its exit code says so.
        _ if failure.kind == Kind::Unchanged => return failure,
        _ => "No name was given or moved.",
    };
    if failure.kind == Kind::Unchanged {
        failure.kind = Kind::Incomplete;
    }
    failure.hint(format!("{done} Running the same command again does the rest."))
}

fn not_found(name: &ImageName) -> Failure {
    Failure::from(anyhow!("there is no image {name} on the source engine")).hint(
        "Build it with `docker compose build`, or pull it with `docker pull`; `docker image ls` lists those there are.",
    )
}

fn wrong_platform(name: &ImageName, image: &Platform, wanted: &Platform, asked: bool) -> Failure {
    let (image, wanted) = (escape(&image.to_string()), escape(&wanted.to_string()));
    if asked {
        return Failure::from(anyhow!("image {name} is for {image}, not for {wanted} as --platform asks"));
    }
    Failure::from(anyhow!("image {name} is for {image}, but the destination runs {wanted}")).hint(format!(
        "Build it with `docker build --platform {wanted}`, or insist with `--platform {image}` if the host can emulate it."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_tells_what_had_been_done() {
        let nothing = Summary::default();
        let held = Summary { held: 2, ..Summary::default() };
        let unsure = Summary { unsure: true, ..Summary::default() };
        let named = Summary { named: 1, ..Summary::default() };
        let sent = Summary { sent: 1, named: 1, ..Summary::default() };
        for (kind, summary, expected, words) in [
            (Kind::Unchanged, &nothing, Kind::Unchanged, None),
            (Kind::Unchanged, &held, Kind::Unchanged, None),
            (Kind::Unreachable, &held, Kind::Unreachable, Some("No name was given or moved.")),
            (Kind::Unreachable, &unsure, Kind::Unreachable, Some("A name may have been")),
            (Kind::Unchanged, &unsure, Kind::Incomplete, Some("A name may have been")),
            (Kind::Unchanged, &named, Kind::Incomplete, Some("Names were given or moved.")),
            (Kind::Unchanged, &sent, Kind::Incomplete, Some("Images before this one have arrived.")),
            (Kind::Interrupted, &sent, Kind::Interrupted, Some("Images before this one have arrived.")),
        ] {
            let failure = after(Failure::new(kind, anyhow!("no")), summary);
            assert_eq!(failure.kind, expected, "{words:?}");
            assert_eq!(failure.hints.len(), usize::from(words.is_some()), "{:?}", failure.hints);
            assert!(words.is_none_or(|words| failure.hints[0].starts_with(words)), "{:?}", failure.hints);
        }
    }
}
