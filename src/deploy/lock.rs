//! One run at a time changes a project, wherever the runs are started.
//!
//! The lock is a note on the engine: whoever posts it first holds it. While at work, the holder posts a *beat* now and
//! then, and looks whether the lock is still its own. A lock without a beat for 20 s is taken over: of those who
//! notice, again the one who posts a note first, its *right*, may replace it. Clocks are never compared, only what changes
//! is. If the holder was on the same machine and its process is gone, nobody waits for silence.
//!
//! A holder without a good beat for that long, as after a pause, does nothing more before it has one. Whoever takes over
//! posts the right and then looks for a beat; the holder posts a beat and then looks for a right. So at least one of the
//! two sees the other, and gives way. What the holder had sent before the pause, and programs that it had begun, are not
//! held back.

mod moment;
mod owner;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::iter;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::{Instant, sleep, timeout};

use crate::cancel::Cancel;
use crate::engine::notes::{Notes, Text};
use crate::engine::{self, ErrorKind};
use crate::error::{Failure, Kind};
use crate::names::ProjectName;
use crate::report::{Event, Reporter};
use crate::suggestion::Suggestion;
use moment::Moment;
pub use owner::Owner;

/// Between two beats.
const BEAT: Duration = Duration::from_secs(5);
/// How long a holder may give no sign of life: several beats, each of which may be slow.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two looks at somebody else's lock.
const LOOK: Duration = Duration::from_millis(500);

/// How often is tried to give a lock back: an engine may just have been restarted.
const ATTEMPTS: usize = 3;

/// The key by which all notes about a project's lock are found.
const PROJECT: &str = "kerek.lock";

/// A lock that is held. To be given back with [`Lock::release`].
#[derive(Debug)]
pub struct Lock<'a, N> {
    notes: &'a N,
    project: &'a ProjectName,
    owner: Owner,
    beats: Cell<u64>,
    /// A moment after which a sign of life came, if the lock was ever ours: nobody takes it over before it is silent for
    /// [`SILENCE`] since.
    sign: Cell<Option<Moment>>,
}

/// How to get a lock.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// How long to wait for a holder that is at work; none refuses at once.
    pub wait: Option<Duration>,
    /// Hears of waiting and of taking over.
    pub reporter: &'a dyn Reporter,
    /// Ends the waiting.
    pub cancel: &'a Cancel,
    /// What to type for the same engine.
    pub suggestion: &'a Suggestion,
}

impl<'a, N: Notes> Lock<'a, N> {
    /// Gets the lock of a project. Fails with [`Kind::Locked`], naming the holder, if that one is at work.
    pub async fn acquire(
        notes: &'a N,
        project: &'a ProjectName,
        owner: Owner,
        terms: Terms<'_>,
    ) -> Result<Self, Failure> {
        let lock = Self::of(notes, project, owner);
        // What has been sent may be carried out later; so it is not cut off, unless it takes too long.
        let late = async {
            terms.cancel.requested().await;
            sleep(BEAT).await;
        };
        let outcome = tokio::select! {
            biased;
            outcome = lock.wait(terms) => outcome,
            () = late => Ok(()),
        };
        if terms.cancel.reason().is_some() {
            // It may just have been got.
            lock.release().await;
            let error = anyhow!("interrupted while waiting for the lock of {project}");
            return Err(Failure::new(terms.cancel.kind(), error));
        }
        outcome.map(|()| lock)
    }

    /// One that nobody has got yet.
    fn of(notes: &'a N, project: &'a ProjectName, owner: Owner) -> Self {
        Self { notes, project, owner, beats: Cell::new(0), sign: Cell::new(None) }
    }

    /// Waits until the lock is ours, or until the waiting is to end.
    async fn wait(&self, terms: Terms<'_>) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut watch: Option<Watch> = None;
        loop {
            let holder = self.post().await?;
            if holder.nonce == self.owner.nonce {
                return Ok(());
            }
            let signs = self.signs().await?;
            let silence = match &mut watch {
                Some(watch) if watch.holder.nonce == holder.nonce => watch.see(&signs),
                _ => {
                    let first = watch.is_none();
                    let (since, signs) = (Instant::now(), signs.clone());
                    watch = Some(Watch { holder: holder.clone(), signs, since, alive: !first });
                    if first && terms.wait.is_some() {
                        let note = format!("{} has the lock of {}; waiting", holder.phrase(), self.project);
                        terms.reporter.report(&Event::Note(&note));
                    }
                    Duration::ZERO
                }
            };
            let alive = watch.as_ref().is_some_and(|watch| watch.alive);
            match holder.lives() {
                Some(false) => self.take_over(&holder, &signs, "whose process is gone", terms).await?,
                _ if silence >= 3 * SILENCE => return Err(self.stuck(&holder, terms.suggestion)),
                _ if silence >= SILENCE => {
                    self.take_over(&holder, &signs, "who has given no sign of life", terms).await?;
                }
                lives => {
                    let patience = terms.wait.unwrap_or(Duration::ZERO);
                    if (alive || lives == Some(true)) && begin.elapsed() >= patience {
                        return Err(self.refusal(&holder));
                    }
                }
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = terms.cancel.requested() => return Ok(()),
            }
        }
    }

