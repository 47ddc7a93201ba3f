//! The engine's API, asked directly: starting a client takes longer than the answer, and what a project looks like is asked
//! all the time.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// What any answer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for something at a socket. The answer is null if it is not JSON, and `None` if there is no such thing.
pub(crate) fn get(socket: &Path, path: &str) -> io::Result<Option<Value>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    // The old version, so that the answer comes in one piece and ends with the connection.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: engine\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(io::ErrorKind::UnexpectedEof)?;
    match head.split_whitespace().nth(1) {
        Some("404") => Ok(None),
        Some(status) if status.starts_with('2') => Ok(Some(serde_json::from_str(body).unwrap_or_default())),
        _ => Err(io::Error::other(format!("{path}: {answer}"))),
    }
}

/// The same for a list of what fits a filter such as `label` and `NAME=VALUE`, by the field that tells one from the other.
/// The path has a query.
pub(crate) fn list(socket: &Path, path: &str, field: &str, filter: (&str, &str)) -> io::Result<Vec<String>> {
    let (key, value) = filter;
    let listed = get(socket, &format!("{path}&filters=%7B%22{key}%22%3A%5B%22{}%22%5D%7D", value.replace('=', "%3D")))?;
    // Volumes come in an object.
    let listed = listed.unwrap_or_default();
    let elements = listed.as_array().or_else(|| listed["Volumes"].as_array());
    let ids = elements.into_iter().flatten().filter_map(|element| element[field].as_str());
    Ok(ids.map(str::to_owned).collect())
}
