//! Sweeps: a deploy of a real project on a real engine, with something going wrong at one step after another.
//!
//! After each case, what has to be true then is looked at; the same command has to mend it, and once more has to find
//! nothing to do. All the while, clients in the project's network ask its services: they are the judges of whether
//! anything was lost. A few cases by default, see [`crate::support::chaos`]; `scripts/chaos.sh` tries them all.

mod gate;
mod links;
mod requests;
mod restarts;
mod rivals;
mod shop;
mod signals;
