//! What there is on an engine's host, apart from containers. No call of the API is meant for this.
//!
//! Docker checks what a container is to mount before it looks for the container's image. So it is asked for containers of an
//! image that cannot be there: it never makes one, and its refusal tells whether a path was missing. Podman looks for the
//! image first; there, and where commands can be run on its host, a shell looks.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use hyper::StatusCode;
use serde_json::json;

use super::{Api, CONCURRENT_INSPECTIONS};
use crate::engine::Result;

/// The name of no image: its registry's top-level domain is reserved for those that do not exist.
const NO_IMAGE: &str = "kerek.invalid/none:none";
/// Docker's words.
const MISSING: &str = "bind source path does not exist";

impl Api {
    /// Paths that Docker would not mount because they are missing.
    pub(super) async fn refused_to_mount(&self, paths: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let all: Vec<_> = paths.iter().map(String::as_str).collect();
        // Mostly nothing is missing.
        if !self.refuses_to_mount(&all).await? {
            return Ok(BTreeSet::new());
        }
        stream::iter(all)
            .map(async |path| Ok(self.refuses_to_mount(&[path]).await?.then(|| path.to_owned())))
            .buffer_unordered(CONCURRENT_INSPECTIONS)
            .try_filter_map(async |missing| Ok(missing))
            .try_collect()
            .await
    }

    async fn refuses_to_mount(&self, paths: &[&str]) -> Result<bool> {
        let mounts = paths.iter().enumerate();
        let mounts: Vec<_> = mounts
            .map(|(index, path)| json!({ "Type": "bind", "Source": path, "Target": format!("/{index}") }))
            .collect();
        let body = json!({ "Image": NO_IMAGE, "HostConfig": { "Mounts": mounts } });
        let call = "look for paths on the engine's host";
        let answer = self.http.post_json(call, &self.path("/containers/create"), &body).await?;
        Ok(answer.status == StatusCode::BAD_REQUEST && answer.message().contains(MISSING))
    }
}

/// Runs a command on an engine's host: it is given the command's words for a shell of any kind, and its input. Returns its
/// output, or what went wrong.
pub type Run = dyn Fn(String, String) -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync;

/// A shell on an engine's host.
#[derive(Clone)]
pub struct Shell {
    /// What makes a command one of the engine's user, such as `sudo -n `; empty if it is anyway.
    pub prefix: &'static str,
    /// Runs a command.
    pub run: Arc<Run>,
}

impl fmt::Debug for Shell {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Shell")
    }
}

/// Tells the numbers of lines of its input that are paths of something. What is in a folder that may not be looked into
/// counts as there.
///
/// It is one word for any shell: no single quote, `!`, backslash or second line.
const SCRIPT: &str = r#"
n=0;
while IFS= read -r p; do
n=$((n+1));
q=$p;
until [ -z "$q" ] || [ -e "$q" ]; do q=${q%/*}; done;
if [ "$q" = "$p" ]; then echo "kerek there $n"; elif [ -x "${q:-/}" ]; then :; else echo "kerek there $n"; fi;
done;
echo "kerek end"
"#;

impl Shell {
    pub(super) async fn lacking(&self, paths: &BTreeSet<String>) -> BTreeSet<String> {
        // Nobody has a path of two lines; Podman itself would not take it.
        let paths: Vec<_> = paths.iter().filter(|path| !path.contains('\n')).collect();
        let input: String = paths.iter().flat_map(|path| [path.as_str(), "\n"]).collect();
        let command = format!("{}sh -c '{}'", self.prefix, SCRIPT.trim().replace('\n', " "));
        let output = match (self.run)(command, input).await {
            Ok(output) => output,
            Err(error) => {
                tracing::debug!("cannot look for paths: {error}");
                return BTreeSet::new();
            }
        };
        let text = String::from_utf8_lossy(&output);
        let lines: BTreeSet<_> = text.lines().filter_map(|line| line.trim_end().strip_prefix("kerek ")).collect();
        if !lines.contains("end") {
            tracing::debug!("cannot look for paths: half an answer");
            return BTreeSet::new();
        }
        let is_there = |number: usize| lines.contains(format!("there {number}").as_str());
        let missing = paths.iter().enumerate().filter(|(index, _)| !is_there(index + 1));
        missing.map(|(_, path)| (*path).clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Runs commands here, through a shell.
    fn here() -> Shell {
        let run: Box<Run> = Box::new(|command, input| {
            Box::pin(async move {
                let failed = |error: std::io::Error| error.to_string();
                let (mut running, mut streams) =
                    crate::process::Command::new("sh").arg("-c").arg(command).start().map_err(|it| it.to_string())?;
                streams.stdin.write_all(input.as_bytes()).await.map_err(failed)?;
                drop(streams.stdin);
                let mut output = Vec::new();
                tokio::io::AsyncReadExt::read_to_end(&mut streams.stdout, &mut output).await.map_err(failed)?;
                let _ = running.wait().await;
                Ok(output)
            })
        });
        Shell { prefix: "", run: run.into() }
    }

    #[tokio::test]
    async fn a_shell_tells_what_is_missing() {
        let folder = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| folder.path().join(name).display().to_string();
        std::fs::write(path("it's \"$HOME\" \\n here"), "").expect("should write");
        let missing = BTreeSet::from([path("missing"), path("no/folder/x"), "/kerek-missing".to_owned()]);
        let there = [path("it's \"$HOME\" \\n here"), path(""), "/".to_owned(), path("two\nlines")];
        let all = missing.iter().cloned().chain(there).collect();
        assert_eq!(here().lacking(&all).await, missing);
    }

    #[tokio::test]
    async fn without_an_answer_nothing_is_missing() {
        for answer in [Err("no session".to_owned()), Ok(b"".to_vec()), Ok(b"kerek there 1\n".to_vec())] {
            let run: Box<Run> = Box::new(move |_, _| Box::pin(std::future::ready(answer.clone())));
            let shell = Shell { prefix: "", run: run.into() };
            assert_eq!(shell.lacking(&["/x".to_owned(), "/y".to_owned()].into()).await, BTreeSet::new());
        }
    }
}
