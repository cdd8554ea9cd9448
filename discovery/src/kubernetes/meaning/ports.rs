//! The ports of one service in several clusters, made one list. A pure rule.

use model::{Port, Protocol};

/// The union: the first cluster's ports, and of the others those with numbers that are still free. So a port of one name
/// may have a number in each cluster, and clients of both find it (Istio knows the first cluster's numbers alone). A number
/// keeps the name that it had first, because endpoints join by name.
pub(super) fn union<'a>(clusters: impl Iterator<Item = &'a [Port]>) -> Vec<Port> {
    let mut union: Vec<Port> = Vec::new();
    for port in clusters.flatten() {
        match union.iter_mut().find(|known| known.number == port.number) {
            None => union.push(port.clone()),
            // A number that only stood for datagrams is free for a stream.
            Some(known) if known.protocol == Protocol::Udp && port.protocol == Protocol::Tcp => {
                *known = port.clone();
            }
            Some(_) => {}
        }
    }
    union.sort();
    union
}
