//! What is known of the mesh: services, routes, endpoints by place and state. Endpoints are counted when the snapshot has
//! changed, not at every scrape.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{ClusterId, Health, NetworkId, Origin, Snapshot};
use parking_lot::Mutex;
use prometheus::Registry;

use super::series::gauge;
use crate::app::State;

/// Endpoints by state, in the order of [`STATES`].
pub(crate) type Counts = [u64; 4];

/// What an API server says of an endpoint, in the order of the counts.
pub(crate) const STATES: [&str; 4] = ["healthy", "degraded", "unhealthy", "terminating"];

/// The counts of the latest snapshot that was asked for.
#[derive(Debug, Default)]
pub(crate) struct EndpointCounts(Mutex<Option<Counted>>);

#[derive(Debug)]
struct Counted {
    snapshot: Arc<Snapshot>,
    places: Arc<Places>,
}

/// Endpoints by place.
pub(crate) type Places = BTreeMap<(ClusterId, NetworkId), Counts>;

/// Registers all of it.
///
/// # Errors
/// When a name is taken, which is a defect.
pub(super) fn register(registry: &Registry, state: &State) -> prometheus::Result<()> {
    let snapshot = state.source.snapshots().borrow().clone();
    let places = state.endpoint_counts.of(&snapshot);
    let endpoints = places.iter().flat_map(|((cluster, network), counts)| {
        STATES.iter().zip(counts).map(move |(state, count)| {
            let labels = [
                cluster.to_string(),
                network.to_string(),
                (*state).to_owned(),
            ];
            (labels, *count as f64)
        })
    });
    gauge(
        registry,
        "causeway_endpoints",
        "Endpoints, by what their API server says of them.",
        &["cluster", "network", "state"],
        endpoints,
    )?;
    let gateways = snapshot.networks.iter();
    gauge(
        registry,
        "causeway_network_gateways",
        "Addresses through which a network is entered.",
        &["network"],
        gateways.map(|(network, of)| ([network.to_string()], of.gateways.len() as f64)),
    )?;
    for (name, help, value) in [
        (
            "causeway_services",
            "Services that are known.",
            snapshot.services.len() as f64,
        ),
        (
            "causeway_routes",
            "Server names that are routed.",
            state.proxy.tables().load().routes().count() as f64,
        ),
        (
            "causeway_snapshot_version",
            "Version of the snapshot in force.",
            state.proxy.snapshot_version() as f64,
        ),
        (
            "causeway_snapshot_age_seconds",
            "Time since the latest snapshot was published.",
            state.source.age().as_secs_f64(),
        ),
    ] {
        gauge(registry, name, help, &[], [([], value)])?;
    }
    Ok(())
}

impl EndpointCounts {
    /// The counts of this snapshot by cluster and network.
    pub(crate) fn of(&self, snapshot: &Arc<Snapshot>) -> Arc<Places> {
        let mut counted = self.0.lock();
        let same = |known: &&mut Counted| Arc::ptr_eq(&known.snapshot, snapshot);
        let known = match counted.as_mut().filter(same) {
            Some(known) => known,
            None => counted.insert(Counted {
                snapshot: snapshot.clone(),
                places: Arc::new(count(snapshot)),
            }),
        };
        known.places.clone()
    }
}

fn count(snapshot: &Snapshot) -> Places {
    let mut places = Places::new();
    for service in snapshot.services.iter() {
        // Endpoints of one place stand together, so the map is seldom asked.
        let mut run: Option<(&Arc<Origin>, Counts)> = None;
        let mut end = |run: Option<(&Arc<Origin>, Counts)>| {
            if let Some((origin, counts)) = run {
                let place = (origin.cluster.clone(), origin.network.clone());
                let sums = places.entry(place).or_default();
                sums.iter_mut()
                    .zip(counts)
                    .for_each(|(sum, count)| *sum += count);
            }
        };
        for endpoint in service.endpoints.iter() {
            if run
                .as_ref()
                .is_none_or(|(origin, _)| !Arc::ptr_eq(origin, &endpoint.origin))
            {
                end(run.replace((&endpoint.origin, [0; 4])));
            }
            if let Some((_, counts)) = &mut run {
                counts[state(endpoint.health)] += 1;
            }
        }
        end(run);
    }
    places
}

fn state(health: Health) -> usize {
    match health {
        Health::Healthy => 0,
        Health::Degraded => 1,
        Health::Unhealthy => 2,
        Health::Terminating => 3,
    }
}
