//! Remembers whether a run has got as far as containers that serve.

use std::cell::Cell;

use super::{Event, Reporter};

/// Passes events on, and watches out for those of changes.
#[derive(Debug)]
pub struct Touched<'a> {
    reporter: &'a dyn Reporter,
    touched: Cell<bool>,
}

impl<'a> Touched<'a> {
    /// Nothing has been touched yet.
    #[must_use]
    pub fn not_yet(reporter: &'a dyn Reporter) -> Self {
        Self { reporter, touched: Cell::new(false) }
    }

    /// Whether anything that serves has been touched, perhaps.
    #[must_use]
    pub fn anything(&self) -> bool {
        self.touched.get()
    }
}

impl Reporter for Touched<'_> {
    fn report(&self, event: &Event<'_>) {
        let harmless = match event {
            Event::Planned { .. }
            | Event::ComposeSaid(_)
            | Event::Creating { .. }
            | Event::Transfer(_)
            | Event::Probing { .. }
            | Event::Probed(_)
            | Event::Note(_)
            | Event::Warning(_) => true,
            Event::ServiceBegun { .. }
            | Event::Step { .. }
            | Event::ServiceDone { .. }
            | Event::RollingBack { .. }
            | Event::Evidence { .. }
            | Event::OrphanRemoved { .. }
            | Event::Prepared { .. }
            | Event::Finished { .. } => false,
        };
        if !harmless {
            self.touched.set(true);
        }
        self.reporter.report(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::Order;
    use crate::names::ServiceName;
    use crate::report::Silent;

    #[test]
    fn remembers_the_first_turn() {
        let touched = Touched::not_yet(&Silent);
        touched.report(&Event::ComposeSaid("web Pulling"));
        touched.report(&Event::Creating { containers: 1 });
        assert!(!touched.anything());
        touched.report(&Event::ServiceBegun { service: &ServiceName::new("web"), slots: 1, order: Order::StopFirst });
        touched.report(&Event::Warning("words"));
        assert!(touched.anything());
    }
}
