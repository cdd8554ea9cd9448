//! Who refers to a host. The gateway's own references are counted, so that all others are the host's open connections: a pick
//! raises one count for both. It must not know what a host's state means.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Host;

/// A reference of the gateway itself: of its registry, of a slot, of a route. It is no open connection.
#[derive(Debug)]
pub struct HostRef(Arc<Host>);

impl HostRef {
    pub(crate) fn new(host: Host) -> Self {
        host.own_refs().fetch_add(1, Relaxed);
        Self(Arc::new(host))
    }

    /// Open connections, attempts included. While another thread takes or drops references of the gateway's own, too many or too
    /// few can be seen, for that moment.
    #[must_use]
    #[inline]
    pub fn open(&self) -> u32 {
        let own = self.0.own_refs().load(Relaxed);
        let all = u32::try_from(Arc::strong_count(&self.0)).unwrap_or(u32::MAX);
        // Not two counts of one moment.
        all.saturating_sub(own)
    }

    /// A reference that is one connection more, until it is dropped.
    #[must_use]
    #[inline]
    pub(crate) fn opened(&self) -> Arc<Host> {
        Arc::clone(&self.0)
    }

    /// Whether both are of one host.
    #[inline]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How many refer to it: this one, others of the gateway itself, and connections.
    pub(crate) fn references(&self) -> usize {
        Arc::strong_count(&self.0)
    }
}

impl Deref for HostRef {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.0
    }
}

impl Clone for HostRef {
    fn clone(&self) -> Self {
        self.0.own_refs().fetch_add(1, Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for HostRef {
    fn drop(&mut self) {
        self.0.own_refs().fetch_sub(1, Relaxed);
    }
}
