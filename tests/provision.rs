//! Bare hosts become container hosts: with either engine, for root and for others, on each release; whatever gets in
//! between; or not at all, and then at once and without a trace.

#[path = "support/mod.rs"]
#[expect(dead_code, reason = "a test needs but a part of it")]
mod support;

#[path = "remote/site.rs"]
#[expect(dead_code, reason = "it is made for other tests, too")]
mod site;

#[path = "provision/by_hand.rs"]
mod by_hand;
#[path = "provision/docker.rs"]
mod docker;
#[path = "provision/faults.rs"]
mod faults;
#[path = "provision/ground.rs"]
mod ground;
#[path = "provision/matrix.rs"]
mod matrix;
#[path = "provision/podman.rs"]
mod podman;
#[path = "provision/refusals.rs"]
mod refusals;
#[path = "provision/sweep.rs"]
mod sweep;
#[path = "provision/ubuntu.rs"]
mod ubuntu;
