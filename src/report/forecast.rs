//! A picture of what is planned for a service: which container is to serve when, one step after the other. How long the
//! steps will take, nobody knows: they are drawn as if all took the same time.

use std::time::{Duration, Instant};

use super::Step;
use super::timeline::Timeline;
use crate::compose::Order;
use crate::deploy::plan::{ServicePlan, Slot, Successor};
use crate::names::ContainerId;

/// What the picture is of, and the time at which it ends.
pub(super) fn of(service: &ServicePlan, name: impl Fn(&ContainerId) -> String) -> (Timeline, Instant) {
    let begin = Instant::now();
    // Before all comes a moment in which all is as it is now.
    let mut forecast = Forecast { service, begin, steps: 1, added: 0, timeline: Timeline::default() };
    let batch = service.update.parallelism.unwrap_or(usize::MAX).max(1);
    // What only goes does so when the others have come.
    let (going, coming): (Vec<_>, Vec<_>) = service.slots.iter().partition(|slot| matches!(slot, Slot::Remove(_)));
    for (index, slots) in coming.chunks(batch).chain(going.chunks(batch)).enumerate() {
        if index > 0 && !service.update.delay.is_zero() {
            forecast.steps += 1;
        }
        forecast.batch(slots, &name);
    }
    // And after it, one in which all is done.
    forecast.steps += 1;
    let end = forecast.at(0);
    (forecast.timeline, end)
}

struct Forecast<'a> {
    service: &'a ServicePlan,
    begin: Instant,
    /// Steps that are through.
    steps: u32,
    /// New containers without a name so far.
    added: usize,
    timeline: Timeline,
}

impl Forecast<'_> {
    fn at(&self, step: u32) -> Instant {
        self.begin + Duration::from_secs(1) * (self.steps + step)
    }

    /// Slots at the same time.
    fn batch(&mut self, slots: &[&Slot], name: &impl Fn(&ContainerId) -> String) {
        let mut steps = 0;
        for slot in slots {
            steps = steps.max(match slot {
                Slot::Replace(old, successor) => {
                    let old = name(old);
                    let new = match successor {
                        Successor::Adopted(new) => name(new),
                        Successor::Created => format!("{old} (new)"),
                    };
                    self.replace(&old, &new)
                }
                Slot::Add(successor) => {
                    let new = match successor {
                        Successor::Adopted(new) => name(new),
                        Successor::Created => self.another(),
                    };
                    self.come(&new, 0)
                }
                Slot::Remove(old) => self.go(&name(old), 0),
                Slot::Restart(id) => {
                    let name = name(id);
                    let gone = self.go(&name, 0);
                    self.come(&name, gone)
                }
            });
        }
        self.steps += steps;
    }

    fn another(&mut self) -> String {
        self.added += 1;
        format!("{} (new {})", self.service.service.as_str(), self.added)
    }

    /// Returns the number of steps until all is done.
    fn replace(&mut self, old: &str, new: &str) -> u32 {
        match self.service.update.order {
            Order::StartFirst => {
                // It is to be drawn first.
                self.record(old, 0, &Step::Drained { took: Duration::ZERO, busy: false });
                let come = self.come(new, 0);
                self.go(old, come)
            }
            Order::StopFirst => {
                let gone = self.go(old, 0);
                self.come(new, gone)
            }
        }
    }

    fn come(&mut self, container: &str, from: u32) -> u32 {
        self.record(container, from, &Step::Starting);
        self.record(container, from + 2, &Step::Published);
        from + 2
    }

    fn go(&mut self, container: &str, from: u32) -> u32 {
        self.record(container, from, &Step::Stopping);
        self.record(container, from + 1, &Step::Stopped { took: Duration::ZERO });
        from + 1
    }

    fn record(&mut self, container: &str, step: u32, what: &Step<'_>) {
        let at = self.at(step);
        // Time begins with the first step, whoever takes it.
        self.timeline.begin_at(self.begin);
        self.timeline.record(at, &self.service.service, container, what);
    }
}
