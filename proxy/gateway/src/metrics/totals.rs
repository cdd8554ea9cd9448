//! Sums of flows that never fall. Istio's labels know no port or subset, so the flows of several routes are one series; when
//! one of those routes goes while others stay, what it had counted stays in the sum: a counter that falls is taken for one that
//! began anew, and the rest of it for new traffic. It must not be touched by the data path.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use model::{ClusterId, Hostname, Workload};
use parking_lot::Mutex;
use proxy::flows::Flow;

/// One series: the service, who served it (`None`: nobody did), and Envoy's flags.
pub(super) type Key = (Hostname, Option<(Workload, ClusterId)>, &'static str);

/// Connections opened and closed, bytes from clients and to them.
pub(super) type Counts = [u64; 4];

/// What the last scrape found.
#[derive(Debug, Default)]
pub(crate) struct Totals(Mutex<HashMap<Key, Total>>);

/// One series' flows, and what those had counted that are no more.
#[derive(Debug, Default)]
struct Total {
    flows: Vec<Arc<Flow>>,
    gone: Counts,
}

impl Totals {
    /// The sum of each series that has a flow now. A flow that has left the routes counts on while a connection holds it, and
    /// then stays in the sum; a series without any flow is forgotten.
    pub(super) fn of(&self, present: BTreeMap<Key, Vec<Arc<Flow>>>) -> BTreeMap<Key, Counts> {
        let mut known = self.0.lock();
        let mut before = std::mem::take(&mut *known);
        let mut sums = BTreeMap::new();
        for (key, flows) in present {
            let mut total = before.remove(&key).unwrap_or_default();
            total.flows.retain(|flow| {
                let stays = flows.iter().any(|other| Arc::ptr_eq(flow, other));
                // Nobody but this list has it: it counts no more.
                let over = !stays && Arc::strong_count(flow) == 1;
                if over {
                    add(&mut total.gone, counts(flow));
                }
                !stays && !over
            });
            total.flows.extend(flows);
            let mut sum = total.gone;
            total
                .flows
                .iter()
                .for_each(|flow| add(&mut sum, counts(flow)));
            known.insert(key.clone(), total);
            sums.insert(key, sum);
        }
        sums
    }
}

fn counts(flow: &Flow) -> Counts {
    [&flow.opened, &flow.closed, &flow.sent, &flow.received].map(|count| count.load(Relaxed))
}

fn add(sum: &mut Counts, more: Counts) {
    for (sum, more) in sum.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(opened: u64) -> Arc<Flow> {
        let flow = Flow::default();
        flow.opened.store(opened, Relaxed);
        Arc::new(flow)
    }

    fn scrape(totals: &Totals, flows: &[&Arc<Flow>]) -> Option<u64> {
        let key = (Hostname::parse("a").expect("a host name"), None, "-");
        let flows: Vec<_> = flows.iter().map(|flow| Arc::clone(flow)).collect();
        let present = (!flows.is_empty()).then_some((key.clone(), flows));
        let sums = totals.of(present.into_iter().collect());
        sums.get(&key).map(|counts| counts[0])
    }

    /// Of two routes one goes, its last connection a little later; then the other one goes too.
    #[test]
    fn a_sum_never_falls_while_its_series_is_there() {
        let totals = Totals::default();
        let (stays, goes) = (flow(3), flow(40));
        assert_eq!(scrape(&totals, &[&stays, &goes]), Some(43));
        assert_eq!(scrape(&totals, &[&stays]), Some(43), "a connection has it");
        goes.opened.store(41, Relaxed);
        drop(goes);
        assert_eq!(scrape(&totals, &[&stays]), Some(44));
        stays.opened.store(5, Relaxed);
        assert_eq!(scrape(&totals, &[&stays]), Some(46), "once, not twice");
        assert_eq!(scrape(&totals, &[]), None);
        assert!(totals.0.lock().is_empty());
        assert_eq!(scrape(&totals, &[&stays]), Some(5), "a new series");
    }
}
