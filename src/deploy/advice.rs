//! Notes on what is likely to be a mistake in the Compose files: it can be deployed, but not as smoothly as its author
//! seems to believe.

use super::plan::{Plan, ServicePlan, Slot};
use super::ready::SETTLE;
use crate::compose::duration;
use crate::compose::{Order, Project, Service};
use crate::engine::Container;
use crate::report::{Event, Reporter};

/// Tells what is worth a thought in services that are to be updated.
pub(super) fn advise(project: &Project, plan: &Plan, containers: &[Container], reporter: &dyn Reporter) {
    for planned in &plan.services {
        let Some(service) = project.services.get(&planned.service) else { continue };
        if !planned.slots.iter().any(|slot| matches!(slot, Slot::Replace(..))) {
            continue;
        }
        for advice in [healthcheck(planned, service, containers), traefik(planned, service)].into_iter().flatten() {
            reporter.report(&Event::Note(&advice));
        }
    }
}

/// Who starts new containers first wants them to be ready. Without a healthcheck, only time tells.
fn healthcheck(planned: &ServicePlan, service: &Service, containers: &[Container]) -> Option<String> {
    let by_image = || {
        let olds = planned.slots.iter().filter_map(Slot::old);
        olds.filter_map(|id| containers.iter().find(|container| container.id == *id))
            .any(|old| old.healthcheck.is_some())
    };
    let trusts_time = service.update.order == Order::StartFirst && service.update.monitor.is_none();
    (trusts_time && !service.signals.healthcheck && !by_image()).then(|| {
        format!(
            "{} has no healthcheck: a new container gets requests once it has run for {}, whether it answers or not; \
             give it a `healthcheck`, or say how long to wait by `update_config.monitor`",
            planned.service,
            duration::format(SETTLE)
        )
    })
}

/// Traefik's Docker provider does not look at DNS, where kerek withdraws containers.
fn traefik(planned: &ServicePlan, service: &Service) -> Option<String> {
    (service.signals.traefik && service.hooks.pre_stop.is_empty()).then(|| {
        format!(
            "{} has labels for Traefik, which sends requests to a container until that is unhealthy or gone; give it a \
             `healthcheck`, and a `pre_stop` hook that makes it fail and waits until Traefik has noticed",
            planned.service
        )
    })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::deploy::plan::{self, Options};
    use crate::engine::Exec;
    use crate::names::ProjectName;

    #[derive(Debug, Default)]
    struct Notes(RefCell<Vec<String>>);

    impl Reporter for Notes {
        fn report(&self, event: &Event<'_>) {
            if let Event::Note(note) = event {
                self.0.borrow_mut().push((*note).to_owned());
            }
        }
    }

    fn advice(change: impl FnOnce(&mut Service, &mut Container)) -> String {
        let (mut service, mut old) = (Service::example(), Container::example());
        service.config_hash = "another".into();
        service.update.order = Order::StartFirst;
        old.healthcheck = None;
        change(&mut service, &mut old);
        let project = Project {
            name: ProjectName::new("shop"),
            services: BTreeMap::from([(old.service.clone(), service)]),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            releases: None,
        };
        let containers = [old];
        let options = Options { considered: project.services.keys().cloned().collect(), ..Options::default() };
        let plan = plan::plan(&project, &containers, &options).expect("a plan");
        let notes = Notes::default();
        advise(&project, &plan, &containers, &notes);
        notes.0.take().join("\n")
    }

    #[test]
    fn who_starts_first_without_a_healthcheck_hears_of_it() {
        assert!(advice(|_, _| {}).contains("no healthcheck: a new container gets requests once it has run for 5s"));
        assert_eq!(advice(|service, _| service.signals.healthcheck = true), "");
        assert_eq!(advice(|_, old| old.healthcheck = Container::example().healthcheck), "");
        assert_eq!(advice(|service, _| service.update.order = Order::StopFirst), "");
        assert_eq!(advice(|service, _| service.update.monitor = Some(Duration::from_secs(9))), "");
        assert_eq!(advice(|service, old| service.config_hash = old.config_hash.clone()), "", "nothing to do");
    }

    #[test]
    fn who_is_behind_traefik_hears_what_it_takes() {
        let behind = |service: &mut Service| {
            service.signals.healthcheck = true;
            service.signals.traefik = true;
        };
        assert!(advice(|service, _| behind(service)).contains("`pre_stop` hook"));
        let hook = |service: &mut Service| service.hooks.pre_stop = vec![Exec::default()];
        assert_eq!(advice(|service, _| (behind(service), hook(service)).0), "");
    }
}
