//! Connections to which little happens for long: one worker with real sockets, and a clock that the test stops once everything is
//! where it should be, so that a minute takes no time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use model::{
    Chunked, Endpoint, Health, Hostname, Origin, Policy, Port, PortMap, Protocol, Service,
    Snapshot, TlsMode,
};
use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream as Stream;

use super::*;
use crate::access::WAITING;
use crate::config::Limits;
use crate::control::Control;
use crate::probe::client_hello;
use crate::stats::total;

/// What a client has room for that does not read, and what the gateway's socket to it has.
const CLIENT_ROOM: usize = 8 << 10;
const OUR_ROOM: usize = 200 << 10;

/// A worker and both ends of one connection that it relays.
struct Scene {
    worker: Rc<Worker>,
    client: Stream,
    endpoint: Stream,
    _control: Control,
}

fn run<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default());
    runtime.expect("a runtime").block_on(test)
}

async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

impl Scene {
    async fn set() -> Self {
        Self::polling(Duration::ZERO).await
    }

    /// The same with a worker that polls.
    async fn polling(busy_poll: Duration) -> Self {
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let upstream = tokio::net::TcpListener::bind(any).await.expect("bound");
        let config = Config {
            listeners: vec![Listener::new(any, Role::Inbound)],
            allow_loopback: true,
            busy_poll,
            limits: Limits {
                connections: Some(10),
                ..Limits::default()
            },
            ..Config::default()
        };
        let clock = Clock::start();
        let (mut control, tables) = Control::new(&config, Vec::new(), clock);
        let snapshot = snapshot(upstream.local_addr().expect("its address"));
        control.apply(&Arc::new(snapshot), clock.now());
        let listener = listener();
        let address = listener.local_addr().expect("its address");
        let (outbox, inbox) = mpsc::unbounded_channel();
        let shared = Shared {
            gauges: Gauges::new(1, &config.limits),
            quota: Quota::new(0, 0.0),
            config,
            listeners: vec![Bound {
                address,
                role: Role::Inbound,
            }],
            tables,
            stats: vec![Stats::new()],
            clock,
            inboxes: vec![outbox],
            reports: mpsc::channel(WAITING).0,
        };
        let worker = Rc::new(Worker::new(0, Arc::new(shared)));
        let listeners = vec![listener::register(listener).expect("registered")];
        tokio::task::spawn_local(work(worker.clone(), listeners, inbox));

        let mut client = client(address);
        let hello = client_hello("outbound_.80_._.s", &["istio"]);
        client.write_all(&hello).await.expect("sent");
        let (mut endpoint, _) = upstream.accept().await.expect("accepted");
        let mut heard = vec![0; hello.len()];
        endpoint.read_exact(&mut heard).await.expect("the hello");
        Self {
            worker,
            client,
            endpoint,
            _control: control,
        }
    }
}

fn listener() -> TcpListener {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Who is accepted inherits it.
    socket.set_send_buffer_size(OUR_ROOM).expect("room");
    socket.set_nonblocking(true).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("bound");
    socket.listen(1).expect("it listens");
    socket.into()
}

fn client(address: SocketAddr) -> Stream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(CLIENT_ROOM).expect("room");
    socket.connect(&address.into()).expect("connected");
    socket.set_nonblocking(true).expect("a socket");
    Stream::from_std(socket.into()).expect("registered")
}

fn snapshot(endpoint: SocketAddr) -> Snapshot {
    let endpoint = Endpoint {
        address: endpoint.ip(),
        weight: 1,
        health: Health::Healthy,
        tls: TlsMode::Istio,
        ports: Arc::new(PortMap::from([("http".into(), endpoint.port())])),
        labels: Arc::default(),
        origin: Arc::new(Origin::default()),
    };
    let service = Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![Port {
            number: 80,
            name: "http".into(),
            protocol: Protocol::Tcp,
        }],
        subsets: BTreeMap::new(),
        policy: Policy::default().shared(),
        endpoints: Chunked::from_items(vec![endpoint]),
    };
    Snapshot {
        version: 1,
        services: Chunked::from_items(vec![Arc::new(service)]),
        ..Snapshot::default()
    }
}

/// Bytes that tell their place.
fn text(count: u32) -> Vec<u8> {
    (0..count / 4).flat_map(u32::to_be_bytes).collect()
}

/// An endpoint resets behind 100 kB, of which the client has taken next to nothing when it pauses for a minute. What it says then
/// must not meet a closed socket, because the kernel would throw away what waits there for the client.
#[test]
fn a_client_that_pauses_behind_a_reset_loses_nothing() {
    run(async {
        let mut scene = Scene::set().await;
        let said = text(100_000);
        scene.endpoint.write_all(&said).await.expect("sent");
        until(|| any(&scene.worker, |conn| conn.traffic.received.get() == 100_000)).await;
        let linger = SockRef::from(&scene.endpoint).set_linger(Some(Duration::ZERO));
        linger.expect("an option");
        drop(scene.endpoint);
        pause_for_a_minute().await;
        scene.client.write_all(b"?").await.expect("sent");
        let mut heard = Vec::new();
        let end = scene.client.read_to_end(&mut heard).await;
        assert_eq!(end.ok(), Some(100_000));
        assert!(heard == said);
        drop(scene.client);
        assert_eq!(end_of(&scene.worker).await, Reason::UpstreamReset);
    });
}

