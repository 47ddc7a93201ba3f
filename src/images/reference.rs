//! Image names as people type them: short or full, with a tag, a digest, both or neither, or an image's ID.
//!
//! A name is checked here before any engine sees it, so that what does not look like one never reaches a URL.

use std::fmt;

use super::digest::Digest;
use crate::text::escape;

/// The tag that a name without tag and digest stands for.
const DEFAULT_TAG: &str = "latest";
/// The most characters that engines take for a repository and for a tag.
const LONGEST_REPOSITORY: usize = 255;
const LONGEST_TAG: usize = 128;
/// The fewest digits of an ID that are taken for one.
const SHORTEST_ID: usize = 12;

/// The name of an image.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ImageName {
    text: String,
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl ImageName {
    /// Reads a name. The error completes the sentence "… is no image name: …".
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, digest) = match text.split_once('@') {
            None => (text, None),
            Some((rest, digest)) => {
                let digest = Digest::parse(digest).ok_or("after '@' comes sha256: and 64 hexadecimal digits")?;
                (rest, Some(digest))
            }
        };
        // A colon before the last slash belongs to a port.
        let slash = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (repository, tag) = match rest[slash..].find(':') {
            None => (rest, None),
            Some(colon) => (&rest[..slash + colon], Some(&rest[slash + colon + 1..])),
        };
        if repository == "sha256" && digest.is_none() && tag.is_some_and(|tag| Digest::from_hex(tag).is_some()) {
            let (text, repository) = (text.to_owned(), String::new());
            return Ok(Self { text, repository, tag: None, digest: None });
        }
        check_repository(repository)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        Ok(Self { text: text.to_owned(), repository: repository.to_owned(), tag: tag.map(str::to_owned), digest })
    }

    /// The name as it was typed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Repository and tag that the image is to get on the destination; `None` if the name holds no tag but a digest, or
    /// is an ID.
    #[must_use]
    pub fn tag(&self) -> Option<(&str, &str)> {
        if self.repository.is_empty() {
            return None;
        }
        match (&self.tag, &self.digest) {
            (Some(tag), _) => Some((&self.repository, tag)),
            (None, None) => Some((&self.repository, DEFAULT_TAG)),
            (None, Some(_)) => None,
        }
    }

    /// The digest in the name.
    #[must_use]
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// Whether the engine has found the image by its ID rather than by a name. `names` are those that the image has.
    #[must_use]
    pub fn is_id_of(&self, id: &str, names: &[String]) -> bool {
        if self.repository.is_empty() {
            return true;
        }
        let digits = &self.text;
        let looks_so = digits.len() >= SHORTEST_ID
            && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
            && id.strip_prefix("sha256:").unwrap_or(id).starts_with(digits.as_str());
        let full = format!("/{digits}:{DEFAULT_TAG}");
        looks_so && !names.iter().any(|name| name.ends_with(&full) || name[..] == full[1..])
    }
}

impl fmt::Display for ImageName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn check_repository(repository: &str) -> Result<(), String> {
    if repository.is_empty() {
        return Err("it is empty".to_owned());
    }
    if repository.len() > LONGEST_REPOSITORY {
        return Err(format!("it has more than {LONGEST_REPOSITORY} characters"));
    }
    let mut components = repository.split('/').peekable();
    if let Some((host, _)) = repository.split_once('/') {
        // As with Docker: what has a dot, a colon or an upper-case letter, or is `localhost`, is a registry's host.
        if host == "localhost" || host.contains(['.', ':']) || host.chars().any(|letter| letter.is_ascii_uppercase()) {
            check_host(host)?;
            components.next();
        }
    }
    components.try_for_each(check_component)
}

fn check_host(host: &str) -> Result<(), String> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (host, None),
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    let fine = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => name.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        }),
    };
    if fine && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) {
        Ok(())
    } else {
        Err(format!("{} is no host", escape(host)))
    }
}

