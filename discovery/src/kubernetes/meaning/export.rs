//! The facts of a cluster as they came, for the disk. What they mean is not kept: that is worked out anew from the present
//! configuration.

use model::ClusterId;

use super::cluster::{ClusterFacts, Named};
use super::traits::Traits;
use super::world::{Istio, World};
use crate::kubernetes::facts::{Fact, Key, PodFact};

impl World {
    /// Everything that is known of a cluster: applied to an empty world it is known there too. Costs a copy of each fact,
    /// whose strings are shared.
    #[must_use]
    pub fn facts(&self, cluster: &ClusterId) -> Vec<Fact> {
        let mut facts = Vec::new();
        if let Some(known) = self.clusters.get(cluster) {
            add_cluster(&mut facts, known);
        }
        if *cluster == self.me.cluster {
            add_istio(&mut facts, &self.istio);
        }
        facts
    }
}

fn add_cluster(facts: &mut Vec<Fact>, known: &ClusterFacts) {
    let namespaces = known.namespaces().cloned();
    facts.extend(namespaces.map(Fact::Namespace));
    facts.extend(known.nodes().cloned().map(Fact::Node));
    facts.extend(known.pods().map(|(key, traits)| pod(key, traits)));
    for (_, Named { service, slices }) in known.services() {
        facts.extend(service.clone().map(Fact::Service));
        let slices = slices.values();
        facts.extend(slices.map(|slice| Fact::Slice(slice.fact.clone())));
    }
}

fn add_istio(facts: &mut Vec<Fact>, istio: &Istio) {
    facts.extend(istio.gateways.values().cloned().map(Fact::Gateway));
    facts.extend(istio.rules.values().cloned().map(Fact::DestinationRule));
    facts.extend(istio.entries.values().cloned().map(Fact::ServiceEntry));
    let services = istio.virtual_services.values().cloned();
    facts.extend(services.map(Fact::VirtualService));
}

/// All else that is known of a Pod follows from its labels.
fn pod(key: &Key, traits: &Traits) -> Fact {
    Fact::Pod(PodFact {
        key: key.clone(),
        labels: traits.labels.clone(),
        workload: traits.workload.name.clone(),
    })
}
