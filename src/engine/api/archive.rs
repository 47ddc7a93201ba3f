//! Files as engines take and give them: tar archives, and a header that tells about a path.
//!
//! Archives are made and read in memory: what travels this way are configuration files and secrets. What an engine
//! sends is bounded by its caller, and nothing of it is ever unpacked anywhere.

use std::io::Read;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::HeaderMap;
use serde::Deserialize;

use super::wire;
use crate::engine::{Content, File};

/// The header by which engines tell what is at a path: JSON in Base64.
const STAT_HEADER: &str = "x-docker-container-path-stat";
/// The bits in a mode, as Go counts them, of what is no regular file.
const NOT_REGULAR: u32 = 0b1000_1111_0010_1000 << 16;
/// Bytes that an archive of one file has besides its content: headers, long names, padding, the end.
pub(super) const OVERHEAD: usize = 64 << 10;

/// What is at a path in a container.
#[derive(Debug)]
pub(super) struct Stat {
    pub(super) size: u64,
    pub(super) modified: SystemTime,
    pub(super) regular: bool,
}

impl Stat {
    /// Reads it from an answer's headers; `None` if it is missing or unreadable.
    pub(super) fn from_headers(headers: &HeaderMap) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire {
            size: u64,
            mode: u32,
            mtime: String,
        }

        let json = STANDARD.decode(headers.get(STAT_HEADER)?.as_bytes()).ok()?;
        let Wire { size, mode, mtime } = serde_json::from_slice(&json).ok()?;
        Some(Self { size, modified: wire::time(&mtime)?, regular: mode & NOT_REGULAR == 0 })
    }
}

/// The archive of one file, its path relative to the root.
///
/// Times have whole seconds in it, as in the archives that Compose makes: so a file that was copied in can be told from
/// one that was written to in the container.
pub(super) fn pack(file: &File) -> std::io::Result<Vec<u8>> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let content = file.content.0.as_slice();
    let mut header = tar::Header::new_gnu();
    header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
    header.set_mode(file.mode);
    header.set_uid(file.uid.unwrap_or(0).into());
    header.set_gid(file.gid.unwrap_or(0).into());
    header.set_mtime(now.as_secs());
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, file.path.trim_start_matches('/'), content)?;
    archive.into_inner()
}

/// The content of the first entry of an archive; `None` if it is no regular file, or more than `limit` bytes.
pub(super) fn unpack(archive: &[u8], limit: usize) -> std::io::Result<Option<Content>> {
    let mut archive = tar::Archive::new(archive);
    let Some(entry) = archive.entries()?.next() else { return Ok(None) };
    let entry = entry?;
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    if !entry.header().entry_type().is_file() || entry.size() > limit {
        return Ok(None);
    }
    let size = entry.size();
    let mut content = Vec::new();
    entry.take(limit).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length == size) {
        Ok(Some(Content(content)))
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the archive is cut short"))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, content: &[u8]) -> File {
        File { path: path.to_owned(), content: Content(content.to_vec()), mode: 0o440, uid: Some(12), gid: None }
    }

    #[test]
    fn packs_what_it_unpacks() {
        let long = format!("/{}/x", "long/".repeat(60));
        for path in ["/run/secrets/key", long.as_str()] {
            let archive = pack(&file(path, b"content")).expect("an archive");
            assert_eq!(unpack(&archive, 7).expect("readable"), Some(Content(b"content".to_vec())));
            assert_eq!(unpack(&archive, 6).expect("readable"), None, "too much");
            let mut entries = tar::Archive::new(archive.as_slice());
            let entry = entries.entries().expect("entries").next().expect("one").expect("readable");
            assert_eq!(entry.path().expect("a path").to_str(), path.strip_prefix('/'));
            let header = entry.header();
            assert_eq!((header.mode().ok(), header.uid().ok(), header.gid().ok()), (Some(0o440), Some(12), Some(0)));
        }
    }

    #[test]
    fn refuses_paths_that_lead_elsewhere() {
        for path in ["/etc/../../x", "", "/"] {
            assert!(pack(&file(path, b"x")).is_err(), "{path}");
        }
    }

    #[test]
    fn reads_what_engines_tell_about_a_path() {
        let stat = |json: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(STAT_HEADER, STANDARD.encode(json).parse().expect("a header"));
            Stat::from_headers(&headers)
        };
        let json = r#"{"name":"f","size":6,"mode":420,"mtime":"1970-01-01T00:00:02.5Z","linkTarget":""}"#;
        let regular = stat(json).expect("readable");
        assert_eq!((regular.size, regular.regular), (6, true));
        assert_eq!(regular.modified, SystemTime::UNIX_EPOCH + Duration::from_millis(2_500));
        for mode in [2_147_484_141_u32, 134_218_239, 33_554_852, 67_109_284] {
            let other = stat(&json.replace("420", &mode.to_string())).expect("readable");
            assert!(!other.regular, "folder, link, pipe, device: {mode}");
        }
        for wrong in ["", "{}", &json.replace("00:02", "99:99"), &json.replace("420", "-1")] {
            assert!(stat(wrong).is_none(), "{wrong}");
        }
        assert!(Stat::from_headers(&HeaderMap::new()).is_none());
    }

    proptest! {
        #[test]
        fn survives_any_archive(noise: Vec<u8>, cut in 0..2048_usize) {
            let _ = unpack(&noise, 100);
            let archive = pack(&file("/x", b"content")).expect("an archive");
            let cut = cut.min(archive.len());
            if let Ok(Some(content)) = unpack(&archive[..cut], 100) {
                prop_assert_eq!(content, Content(b"content".to_vec()));
            }
        }
    }
}
