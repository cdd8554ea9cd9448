//! How much there is of everything in a measurement, and what stands where. It must not know how objects are written.

/// Endpoints of one EndpointSlice, at most: the default of Kubernetes' controller (`--max-endpoints-per-slice`).
pub(super) const SLICE: usize = 100;

/// Pods of a node; kubelet's limit is 110, and clusters are seldom full.
const PODS_PER_NODE: usize = 40;

/// Namespaces that services are spread over.
const NAMESPACES: usize = 10;

/// The clusters of a measurement, all alike and with services of the same names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// What it is called on the command line.
    pub(super) name: &'static str,
    /// What it stands for.
    pub(super) about: &'static str,
    pub(super) clusters: usize,
    /// Services of each cluster.
    pub(super) services: usize,
    /// Endpoints of each service in each cluster.
    pub(super) endpoints: usize,
    /// Whether all clusters share our network. Else each has its own, and only our own cluster's endpoints are dialled.
    pub(super) flat: bool,
    /// What is measured, beside memory by part.
    pub(super) measured: Measured,
}

/// What is measured of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measured {
    /// Memory against the target of an endpoint; changes; a start from nothing.
    Everything,
    /// Memory alone, against the target of a route: a service is two routes, inbound and outbound, and has one endpoint.
    Routes,
}

/// The largest service that a target is about.
pub(super) const ONE: Shape = Shape {
    name: "one",
    about: "one service of 50,000 endpoints",
    clusters: 1,
    services: 1,
    endpoints: 50_000,
    flat: true,
    measured: Measured::Everything,
};

/// Every measurement, in the order they are made.
pub(super) const ALL: [Shape; 4] = [
    Shape {
        name: "networks",
        about: "each cluster a network of its own, entered through its gateway",
        clusters: 50,
        services: 200,
        endpoints: 100,
        flat: false,
        measured: Measured::Everything,
    },
    Shape {
        name: "flat",
        about: "one network: every endpoint is dialled, and every Pod is read",
        clusters: 50,
        services: 200,
        endpoints: 100,
        flat: true,
        measured: Measured::Everything,
    },
    ONE,
    Shape {
        name: "routes",
        about: "20,000 services of one endpoint",
        clusters: 1,
        services: 20_000,
        endpoints: 1,
        flat: true,
        measured: Measured::Routes,
    },
];

impl Shape {
    pub(super) fn named(name: &str) -> Option<Self> {
        ALL.into_iter().find(|shape| shape.name == name)
    }

    /// Endpoints of one cluster.
    pub(super) fn of_cluster(&self) -> usize {
        self.services * self.endpoints
    }

    /// Endpoints of all clusters.
    pub(super) fn total(&self) -> usize {
        self.clusters * self.of_cluster()
    }

    /// Mesh names with one view each: a service has one port, and we listen for both views.
    pub(super) fn routes(&self) -> usize {
        2 * self.services
    }

    pub(super) fn nodes(&self) -> usize {
        self.of_cluster().div_ceil(PODS_PER_NODE)
    }

    pub(super) fn namespaces(&self) -> usize {
        NAMESPACES.min(self.services)
    }

    /// Slices of one cluster.
    pub(super) fn slices(&self) -> usize {
        self.services * self.slices_of_service()
    }

    /// The service of a slice, and its endpoints by their numbers in the cluster.
    pub(super) fn slice(&self, slice: usize) -> (usize, std::ops::Range<usize>) {
        let (service, part) = (
            slice / self.slices_of_service(),
            slice % self.slices_of_service(),
        );
        let begin = service * self.endpoints;
        let last = begin + self.endpoints;
        (
            service,
            begin + part * SLICE..last.min(begin + (part + 1) * SLICE),
        )
    }

    fn slices_of_service(&self) -> usize {
        self.endpoints.div_ceil(SLICE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_hold_every_endpoint_once() {
        let shape = Shape {
            services: 3,
            endpoints: 250,
            ..ALL[2]
        };
        let slices = (0..shape.slices()).map(|slice| shape.slice(slice));
        let slices: Vec<_> = slices
            .map(|(service, range)| (service, range.len()))
            .collect();
        let wanted = [0, 1, 2].map(|service| [(service, 100), (service, 100), (service, 50)]);
        assert_eq!(slices, wanted.concat());
        let all = (0..shape.slices()).flat_map(|slice| shape.slice(slice).1);
        assert!(all.eq(0..shape.of_cluster()));
    }
}
