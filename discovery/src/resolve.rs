//! Host names of gateways: resolved again and again, the last good answer kept while there is none, and for ten minutes where
//! there is said to be none. It must not decide what a gateway is for, nor whether it is alive: probes find that out.

mod lookup;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::{ClusterId, Gateway, Hostname, NetworkId, Part};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

pub(crate) use self::lookup::Answer;
use self::lookup::look_up;

/// Time between two rounds; load balancers' names have a TTL of 60 s at most places.
const ROUND: Duration = Duration::from_secs(30);

/// How long addresses are kept that a name is said to have no more (issue 6): a load balancer that is made anew has none for a
/// while, and one that is gone for good must not be dialled for ever.
const KEPT: Duration = Duration::from_secs(600);

/// A gateway that is given by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayName {
    /// The network it leads to.
    pub network: NetworkId,
    /// Its name; looked up as an absolute one.
    pub name: Hostname,
    /// Its port.
    pub port: u16,
    /// The clusters it serves; none for all.
    pub clusters: Vec<ClusterId>,
}

/// The last good answers, and the questions that are under way. Nobody waits for an answer who does not want to: a name
/// server that is silent holds up no other change.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    /// The names that were asked for.
    known: HashMap<Hostname, Known>,
    /// What another life of this gateway knew, of names that have not been asked for in this one.
    before: BTreeMap<Hostname, Vec<IpAddr>>,
    asking: HashMap<Hostname, AbortHandle>,
    answers: JoinSet<(Hostname, Answer)>,
}

#[derive(Debug, Default)]
struct Known {
    ips: Vec<IpAddr>,
    /// Since when every answer has been that there are none.
    empty_since: Option<Instant>,
}

impl Resolver {
    /// Begins with the answers of another life; they are asked for all the same.
    pub(crate) fn with(before: BTreeMap<Hostname, Vec<IpAddr>>) -> Self {
        Self {
            before,
            ..Self::default()
        }
    }

    /// Time until the next round: 30 s, 10 % more or less, so that gateways do not ask in step.
    pub(crate) fn pause() -> Duration {
        ROUND.mul_f64(0.9 + 0.2 * fastrand::f64())
    }

    /// Asks for every name, all at once, and forgets all others; those that are being asked for are not asked for twice. Needs a
    /// tokio runtime.
    pub(crate) fn ask_all<'a>(&mut self, names: impl IntoIterator<Item = &'a Hostname>) {
        let wanted: HashSet<&Hostname> = names.into_iter().collect();
        self.known.retain(|name, _| wanted.contains(name));
        self.asking.retain(|_, question| !question.is_finished());
        for name in wanted {
            self.ask(name);
        }
    }

    /// Asks for the names that were never asked for. Those that failed wait for the next round, as the others do: whoever asks
    /// at every change asks a name server for the same wrong name ten times a second.
    pub(crate) fn ask_new<'a>(&mut self, names: impl IntoIterator<Item = &'a Hostname>) {
        for name in names {
            if !self.known.contains_key(name) {
                self.ask(name);
            }
        }
    }

    fn ask(&mut self, name: &Hostname) {
        self.remember(name);
        if !self.asking.contains_key(name) {
            let question = self.answers.spawn(look_up(name.clone()));
            self.asking.insert(name.clone(), question);
        }
    }

    fn remember(&mut self, name: &Hostname) -> &mut Known {
        let before = &mut self.before;
        self.known
            .entry(name.clone())
            .or_insert_with_key(|name| Known {
                ips: before.remove(name).unwrap_or_default(),
                empty_since: None,
            })
    }

    /// The last good answer for a name; empty if there is none.
    pub(crate) fn addresses(&self, name: &Hostname) -> &[IpAddr] {
        match self.known.get(name) {
            Some(known) => &known.ips,
            None => self.before.get(name).map_or(&[], Vec::as_slice),
        }
    }

    /// Waits for one answer; `false`: none is awaited. May be dropped half-way.
    pub(crate) async fn answer(&mut self) -> bool {
        match self.answers.join_next().await {
            Some(Ok((name, answer))) => {
                self.learn(&name, answer);
                true
            }
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// A failure changes nothing. An empty answer takes the last good one away once all have been empty for ten minutes, failures
    /// between them aside.
    pub(crate) fn learn(&mut self, name: &Hostname, answer: Answer) {
        let known = self.remember(name);
        match answer {
            Answer::Addresses(ips) => {
                *known = Known {
                    ips,
                    empty_since: None,
                }
            }
            Answer::Empty(said) => {
                let since = *known.empty_since.get_or_insert_with(Instant::now);
                let left = KEPT.saturating_sub(since.elapsed());
                if known.ips.is_empty() {
                    tracing::warn!(%name, said, "a gateway's name has no address");
                } else if left.is_zero() {
                    tracing::warn!(%name, said, "a gateway's name has had no address for ten minutes; those it had are not used any more");
                    known.ips.clear();
                } else {
                    let seconds = left.as_secs();
                    tracing::warn!(%name, said, seconds, "a gateway's name has no address any more; those it had are used so many seconds longer");
                }
            }
            Answer::Fault(fault) => {
                tracing::warn!(%name, %fault, "a gateway's name could not be resolved; what was known of it stays");
            }
        }
    }

    /// Adds the resolved gateways to their networks; gives the names that have no address.
    pub(crate) fn add_to(&self, part: &mut Part, names: &[GatewayName]) -> Vec<String> {
        let mut unresolved = Vec::new();
        for GatewayName {
            network,
            name,
            port,
            clusters,
        } in names
        {
            let ips = self.addresses(name);
            if ips.is_empty() {
                unresolved.push(name.to_string());
                continue;
            }
            let gateways = &mut part.networks.entry(network.clone()).or_default().gateways;
            for ip in ips {
                let address = SocketAddr::new(*ip, *port);
                if !gateways.iter().any(|known| known.address == address) {
                    gateways.push(Gateway {
                        address,
                        name: Some(name.as_str().into()),
                        clusters: clusters.clone(),
                    });
                }
            }
            gateways.sort();
        }
        unresolved
    }
}

#[cfg(test)]
mod tests;
