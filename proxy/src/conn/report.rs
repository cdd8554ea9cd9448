//! What a connection tells others when it ends. It must not change how it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, SystemTime};

use super::Conn;
use crate::access::{Attempt, Outcome, Report};
use crate::close::Close;
use crate::worker::Worker;

impl Conn {
    /// Tells its flow the last bytes and its end. Envoy's flags are labels of a series of their own, as in Istio.
    pub(crate) fn tell_end(&self, close: Close) {
        self.tell_flow();
        if let Some(route) = self.route.get() {
            route.leave();
        }
        let flags = close.reason.flag();
        match (self.flow(), self.route.get()) {
            (Some(flow), _) if flags == "-" => {
                flow.closed.fetch_add(1, Relaxed);
            }
            (Some(_), Some(route)) => {
                let origin = self.chosen.get().map(|choice| &choice.origin);
                route.flows.of(origin, flags).closed.fetch_add(1, Relaxed);
            }
            (None, Some(route)) => {
                let flow = route.flows.of(None, flags);
                flow.opened.fetch_add(1, Relaxed);
                flow.closed.fetch_add(1, Relaxed);
            }
            (_, None) => {}
        }
    }

    /// Everything that is said about it.
    pub(crate) fn report(&self, worker: &Worker, close: Close, omitted: u64) -> Report {
        let duration = worker.clock.micros().since(self.accepted);
        let bound = worker.bound(self.listener);
        let mut attempts = self.take_attempts();
        attempts.extend(self.chosen.get().map(|choice| Attempt {
            address: choice.address(),
            origin: Arc::clone(&choice.origin),
            tier: choice.tier,
            gateway: choice.gateway,
            outcome: Outcome::Connected,
            took: Duration::from_micros(self.connect.get().into()),
        }));
        let client = self.client();
        Report {
            began: SystemTime::now() - duration,
            duration,
            listener: bound.address,
            role: bound.role,
            client,
            peer: (client != self.peer).then_some(self.peer),
            name: self.name(),
            alpn: self.alpn.get(),
            route: self.route.get().cloned(),
            attempts,
            sent: self.traffic.sent.get(),
            received: self.traffic.received.get(),
            first_byte: self.first_byte(),
            reject: self.reject(),
            close,
            omitted,
        }
    }

    /// Whether a new connection would surely get a closer endpoint than this one has.
    pub(crate) fn has_closer_place(&self) -> bool {
        let places = self.route.get().zip(self.chosen.get());
        places
            .is_some_and(|(route, choice)| route.balancer().sends_all_closer_than(choice.closeness))
    }
}
