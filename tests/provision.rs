//! Bare hosts become container hosts: with either engine, for root and for others, on each release; whatever gets in
//! between; or not at all, and then at once and without a trace.

mod by_hand;
mod docker;
mod faults;
mod ground;
mod matrix;
mod podman;
mod refusals;
mod running;
mod sweep;
mod ubuntu;
