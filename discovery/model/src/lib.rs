//! The words of Causeway as types, and the pure rules on them. It must do no IO and read no clock.
//!
//! ```text
//!  Part (what one source says) --merge--> Snapshot --closeness--> tiers --load--> shares
//!                                            |
//!                                          diff --> what changed, for logs and incremental pushes
//! ```
//!
//! A [`Snapshot`] is the whole of what is known: immutable, versioned, comparable and serialisable. Whatever changes by
//! itself (open connections, ejections, probe results) belongs to whoever uses the snapshot, keyed by [`EndpointKey`].

mod chunked;
mod closeness;
mod diff;
mod distribute;
mod endpoint;
mod ids;
mod load;
mod locality;
mod merge;
mod network;
mod place;
mod policy;
mod remote;
mod service;
mod snapshot;

pub use self::chunked::{Chunked, Keyed};
pub use self::closeness::{Closeness, Viewpoint, closeness};
pub use self::diff::{Diff, diff};
pub use self::distribute::distribute_share;
pub use self::endpoint::{
    Endpoint, EndpointKey, Health, Labels, Origin, PortMap, TlsMode, Workload,
};
pub use self::ids::{ClusterId, Hostname, InvalidHostname, NetworkId, ServiceId};
pub use self::load::{Availability, Loads, LocalityLoad, locality_shares, priority_loads};
pub use self::locality::Locality;
pub use self::merge::{Part, merge};
pub use self::network::{Gateway, Network};
pub use self::place::{Place, is_dialable, place};
pub use self::policy::{
    Distribute, Failover, Keepalive, LoadBalancer, LocalityPolicy, OutlierDetection, Policy,
    TrafficDistribution,
};
pub use self::remote::{
    GatewayGroup, GatewayLoad, GatewayState, MAX_WEIGHT, RemoteKey, RemoteSum, RemoteSums,
    WEIGHT_SCALE, remote_key, through_gateways,
};
pub use self::service::{Assigned, Audience, Join, Port, Protocol, Service, Subset};
pub use self::snapshot::{Destination, PassthroughRoute, Snapshot};
