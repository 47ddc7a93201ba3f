//! Images for a deployment that are made elsewhere: what the project names is built and pulled on one engine, so that it
//! can be sent to the one that is deployed to.
//!
//! An image that only the latter has needs no delivery. Nothing is built that would be refused afterwards.

use std::collections::BTreeSet;

use anyhow::anyhow;

use super::{Request, Survey, images, survey};
use crate::compose::Compose;
use crate::compose::images::{Policy, Refresh};
use crate::engine::Engine;
use crate::error::Failure;
use crate::images::reference::ImageName;
use crate::names::ServiceName;
use crate::text::escape;

/// An engine, and the Compose that talks to it.
#[derive(Debug)]
pub struct Place<'a, E, C> {
    /// The engine.
    pub engine: &'a E,
    /// Compose for it.
    pub compose: &'a C,
}

/// Builds and pulls at `from` what a deployment at `to` needs, as the request says. Returns the names of all images that
/// are to be sent; one that is at neither place is among them, so that its absence is noticed.
pub async fn gather<E: Engine, F: Engine, C: Compose, D: Compose>(
    from: &Place<'_, E, C>,
    to: &Place<'_, F, D>,
    request: &Request,
) -> Result<Vec<ImageName>, Failure> {
    let Need { refresh, delivered } = need(from, to, request).await?;
    if !refresh.is_empty() {
        from.compose.refresh(&refresh).await?;
    }
    delivered.iter().map(|name| parse(name)).collect()
}

/// What [`gather`] would return, as far as it is at `from` already. Changes nothing.
pub async fn preview<E: Engine, F: Engine, C: Compose, D: Compose>(
    from: &Place<'_, E, C>,
    to: &Place<'_, F, D>,
    request: &Request,
) -> Result<Vec<ImageName>, Failure> {
    let mut held = Vec::new();
    for name in need(from, to, request).await?.delivered {
        if from.engine.image(&name).await?.is_some() {
            held.push(parse(&name)?);
        }
    }
    Ok(held)
}

/// What a delivery takes.
struct Need {
    /// What is to be built and pulled first.
    refresh: Refresh,
    /// Names of what is to be sent.
    delivered: BTreeSet<String>,
}

async fn need<E: Engine, F: Engine, C: Compose, D: Compose>(
    from: &Place<'_, E, C>,
    to: &Place<'_, F, D>,
    request: &Request,
) -> Result<Need, Failure> {
    let Survey { project, options, .. } = survey(to.engine, to.compose, request).await?;
    let considered: Vec<_> =
        options.considered.iter().filter_map(|name| Some((name, project.services.get(name)?))).collect();
    let wanted = images::wanted(from.engine, &project, &options.considered, &request.images).await;
    let mut refresh = wanted?;
    let mut delivered = BTreeSet::new();
    for (name, service) in considered {
        let image = &service.image;
        if is_in(&refresh, name) || from.engine.image(image).await?.is_some() {
            delivered.insert(image.clone());
        } else if to.engine.image(image).await?.is_none() {
            delivered.insert(image.clone());
            if service.source.builds && !request.images.no_build {
                refresh.build.insert(name.clone());
            } else if request.images.policy(&service.source) != Policy::Never {
                refresh.pull.insert(name.clone());
            }
        }
    }
    Ok(Need { refresh, delivered })
}

fn parse(name: &str) -> Result<ImageName, Failure> {
    ImageName::parse(name).map_err(|reason| {
        anyhow!("the Compose files name an image \"{}\", which is no name: {reason}", escape(name)).into()
    })
}

fn is_in(refresh: &Refresh, service: &ServiceName) -> bool {
    [&refresh.build, &refresh.pull, &refresh.try_pull].iter().any(|services| services.contains(service))
}
