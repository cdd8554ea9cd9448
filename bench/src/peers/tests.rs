//! Each proxy that is on this machine leads each name to its own endpoints, and other names nowhere.

use super::*;
use crate::backend::{Backend, Manner, Serving};
use crate::load::{self, Opening, Plan, Work};

/// Where cargo puts the gateway when it builds the workspace's tests.
pub(crate) fn causeway() -> PathBuf {
    let ourselves = std::env::current_exe().unwrap();
    ourselves.ancestors().nth(2).unwrap().join("causeway")
}

fn ask(address: SocketAddr, sni: &str) -> load::Outcome {
    let opening = Opening::bare(sni, sidecar::SIDECAR_ALPN).unwrap();
    let plan = Plan {
        connections: 1,
        count: Some(3),
        limit: Duration::from_secs(5),
        ..Plan::new(address, Work::Connections, opening)
    };
    load::run(plan, false, &mut |_| Ok(())).unwrap()
}

#[test]
fn each_proxy_leads_each_name_to_its_own_endpoints() {
    let cores = Cores::share_out().unwrap();
    // The bare relay has a test of its own: this program is not the one that has its command.
    let peers = Peer::ALL.into_iter().filter(|peer| *peer != Peer::Floor);
    for peer in peers.chain([Peer::CausewayPolling]) {
        let found = match peer.find(Some(&causeway())) {
            Ok(found) => found,
            Err(error) => {
                eprintln!("== SKIPPED {}: {error:#}", peer.name());
                continue;
            }
        };
        let backends = ["one", "two"].map(|name| {
            let serving = Serving {
                name: name.to_owned(),
                ..Serving::new(Manner::Answer)
            };
            Backend::start((Ipv4Addr::LOCALHOST, 0).into(), serving, 0).unwrap()
        });
        let named = backends.iter().zip(["one", "two"]);
        let routes: Vec<Route> = named
            .map(|(backend, name)| Route::new(name, vec![backend.address]))
            .collect();
        let running = found.start(&routes, &cores).unwrap();
        for (route, name) in routes.iter().zip(["one", "two"]) {
            let outcome = ask(running.address, &route.sni());
            assert_eq!(outcome.names.get(name), Some(&3), "{peer:?}: {outcome}");
        }
        let nobody = ask(running.address, &Route::new("nobody", Vec::new()).sni());
        assert_eq!(nobody.done, 0, "{peer:?}: {nobody}");
        assert!(!running.workers().unwrap().is_empty());
        assert!(running.memory().unwrap() > 100_000);
    }
}