    /// Posts the lock. Returns who has it now.
    async fn post(&self) -> engine::Result<Owner> {
        let begin = Moment::now();
        let holder = Owner::read(&self.notes.post(&self.name(), &self.text()).await?);
        // Posted again, it is no new sign.
        if holder.nonce == self.owner.nonce && self.sign.get().is_none() {
            self.sign.set(Some(begin));
        }
        Ok(holder)
    }

    /// Replaces the lock of a holder that is gone, unless somebody else is at that. `seen` are the signs of life that there
    /// were.
    async fn take_over(&self, gone: &Owner, seen: &[String], why: &str, terms: Terms<'_>) -> engine::Result<()> {
        let Some(rights) = self.claim(gone, |other| other.lives() == Some(false)).await? else { return Ok(()) };
        // Somebody may have been here before, and the holder may have woken up.
        let there = self.there().await?;
        if there.get(&self.name()).is_some_and(|text| is_of(text, gone)) && signs(&there) == seen {
            let note = format!("taking over the lock of {} from {}, {why}", self.project, gone.phrase());
            terms.reporter.report(&Event::Note(&note));
            for (name, _) in there.iter().rev().filter(|(_, text)| is_of(text, gone)) {
                self.notes.tear_off(name).await?;
            }
            self.post().await?;
        }
        self.waive(&rights).await
    }

    /// Gets the right to replace a holder's lock: as long as it is ours, nobody else does. Others who had it are passed over
    /// if they may be; their rights stay meanwhile, so that there is but one to replace them, too. Returns the names of all
    /// these, or none if somebody else has it.
    async fn claim(&self, gone: &Owner, may_pass: impl Fn(&Owner) -> bool) -> engine::Result<Option<Vec<String>>> {
        let mut right = right(self.project, gone);
        let mut rights = Vec::new();
        loop {
            let first = Owner::read(&self.notes.post(&right, &self.text()).await?);
            rights.push(right.clone());
            if first.nonce == self.owner.nonce {
                return Ok(Some(rights));
            }
            if !may_pass(&first) {
                return Ok(None);
            }
            right = format!("{right}.{}", short(&first.nonce));
        }
    }

    /// Ends [`Lock::claim`].
    async fn waive(&self, rights: &[String]) -> engine::Result<()> {
        for right in rights.iter().rev() {
            self.notes.tear_off(right).await?;
        }
        Ok(())
    }

