//! What `deploy` and `rollback` have in common where a URL is asked for meanwhile.

use std::rc::Rc;

use crate::cancel::Cancel;
use crate::cli::ProbeOptions;
use crate::deploy::Witness;
use crate::engine::access::{Access, Link};
use crate::error::Failure;
use crate::probe::{Phase, Probe, Settings, Way};
use crate::report::{Event, Reporter};

/// Begins to ask, if the user wants that.
pub(super) async fn start(
    options: &ProbeOptions,
    access: &Access,
    link: &Link,
    reporter: &dyn Reporter,
) -> Result<Option<Rc<Probe>>, Failure> {
    let Some(url) = options.probe.clone() else { return Ok(None) };
    let socket = if options.probe_from_host {
        let way = access.way_to(link, url.host(), url.port()).await;
        way.map_err(|failure| failure.hint("Leave out --probe-from-host to ask from this machine."))?
    } else {
        None
    };
    let way = socket.map_or(Way::Direct, Way::Socket);
    let rate = options.probe_rate;
    reporter.report(&Event::Probing { url: &url, rate });
    let settings = Settings { url, rate, tolerated: options.probe_failures };
    Ok(Some(Rc::new(Probe::start(settings, way).await?)))
}

/// Who is heard about replicas: the probe, if the user wants that.
pub(super) fn witness(options: &ProbeOptions, probe: Option<&Rc<Probe>>) -> Option<Rc<dyn Witness>> {
    options.probe_failures.and(probe).map(|probe| Rc::clone(probe) as Rc<dyn Witness>)
}

/// Does the work of a deploy, with a look before and after it if there is a probe, and tells what that has seen.
pub(super) async fn around<T>(
    probe: Option<&Rc<Probe>>,
    cancel: &Cancel,
    reporter: &dyn Reporter,
    work: impl Future<Output = T>,
) -> T {
    let Some(probe) = probe else { return work.await };
    probe.baseline(cancel).await;
    probe.enter(Phase::During);
    let result = work.await;
    let report = probe.finish(cancel).await;
    reporter.report(&Event::Probed(&report));
    result
}
