//! Addresses that are ejected, and the connects of our own that decide when each comes back. It must not know routes.

use std::collections::HashMap;
use std::future::pending;
use std::time::Duration;

use model::{EndpointKey, OutlierDetection};
use tokio::task::JoinSet;

use crate::clock::Millis;
use crate::probe::{self, Outcome};

/// Limit of our own connect, that of a client's.
const LIMIT: Duration = Duration::from_secs(3);

/// How long nothing is tried where we ourselves could not connect.
const LATER: Duration = Duration::from_secs(1);

/// Connects of our own at once, each with one descriptor (`limits::OWN_DESCRIPTORS` counts them): a zone that comes back must
/// not get thousands of them in one moment.
pub(crate) const AT_ONCE: usize = 64;

/// The ejected addresses.
#[derive(Debug, Default)]
pub(super) struct Ejections {
    ejected: HashMap<EndpointKey, Ejected>,
    probes: JoinSet<(EndpointKey, Outcome)>,
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

    /// Nothing was found out about it; it is asked again a little later.
    pub(super) fn ask_later(&mut self, key: EndpointKey, now: Millis) {
        if let Some(ejected) = self.ejected.get_mut(&key) {
            ejected.until = Some(now.after(LATER));
        }
    }

    /// When the next ejection ends that there is room to look at.
    pub(super) fn next_due(&self) -> Option<Millis> {
        if self.probes.len() >= AT_ONCE {
            return None;
        }
        self.ejected
            .values()
            .filter_map(|ejected| ejected.until)
            .min()
    }

    /// Starts to ask the addresses whose ejection has ended, as far as there is room: gateways for the name that `name` gives
    /// for them, as every probe of them does; endpoints by a connect alone, because no hello of ours is to reach a workload.
    pub(super) fn probe_due(
        &mut self,
        now: Millis,
        mut name: impl FnMut(EndpointKey) -> Option<Option<String>>,
    ) {
        for (key, ejected) in &mut self.ejected {
            if self.probes.len() >= AT_ONCE {
                return;
            }
            if ejected.until.is_some_and(|until| until <= now) {
                ejected.until = None;
                let key = *key;
                let of_gateway = name(key);
                self.probes.spawn(async move {
                    let Some(name) = of_gateway else {
                        return (key, probe::connect(key.0, LIMIT).await);
                    };
                    let (outcome, stream) = probe::ask(key.0, name.as_deref(), LIMIT).await;
                    if let Some(stream) = stream {
                        probe::leave(stream).await;
                    }
                    (key, outcome)
                });
            }
        }
    }

    /// The next connect that is decided; never, while none is under way.
    pub(super) async fn probed(&mut self) -> Option<(EndpointKey, Outcome)> {
        match self.probes.join_next().await {
            Some(outcome) => outcome.ok(),
            None => pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn key(n: u16) -> EndpointKey {
        EndpointKey(SocketAddr::from(([127, 0, 0, 1], n)))
    }

    /// However many ejections end at once, so many connects are under way; each that is decided makes room for the next.
    #[tokio::test]
    async fn probes_are_bounded() {
        let mut ejections = Ejections::default();
        let count = AT_ONCE * 3;
        for n in 0..count {
            let port = u16::try_from(n + 1).expect("small");
            ejections.add(key(port), Millis(1), OutlierDetection::default());
        }
        let mut decided = 0;
        while decided < count {
            ejections.probe_due(Millis(2), |_| None);
            assert!(ejections.probes.len() <= AT_ONCE);
            let (key, _) = ejections.probed().await.expect("one is decided");
            ejections.forget(key);
            decided += 1;
        }
        assert_eq!(ejections.next_due(), None);
    }
}