    /// Who holds it: this run.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Does some work, and gives signs of life meanwhile. Should the lock be found to be somebody else's, the work is
    /// dropped; then fails with who that is, if anybody.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> Result<T, Option<Owner>> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                biased;
                outcome = self.while_sure(work.as_mut()) => if let Some(outcome) = outcome {
                    return Ok(outcome);
                },
                () = sleep(BEAT) => {}
            }
            let mut beat = pin!(self.beat());
            let beaten = tokio::select! {
                biased;
                beaten = &mut beat => beaten,
                Some(outcome) = self.while_sure(work.as_mut()) => {
                    // What has been sent may be carried out when nobody waits for it any more, and so after the lock
                    // was given back.
                    let _ = timeout(BEAT, beat).await;
                    return Ok(outcome);
                }
            };
            match beaten {
                Ok(None) => {}
                Ok(Some(other)) => return Err(other),
                Err(_) if self.is_sure() => {}
                // Without an engine there is nothing to lose: nobody can change anything. The work gets a moment to find
                // that out by itself, and to end.
                Err(_) => {
                    if let Ok(outcome) = timeout(LOOK, work.as_mut()).await {
                        return Ok(outcome);
                    }
                }
            }
        }
    }

    /// Does some work as long as nobody can have taken the lock over; then returns none. The clock is looked at before each
    /// step, as this process may just have been paused.
    async fn while_sure<T>(&self, mut work: Pin<&mut impl Future<Output = T>>) -> Option<T> {
        poll_fn(|context| if self.is_sure() { work.as_mut().poll(context).map(Some) } else { Poll::Ready(None) }).await
    }

    /// Whether nobody can have taken the lock over, as others wait longer before they do.
    fn is_sure(&self) -> bool {
        self.sign.get().is_some_and(|sign| sign.elapsed() < SILENCE)
    }

    /// A sign of life; returns the holder if the lock is not ours any more.
    async fn beat(&self) -> engine::Result<Option<Option<Owner>>> {
        let begin = Moment::now();
        self.beats.set(self.beats.get() + 1);
        let beat = format!("{}.beat.{}.{}", self.name(), short(&self.owner.nonce), self.beats.get());
        let posted = self.notes.post(&beat, &self.text()).await;
        if posted.as_ref().is_err_and(|error| error.kind == ErrorKind::Unreachable) {
            return posted.map(|_| None);
        }
        // An engine whose disk is full takes no beat, and tells all the same whose the lock is.
        let there = self.there().await?;
        if let Err(other) = self.check(&there) {
            return Ok(Some(other));
        }
        posted?;
        self.sign.set(Some(begin));
        let own = there.iter().filter(|(_, text)| is_of(text, &self.owner));
        for (old, _) in own.filter(|(name, _)| **name != beat && **name != self.name()) {
            self.notes.tear_off(old).await?;
        }
        Ok(None)
    }

    /// Fails if the lock is not ours, with who has it, or if somebody is just replacing it.
    fn check(&self, there: &BTreeMap<String, Text>) -> Result<(), Option<Owner>> {
        let holder = there.get(&self.name());
        if !holder.is_some_and(|text| is_of(text, &self.owner)) {
            return Err(holder.map(Owner::read));
        }
        rights(there, self.project, &self.owner).last().map_or(Ok(()), |other| Err(Some(other)))
    }

    /// Gives the lock back, if it is still ours, with all that we have posted. What cannot be taken away, others will take
    /// over.
    pub async fn release(&self) {
        for _ in 0..ATTEMPTS {
            // Looked at before each attempt: by then, another run may have posted a lock of the same name.
            let outcome = match self.there().await {
                Ok(there) => self.tear_off_own(&there).await,
                // It was waited for.
                Err(error) if error.kind == ErrorKind::Unreachable => {
                    return tracing::debug!("lock of {}: {error}", self.project);
                }
                Err(error) => Err(error),
            };
            match outcome {
                Ok(()) => return,
                Err(error) => tracing::debug!("lock of {}: {error}", self.project),
            }
        }
    }

    /// Takes away what is ours of all that is there, and beats that mean nothing: whoever holds the lock is the only one
    /// whose beats anybody looks at. One may be left of a run that was cut off, and carried out after it was taken over.
    async fn tear_off_own(&self, there: &BTreeMap<String, Text>) -> engine::Result<()> {
        let is_ours = there.get(&self.name()).is_some_and(|text| is_of(text, &self.owner));
        let goes = |name: &str, text: &Text| is_of(text, &self.owner) || (is_ours && is_beat(name));
        // The lock has the shortest name and goes last.
        for (name, _) in there.iter().rev().filter(|(name, text)| goes(name, text)) {
            self.notes.tear_off(name).await?;
        }
        Ok(())
    }

    /// What the holder of a lock, whoever it is, changes to show that it is at work.
    async fn signs(&self) -> engine::Result<Vec<String>> {
        Ok(signs(&self.there().await?))
    }

    /// All notes about the project's lock, by name.
    async fn there(&self) -> engine::Result<BTreeMap<String, Text>> {
        self.notes.notes(PROJECT, self.project.as_str()).await
    }

    fn refusal(&self, holder: &Owner) -> Failure {
        let error = anyhow!("{} is being changed by {}", self.project, holder.phrase());
        Failure::new(Kind::Locked, error)
            .hint("Nothing has changed. Wait until it is done, or let kerek wait: `--lock-wait 10m`.")
    }

    /// Somebody who was to replace the lock gives no sign of life either.
    fn stuck(&self, holder: &Owner, suggestion: &Suggestion) -> Failure {
        let error = anyhow!("{} is locked by {}, and cannot be taken over", self.project, holder.phrase());
        Failure::new(Kind::Locked, error).hint(format!(
            "Nothing has changed. If nobody is changing it, remove the lock: {}",
            suggestion.on_engine("unlock", &[self.project.as_str()])
        ))
    }

    fn name(&self) -> String {
        name(self.project)
    }

    fn text(&self) -> Text {
        let project = [(PROJECT.to_owned(), self.project.to_string())];
        self.owner.text().into_iter().chain(project).collect()
    }
}

