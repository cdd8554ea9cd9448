//! What the gateway knows of one dialled address by its own experience: open connections, ejection, ramp, connect time.
//! It outlives snapshots, is shared by all workers, and never looks at what an API server says.

mod host_ref;
mod packed;
mod registry;

use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use model::{EndpointKey, OutlierDetection};

pub use self::host_ref::HostRef;
use self::packed::Packed;
pub use self::registry::Hosts;
use crate::clock::Millis;
use crate::outlier;

/// The state of one dialled address: less than a cache line together with the counts of its `Arc`, because a pick looks at two
/// of them and there may be a million.
///
/// A gateway of another network serves many routes with different weights: each route has a `Host` of its own that
/// counts the open connections of that route, and all of them refer to one `Host` for the health of the address.
#[derive(Debug)]
pub struct Host(Kind);

#[derive(Debug)]
enum Kind {
    Address(Health),
    OfRoute {
        shared: HostRef,
        /// As that of [`Health`].
        own_refs: AtomicU32,
    },
}

/// Of an address that is dialled.
#[derive(Debug)]
struct Health {
    key: Packed,
    /// Ejected, dead, ramping or neither, and since or until when: see [`State`].
    state: AtomicU64,
    /// References of the gateway itself: see [`HostRef`].
    own_refs: AtomicU32,
    /// Smoothed connect time in tenths of a millisecond; 0 is unknown.
    connect: AtomicU16,
    failures: AtomicU8,
    ejections: AtomicU8,
    /// Only of a gateway: when it last answered a client, in [`SERVED_UNIT`]s; 0 is never.
    served: AtomicU32,
    /// Only of a gateway: to be tried when nothing else is left, although it is out.
    last_resort: AtomicBool,
}

/// Whether an address may be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// At its full share.
    Steady,
    /// Not picked until a connect of our own succeeds, which is tried at this moment.
    Ejected(Millis),
    /// Back from an ejection since then.
    Ramping(Millis),
    /// New since then, in a service whose policy has a warmup.
    Warming(Millis),
    /// Not picked since then: probes have found nobody, and they decide when it comes back.
    Dead(Millis),
}

/// The three uppermost bits of `Health::state` name the state, the others are its moment.
const TAG: u32 = 61;

/// Milliseconds in a unit of `Health::served`: so coarse that 32 bits last for years, and finer than any interval of probes.
const SERVED_UNIT: u64 = 50;

impl Host {
    /// An address that nothing is known of.
    #[must_use]
    pub(crate) fn new(key: EndpointKey) -> Self {
        Self(Kind::Address(Health {
            key: Packed::of(key),
            state: AtomicU64::new(0),
            own_refs: AtomicU32::new(0),
            connect: AtomicU16::new(0),
            failures: AtomicU8::new(0),
            ejections: AtomicU8::new(0),
            served: AtomicU32::new(0),
            last_resort: AtomicBool::new(false),
        }))
    }

    /// A route's own count for a gateway's address; its health is that of `shared`.
    #[must_use]
    pub(crate) fn of_route(shared: HostRef) -> Self {
        let own_refs = AtomicU32::new(0);
        Self(Kind::OfRoute { shared, own_refs })
    }

