//! Sweeps: a deploy of a real project on a real engine, with something going wrong at one step after another.
//!
//! After each case, what has to be true then is looked at; the same command has to mend it, and once more has to find
//! nothing to do. All the while, clients in the project's network ask its services: they are the judges of whether
//! anything was lost. A few cases by default, see [`sweep`]; `scripts/chaos.sh` tries them all.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "a test needs but a part of it")]
mod support;

#[path = "chaos/gate.rs"]
mod gate;
#[path = "chaos/links.rs"]
mod links;
#[path = "chaos/requests.rs"]
mod requests;
#[path = "chaos/restarts.rs"]
mod restarts;
#[path = "chaos/rivals.rs"]
mod rivals;
#[path = "chaos/shop.rs"]
mod shop;
#[path = "chaos/signals.rs"]
mod signals;
#[path = "chaos/sweep.rs"]
mod sweep;
