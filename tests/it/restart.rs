//! A rolling restart under load: gateways are replaced one after the other, and no request is lost but those that nobody could
//! have saved.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use discovery::Span;
use gateway::config::Role;
use model::Endpoint;
use proxy::close::Reason;
use sidecar::{Client, Connection, Pki};
use tests::{Mesh, endpoint, get, hello_service, until_async};

use crate::reasons::{HERE, V4};

/// A connection that was silent for this long may be closed by a drain (design: no byte either way for 200 ms).
const QUIET: Duration = Duration::from_millis(200);

/// Clients that keep their connection and ask again and again, and as many that connect for each request.
const CLIENTS: u64 = 12;

/// What clients have seen.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    reconnected: u64,
    /// Failed requests that had begun within 200 ms of their connection's close.
    raced: u64,
    /// All other failures.
    lost: Vec<String>,
}

/// Where clients connect to: the gateways that are ready, as a load balancer sees them.
type InService = Arc<Mutex<Vec<SocketAddr>>>;

async fn gateway(endpoints: &[Endpoint]) -> Mesh {
    let mesh = Mesh::start(V4, |config| {
        config.drain.announce = Span(Duration::from_millis(500));
        config.drain.window = Span(Duration::from_secs(4));
    })
    .await;
    mesh.publish(vec![hello_service(endpoints.to_vec())], &[])
        .await;
    mesh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    let pki = Arc::new(Pki::new());
    let mut backends = Vec::new();
    for who in ["one", "two"] {
        let ip = sidecar::fresh_loopback();
        backends.push(
            sidecar::Backend::start(&pki, who, ip)
                .await
                .expect("it starts"),
        );
    }
    let endpoints: Vec<_> = backends
        .iter()
        .map(|one| endpoint(one.address(), HERE))
        .collect();
    let mut gateways = vec![gateway(&endpoints).await, gateway(&endpoints).await];
    let addresses = |gateways: &[Mesh]| -> Vec<_> {
        gateways
            .iter()
            .map(|mesh| mesh.address(Role::Inbound))
            .collect()
    };
    let in_service: InService = Arc::new(Mutex::new(addresses(&gateways)));
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS * 2)
        .map(|n| tokio::spawn(load(pki.clone(), in_service.clone(), n, stop.clone())))
        .collect();

    let mut deadlines = 0;
    for _ in 0..2 {
        let old = gateways.remove(0);
        let served = old.proxy().totals().dials;
        until_async("there is load on it", async || {
            old.proxy().totals().dials > served + 20
        })
        .await;
        gateways.push(gateway(&endpoints).await);
        let new = addresses(&gateways);
        tokio::join!(old.app.drain(), async {
            let ready = old.app.addresses().ready;
            until_async("it is not ready", async || {
                get(ready, "/healthz/ready").await.status == 503
            })
            .await;
            *in_service.lock().expect("not poisoned") = new;
        });
        assert_eq!(old.proxy().open(), 0, "everything has ended");
        deadlines += old.count(Reason::DrainDeadline);
        old.stop().await;
    }
    stop.store(true, Relaxed);
    let mut sum = Tally::default();
    for client in clients {
        sum.add(client.await.expect("it ends"));
    }
    println!(
        "{} answered, {} reconnected, {} raced with the close of their connection, {deadlines} connections at the window's end, {} lost",
        sum.answered,
        sum.reconnected,
        sum.raced,
        sum.lost.len()
    );
    assert!(
        sum.lost.is_empty(),
        "{} lost, the first: {:?}",
        sum.lost.len(),
        sum.lost[0]
    );
    assert!(
        sum.reconnected >= CLIENTS,
        "those with long connections were moved: {sum:?}"
    );
    assert!(sum.answered > 500, "{sum:?}");
}

/// Asks until it is told to stop: even numbers on one connection for as long as it lasts, odd ones on a new one each time.
async fn load(pki: Arc<Pki>, in_service: InService, number: u64, stop: Arc<AtomicBool>) -> Tally {
    let mut tally = Tally::default();
    let mut kept: Option<Connection> = None;
    let think = Duration::from_millis(40 + number * 25);
    let mut turn = number as usize;
    while !stop.load(Relaxed) {
        turn += 1;
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => {
                let gateway = {
                    let known = in_service.lock().expect("not poisoned");
                    known[turn % known.len()]
                };
                match Client::new(&pki, gateway).connect().await {
                    Ok(connection) => connection,
                    Err(fault) => {
                        tally.lost.push(format!("connect: {fault}"));
                        continue;
                    }
                }
            }
        };
        let began = Instant::now();
        match connection.ask().await {
            Ok(_) => tally.answered += 1,
            Err(_) if began.elapsed() < QUIET => {
                tally.raced += 1;
                continue;
            }
            Err(fault) => {
                tally.lost.push(format!("request: {fault}"));
                continue;
            }
        }
        if number % 2 == 1 {
            connection.close().await;
            tokio::time::sleep(think / 4).await;
        } else if tokio::time::timeout(think, connection.closed())
            .await
            .is_ok()
        {
            tally.reconnected += 1;
        } else {
            kept = Some(connection);
        }
    }
    tally
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.reconnected += other.reconnected;
        self.raced += other.raced;
        self.lost.extend(other.lost);
    }
}
