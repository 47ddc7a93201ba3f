//! Somebody outside who knows whether requests get lost.

use std::fmt;

use futures_util::future::LocalBoxFuture;

/// Hears of nothing, and speaks about what it sees from outside.
pub trait Witness: fmt::Debug {
    /// Says, once it has looked for long enough, whether all is well since the last bad news, and otherwise what is not: to
    /// be read after the name of the container that came in last.
    fn verdict(&self) -> LocalBoxFuture<'_, Result<(), String>>;
}
