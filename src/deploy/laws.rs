//! The laws of a deployment, proven against an engine in memory that can fail, hang or vanish at any call, and against
//! users who interrupt or kill at any call.
//!
//! While a run goes on, [`invariants`] are checked after every single change; what has to be true at its end is checked
//! by [`trial`]. Six kinds of tests put runs on trial: [`sweeps`] spoil every call of some typical deployments in every
//! way, [`bad_versions`] deploy what cannot work, [`conditions`] what cannot begin, [`contents`] nothing but other
//! contents of configs and secrets, [`followers`] what lives in containers of others, and [`chance`] makes up
//! deployments, and plans, at random.

mod bad_versions;
mod chance;
mod compose;
mod conditions;
mod contents;
mod followers;
mod invariants;
mod scenario;
mod sweeps;
mod trial;
