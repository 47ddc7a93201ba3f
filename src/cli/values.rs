//! Parsers of single values. Their errors complete clap's sentence "invalid value … for …".

use std::time::Duration;

use crate::compose::duration;
use crate::images::manifest::Platform;
use crate::images::reference::ImageName;
use crate::names::ServiceName;
use crate::probe::Url;
use crate::provision::Engine;
use crate::provision::context::is_name;
use crate::ssh::destination::Destination;

/// Whole seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits {
        return Err("expected whole seconds without a unit, such as 30".to_owned());
    }
    // The engine takes seconds as a signed 32-bit number on some platforms; 68 years should do.
    text.parse::<i32>()
        .ok()
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs)
        .ok_or_else(|| format!("at most {} seconds", i32::MAX))
}

/// A duration as Compose writes it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).ok_or_else(|| "expected a duration, such as 90s, 10m or 1h30m".to_owned())
}

/// A name that Compose allows for a service. It may begin with a hyphen, as Compose lets it.
pub(super) fn service_name(text: &str) -> Result<ServiceName, String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.bytes().all(allowed) {
        Ok(ServiceName::new(text))
    } else {
        Err("service names consist of ASCII letters, digits, '.', '_' and '-'".to_owned())
    }
}

/// A word that some program may get as an argument: it must not pass for an option there.
pub(super) fn operand(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Err("must not be empty".to_owned())
    } else if text.starts_with('-') {
        Err("must not begin with '-'".to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The program of an engine that can be installed.
pub(super) fn engine(text: &str) -> Result<Engine, String> {
    Engine::of_program(text).ok_or_else(|| "must be `docker` or `podman`".to_owned())
}

/// The name of a Docker context.
pub(super) fn context(text: &str) -> Result<String, String> {
    if is_name(text) {
        Ok(text.to_owned())
    } else {
        Err("two or more ASCII letters, digits and any of _ . + - make a name, but for `default`".to_owned())
    }
}

/// The absolute path of a socket on another host.
pub(super) fn remote_socket(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        return Err("must be an absolute path".to_owned());
    }
    match format!("host{text}").parse::<Destination>() {
        Ok(destination) if destination.socket().is_some() => Ok(text.to_owned()),
        Ok(_) => Err("must name a file".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

/// An image name, or `-` for the names on standard input.
pub(super) fn image(text: &str) -> Result<String, String> {
    if text == "-" {
        return Ok(text.to_owned());
    }
    operand(text)?;
    ImageName::parse(text).map(|_| text.to_owned())
}

/// A URL that can be asked for.
pub(super) fn url(text: &str) -> Result<Url, String> {
    text.parse()
}

/// A platform, such as `linux/arm64`.
pub(super) fn platform(text: &str) -> Result<Platform, String> {
    Platform::parse(text)
        .ok_or_else(|| "expected an operating system and an architecture, such as linux/arm64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_whole_and_bounded() {
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("2147483647"), Ok(Duration::from_secs(2_147_483_647)));
        for bad in ["", "-1", "+1", "1.5", "10s", " 1", "1e3", "٣", "2147483648", "99999999999999999999"] {
            assert!(seconds(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn service_names_are_those_of_compose() {
        for good in ["web", "-web", "--", "a.b_c-9", "0"] {
            assert_eq!(service_name(good), Ok(ServiceName::new(good)));
        }
        for bad in ["", "a b", "ä", "a/b", "a\n", "a\u{1b}[31m", "a=1"] {
            assert!(service_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn remote_sockets_are_absolute_and_plain() {
        assert_eq!(remote_socket("/run/user/1000/docker.sock"), Ok("/run/user/1000/docker.sock".to_owned()));
        for bad in ["", "x", "~/x", "/", "/x/", "/x y", "/$(x)", "/x?y", "/x\n"] {
            assert!(remote_socket(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn operands_never_pass_for_options() {
        assert!(operand("user@host").is_ok());
        assert!(operand("-oProxyCommand=true").is_err());
        assert!(operand("").is_err());
        assert!(image("-").is_ok());
        assert!(image("--all").is_err());
        assert!(image("").is_err());
    }
}
