//! An image registry for tests, on a port of its own: it serves what was published and takes nothing in.
//!
//! Images are those of `busybox:1.37`, as the engine has it, with another environment: so they can be told apart, and no
//! network is needed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::project::Project;

/// A registry; it ends with the test program.
pub(crate) struct Registry {
    address: String,
    /// What there is, by path.
    contents: Arc<Mutex<BTreeMap<String, Content>>>,
    /// The image that all others are made of: its configuration, and its layers.
    base: (Value, Vec<Vec<u8>>),
}

#[derive(Clone)]
struct Content {
    kind: &'static str,
    bytes: Vec<u8>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const UNKNOWN: &[u8] = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

impl Registry {
    /// Starts a registry that is empty.
    pub(crate) fn start(project: &Project) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("should listen");
        let address = listener.local_addr().expect("should have an address").to_string();
        let contents = Arc::<Mutex<BTreeMap<String, Content>>>::default();
        let served = Arc::clone(&contents);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let contents = Arc::clone(&served);
                // A client that hangs up gets no answer.
                thread::spawn(move || drop(answer(&stream, &contents)));
            }
        });
        Self { address, contents, base: base(project) }
    }

    /// The full name of an image, given as `name:tag`.
    pub(crate) fn name(&self, image: &str) -> String {
        format!("{}/{image}", self.address)
    }

    /// Gives the name to an image with the variable `VERSION` and the given label.
    pub(crate) fn publish(&self, image: &str, version: &str, (label, value): (&str, &str)) {
        let (name, tag) = image.split_once(':').expect("should have a tag");
        let (mut config, layers) = self.base.clone();
        config["config"]["Env"] = json!(["PATH=/bin", format!("VERSION={version}")]);
        config["config"]["Labels"] = json!({ label: value });
        let layers: Vec<_> = layers.into_iter().map(|layer| self.put_blob(name, LAYER, layer)).collect();
        let config = self.put_blob(name, CONFIG, config.to_string().into_bytes());
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers });
        let manifest = manifest.to_string().into_bytes();
        for reference in [tag, &digest(&manifest)] {
            self.put(format!("/v2/{name}/manifests/{reference}"), MANIFEST, manifest.clone());
        }
    }

    /// Forgets all images.
    pub(crate) fn clear(&self) {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put_blob(&self, name: &str, kind: &'static str, bytes: Vec<u8>) -> Value {
        let digest = digest(&bytes);
        let descriptor = json!({ "mediaType": kind, "digest": digest, "size": bytes.len() });
        self.put(format!("/v2/{name}/blobs/{digest}"), "application/octet-stream", bytes);
        descriptor
    }

    fn put(&self, path: String, kind: &'static str, bytes: Vec<u8>) {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner).insert(path, Content { kind, bytes });
    }
}

/// Takes an image apart as the engine saves it.
fn base(project: &Project) -> (Value, Vec<Vec<u8>>) {
    let archive = project.path().join("base.tar");
    project.docker(&["save", "--output", "base.tar", "busybox:1.37"]).success();
    let file = std::fs::File::open(&archive).expect("should open the archive");
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(file).entries().expect("should be an archive") {
        let mut entry = entry.expect("should be whole");
        let path = entry.path().expect("should have a path").to_string_lossy().into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("should be whole");
        files.insert(path, bytes);
    }
    std::fs::remove_file(archive).expect("should remove the archive");
    let json = |path: &str| -> Value { serde_json::from_slice(&files[path]).expect("should be JSON") };
    let manifest = json("manifest.json");
    let text = |value: &Value| value.as_str().expect("should be a path").to_owned();
    let layers = manifest[0]["Layers"].as_array().expect("should have layers");
    (json(&text(&manifest[0]["Config"])), layers.iter().map(|layer| files[&text(layer)].clone()).collect())
}

fn digest(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    let digits = hash.iter().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    format!("sha256:{digits}")
}

/// Answers the one request of a connection.
fn answer(stream: &TcpStream, contents: &Mutex<BTreeMap<String, Content>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let mut words = request.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let found = contents.lock().unwrap_or_else(PoisonError::into_inner).get(path).cloned();
    let (status, content) = match found {
        Some(content) => ("200 OK", content),
        None if path == "/v2/" => ("200 OK", Content { kind: "application/json", bytes: b"{}".to_vec() }),
        None => ("404 Not Found", Content { kind: "application/json", bytes: UNKNOWN.to_vec() }),
    };
    let Content { kind, bytes } = content;
    let mut stream = stream;
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: {kind}\r\n")?;
    write!(stream, "Docker-Content-Digest: {}\r\nContent-Length: {}\r\n\r\n", digest(&bytes), bytes.len())?;
    if method != "HEAD" {
        stream.write_all(&bytes)?;
    }
    stream.flush()
}
