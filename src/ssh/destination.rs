//! Which host is meant, and as whom: `[ssh://][USER@]HOST[:PORT][/SOCKET]`.
//!
//! A [`Destination`] is safe to hand on. No part of it is empty, begins with `-` (an option for ssh), or has a character
//! that a shell would heed: ssh puts host and user into commands of the user's config (`ProxyCommand … %h`, `Match
//! exec`), which it gives to a shell. What is allowed is listed, not what is forbidden.
//!
//! Read as the docker command reads `ssh://` addresses: `%40` stands for `@`, the last `@` ends the user, IPv6 addresses
//! are in brackets with `%25` before a zone, and there is neither password nor query nor fragment. Docker lets pass what
//! ssh then stumbles over (ports such as 99999, an empty user, a path of just `/`); here these are errors, except that a
//! lone `/` at the end means nothing.

use std::fmt;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::path::Path;
use std::str::FromStr;

use percent_encoding::percent_decode_str;

/// Bytes that a host or user may have: longer than any that exists, shorter than what makes programs stumble.
const LONGEST_NAME: usize = 255;
/// Bytes that the path of a unix socket may have, on any system.
const LONGEST_SOCKET: usize = 103;

/// A host to reach over SSH: an address, a DNS name, or an alias of the SSH config.
///
/// Its text form parses back to the same value, and docker understands it, too.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Destination {
    user: Option<String>,
    host: String,
    port: Option<NonZeroU16>,
    socket: Option<String>,
}

impl Destination {
    /// The user to log in as; `None` leaves it to the SSH config.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The host as ssh takes it: IPv6 addresses without brackets, a zone after `%`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; `None` leaves it to the SSH config.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port.map(NonZeroU16::get)
    }

    /// The absolute path of the engine's socket on that host; `None` leaves it to the engine.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        self.socket.as_deref().map(Path::new)
    }

    /// Whether this is just the word `localhost`, which means this machine without any SSH.
    #[must_use]
    pub fn is_localhost(&self) -> bool {
        self.host == "localhost" && self.user.is_none() && self.port.is_none() && self.socket.is_none()
    }
}

impl fmt::Display for Destination {
    /// `ssh://…` with every part that is there.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(formatter, "{}@", user.replace('@', "%40").replace('\\', "%5C"))?;
        }
        if self.host.contains(':') {
            write!(formatter, "[{}]", self.host.replace('%', "%25"))?;
        } else {
            formatter.write_str(&self.host)?;
        }
        if let Some(port) = self.port {
            write!(formatter, ":{port}")?;
        }
        formatter.write_str(self.socket.as_deref().unwrap_or_default())
    }
}

/// A part of a destination, as errors name it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum Part {
    User,
    Host,
    Port,
    Zone,
    Socket,
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::User => "user",
            Self::Host => "host",
            Self::Port => "port",
            Self::Zone => "zone",
            Self::Socket => "socket path",
        })
    }
}

/// What is wrong with a destination, and what to write instead. The text itself is not repeated (it may hold a
/// password): whoever shows this says where it comes from.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not an SSH address.
    #[error("the scheme must be `ssh://`, or left out")]
    Scheme,
    /// `USER:PASSWORD@HOST`.
    #[error("a password cannot be given here; use a key, or let ssh ask")]
    Password,
    /// Something after `?`.
    #[error("there must be no `?`; options for ssh belong into the SSH config")]
    Query,
    /// Something after `#`.
    #[error("there must be no `#`")]
    Fragment,
    /// Nothing where a part is announced.
    #[error("the {0} must not be empty; write [ssh://][USER@]HOST[:PORT]")]
    Empty(Part),
    /// It would pass for an option.
    #[error("the {0} must not begin with '-'")]
    Option(Part),
    /// A character that is not on the list of the part.
    #[error("the {part} must not contain {character:?}; {}", allowed(*part))]
    Character {
        /// Where it is.
        part: Part,
        /// The first such character.
        character: char,
    },
    /// Something that is no text when decoded.
    #[error("the {0} is not UTF-8")]
    Encoding(Part),
    /// More bytes than any program would take.
    #[error("the {part} is longer than {limit} bytes")]
    Long {
        /// Which one.
        part: Part,
        /// How many are allowed.
        limit: usize,
    },
    /// Not a number, or out of range.
    #[error("the port must be a number from 1 to 65535")]
    Port,
    /// Several colons outside of brackets.
    #[error("write an IPv6 address in brackets, as in [::1] or [::1]:22")]
    Brackets,
    /// Something in brackets that is no IPv6 address.
    #[error("what is in brackets must be an IPv6 address, as in [::1]")]
    Address,
    /// A path that names no file.
    #[error("the socket path must name a file, as in ssh://HOST/run/docker.sock")]
    Folder,
}

