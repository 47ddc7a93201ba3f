//! Notes as volumes of the engine.

use std::collections::BTreeMap;

use hyper::StatusCode;
use serde_json::json;

use super::{Api, escape, unless_status, wire};
use crate::engine::Result;
use crate::engine::notes::{Notes, Text};

impl Notes for Api {
    async fn post(&self, name: &str, text: &Text) -> Result<Text> {
        let call = format!("create volume {name}");
        // Of a volume that is there already, engines return what it is.
        let body = json!({ "Name": name, "Labels": text });
        let answer = self.http.post_json(&call, &self.path("/volumes/create"), &body).await?;
        let volume: wire::Labelled = answer.accepted()?.json()?;
        Ok(volume.labels.unwrap_or_default())
    }

    async fn notes(&self, key: &str, value: &str) -> Result<BTreeMap<String, Text>> {
        let call = format!("list volumes with the label {key}={value}");
        let filters = escape(&json!({ "label": [format!("{key}={value}")] }).to_string());
        let answer = self.http.get(&call, &self.path(&format!("/volumes?filters={filters}"))).await?;
        let listed: wire::Volumes = answer.accepted()?.json()?;
        let volumes = listed.volumes.unwrap_or_default().into_iter();
        Ok(volumes.map(|volume| (volume.name, volume.labels.unwrap_or_default())).collect())
    }

    async fn tear_off(&self, name: &str) -> Result<()> {
        let call = format!("remove volume {name}");
        let answer = self.http.delete(&call, &self.path(&format!("/volumes/{}", escape(name)))).await?;
        unless_status(answer, &[StatusCode::NOT_FOUND])
    }
}
