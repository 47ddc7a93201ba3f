//! `transfer-images`: to send images to another engine. This version tells how to do it by hand.

use anyhow::anyhow;

use super::quote;
use crate::cli::{GlobalOptions, TransferImagesOptions};
use crate::error::Failure;

pub(super) fn run(global: &GlobalOptions, options: &TransferImagesOptions) -> Result<(), Failure> {
    let engine = quote(&options.container_engine);
    let named = options.images.iter().filter(|image| *image != "-");
    let images = match named.map(|image| quote(image)).collect::<Vec<_>>().join(" ") {
        images if images.is_empty() => "IMAGE".to_owned(),
        images => images,
    };
    let destination = match (&global.host, &global.context) {
        (Some(host), _) => format!("{engine} --host {}", quote(host)),
        (None, Some(context)) => format!("{engine} --context {}", quote(context)),
        (None, None) => format!("ssh HOST {engine}"),
    };
    Err(Failure::from(anyhow!("this version of kerek cannot transfer images yet"))
        .hint(format!("Send them by hand with `{engine} save {images} | {destination} load`.")))
}
