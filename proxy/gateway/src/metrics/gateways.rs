//! What is known of the gateways of other networks. It must not ask them.

use std::collections::BTreeMap;

use prometheus::Registry;
use proxy::control::{NetworkState, ProbeState};

use super::series::{counter, gauge};
use crate::app::State;

/// Registers all of it.
///
/// # Errors
/// When a name is taken, which is a defect.
pub(super) fn register(registry: &Registry, state: &State) -> prometheus::Result<()> {
    let probes = state.proxy.probes();
    counter(
        registry,
        "causeway_probes_total",
        "Probes of other networks' gateways, by what they found; traffic counts as one that was answered.",
        &["outcome"],
        probes.map(|(outcome, count)| ([outcome.as_str().to_owned()], count as f64)),
    )?;
    let mut counts = BTreeMap::<_, u32>::new();
    for health in state.proxy.gateways().into_values() {
        for network in health.networks {
            for state in ProbeState::ALL {
                let count = counts.entry((network.clone(), state)).or_default();
                *count += u32::from(state == health.state);
            }
        }
    }
    let gateways = counts.into_iter().map(|((network, state), count)| {
        let labels = [network.to_string(), state.as_str().to_owned()];
        (labels, f64::from(count))
    });
    gauge(
        registry,
        "causeway_gateways",
        "Gateways of other networks, by what probes have found.",
        &["network", "state"],
        gateways,
    )?;
    let networks = state.proxy.networks();
    let states = networks.iter().flat_map(|(network, health)| {
        NetworkState::ALL.into_iter().map(move |state| {
            let labels = [network.to_string(), state.as_str().to_owned()];
            (labels, f64::from(u8::from(state == health.state)))
        })
    });
    gauge(
        registry,
        "causeway_network_state",
        "1 for what is thought of a network that is entered through gateways.",
        &["network", "state"],
        states,
    )
}