/// The failure of a run whose lock has gone to somebody else, or was removed.
#[must_use]
pub fn lost(project: &ProjectName, other: Option<&Owner>) -> Failure {
    let by = other.map_or_else(|| "was removed".to_owned(), |other| format!("is now held by {}", other.phrase()));
    Failure::new(Kind::Locked, anyhow!("stopped in the middle of things, as the lock of {project} {by}"))
        .hint("What is there serves on as it is. When the other run is done, run the same command again.")
}

/// Who holds a project's lock, and then those who are about to replace it; nobody if it is free.
pub async fn holders(notes: &impl Notes, project: &ProjectName) -> engine::Result<Vec<Owner>> {
    let there = notes.notes(PROJECT, project.as_str()).await?;
    let Some(holder) = there.get(&name(project)).map(Owner::read) else { return Ok(Vec::new()) };
    let others = rights(&there, project, &holder);
    Ok(iter::once(holder.clone()).chain(others).collect())
}

/// Removes a project's lock, and all that belongs to it, from those who were seen to hold it and to be about to replace it.
/// Returns false if others have to do with it by now: then nothing is removed.
///
/// With the right to replace the lock, nobody else can take it over in between. What is left is a holder that gives it back
/// by itself between the look and the removal, which engines only do by name, and another run that gets it at once.
pub async fn remove(notes: &impl Notes, project: &ProjectName, seen: &[Owner]) -> engine::Result<bool> {
    let Some(holder) = seen.first() else { return Ok(false) };
    let lock = Lock::of(notes, project, Owner::this("unlock"));
    let was_seen = |other: &Owner| seen.iter().any(|owner| owner.nonce == other.nonce);
    let Some(rights) = lock.claim(holder, was_seen).await? else { return Ok(false) };
    let there = lock.there().await?;
    let is_held = there.get(&lock.name()).is_some_and(|text| is_of(text, holder));
    if is_held {
        // The lock first: it is what may be another one the later it is.
        lock.notes.tear_off(&lock.name()).await?;
        for name in there.keys().filter(|name| **name != lock.name() && !rights.contains(name)) {
            notes.tear_off(name).await?;
        }
    }
    lock.waive(&rights).await?;
    Ok(is_held)
}

/// Removes what may be left of a lock that is gone. If there is one by now, all is left to its holder.
pub async fn clear_up(notes: &impl Notes, project: &ProjectName) -> engine::Result<()> {
    let there = notes.notes(PROJECT, project.as_str()).await?;
    if !there.contains_key(&name(project)) {
        for name in there.keys() {
            notes.tear_off(name).await?;
        }
    }
    Ok(())
}

/// What the note is called that is the lock. All others about it begin with this.
fn name(project: &ProjectName) -> String {
    format!("kerek-lock-{project}")
}

/// What the note is called that is the right to replace a holder's lock. If several had it, the names go on from there.
fn right(project: &ProjectName, gone: &Owner) -> String {
    format!("{}.after.{}", name(project), short(&gone.nonce))
}

/// Who has the right to replace a holder's lock, the last one in the end.
fn rights(there: &BTreeMap<String, Text>, project: &ProjectName, holder: &Owner) -> impl Iterator<Item = Owner> {
    let right = right(project, holder);
    there.iter().filter(move |(name, _)| name.starts_with(&right)).map(|(_, text)| Owner::read(text))
}

/// What holders, whoever they are, change to show that they are at work.
fn signs(there: &BTreeMap<String, Text>) -> Vec<String> {
    there.keys().filter(|name| is_beat(name)).cloned().collect()
}

fn is_beat(name: &str) -> bool {
    name.contains(".beat.")
}

/// Whether a run has posted a note.
fn is_of(text: &Text, owner: &Owner) -> bool {
    Owner::read(text).nonce == owner.nonce
}

/// What is known of a holder.
struct Watch {
    holder: Owner,
    signs: Vec<String>,
    /// When it gave the last sign of life.
    since: Instant,
    /// Whether it has given any.
    alive: bool,
}

impl Watch {
    /// Compares with what there was; returns for how long nothing has changed.
    fn see(&mut self, signs: &[String]) -> Duration {
        if self.signs != signs {
            (self.signs, self.since, self.alive) = (signs.to_vec(), Instant::now(), true);
        }
        self.since.elapsed()
    }
}

/// Enough to tell holders apart, and harmless as part of a name whatever somebody has written.
fn short(nonce: &str) -> String {
    nonce.chars().filter(char::is_ascii_alphanumeric).take(12).collect()
}

#[cfg(test)]
mod tests;
