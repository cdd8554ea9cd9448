//! A rolling restart under load: gateways are replaced one after the other, and no request is lost but those that nobody could
//! have saved. Which those are is judged by what the gateway has written of their connections, not by a client's clock alone.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use discovery::Span;
use gateway::config::{Role, Successes};
use model::{Endpoint, Hostname, Service};
use serde_json::Value;
use sidecar::{Backend, Behaviour, Client, Connection, HELLO_NAME, Pki};
use tests::{Mesh, endpoint, get, hello_service, until_async};

use crate::reasons::{HERE, V4};

/// Milliseconds: a connection that was silent for 200 may be closed by a drain (design: no byte either way), and two more, as
/// the log's times are cut to one.
const QUIET: i64 = 202;

/// Longer than a client on a busy machine may take from reading the list of gateways to its connection.
const ANNOUNCE: Duration = Duration::from_secs(3);

const WINDOW: Duration = Duration::from_secs(4);

/// What the slow service takes to answer: what is asked right before a drain is cut by it, after the announcement and nine
/// tenths of the window.
const SLOW: Duration = Duration::from_secs(10);

/// Clients that keep their connection and ask again and again, and as many that connect for each request.
const CLIENTS: u64 = 12;

/// Clients of the slow service.
const SLOW_CLIENTS: u64 = 4;

/// What clients have seen.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    cut: Vec<Cut>,
    /// What failed without a connection.
    lost: Vec<String>,
}

/// A request whose connection ended before the answer.
#[derive(Debug)]
struct Cut {
    client: SocketAddr,
    /// When it began, in milliseconds since 1970.
    began: i64,
    /// What the client saw.
    why: String,
}

/// Where clients connect to: the gateways that are ready, as a load balancer sees them.
type InService = Arc<Mutex<Vec<SocketAddr>>>;

fn slow_service(endpoint: Endpoint) -> Service {
    let mut service = hello_service(vec![endpoint]);
    let host = service.host.as_str().replace("hello", "slow");
    service.host = Hostname::parse(&host).expect("a host name");
    service
}

async fn gateway(services: &[Service]) -> Mesh {
    let mesh = Mesh::start(V4, |config| {
        config.drain.announce = Span(ANNOUNCE);
        config.drain.window = Span(WINDOW);
        config.access_log.successes = Successes::On;
    })
    .await;
    mesh.publish(services.to_vec(), &[]).await;
    mesh
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_loses_nothing() {
    let pki = Arc::new(Pki::new());
    let mut backends = Vec::new();
    for who in ["one", "two", "slow"] {
        let ip = sidecar::fresh_loopback();
        backends.push(Backend::start(&pki, who, ip).await.expect("it starts"));
    }
    let delays = backends[2].set(Behaviour::Delay(SLOW)).await;
    delays.expect("it delays");
    let at = |backend: &Backend| endpoint(backend.address(), HERE);
    let services = [
        hello_service(vec![at(&backends[0]), at(&backends[1])]),
        slow_service(at(&backends[2])),
    ];
    let mut gateways = vec![gateway(&services).await, gateway(&services).await];
    let addresses = |gateways: &[Mesh]| -> Vec<_> {
        let gateways = gateways.iter();
        gateways.map(|mesh| mesh.address(Role::Inbound)).collect()
    };
    let in_service: InService = Arc::new(Mutex::new(addresses(&gateways)));
    let stop = Arc::new(AtomicBool::new(false));
    let moved = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CLIENTS * 2 + SLOW_CLIENTS)
        .map(|number| Load {
            pki: pki.clone(),
            in_service: in_service.clone(),
            number,
            stop: stop.clone(),
            moved: moved.clone(),
        })
        .map(|load| tokio::spawn(load.run()))
        .collect();

    let mut old_ones = Vec::new();
    for _ in 0..2 {
        let old = gateways.remove(0);
        let served = old.proxy().totals().dials;
        until_async("there is load on it", async || {
            old.proxy().totals().dials > served + 20
        })
        .await;
        gateways.push(gateway(&services).await);
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
        old_ones.push(old);
    }
    // The last close can come right before the drain's end: who has it in its socket may not have read it yet.
    until_async("those with long connections were moved", async || {
        moved.load(Relaxed) >= CLIENTS
    })
    .await;
    stop.store(true, Relaxed);
    let mut sum = Tally::default();
    for client in clients {
        sum.add(client.await.expect("it ends"));
    }
    let (mut raced, mut at_end) = (0, 0);
    for cut in &sum.cut {
        match judge(cut, &old_ones).await {
            Ok(Excuse::Raced) => raced += 1,
            Ok(Excuse::AtEnd) => at_end += 1,
            Err(why) => sum.lost.push(why),
        }
    }
    println!(
        "{} answered, {} moved, {raced} raced with the close of their connection, {at_end} still waited at the window's end, {} lost",
        sum.answered,
        moved.load(Relaxed),
        sum.lost.len()
    );
    assert!(
        sum.lost.is_empty(),
        "{} lost, the first: {:?}",
        sum.lost.len(),
        sum.lost[0]
    );
    assert!(sum.answered > 500, "{sum:?}");
}

