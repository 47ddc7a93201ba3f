//! A URL that can be asked for: `http` or `https`, with a host.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;
use hyper::http::uri::Scheme;

use crate::text::escape;

/// Where requests go. It holds no control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Url {
    uri: Uri,
    secure: bool,
}

impl Url {
    /// Whether TLS is spoken.
    pub(super) const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host's name or address, without the brackets of IPv6.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = self.uri.host().unwrap_or_default();
        host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
    }

    /// The port, given or usual.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.uri.port_u16().unwrap_or(if self.secure { 443 } else { 80 })
    }

    /// What the header `Host` says.
    pub(super) fn authority(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// The path with the query.
    pub(super) fn path(&self) -> &str {
        self.uri.path_and_query().map_or("/", |path| path.as_str())
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let example = "expected a URL, such as https://example.com/health";
        let uri: Uri = text.parse().map_err(|error| format!("{error}; {example}"))?;
        let secure = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTP => false,
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(other) => return Err(format!("{} is neither http nor https", escape(other.as_str()))),
            None => return Err(example.to_owned()),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("a URL with a user or a password is not asked for, as it would be shown".to_owned());
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() || uri.port_u16() == Some(0) {
            return Err(example.to_owned());
        }
        if uri.port_u16().is_none() && authority != host {
            return Err("its port is no number up to 65535".to_owned());
        }
        Ok(Self { uri, secure })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uri.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a good URL")
    }

    #[test]
    fn parts_are_found_and_defaulted() {
        let plain = url("http://shop.example");
        assert_eq!((plain.host(), plain.port(), plain.path()), ("shop.example", 80, "/"));
        let full = url("https://[::1]:8443/health?deep=1");
        assert_eq!((full.host(), full.port(), full.path()), ("::1", 8443, "/health?deep=1"));
        assert_eq!(full.authority(), "[::1]:8443");
        assert!(full.is_secure() && !plain.is_secure());
        assert_eq!(url("HTTPS://shop.example").port(), 443);
    }

    #[test]
    fn what_cannot_be_asked_for_is_refused() {
        for bad in [
            "",
            "/",
            "shop.example",
            "shop.example:80",
            "ftp://shop.example/",
            "http://",
            "http:///path",
            "http://a b/",
            "http://shop.example:0/",
            "http://shop.example:99999/",
            "http://me:secret@shop.example/",
            "http://shop.example/\u{1b}[2J",
            "http://shop\n.example/",
        ] {
            assert!(bad.parse::<Url>().is_err(), "{bad:?}");
        }
    }
}
