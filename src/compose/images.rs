//! Where the images of services come from, and what the user says about building and pulling them.
//!
//! Compose brings in images only when it creates containers. Whether new ones are wanted for a service that has all its
//! containers is decided here, by the rules of `docker compose up`; nothing here does I/O.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::duration;
use crate::names::{ImageId, ServiceName};

/// A service's `build` and `pull_policy`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Source {
    /// Whether Compose can build the image.
    pub builds: bool,
    /// When the image is brought in.
    pub policy: Policy,
}

/// When an image is brought in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Policy {
    /// When the engine has none of the name.
    #[default]
    Missing,
    /// Pulled each time.
    Always,
    /// Not at all.
    Never,
    /// Neither built nor pulled, since it has been brought here beforehand. What has come is wanted.
    Delivered,
    /// Built each time.
    Build,
    /// Pulled when the engine's has had its name for so long.
    Every(Duration),
}

impl Policy {
    /// Reads `pull_policy`; `None` if it is nothing known.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Some(match text {
            "" | "missing" | "if_not_present" => Self::Missing,
            "always" => Self::Always,
            "never" => Self::Never,
            "build" => Self::Build,
            "daily" => Self::Every(DAY),
            "weekly" => Self::Every(7 * DAY),
            _ => Self::Every(duration::parse(text.strip_prefix("every_")?)?),
        })
    }

    /// The value of Compose's `--pull`, where there is one.
    pub(super) const fn as_option(self) -> Option<&'static str> {
        match self {
            Self::Always => Some("always"),
            Self::Missing => Some("missing"),
            Self::Never | Self::Delivered => Some("never"),
            Self::Build | Self::Every(_) => None,
        }
    }
}

/// What the user says about images on the command line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// `--build`.
    pub build: bool,
    /// `--no-build`.
    pub no_build: bool,
    /// `--pull`, which goes before what the files say.
    pub pull: Option<Policy>,
    /// `--quiet-pull`.
    pub quiet_pull: bool,
    /// What names of images stand for in this deployment, whatever they stand for on the engine.
    pub pinned: BTreeMap<String, ImageId>,
}

impl Options {
    /// For a deployment whose images have been brought to the engine beforehand.
    #[must_use]
    pub fn delivered() -> Self {
        Self { no_build: true, pull: Some(Policy::Delivered), ..Self::default() }
    }

    /// For a deployment of images that are there, and known by their IDs.
    #[must_use]
    pub fn pinned(pinned: BTreeMap<String, ImageId>) -> Self {
        Self { pinned, ..Self::delivered() }
    }

    /// The policy that holds for a service.
    #[must_use]
    pub fn policy(&self, source: &Source) -> Policy {
        let policy = match self.pull {
            _ if self.build && source.builds => Policy::Build,
            Some(policy) => policy,
            None => source.policy,
        };
        // What must not or cannot be built is used as it is.
        if policy == Policy::Build && (self.no_build || !source.builds) { Policy::Missing } else { policy }
    }

    /// Whether a service is to be updated because its image is another one now: somebody has asked for new images.
    #[must_use]
    pub fn asks_for_new(&self, source: &Source) -> bool {
        match self.policy(source) {
            Policy::Always | Policy::Build | Policy::Every(_) | Policy::Delivered => true,
            Policy::Missing => self.pull.is_some(),
            Policy::Never => false,
        }
    }
}

/// Images to bring in, by the services that they are of.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Refresh {
    /// To be built.
    pub build: BTreeSet<ServiceName>,
    /// To be pulled.
    pub pull: BTreeSet<ServiceName>,
    /// To be pulled if that is possible: those that can be built.
    pub try_pull: BTreeSet<ServiceName>,
    /// Whether pulling is kept quiet.
    pub quiet_pull: bool,
}

impl Refresh {
    /// Whether there is nothing to bring in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.build.is_empty() && self.pull.is_empty() && self.try_pull.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUILT: Source = Source { builds: true, policy: Policy::Missing };
    const PULLED: Source = Source { builds: false, policy: Policy::Missing };

    #[test]
    fn policies_are_those_of_compose() {
        let hours = |hours: u64| Some(Policy::Every(Duration::from_secs(hours * 3600)));
        for (text, policy) in [
            ("", Some(Policy::Missing)),
            ("if_not_present", Some(Policy::Missing)),
            ("always", Some(Policy::Always)),
            ("daily", hours(24)),
            ("weekly", hours(7 * 24)),
            ("every_12h", hours(12)),
            ("every_1w2d", hours(9 * 24)),
            ("every_", None),
            ("sometimes", None),
        ] {
            assert_eq!(Policy::parse(text), policy, "{text}");
        }
    }

    #[test]
    fn the_command_line_goes_before_the_files() {
        let always = Source { policy: Policy::Always, ..BUILT };
        let options = |build, no_build, pull| Options { build, no_build, pull, ..Options::default() };
        for (options, source, policy, asks) in [
            (options(false, false, None), &PULLED, Policy::Missing, false),
            (options(false, false, None), &always, Policy::Always, true),
            (options(false, false, Some(Policy::Never)), &always, Policy::Never, false),
            (options(false, false, Some(Policy::Missing)), &always, Policy::Missing, true),
            (options(true, false, None), &always, Policy::Build, true),
            (options(true, false, None), &PULLED, Policy::Missing, false),
            (options(true, false, Some(Policy::Always)), &BUILT, Policy::Build, true),
            (options(true, false, Some(Policy::Always)), &PULLED, Policy::Always, true),
            (Options::delivered(), &always, Policy::Delivered, true),
            (options(false, true, None), &Source { policy: Policy::Build, ..BUILT }, Policy::Missing, false),
        ] {
            assert_eq!(
                (options.policy(source), options.asks_for_new(source)),
                (policy, asks),
                "{options:?} {source:?}"
            );
        }
    }
}