/// A reader that pauses for a minute, and lives, while more waits for it than the kernel takes.
#[test]
fn a_reader_that_pauses_for_a_minute_gets_everything() {
    run(async {
        let mut scene = Scene::set().await;
        let said = text(4 << 20);
        let mut endpoint = scene.endpoint;
        let saying = tokio::task::spawn_local({
            let said = said.clone();
            async move {
                endpoint.write_all(&said).await.expect("sent");
                endpoint
            }
        });
        until(|| any(&scene.worker, |conn| conn.holds_bytes.get())).await;
        pause_for_a_minute().await;
        let mut heard = vec![0; said.len()];
        scene.client.read_exact(&mut heard).await.expect("all");
        assert!(heard == said);
        let mut endpoint = saying.await.expect("it ends");
        drop(scene.client);
        assert_eq!(endpoint.read(&mut [0]).await.ok(), Some(0));
        drop(endpoint);
        assert_eq!(end_of(&scene.worker).await, Reason::Done);
    });
}

/// For the worker; for us it takes no time.
async fn pause_for_a_minute() {
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(60)).await;
    tokio::time::resume();
}

fn any(worker: &Worker, is: impl Fn(&Conn) -> bool) -> bool {
    let mut any = false;
    worker.conns.borrow().each(|conn| any |= is(conn));
    any
}

/// Why the only connection ended, once it has.
async fn end_of(worker: &Worker) -> Reason {
    until(|| !worker.conns.borrow().any()).await;
    let closes = total(&worker.shared.stats).closes;
    assert_eq!(closes.len(), 1, "{closes:?}");
    closes[0].1
}

/// Lets the only connection end, and waits until the worker rests.
async fn rest(worker: &Worker) {
    until(|| !worker.conns.borrow().any()).await;
    for turn in 0.. {
        assert!(turn < 10, "it does not rest");
        if worker.rests.get() {
            return;
        }
        tokio::time::advance(TICK).await;
        tokio::task::yield_now().await;
    }
}

/// Forty wakes a second are for connections; where there is none, the worker sleeps and keeps nothing of before, and whoever comes
/// then finds a clock that is right and goes on.
#[test]
fn without_a_connection_the_tick_rests() {
    run(async {
        let Scene {
            worker,
            client: gone,
            endpoint,
            _control: mut control,
        } = Scene::set().await;
        let address = worker.bound(0).address;
        tokio::time::pause();
        drop((gone, endpoint));
        rest(&worker).await;

        let route = worker.find(Role::Inbound, 0, "outbound_.80_._.s");
        let before = Arc::downgrade(&route.expect("a route").balancer_arc());
        let elsewhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        control.apply(&Arc::new(snapshot(elsewhere)), worker.clock.now());
        assert!(before.upgrade().is_none(), "a worker at rest has it still");

        let stood = worker.now();
        tokio::time::advance(Duration::from_secs(3_600)).await;
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(worker.now(), stood);

        let _client = client(address);
        until(|| worker.conns.borrow().any()).await;
        assert_eq!(worker.now(), worker.clock.now());
        for _ in 0..3 {
            let before = worker.now();
            tokio::time::advance(2 * TICK).await;
            until(|| worker.now() > before).await;
        }
    });
}

/// A drain that finds the worker at rest has its window from then on, for those who still come out of the queue.
#[test]
fn a_drain_of_a_worker_at_rest_begins_when_it_is_told() {
    run(async {
        let scene = Scene::set().await;
        let worker = &scene.worker;
        tokio::time::pause();
        drop((scene.client, scene.endpoint));
        rest(worker).await;
        tokio::time::advance(Duration::from_secs(3_600)).await;
        let window = Duration::from_secs(10);
        worker.close_some(Batch {
            reason: Reason::Drained,
            rest: Some(Reason::DrainDeadline),
            percent: 100,
            over: window,
        });
        let _client = client(worker.bound(0).address);
        until(|| worker.conns.borrow().any()).await;
        let asked = || {
            any(worker, |conn| {
                conn.asked_to_stop() == Some(Reason::DrainDeadline)
            })
        };
        for _ in 0..10 {
            assert!(!asked(), "before the window's end");
            let before = worker.now();
            tokio::time::advance(2 * TICK).await;
            until(|| worker.now() > before).await;
        }
    });
}

/// Whoever comes and every byte that passes keeps a polling worker awake, and with neither it sleeps.
#[test]
fn what_passes_keeps_a_polling_worker_awake() {
    run(async {
        let mut scene = Scene::polling(Duration::from_micros(1)).await;
        let sleeps = {
            let worker = scene.worker.clone();
            move || worker.polling.as_ref().is_some_and(Polling::sleeps)
        };
        until(&sleeps).await;
        for _ in 0..3 {
            scene.client.write_all(b"x").await.expect("sent");
            until(|| !sleeps()).await;
            let mut byte = [0];
            scene.endpoint.read_exact(&mut byte).await.expect("a byte");
            until(&sleeps).await;
            scene.endpoint.write_all(b"y").await.expect("sent");
            until(|| !sleeps()).await;
            scene.client.read_exact(&mut byte).await.expect("a byte");
            until(&sleeps).await;
        }
    });
}