/// What excuses a request that was cut.
enum Excuse {
    /// It began within 200 ms of its connection's close.
    Raced,
    /// It was still running at the window's end.
    AtEnd,
}

/// What the gateways have written of its connection decides.
async fn judge(cut: &Cut, gateways: &[Mesh]) -> Result<Excuse, String> {
    let client = cut.client.to_string();
    let lines = || -> Vec<Value> {
        let all = gateways.iter().flat_map(Mesh::access_log);
        all.filter(|line| line["client"] == client.as_str())
            .collect()
    };
    until_async(&format!("a drained gateway tells of {cut:?}"), async || {
        !lines().is_empty()
    })
    .await;
    // A port can have been another connection's before.
    let lines = lines();
    let excuse = lines.iter().find_map(|line| {
        let ran = ran(cut, line);
        match line["reason"].as_str() {
            Some("drained") if ran.abs() <= QUIET => Some(Excuse::Raced),
            Some("drained") if ran >= millis(WINDOW / 10 * 9) => Some(Excuse::AtEnd),
            Some("drain_deadline") => Some(Excuse::AtEnd),
            _ => None,
        }
    });
    excuse.ok_or_else(|| {
        format!(
            "{} for {}, begun at {}: {lines:?}",
            cut.why, cut.client, cut.began
        )
    })
}

/// From the request's begin to its connection's end, in milliseconds; below 0 where the client had not heard of the end.
fn ran(cut: &Cut, line: &Value) -> i64 {
    const DAY: i64 = 24 * 60 * 60 * 1_000;
    // 2026-11-21T04:36:46.123Z
    let start = line["start"].as_str().expect("a time");
    let part = |at: usize, len: usize| start[at..at + len].parse::<i64>().expect("a number");
    let seconds = (part(11, 2) * 60 + part(14, 2)) * 60 + part(17, 2);
    let duration = line["durationMs"].as_f64().expect("a number");
    let end = seconds * 1_000 + part(20, 3) + duration as i64;
    let ran = (end - cut.began).rem_euclid(DAY);
    if ran > DAY / 2 { ran - DAY } else { ran }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).expect("not that long")
}

/// One client: asks until it is told to stop.
struct Load {
    pki: Arc<Pki>,
    in_service: InService,
    /// Even ones ask on one connection for as long as it lasts, odd ones on a new one each time; the last ones ask the slow
    /// service.
    number: u64,
    stop: Arc<AtomicBool>,
    /// How often a connection that was kept has ended.
    moved: Arc<AtomicU64>,
}

impl Load {
    async fn run(self) -> Tally {
        let mut tally = Tally::default();
        let mut kept: Option<Connection> = None;
        let is_slow = self.number >= CLIENTS * 2;
        let keeps = self.number.is_multiple_of(2) && !is_slow;
        let think = Duration::from_millis(40 + self.number * 25);
        let mut turn = self.number as usize;
        while !self.stop.load(Relaxed) {
            turn += 1;
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => match self.connect(turn, is_slow).await {
                    Ok(connection) => connection,
                    Err(why) => {
                        tally.lost.push(why);
                        continue;
                    }
                },
            };
            let began = SystemTime::now().duration_since(UNIX_EPOCH);
            let began = millis(began.expect("after 1970"));
            match connection.ask().await {
                Ok(_) => tally.answered += 1,
                Err(fault) => {
                    let (client, why) = (connection.local(), fault.to_string());
                    tally.cut.push(Cut { client, began, why });
                    self.moved.fetch_add(u64::from(keeps), Relaxed);
                    continue;
                }
            }
            if !keeps {
                connection.close().await;
                tokio::time::sleep(think / 4).await;
                continue;
            }
            match tokio::time::timeout(think, connection.closed()).await {
                Ok(_) => {
                    self.moved.fetch_add(1, Relaxed);
                }
                Err(_) => kept = Some(connection),
            }
        }
        tally
    }

    async fn connect(&self, turn: usize, is_slow: bool) -> Result<Connection, String> {
        let gateway = {
            let known = self.in_service.lock().expect("not poisoned");
            known[turn % known.len()]
        };
        let name = if is_slow {
            HELLO_NAME.replace("hello", "slow")
        } else {
            HELLO_NAME.to_owned()
        };
        let client = Client::new(&self.pki, gateway)
            .named(&name)
            .expect("a name");
        client
            .connect()
            .await
            .map_err(|fault| format!("connect: {fault}"))
    }
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.answered += other.answered;
        self.cut.extend(other.cut);
        self.lost.extend(other.lost);
    }
}
