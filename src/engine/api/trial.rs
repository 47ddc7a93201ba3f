//! Whether an engine can do more than answer: it is to make a container, which is removed again.

use serde_json::json;

use super::wire::Created;
use super::{Api, escape, unless_status};
use crate::engine::{Engine as _, Result};
use crate::names::ContainerId;
use hyper::StatusCode;

/// The name of the image and the container. One that was left is replaced.
const TRIAL: &str = "kerek-trial";
/// An archive of nothing.
const EMPTY_TAR: [u8; 1024] = [0; 1024];

impl Api {
    /// Makes an image of nothing and a container of it, and removes both. Returns the engine's version.
    pub async fn trial(&self) -> Result<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Version {
            version: String,
        }

        let call = "ask for the engine's version";
        let version: Version = self.http.get(call, &self.path("/version")).await?.accepted()?.json()?;

        let call = "make a container for a trial";
        let import = self.path(&format!("/images/create?fromSrc=-&repo={TRIAL}&tag=latest"));
        unless_status(self.http.post_archive(call, &import, EMPTY_TAR.to_vec()).await?, &[])?;
        let made = async {
            let path = self.path(&format!("/containers/create?name={TRIAL}"));
            let body = json!({ "Image": format!("{TRIAL}:latest"), "Cmd": ["/none"] });
            self.remove(&ContainerId::new(TRIAL.to_owned()), true).await?;
            let created: Created = self.http.post_json(call, &path, &body).await?.accepted()?.json()?;
            self.remove(&ContainerId::new(created.id), true).await
        };
        let made = made.await;
        let image = self.path(&format!("/images/{}?force=true", escape(&format!("{TRIAL}:latest"))));
        let removed = self.http.delete(call, &image).await;
        made?;
        unless_status(removed?, &[StatusCode::NOT_FOUND])?;
        Ok(version.version)
    }
}