const fn allowed(part: Part) -> &'static str {
    match part {
        Part::User => "letters, digits and any of . _ - + @ \\ are fine. Give such a user as `User` in the SSH config",
        Part::Host => "letters, digits and any of . _ - + are fine. Give such a host an alias in the SSH config",
        Part::Zone => "letters, digits and any of . _ - are fine",
        Part::Port => "digits are fine",
        Part::Socket => "letters, digits and any of / . _ - + @ : , = are fine. Link the socket to such a path",
    }
}

impl FromStr for Destination {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let rest = match text.split_once("://") {
            None => text,
            Some(("ssh", rest)) => rest,
            Some(_) => return Err(Error::Scheme),
        };
        // The fragment comes last in a URL, so a `?` behind `#` is part of it.
        match rest.find(['?', '#']) {
            Some(at) if rest[at..].starts_with('#') => return Err(Error::Fragment),
            Some(_) => return Err(Error::Query),
            None => {}
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, rest)) => (Some(parse_user(user)?), rest),
            None => (None, authority),
        };
        let (host, port) = parse_host_and_port(host_and_port)?;
        Ok(Self { user, host, port, socket: parse_socket(path)? })
    }
}

fn parse_user(text: &str) -> Result<String, Error> {
    if text.contains(':') {
        return Err(Error::Password);
    }
    let user = decode(Part::User, text)?;
    check(Part::User, &user, LONGEST_NAME, "._-+@\\")?;
    // At the end it would take the meaning of what follows in a command.
    if user.ends_with('\\') {
        return Err(Error::Character { part: Part::User, character: '\\' });
    }
    Ok(user)
}

fn parse_host_and_port(text: &str) -> Result<(String, Option<NonZeroU16>), Error> {
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']').ok_or(Error::Address)?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(parse_port(port)?),
            None if rest.is_empty() => None,
            None => return Err(Error::Address),
        };
        return Ok((parse_address(address)?, port));
    }
    let (host, port) = match text.split_once(':') {
        Some((_, port)) if port.contains(':') => return Err(Error::Brackets),
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = decode(Part::Host, host)?;
    check(Part::Host, &host, LONGEST_NAME, "._-+")?;
    Ok((host, port.map(parse_port).transpose()?))
}

fn parse_address(text: &str) -> Result<String, Error> {
    // A URL escapes the `%` before a zone; people who do not write one leave it as it is.
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| Error::Address)?;
    match zone {
        None => Ok(address.to_string()),
        Some(zone) => {
            check(Part::Zone, zone, LONGEST_NAME, "._-")?;
            Ok(format!("{address}%{zone}"))
        }
    }
}

fn parse_port(text: &str) -> Result<NonZeroU16, Error> {
    if text.is_empty() {
        return Err(Error::Empty(Part::Port));
    }
    // The parser of numbers would let a `+` pass.
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::Port);
    }
    text.parse().map_err(|_| Error::Port)
}

fn parse_socket(text: &str) -> Result<Option<String>, Error> {
    if matches!(text, "" | "/") {
        return Ok(None);
    }
    let socket = decode(Part::Socket, text)?;
    check(Part::Socket, &socket, LONGEST_SOCKET, "/._-+@:,=")?;
    if matches!(socket.rsplit('/').next(), None | Some("" | "." | "..")) {
        Err(Error::Folder)
    } else {
        Ok(Some(socket))
    }
}

/// Undoes percent-encoding. A `%` that begins no code stays, to be refused as a character.
fn decode(part: Part, text: &str) -> Result<String, Error> {
    String::from_utf8(percent_decode_str(text).collect()).map_err(|_| Error::Encoding(part))
}

/// Refuses what is empty, long, looks like an option, or has anything but letters, digits and `marks`.
fn check(part: Part, text: &str, limit: usize, marks: &str) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Empty(part));
    }
    if text.len() > limit {
        return Err(Error::Long { part, limit });
    }
    if text.starts_with('-') {
        return Err(Error::Option(part));
    }
    match text.chars().find(|character| !character.is_alphanumeric() && !marks.contains(*character)) {
        Some(character) => Err(Error::Character { part, character }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