/// Lower-case letters and digits, with single separators between them: `.`, `_`, `__` or any number of `-`.
fn check_component(component: &str) -> Result<(), String> {
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_well = |byte: Option<u8>| byte.is_some_and(is_word);
    let mut separators = component.split(|letter: char| u8::try_from(letter).is_ok_and(is_word));
    if ends_well(component.bytes().next())
        && ends_well(component.bytes().next_back())
        && separators
            .all(|separator| matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-'))
    {
        Ok(())
    } else {
        Err(format!(
            "\"{}\" does not consist of lower-case letters and digits, with '.', '_' or '-' between them",
            escape(component)
        ))
    }
}

fn check_tag(tag: &str) -> Result<(), String> {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !tag.is_empty() && tag.len() <= LONGEST_TAG && !tag.starts_with(['.', '-']) && tag.bytes().all(fine) {
        Ok(())
    } else {
        Err(format!(
            "a tag has at most {LONGEST_TAG} ASCII letters, digits, '_', '.' and '-', and begins with none of the last two"
        ))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn tag(text: &str) -> Option<(String, String)> {
        let name = ImageName::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(name.to_string(), text);
        name.tag().map(|(repository, tag)| (repository.to_owned(), tag.to_owned()))
    }

    #[test]
    fn names_have_tags_digests_both_or_neither() {
        let pair = |repository: &str, tag: &str| Some((repository.to_owned(), tag.to_owned()));
        assert_eq!(tag("web"), pair("web", "latest"));
        assert_eq!(tag("shop/web:1.2"), pair("shop/web", "1.2"));
        assert_eq!(tag("localhost:5000/web"), pair("localhost:5000/web", "latest"));
        assert_eq!(tag("[::1]:5000/a__b/c---d:X_1"), pair("[::1]:5000/a__b/c---d", "X_1"));
        assert_eq!(tag("ghcr.io/a.b/c_d"), pair("ghcr.io/a.b/c_d", "latest"));
        assert_eq!(tag(&format!("web:1@{DIGEST}")), pair("web", "1"));
        assert_eq!(tag(&format!("web@{DIGEST}")), None);
        assert_eq!(tag(DIGEST), None);
    }

    #[test]
    fn ids_are_told_from_names() {
        let id = |text: &str, names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            ImageName::parse(text).expect("a name").is_id_of(DIGEST, &names)
        };
        assert!(id(DIGEST, &["web:latest"]));
        assert!(id("e3b0c44298fc", &["web:latest"]));
        assert!(!id("e3b0c44298fc", &["docker.io/library/e3b0c44298fc:latest"]));
        assert!(!id("e3b0c44298fc", &["e3b0c44298fc:latest"]));
        assert!(!id("web", &["web:latest"]));
        assert!(!id("e3b", &[]), "too short to be sure");
    }

    #[test]
    fn refuses_what_no_engine_knows() {
        let long = "a".repeat(65536);
        for bad in [
            "",
            "-web",
            "--all",
            "Web",
            "a//b",
            "/a",
            "a/",
            "a/../b",
            "..",
            "web:",
            "web:-1",
            "web:a b",
            "web@",
            "web@x",
            "a\nb",
            "a\u{1b}[31m",
            "a b",
            "a?b",
            "a#b",
            "a%2fb",
            "ä",
            "host:/a",
            "host:99999/a",
            "a.-b.c:1/x",
            "a_-b",
            "a___b",
            "web:1:2",
            long.as_str(),
        ] {
            assert!(ImageName::parse(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_harmful_passes(text in ".{0,40}") {
            if let Ok(name) = ImageName::parse(&text) {
                let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@[]".contains(&byte);
                prop_assert!(name.as_str().bytes().all(fine));
                prop_assert!(!name.as_str().starts_with('-') && !name.as_str().contains(".."));
            }
        }

        #[test]
        fn whole_names_pass(text in "([a-z0-9]{1,9}(\\.[a-z]{2,3})(:[1-9][0-9]{0,3})?/)?[a-z0-9]{1,9}([._]|__|-{1,3})[a-z0-9]{1,9}(/[a-z0-9]{1,5}){0,2}(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,20})?") {
            prop_assert!(ImageName::parse(&text).is_ok());
        }
    }
}
