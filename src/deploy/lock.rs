//! One run at a time changes a project, wherever the runs are started.
//!
//! The lock is a note on the engine: whoever posts it first holds it. While at work, the holder posts a *beat* now and
//! then, and looks whether the lock is still its own. A lock without a beat for 20 s is taken over: of those who
//! notice, again the one who posts a note first may replace it. Clocks are never compared, only what changes is. If the
//! holder was on the same machine and its process is gone, nobody waits for silence.

mod owner;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
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
        let lock = Self { notes, project, owner, beats: Cell::new(0) };
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

    /// Waits until the lock is ours, or until the waiting is to end.
    async fn wait(&self, terms: Terms<'_>) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut watch: Option<Watch> = None;
        loop {
            let there = self.notes.post(&self.name(), &self.text()).await?;
            let holder = Owner::read(&there);
            if holder.nonce == self.owner.nonce {
                return Ok(());
            }
            let signs = self.signs().await?;
            let silence = match &mut watch {
                Some(watch) if watch.holder.nonce == holder.nonce => watch.see(signs),
                _ => {
                    let first = watch.is_none();
                    watch = Some(Watch { holder: holder.clone(), signs, since: Instant::now(), alive: !first });
                    if first && terms.wait.is_some() {
                        let note = format!("{} has the lock of {}; waiting", holder.phrase(), self.project);
                        terms.reporter.report(&Event::Note(&note));
                    }
                    Duration::ZERO
                }
            };
            let alive = watch.as_ref().is_some_and(|watch| watch.alive);
            match holder.lives() {
                Some(false) => self.take_over(&holder, "whose process is gone", terms).await?,
                _ if silence >= 3 * SILENCE => return Err(self.stuck(&holder, terms.suggestion)),
                _ if silence >= SILENCE => {
                    self.take_over(&holder, "who has given no sign of life", terms).await?;
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

    /// Replaces the lock of a holder that is gone, unless somebody else is at that.
    async fn take_over(&self, gone: &Owner, why: &str, terms: Terms<'_>) -> engine::Result<()> {
        let mut rights = vec![format!("{}.after.{}", self.name(), short(&gone.nonce))];
        while let Some(right) = rights.last() {
            let first = Owner::read(&self.notes.post(right, &self.text()).await?);
            if first.nonce == self.owner.nonce {
                break;
            }
            if first.lives() != Some(false) {
                return Ok(());
            }
            // That one died at it. Its right stays, so that there is but one to replace it, too.
            rights.push(format!("{right}.{}", short(&first.nonce)));
        }
        // Somebody may have been here before. As long as the right is ours, nobody else replaces this holder's lock.
        let there = self.there().await?;
        if there.get(&self.name()).is_some_and(|text| is_of(text, gone)) {
            let note = format!("taking over the lock of {} from {}, {why}", self.project, gone.phrase());
            terms.reporter.report(&Event::Note(&note));
            for (name, _) in there.iter().rev().filter(|(_, text)| is_of(text, gone)) {
                self.notes.tear_off(name).await?;
            }
            self.notes.post(&self.name(), &self.text()).await?;
        }
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
                outcome = &mut work => return Ok(outcome),
                () = sleep(BEAT) => {}
            }
            let mut beat = pin!(self.beat());
            tokio::select! {
                biased;
                // Without an engine there is nothing to lose: nobody can change anything.
                beaten = &mut beat => if let Ok(Some(other)) = beaten {
                    return Err(other);
                },
                outcome = &mut work => {
                    // What has been sent may be carried out when nobody waits for it any more, and so after the lock
                    // was given back.
                    let _ = timeout(BEAT, beat).await;
                    return Ok(outcome);
                }
            }
        }
    }

    /// A sign of life; returns the holder if the lock is not ours any more.
    async fn beat(&self) -> engine::Result<Option<Option<Owner>>> {
        self.beats.set(self.beats.get() + 1);
        let beat = format!("{}.beat.{}.{}", self.name(), short(&self.owner.nonce), self.beats.get());
        self.notes.post(&beat, &self.text()).await?;
        let there = self.there().await?;
        let own = there.iter().filter(|(_, text)| is_of(text, &self.owner));
        for (old, _) in own.filter(|(name, _)| **name != beat && **name != self.name()) {
            self.notes.tear_off(old).await?;
        }
        let holder = there.get(&self.name());
        let is_ours = holder.is_some_and(|text| is_of(text, &self.owner));
        Ok(if is_ours { None } else { Some(holder.map(Owner::read)) })
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
        Ok(self.there().await?.into_keys().filter(|name| is_beat(name)).collect())
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

/// Removes a project's lock, and all that belongs to it, whoever holds it. Returns who held it.
pub async fn remove(notes: &impl Notes, project: &ProjectName) -> engine::Result<Option<Owner>> {
    let there = notes.notes(PROJECT, project.as_str()).await?;
    let name = name(project);
    for other in there.keys().filter(|other| **other != name) {
        notes.tear_off(other).await?;
    }
    let holder = there.get(&name).map(Owner::read);
    if holder.is_some() {
        notes.tear_off(&name).await?;
    }
    Ok(holder)
}

/// Who holds a project's lock.
pub async fn holder(notes: &impl Notes, project: &ProjectName) -> engine::Result<Option<Owner>> {
    let there = notes.notes(PROJECT, project.as_str()).await?;
    Ok(there.get(&name(project)).map(Owner::read))
}

/// What the note is called that is the lock. All others about it begin with this.
fn name(project: &ProjectName) -> String {
    format!("kerek-lock-{project}")
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
    fn see(&mut self, signs: Vec<String>) -> Duration {
        if self.signs != signs {
            (self.signs, self.since, self.alive) = (signs, Instant::now(), true);
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
