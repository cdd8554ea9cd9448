//! Addresses that are ejected, and the connects of our own that decide when each comes back. It must not know routes.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use model::{EndpointKey, OutlierDetection};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::clock::Millis;

/// Limit of our own connect, that of a client's.
const LIMIT: Duration = Duration::from_secs(3);

/// The ejected addresses.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    ejected: HashMap<EndpointKey, Ejected>,
    probes: JoinSet<(EndpointKey, bool)>,
}

#[derive(Debug)]
struct Ejected {
    /// `None` while it is being probed.
    until: Option<Millis>,
    rule: OutlierDetection,
}

impl Ejections {
    /// An address was ejected.
    pub(super) fn add(&mut self, key: EndpointKey, until: Millis, rule: OutlierDetection) {
        self.ejected.insert(
            key,
            Ejected {
                until: Some(until),
                rule,
            },
        );
    }

    /// It stays out; `eject` says until when.
    pub(super) fn again(
        &mut self,
        key: EndpointKey,
        eject: impl FnOnce(&OutlierDetection) -> Millis,
    ) {
        if let Some(ejected) = self.ejected.get_mut(&key) {
            ejected.until = Some(eject(&ejected.rule));
        }
    }

    /// It is back, or nobody uses it any more.
    pub(super) fn forget(&mut self, key: EndpointKey) {
        self.ejected.remove(&key);
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        u64::try_from(self.ejected.len()).unwrap_or(u64::MAX)
    }

    /// When the next ejection ends.
    pub(super) fn next_due(&self) -> Option<Millis> {
        self.ejected
            .values()
            .filter_map(|ejected| ejected.until)
            .min()
    }

    /// Starts a connect to every address whose ejection has ended.
    pub(super) fn probe_due(&mut self, now: Millis) {
        for (key, ejected) in &mut self.ejected {
            if ejected.until.is_some_and(|until| until <= now) {
                ejected.until = None;
                let key = *key;
                self.probes.spawn(async move {
                    let connect = tokio::time::timeout(LIMIT, TcpStream::connect(key.0));
                    (key, matches!(connect.await, Ok(Ok(_))))
                });
            }
        }
    }

    /// The next connect that is decided; never, while none is under way.
    pub(super) async fn probed(&mut self) -> Option<(EndpointKey, bool)> {
        match self.probes.join_next().await {
            Some(outcome) => outcome.ok(),
            None => pending().await,
        }
    }
}