    /// Where to dial.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.key().0
    }

    /// What it is known by.
    #[must_use]
    pub fn key(&self) -> EndpointKey {
        self.health().key.unpack()
    }

    /// Whether it is another network's gateway rather than an endpoint.
    #[must_use]
    pub fn is_of_gateway(&self) -> bool {
        matches!(self.0, Kind::OfRoute { .. })
    }

    /// Its usual connect time, smoothed; zero if it is not known.
    #[must_use]
    pub fn usual_connect(&self) -> Duration {
        Duration::from_micros(u64::from(self.health().connect.load(Relaxed)) * 100)
    }

    /// Whether it may be picked.
    #[must_use]
    pub fn state(&self) -> State {
        State::unpack(self.health().state.load(Relaxed))
    }

    /// Whether it gets its full share: what nearly every address is, and quickly seen.
    #[must_use]
    #[inline]
    pub(crate) fn is_steady(&self) -> bool {
        self.health().state.load(Relaxed) == State::STEADY
    }

    /// Whether it is not to be picked: ejected by dials, or found dead by probes. An ejection lasts beyond its time until a
    /// connect of our own has succeeded.
    #[must_use]
    pub fn is_out(&self) -> bool {
        self.state().is_out()
    }

    /// Whether it is back, and does not get its full share yet.
    #[must_use]
    pub(crate) fn is_ramping(&self, now: Millis) -> bool {
        matches!(self.state(), State::Ramping(since) if now.since(since) < outlier::RAMP)
    }

    /// Whether it is tried when nothing else is left, although it is out.
    #[must_use]
    pub fn is_last_resort(&self) -> bool {
        self.health().last_resort.load(Relaxed)
    }

    /// When a client was last answered through this gateway, to [`SERVED_UNIT`] milliseconds below; `None` if none was.
    #[must_use]
    pub(crate) fn last_served(&self) -> Option<Millis> {
        match self.health().served.load(Relaxed) {
            0 => None,
            units => Some(Millis(u64::from(units) * SERVED_UNIT)),
        }
    }

    /// Share of its weight that it should get now, percent; 0 while it is out. `warmup` is the window for new addresses.
    #[must_use]
    pub(crate) fn share_percent(&self, now: Millis, warmup: Duration) -> u64 {
        match self.state() {
            State::Steady => 100,
            State::Ejected(_) | State::Dead(_) => 0,
            State::Ramping(since) => outlier::ramp_percent(now.since(since), outlier::RAMP),
            State::Warming(since) => outlier::ramp_percent(now.since(since), warmup),
        }
    }

    /// A connect has taken so long. Whether the address serves is another matter: see [`Host::succeeded`].
    pub fn connected(&self, took: Duration) {
        let host = self.health();
        let sample = u16::try_from(took.as_micros() / 100)
            .unwrap_or(u16::MAX)
            .max(1);
        let before = host.connect.load(Relaxed);
        // An exponential average with 1/8 for the new sample, as TCP smooths its round trip (RFC 6298 section 2.3).
        let smoothed = match before {
            0 => sample,
            _ => u16::try_from((u32::from(before) * 7 + u32::from(sample)).div_ceil(8))
                .unwrap_or(u16::MAX),
        };
        host.connect.store(smoothed, Relaxed);
    }

    /// A dial succeeded: the failures before it were no row of them. A connect alone does not say so where the hello was
    /// sent, because an address may accept whoever comes and close on every hello.
    pub fn succeeded(&self, now: Millis) {
        let host = self.health();
        host.failures.store(0, Relaxed);
        let packed = host.state.load(Relaxed);
        if let State::Ramping(since) = State::unpack(packed)
            && outlier::forgets(since, now)
        {
            host.ejections.store(0, Relaxed);
            let _ = host
                .state
                .compare_exchange(packed, State::Steady.pack(), Relaxed, Relaxed);
        }
    }

    /// A client was answered through this gateway.
    pub(crate) fn served(&self, now: Millis) {
        let units = u32::try_from(now.0 / SERVED_UNIT).unwrap_or(u32::MAX);
        self.health().served.store(units.max(1), Relaxed);
    }

    /// A dial failed; `rule` decides whether that ejects. Until when, if this call ejected it.
    pub(crate) fn dial_failed(&self, rule: &OutlierDetection, now: Millis) -> Option<Millis> {
        let host = self.health();
        let failures = host
            .failures
            .fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_add(1)))
            .unwrap_or_default()
            .saturating_add(1);
        if !outlier::ejects(rule, u32::from(failures)) {
            return None;
        }
        let packed = host.state.load(Relaxed);
        if State::unpack(packed).is_out() {
            return None;
        }
        let until = now.after(outlier::length(rule, host.ejections.load(Relaxed)));
        let won = host
            .state
            .compare_exchange(packed, State::Ejected(until).pack(), Relaxed, Relaxed)
            .is_ok();
        won.then(|| {
            host.count_ejection();
            until
        })
    }

    /// Our own connect at the end of the ejection failed: the next ejection, twice as long. Its end.
    pub(crate) fn eject_again(&self, rule: &OutlierDetection, now: Millis) -> Millis {
        let host = self.health();
        let until = now.after(outlier::length(rule, host.ejections.load(Relaxed)));
        host.count_ejection();
        host.state.store(State::Ejected(until).pack(), Relaxed);
        until
    }

    /// A connect of our own at the end of the ejection succeeded, or the probes of one that was dead.
    pub(crate) fn readmit(&self, now: Millis) {
        let host = self.health();
        host.failures.store(0, Relaxed);
        host.state.store(State::Ramping(now).pack(), Relaxed);
    }

    /// Probes have found nobody.
    pub(crate) fn found_dead(&self, now: Millis) {
        self.health().state.store(State::Dead(now).pack(), Relaxed);
    }

    /// It is to be tried when nothing else is left, although it is out; or not any more.
    pub(crate) fn set_last_resort(&self, is: bool) {
        self.health().last_resort.store(is, Relaxed);
    }

    /// Nobody uses it any more; what was learnt of it is no longer true.
    pub(crate) fn forget(&self) {
        let host = self.health();
        host.last_resort.store(false, Relaxed);
        host.failures.store(0, Relaxed);
        host.ejections.store(0, Relaxed);
        host.state.store(State::Steady.pack(), Relaxed);
    }

    /// It is new, in a service that warms up its new endpoints.
    pub(crate) fn warm_up(&self, now: Millis) {
        self.health()
            .state
            .store(State::Warming(now).pack(), Relaxed);
    }

    /// What tells this address from others, whichever route it was picked for; two addresses share one with a chance of
    /// one in four billion.
    pub(crate) fn fingerprint(&self) -> u32 {
        let hash = foldhash::fast::FixedState::default().hash_one(self.key());
        u32::try_from(hash >> 32).unwrap_or(0)
    }

    #[inline]
    fn health(&self) -> &Health {
        match &self.0 {
            Kind::Address(health) => health,
            Kind::OfRoute { shared, .. } => shared.health(),
        }
    }

    #[inline]
    fn own_refs(&self) -> &AtomicU32 {
        match &self.0 {
            Kind::Address(health) => &health.own_refs,
            Kind::OfRoute { own_refs, .. } => own_refs,
        }
    }
}

impl Health {
    fn count_ejection(&self) {
        let _ = self
            .ejections
            .fetch_update(Relaxed, Relaxed, |n| Some(n.saturating_add(1)));
    }
}

impl State {
    /// Whether an address in this state is not to be picked.
    #[must_use]
    pub const fn is_out(self) -> bool {
        matches!(self, Self::Ejected(_) | Self::Dead(_))
    }

    /// [`State::Steady`] as it is packed.
    const STEADY: u64 = 0;

    fn pack(self) -> u64 {
        let (tag, at) = match self {
            Self::Steady => return Self::STEADY,
            Self::Ejected(at) => (1, at),
            Self::Ramping(at) => (2, at),
            Self::Warming(at) => (3, at),
            Self::Dead(at) => (4, at),
        };
        tag << TAG | (at.0 & ((1 << TAG) - 1))
    }

    fn unpack(packed: u64) -> Self {
        let at = Millis(packed & ((1 << TAG) - 1));
        match packed >> TAG {
            0 => Self::Steady,
            1 => Self::Ejected(at),
            2 => Self::Ramping(at),
            3 => Self::Warming(at),
            _ => Self::Dead(at),
        }
    }
}

#[cfg(test)]
mod tests;
