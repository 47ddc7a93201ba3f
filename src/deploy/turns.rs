//! Whose turn it is: the order in which services are rolled.
//!
//! Services of which nothing serves yet go side by side, as soon as what they depend on is through: they may need one
//! another without saying so, and there is nothing to lose. Then services that serve are updated, one at a time, in the
//! plan's order. A failure keeps all others from their turn, unless everybody who depends on the failed service can do
//! without it. Nothing here does I/O.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Plan, ServicePlan};
use crate::compose::Service;
use crate::names::ServiceName;

/// The services that have not had their turn, or are having it.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    services: &'a BTreeMap<ServiceName, Service>,
    /// Those of which nothing serves yet.
    fresh: BTreeSet<&'a ServiceName>,
    /// In the plan's order.
    waiting: Vec<&'a ServicePlan>,
    /// Those that are not through.
    unfinished: BTreeSet<&'a ServiceName>,
}

impl<'a> Turns<'a> {
    /// All services of a plan that change. `serves` tells whether anything of a service serves now.
    pub(super) fn new(
        plan: &'a Plan,
        services: &'a BTreeMap<ServiceName, Service>,
        serves: impl Fn(&ServiceName) -> bool,
    ) -> Self {
        let waiting: Vec<_> = plan.services.iter().filter(|service| !service.slots.is_empty()).collect();
        let unfinished: BTreeSet<_> = waiting.iter().map(|service| &service.service).collect();
        let fresh = unfinished.iter().copied().filter(|name| !serves(name)).collect();
        Self { services, fresh, waiting, unfinished }
    }

    /// Those who may begin now. `idle` tells that nobody is at it.
    pub(super) fn begin(&mut self, idle: bool) -> Vec<&'a ServicePlan> {
        let waiting = std::mem::take(&mut self.waiting);
        let (ready, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|service| {
            let name = &service.service;
            self.fresh.contains(name) && !self.waits(name)
        });
        self.waiting = waiting;
        if !ready.is_empty() || !idle || self.waiting.is_empty() {
            return ready;
        }
        // Compose refuses cycles; should there be one all the same, the first goes first.
        let next = self.waiting.iter().position(|service| !self.waits(&service.service)).unwrap_or(0);
        vec![self.waiting.remove(next)]
    }

    fn waits(&self, name: &ServiceName) -> bool {
        let service = self.services.get(name);
        service.is_some_and(|service| service.depends_on.keys().any(|other| self.unfinished.contains(other)))
    }

    /// Somebody is through, well or not.
    pub(super) fn end(&mut self, name: &ServiceName) {
        self.unfinished.remove(name);
    }

    /// Whether all who depend on a service, at least one, say that they can do without it.
    pub(super) fn is_optional(&self, name: &ServiceName) -> bool {
        let mut dependents = self.services.values().filter_map(|service| service.depends_on.get(name)).peekable();
        dependents.peek().is_some() && dependents.all(|dependency| dependency.optional)
    }

    /// Ends it all. Returns those who never had their turn.
    pub(super) fn call_off(&mut self) -> Vec<ServiceName> {
        self.waiting.drain(..).map(|service| service.service.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::Project;
    use crate::compose::order::Dependency;
    use crate::deploy::plan::{Options, plan};
    use crate::names::ProjectName;

    fn project(edges: &[(&str, &[&str])]) -> Project {
        let services = edges.iter().map(|(name, dependencies)| {
            let depends_on = dependencies.iter().map(|name| match name.strip_suffix('?') {
                Some(name) => (ServiceName::new(name), Dependency { optional: true, ..Dependency::default() }),
                None => (ServiceName::new(*name), Dependency::default()),
            });
            (ServiceName::new(*name), Service { depends_on: depends_on.collect(), ..Service::example() })
        });
        let name = ProjectName::new("shop");
        Project {
            name,
            services: services.collect(),
            networks: BTreeMap::new(),
            volumes: BTreeMap::new(),
            releases: None,
        }
    }

    /// Who goes with whom, everybody being equally quick.
    fn rounds(project: &Project, serving: &[&str]) -> Vec<Vec<String>> {
        let considered = project.services.keys().cloned().collect();
        let plan = plan(project, &[], &Options { considered, ..Options::default() }).expect("nothing to refuse");
        let mut turns = Turns::new(&plan, &project.services, |name| serving.contains(&name.as_str()));
        let mut rounds = Vec::new();
        loop {
            let begun = turns.begin(true);
            if begun.is_empty() {
                return rounds;
            }
            assert!(turns.begin(false).is_empty(), "nobody else begins meanwhile");
            rounds.push(begun.iter().map(|service| service.service.to_string()).collect());
            for service in begun {
                turns.end(&service.service);
            }
        }
    }

    #[test]
    fn what_is_new_goes_side_by_side() {
        let project = project(&[("a", &["z"]), ("b", &[]), ("c", &["a", "b"]), ("z", &["gone?"])]);
        assert_eq!(rounds(&project, &[]), [vec!["b", "z"], vec!["a"], vec!["c"]]);
    }

    #[test]
    fn what_serves_goes_one_by_one() {
        let project = project(&[("a", &["z"]), ("b", &[]), ("y", &["a"]), ("z", &[])]);
        assert_eq!(rounds(&project, &["a", "b", "y", "z"]), [["b"], ["z"], ["a"], ["y"]]);
        assert_eq!(rounds(&project, &["a", "b", "z"]), [["b"], ["z"], ["a"], ["y"]]);
        assert_eq!(rounds(&project, &["a", "b"]), [["z"], ["b"], ["a"], ["y"]]);
    }

    #[test]
    fn only_some_can_be_done_without() {
        let project = project(&[("a", &["x?", "y"]), ("b", &["x?", "y?"]), ("x", &[]), ("y", &[])]);
        let plan = plan(&project, &[], &Options::default()).expect("nothing to refuse");
        let turns = Turns::new(&plan, &project.services, |_| true);
        assert!(turns.is_optional(&ServiceName::new("x")));
        assert!(!turns.is_optional(&ServiceName::new("y")) && !turns.is_optional(&ServiceName::new("a")));
    }
}
