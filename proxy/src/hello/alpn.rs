//! The protocols a hello offers, as one small set: enough for the gate and the log, never the client's own bytes.

use std::fmt;

/// A set of offered protocols: those we have a name for, and one bit for all others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Alpn(u16);

/// The protocols we name, in the order of their bits. The first [`MESH`] of them are what Istio's sidecars send and its
/// gateways ask for: one of them must be offered on a mesh listener.
const NAMES: [&str; 8] = [
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
    "h2",
    "http/1.1",
    PROBE_PROTOCOL,
];

/// What the hello of another gateway's probe offers beside one of the mesh's protocols (see [`crate::probe`]).
pub const PROBE_PROTOCOL: &str = "causeway-probe";

/// Where [`PROBE_PROTOCOL`] stands among [`NAMES`].
const PROBE: usize = 7;

/// How many of [`NAMES`] are the mesh's.
const MESH: usize = 5;

impl Alpn {
    /// Any protocol that we have no name for.
    pub const OTHER: Self = Self(1 << NAMES.len());

    /// This set and one more protocol, by its wire name.
    #[must_use]
    pub fn with(self, protocol: &[u8]) -> Self {
        let known = NAMES.iter().position(|name| name.as_bytes() == protocol);
        Self(self.0 | known.map_or(Self::OTHER.0, |bit| 1 << bit))
    }

    /// Whether one of the mesh's protocols is offered.
    #[must_use]
    pub const fn is_mesh(self) -> bool {
        self.0 & ((1 << MESH) - 1) != 0
    }

    /// Whether it is a probe of another gateway: nobody wants to be served, only to know whether somebody would be.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        self.0 & (1 << PROBE) != 0
    }

    /// Whether none is offered.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl<'a> FromIterator<&'a str> for Alpn {
    fn from_iter<T: IntoIterator<Item = &'a str>>(protocols: T) -> Self {
        protocols
            .into_iter()
            .fold(Self::default(), |set, protocol| {
                set.with(protocol.as_bytes())
            })
    }
}

impl fmt::Display for Alpn {
    /// The names, joined by commas; `other` stands for all that have none.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = NAMES.iter().copied().chain(["other"]).enumerate();
        let mut offered = names.filter(|(bit, _)| self.0 & (1 << bit) != 0);
        if let Some((_, first)) = offered.next() {
            f.write_str(first)?;
        }
        offered.try_for_each(|(_, name)| write!(f, ",{name}"))
    }
}
