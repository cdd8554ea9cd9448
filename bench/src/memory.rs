//! What a connection, a route and an endpoint cost a proxy in user-space memory: differences of its PSS (and its children's), so
//! that what it takes once does not count. The kernel's own memory of a connection is alike for all, and left out.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;
use sidecar::SIDECAR_ALPN;

use crate::backend::{Backend, Manner, Serving};
use crate::cores::Cores;
use crate::load::{self, Mark, Opening, Plan, Work};
use crate::peers::{Found, Route, Running};

/// From how many connections to how many, as the targets want it.
const CONNECTIONS: (usize, usize) = (1_000, 9_000);
/// From how many routes of one endpoint to how many.
const ROUTES: (usize, usize) = (1_000, 5_000);
/// From how many endpoints of one route to how many. HAProxy's start takes the square of it: over a minute with 21,000.
const ENDPOINTS: (usize, usize) = (1_000, 9_000);
/// How long a proxy has to give back what it needed only for a moment.
const SETTLE: Duration = Duration::from_secs(2);

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// A connection through to its endpoint, on which nobody says anything any more.
    Idle,
    /// A connection whose hello has not come.
    Silent,
    /// A server name with one endpoint of its own.
    Route,
    /// One endpoint more behind the same server name.
    Endpoint,
}

impl What {
    /// All of it.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Silent, Self::Route, Self::Endpoint];

    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle connection",
            Self::Silent => "silent connection",
            Self::Route => "route",
            Self::Endpoint => "endpoint",
        }
    }

    /// The same in a sentence.
    #[must_use]
    pub fn with_article(self) -> &'static str {
        match self {
            Self::Idle => "an idle connection",
            Self::Silent => "a silent connection",
            Self::Route => "a route",
            Self::Endpoint => "an endpoint",
        }
    }

    /// What it may cost Causeway, in bytes (a KB is 1,000).
    #[must_use]
    pub fn target(self) -> f64 {
        match self {
            Self::Idle => 1_700.0,
            Self::Silent => 1_300.0,
            Self::Route => 1_000.0,
            Self::Endpoint => 200.0,
        }
    }

    /// Bytes for each of it.
    ///
    /// # Errors
    /// When the proxy does not start, or a connection does not stay.
    pub fn cost(self, found: &Found, cores: &Cores) -> Result<f64> {
        match self {
            Self::Idle => connections(found, cores, Work::Idle),
            Self::Silent => connections(found, cores, Work::Silent),
            Self::Route => {
                let (few, many) = ROUTES;
                let cost = |routes| configured(found, cores, &each_its_own(routes));
                Ok(difference(cost(few)?, cost(many)?, many - few))
            }
            Self::Endpoint => {
                let (few, many) = ENDPOINTS;
                let cost = |endpoints| configured(found, cores, &[all_behind_one(endpoints)]);
                Ok(difference(cost(few)?, cost(many)?, many - few))
            }
        }
    }
}

fn difference(few: u64, many: u64, more: usize) -> f64 {
    (many as f64 - few as f64) / more as f64
}

/// The few are still there while the others are opened.
fn connections(found: &Found, cores: &Cores, work: Work) -> Result<f64> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend = Backend::start(address, Serving::new(Manner::Echo), 0)?;
    let route = Route::new("hello", vec![backend.address]);
    let running = found.start(std::slice::from_ref(&route), cores)?;
    let opening = Opening::bare(&route.sni(), SIDECAR_ALPN)?;
    let plan = |connections| Plan {
        connections,
        time: Some(Duration::from_millis(1)),
        ..Plan::new(running.address, work, opening.clone())
    };
    let (few, many) = CONNECTIONS;
    let mut at_few = 0;
    let mut at_many = 0;
    held(plan(few), &mut || {
        at_few = settled(&running)?;
        // A runtime of its own, which a thread has only one of.
        std::thread::scope(|scope| {
            let rest = scope.spawn(|| {
                held(plan(many - few), &mut || {
                    at_many = settled(&running)?;
                    Ok(())
                })
            });
            rest.join().map_err(|_| anyhow!("the load panicked"))?
        })
    })?;
    Ok(difference(at_few, at_many, many - few))
}

/// Opens them all, looks, and closes them.
fn held(plan: Plan, look: &mut (dyn FnMut() -> Result<()> + Send)) -> Result<()> {
    let outcome = load::run(plan, false, &mut |mark| match mark {
        Mark::Begin => look(),
        Mark::End => Ok(()),
    })?;
    if outcome.failed() > 0 {
        bail!("not all connections stayed{}", outcome.complaint());
    }
    Ok(())
}

fn configured(found: &Found, cores: &Cores, routes: &[Route]) -> Result<u64> {
    settled(&found.start(routes, cores)?)
}

fn settled(running: &Running) -> Result<u64> {
    std::thread::sleep(SETTLE);
    running.memory()
}

fn each_its_own(routes: usize) -> Vec<Route> {
    (0..routes)
        .map(|route| Route::new(&format!("service-{route}"), vec![endpoint(route)]))
        .collect()
}

fn all_behind_one(endpoints: usize) -> Route {
    Route::new("hello", (0..endpoints).map(endpoint).collect())
}

/// Addresses that nobody dials.
fn endpoint(number: usize) -> SocketAddr {
    let [_, high, middle, low] = (number as u32 + 1).to_be_bytes();
    SocketAddr::from((Ipv4Addr::new(127, high + 1, middle, low), 5000))
}
