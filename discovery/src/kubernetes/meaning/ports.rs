//! The ports of one service in several clusters, made one list. A pure rule.

use std::sync::Arc;

use model::{ClusterId, Port};

/// A port that a cluster calls otherwise than the first cluster that has it: endpoints join by name, so the cluster's are
/// missing there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    pub(super) cluster: ClusterId,
    pub(super) number: u16,
    pub(super) theirs: Arc<str>,
    pub(super) first: Arc<str>,
}

/// The union: the first cluster's ports, and of the others those with numbers that are still free. So a port of one name
/// may have a number in each cluster, and clients of both find it (Istio knows the first cluster's numbers alone). A number
/// keeps the name that it had first, because endpoints join by name; clusters that call it otherwise are told of.
pub(super) fn union<'a>(
    clusters: impl Iterator<Item = (&'a ClusterId, &'a [Port])>,
) -> (Vec<Port>, Vec<Mismatch>) {
    let mut union: Vec<Port> = Vec::new();
    let mut mismatches = Vec::new();
    for (cluster, ports) in clusters {
        for port in ports {
            let taken =
                |known: &&Port| (known.number, known.protocol) == (port.number, port.protocol);
            match union.iter().find(taken) {
                None => union.push(port.clone()),
                Some(known) if known.name != port.name => mismatches.push(Mismatch {
                    cluster: cluster.clone(),
                    number: port.number,
                    theirs: port.name.clone(),
                    first: known.name.clone(),
                }),
                Some(_) => {}
            }
        }
    }
    union.sort();
    (union, mismatches)
}
