//! Options on what is asked for while a deploy goes on.

use clap::Args;

use super::values;
use crate::probe::Url;

const PROBE: &str = "Probe options";

/// What to ask for meanwhile, as users would.
#[derive(Args, Clone, Debug)]
pub struct ProbeOptions {
    /// Ask for URL all the time, and tell how many requests failed before, during and after
    ///
    /// From this machine, each time on a new connection. A status of 400 or more is a failure, and so is no answer
    /// within 10 seconds.
    #[arg(long, value_name = "URL", value_parser = values::url, help_heading = PROBE)]
    pub probe: Option<Url>,

    /// Ask so many times a second
    #[arg(long, value_name = "N", default_value_t = 10, requires = "probe", help_heading = PROBE)]
    #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub probe_rate: u32,

    /// Take a replica back if more requests than this have failed since the one before
    ///
    /// It then counts as bad, so that `failure_action` says what becomes of the others. What never answered before is not
    /// counted. Without it, failed requests are told and nothing more.
    #[arg(long, value_name = "N", requires = "probe", help_heading = PROBE)]
    #[arg(allow_negative_numbers = true)]
    pub probe_failures: Option<usize>,

    /// Ask from the engine's host, over SSH: its `localhost` is meant by the URL
    #[arg(long, requires = "probe", help_heading = PROBE)]
    pub probe_from_host: bool,
}
