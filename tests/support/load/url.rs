//! Where requests go: the few URLs that the load generator takes, `http://HOST[:PORT][/PATH]`.

use std::str::FromStr;

/// A parsed `http` URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Url {
    /// Name or address, without the brackets of an IPv6 address.
    pub(super) host: String,
    /// 80 where the URL has none.
    pub(super) port: u16,
    /// Host and port as in the URL: the `Host` field of requests.
    pub(super) authority: String,
    /// Path and query, beginning with `/`.
    pub(super) target: String,
}

impl FromStr for Url {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        parse(url).ok_or_else(|| format!("not of the form http://HOST[:PORT][/PATH]: {url:?}"))
    }
}

fn parse(url: &str) -> Option<Url> {
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let rest = url.strip_prefix("http://")?;
    let (authority, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // A colon within brackets belongs to an IPv6 address.
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, 80),
    };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    if host.is_empty() || authority.contains(['@', '?', '#']) || target.contains('#') {
        return None;
    }
    Some(Url {
        host: host.to_owned(),
        port,
        authority: authority.to_owned(),
        target: if target.is_empty() { "/" } else { target }.to_owned(),
    })
}
