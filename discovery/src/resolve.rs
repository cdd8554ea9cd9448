//! Host names of gateways: resolved again and again, the last good answer kept until there is another. It must not decide what
//! a gateway is for, nor whether it is still there: probes find that out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use model::{ClusterId, Gateway, Hostname, NetworkId, Part};
use tokio::task::{AbortHandle, JoinSet};

/// Time between two rounds; load balancers' names have a TTL of 60 s at most places.
const ROUND: Duration = Duration::from_secs(30);

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
    known: HashMap<Hostname, Vec<IpAddr>>,
    /// What another life of this gateway knew, which holds for names that have not been answered in this one.
    before: BTreeMap<Hostname, Vec<IpAddr>>,
    asking: HashMap<Hostname, AbortHandle>,
    answers: JoinSet<(Hostname, io::Result<Vec<IpAddr>>)>,
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

    /// Asks for every name, all at once; those that are being asked for are not asked for twice. Needs a tokio runtime.
    pub(crate) fn ask_all<'a>(&mut self, names: impl IntoIterator<Item = &'a Hostname>) {
        let wanted: HashSet<&Hostname> = names.into_iter().collect();
        self.known.retain(|name, _| wanted.contains(name));
        self.asking.retain(|_, question| !question.is_finished());
        for name in wanted {
            if !self.asking.contains_key(name) {
                let question = self.answers.spawn(look_up(name.clone()));
                self.asking.insert(name.clone(), question);
            }
        }
    }

    /// Asks for the names that have no answer yet.
    pub(crate) fn ask_new<'a>(&mut self, names: impl IntoIterator<Item = &'a Hostname> + Clone) {
        let mut all = names.clone().into_iter();
        if all.any(|name| !self.known.contains_key(name)) {
            self.ask_all(names);
        }
    }

    /// The last good answer for a name; empty if there is none.
    pub(crate) fn addresses(&self, name: &Hostname) -> &[IpAddr] {
        let known = self.known.get(name).or_else(|| self.before.get(name));
        known.map_or(&[], Vec::as_slice)
    }

    /// Waits for one answer; `false`: none is awaited. May be dropped half-way.
    pub(crate) async fn answer(&mut self) -> bool {
        match self.answers.join_next().await {
            Some(Ok((name, answer))) => {
                self.learn(name, answer);
                true
            }
            Some(Err(_)) => true,
            None => false,
        }
    }

    /// A failed or empty answer changes nothing.
    fn learn(&mut self, name: Hostname, answer: io::Result<Vec<IpAddr>>) {
        match answer {
            Ok(ips) if ips.is_empty() => tracing::warn!(%name, "a gateway's name has no address"),
            Ok(ips) => {
                self.known.insert(name, ips);
            }
            Err(fault) => tracing::warn!(%name, %fault, "a gateway's name could not be resolved"),
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

/// All addresses of a name, of both families, sorted. By the C library, on a thread of its own: since glibc 2.34 the hosts file
/// and DNS are inside it even where it is linked statically, which `make image-check` shows in an empty root.
async fn look_up(name: Hostname) -> (Hostname, io::Result<Vec<IpAddr>>) {
    // Absolute, so that a search list cannot turn it into another name. A single label is one of the hosts file's.
    let dot = if name.as_str().contains('.') { "." } else { "" };
    let found = tokio::net::lookup_host(format!("{name}{dot}:0")).await;
    let ips = found.map(|addresses| {
        let ips: BTreeSet<IpAddr> = addresses.map(|address| address.ip()).collect();
        ips.into_iter().collect()
    });
    (name, ips)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str) -> GatewayName {
        GatewayName {
            network: "n3".into(),
            name: Hostname::parse(name).expect("a host name"),
            port: 15443,
            clusters: Vec::new(),
        }
    }

    fn hosts(names: &[GatewayName]) -> Vec<&Hostname> {
        names.iter().map(|gateway| &gateway.name).collect()
    }

    fn gateways(resolver: &Resolver, names: &[GatewayName]) -> Vec<String> {
        let mut part = Part::default();
        resolver.add_to(&mut part, names);
        let networks = part.networks.values();
        networks
            .flat_map(|network| &network.gateways)
            .map(|gateway| gateway.address.to_string())
            .collect()
    }

    fn learn(resolver: &mut Resolver, name: &GatewayName, ips: &[&str]) {
        let ips = ips
            .iter()
            .map(|ip| ip.parse().expect("an address"))
            .collect();
        resolver.learn(name.name.clone(), Ok(ips));
    }

    #[tokio::test]
    async fn the_last_good_answer_is_kept_until_there_is_another() {
        let names = [gateway("gw.example")];
        let mut resolver = Resolver::default();
        learn(&mut resolver, &names[0], &["203.0.113.7", "2001:db8::7"]);
        let both = ["203.0.113.7:15443", "[2001:db8::7]:15443"];
        assert_eq!(gateways(&resolver, &names), both);
        resolver.learn(names[0].name.clone(), Err(io::ErrorKind::TimedOut.into()));
        learn(&mut resolver, &names[0], &[]);
        resolver.ask_all(hosts(&names));
        assert_eq!(gateways(&resolver, &names), both);
        learn(&mut resolver, &names[0], &["203.0.113.8"]);
        assert_eq!(gateways(&resolver, &names), ["203.0.113.8:15443"]);
        resolver.ask_all([]);
        assert!(gateways(&resolver, &names).is_empty(), "no longer wanted");
    }

    #[tokio::test]
    async fn answers_of_another_life_hold_until_there_are_new_ones() {
        let names = [gateway("gw.example")];
        let ip = "203.0.113.7".parse().expect("an address");
        let mut resolver = Resolver::with([(names[0].name.clone(), vec![ip])].into());
        assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
        resolver.ask_new(hosts(&names));
        assert_eq!(resolver.answers.len(), 1, "they are asked for at once");
        resolver.learn(names[0].name.clone(), Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(gateways(&resolver, &names), ["203.0.113.7:15443"]);
        learn(&mut resolver, &names[0], &["203.0.113.8"]);
        assert_eq!(gateways(&resolver, &names), ["203.0.113.8:15443"]);
    }

    #[tokio::test]
    async fn a_name_is_not_asked_for_twice_at_a_time() {
        let names = [gateway("localhost"), gateway("localhost")];
        let mut resolver = Resolver::default();
        resolver.ask_new(hosts(&names));
        resolver.ask_all(hosts(&names));
        assert_eq!(resolver.answers.len(), 1);
        assert!(resolver.answer().await);
        assert!(!resolver.answer().await);
        assert!(!gateways(&resolver, &names).is_empty());
    }
}
