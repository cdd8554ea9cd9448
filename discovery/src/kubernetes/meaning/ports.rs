//! The ports of one service in several clusters, made one list. A pure rule.

use model::Port;

/// The union: the first cluster's ports, and of the others those with numbers that are still free. So a port of one name
/// may have a number in each cluster, and clients of both find it (Istio knows the first cluster's numbers alone). A number
/// keeps the name that it had first, because endpoints join by name.
pub(super) fn union<'a>(clusters: impl Iterator<Item = &'a [Port]>) -> Vec<Port> {
    let mut union: Vec<Port> = Vec::new();
    for port in clusters.flatten() {
        let taken = |known: &Port| (known.number, known.protocol) == (port.number, port.protocol);
        if !union.iter().any(taken) {
            union.push(port.clone());
        }
    }
    union.sort();
    union
}
