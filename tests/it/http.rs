//! The three HTTP servers: what they tell, and that nobody can hold them up.

mod crowd;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use discovery::Span;
use gateway::config::Role;
use proxy::close::Reason;
use tests::{Mesh, Place, endpoint, exchange, get, hello_service, metric, until, until_async};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};

async fn served_mesh() -> (Mesh, sidecar::Backend) {
    let mesh = Mesh::start(V4, |config| {
        config.drain.announce = Span(Duration::from_secs(3_600));
    })
    .await;
    let backend = mesh.backend("one").await;
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    (mesh, backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn ready_follows_the_life_of_the_gateway() {
    let (mesh, _backend) = served_mesh().await;
    let address = mesh.app.addresses().ready;
    let ready = get(address, "/healthz/ready").await;
    assert_eq!((ready.status, &ready.json()["ready"]), (200, &true.into()));
    assert_eq!(get(address, "/healthz/live").await.status, 200);
    let draining = async {
        until_async("it is not ready", async || {
            get(address, "/healthz/ready").await.status == 503
        })
        .await;
        let ready = get(address, "/healthz/ready").await.json();
        assert_eq!(ready["ready"], false);
        assert_ne!(ready["waitingFor"].as_array().map(Vec::len), Some(0));
        assert_eq!(get(address, "/healthz/live").await.status, 200);
        // Load balancers have not heard of it yet.
        mesh.client(Role::Inbound).ask().await.expect("an answer");
    };
    tokio::select! {
        () = mesh.app.drain() => panic!("the hour is not over"),
        () = draining => {}
    }
    mesh.stop().await;
    assert!(TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_say_what_happened() {
    let (mesh, _backend) = served_mesh().await;
    let address = mesh.app.addresses().stats;
    for _ in 0..3 {
        mesh.client(Role::Inbound).ask().await.expect("an answer");
    }
    let nowhere = mesh
        .client(Role::Inbound)
        .named("outbound_.1_._.nobody.example");
    let nowhere = nowhere.expect("a name").ask().await;
    assert!(nowhere.is_err());
    until("all are counted", || {
        mesh.count(Reason::Done) == 3 && mesh.count(Reason::UnknownService) == 1
    })
    .await;
    let answer = get(address, "/metrics").await;
    assert!(
        answer.head.contains("text/plain; version=0.0.4"),
        "{}",
        answer.head
    );
    let text = answer.body;
    let closed = |reason: &str| {
        let label = format!("reason=\"{reason}\"");
        metric(&text, "causeway_connections_closed_total", &[&label])
    };
    assert_eq!((closed("done"), closed("unknown_service")), (3.0, 1.0));
    for (name, least) in [
        ("causeway_build_info", 1.0),
        ("causeway_dials_total", 3.0),
        ("causeway_source_reloads_total", 2.0),
        ("causeway_snapshot_version", 2.0),
        ("causeway_connection_limit", 16.0),
        ("process_resident_memory_bytes", 1e6),
        ("process_open_fds", 10.0),
        ("process_start_time_seconds", 1e9),
    ] {
        assert!(metric(&text, name, &[]) >= least, "{name} in {text}");
    }
    assert_eq!(metric(&text, "causeway_open_connections", &[]), 0.0);
    for (name, labels, value) in [
        ("causeway_picks_total", &["tier=\"0\""][..], 3.0),
        ("causeway_attempts_total", &["outcome=\"connected\""], 3.0),
        ("causeway_hello_seconds_count", &[], 3.0),
        ("causeway_hello_seconds_bucket", &["le=\"+Inf\""], 3.0),
        ("causeway_dial_seconds_count", &[], 3.0),
        ("causeway_ejections_total", &[], 0.0),
        ("causeway_drain_phase", &[], 0.0),
        (
            "causeway_endpoints",
            &["cluster=\"us\"", "network=\"n2\"", "state=\"healthy\""],
            1.0,
        ),
        ("causeway_services", &[], 1.0),
    ] {
        assert!(text.contains(name), "{name} in {text}");
        assert_eq!(metric(&text, name, labels), value, "{name} in {text}");
    }
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    for line in lines {
        let value = line.rsplit_once(' ').map(|(_, value)| value.parse::<f64>());
        assert!(matches!(value, Some(Ok(_))), "no sample: {line}");
        let series = line.split(['{', ' ']).next().unwrap_or_default();
        // The three series of a histogram have one help.
        let parts = ["_bucket", "_sum", "_count"];
        let name = parts.iter().find_map(|part| series.strip_suffix(part));
        let name = name
            .filter(|name| name.ends_with("_seconds"))
            .unwrap_or(series);
        assert!(text.contains(&format!("# HELP {name} ")), "no help: {line}");
    }
    assert_eq!(get(address, "/stats/prometheus").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn admin_tells_what_is_bound_known_and_wrong() {
    let (mesh, _backend) = served_mesh().await;
    let addresses = mesh.app.addresses().clone();
    let admin = addresses.admin;
    let config = get(admin, "/config").await.json();
    let text = |address: SocketAddr| serde_json::Value::from(address.to_string());
    assert_eq!(
        config["bound"]["listeners"][0],
        text(addresses.listeners[0])
    );
    assert_eq!(config["bound"]["stats"], text(addresses.stats));
    assert_ne!(addresses.listeners[0].port(), 0);
    assert_eq!(config["config"]["cluster"], "us");

    let before = get(admin, "/snapshot").await.json();
    let known = before.to_string();
    assert!(known.contains("hello.default.svc.cluster.local"), "{known}");
    assert!(get(admin, "/source").await.json()["lastError"].is_null());

    mesh.write("services:\n  - host: hello.example\n    prots: []\n");
    until_async("the mistake is seen", async || {
        !get(admin, "/source").await.json()["lastError"].is_null()
    })
    .await;
    let source = get(admin, "/source").await.json();
    let said = source["lastError"].as_str().unwrap_or_default();
    assert!(
        said.contains("mesh.yaml:3") && said.contains("prots"),
        "{said}"
    );
    assert_eq!(source["failures"], 1);
    // The last good one stays in force.
    assert_eq!(get(admin, "/snapshot").await.json(), before);
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let metrics = get(addresses.stats, "/metrics").await.body;
    assert_eq!(metric(&metrics, "causeway_source_wrong", &[]), 1.0);

    mesh.publish(vec![], &[]).await;
    assert!(get(admin, "/source").await.json()["lastError"].is_null());
    let metrics = get(addresses.stats, "/metrics").await.body;
    assert_eq!(metric(&metrics, "causeway_source_wrong", &[]), 0.0);
}

/// The same question has the same answer, byte by byte, and lists have an order that is not that of the file.
#[tokio::test(flavor = "multi_thread")]
async fn answers_are_sorted_and_stable() {
    let (mesh, _backend) = served_mesh().await;
    let services = ["zebra", "ant", "hare"].map(|name| {
        let endpoints = [9, 1, 5].map(|at| endpoint(SocketAddr::from(([10, 9, 0, at], 80)), HERE));
        let mut service = hello_service(endpoints.to_vec());
        let host = format!("{name}.default.svc.cluster.local");
        service.host = model::Hostname::parse(&host).expect("a host name");
        service
    });
    mesh.publish(services.to_vec(), &[]).await;
    let admin = mesh.app.addresses().admin;
    for path in [
        "/config",
        "/endpoints",
        "/explain?sni=outbound_.5000_._.hare.default.svc.cluster.local",
        "/failures",
        "/mesh",
        "/networks",
        "/routes",
        "/snapshot",
        "/source",
        "/xds",
    ] {
        let first = get(admin, path).await;
        assert_eq!(first.status, 200, "{path}");
        assert_eq!(first.body, get(admin, path).await.body, "{path}");
    }
    let listed = async |path: &str, list: &str, key: &str| -> Vec<String> {
        let answer = get(admin, path).await.json();
        let all = answer[list].as_array().cloned().unwrap_or_default();
        let keys = all.iter().map(|one| one[key].as_str().unwrap_or_default());
        keys.map(str::to_owned).collect()
    };
    for (path, list, key, count) in [
        ("/snapshot", "services", "host", 3),
        ("/routes", "routes", "name", 6),
        ("/endpoints", "endpoints", "address", 3),
    ] {
        let keys = listed(path, list, key).await;
        assert!(keys.len() == count && keys.is_sorted(), "{path}: {keys:?}");
    }
}

/// What is sent, and the statuses that may come; 0: closed without a word.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_are_refused_and_harm_nobody() {
    let (mesh, _backend) = served_mesh().await;
    let addresses = mesh.app.addresses().clone();
    let local = "Host: localhost\r\nConnection: close\r\n\r\n";
    let huge = format!("GET / HTTP/1.1\r\nX: {}\r\n{local}", "x".repeat(40_000));
    let many = format!("GET / HTTP/1.1\r\n{}{local}", "X: y\r\n".repeat(300));
    let post = |path: &str, more: &str| {
        format!("POST {path} HTTP/1.1\r\nContent-Length: 0\r\n{more}{local}")
    };
    let json = "Content-Type: application/json\r\n";
    for (to, request, statuses) in [
        (
            addresses.ready,
            format!("POST /healthz/ready HTTP/1.1\r\n{local}"),
            &[405][..],
        ),
        (
            addresses.ready,
            format!("GET /healthz HTTP/1.1\r\n{local}"),
            &[404],
        ),
        (
            addresses.stats,
            format!("DELETE /metrics HTTP/1.1\r\n{local}"),
            &[405],
        ),
        (
            addresses.stats,
            format!("GET /../etc/passwd HTTP/1.1\r\n{local}"),
            &[404],
        ),
        (addresses.stats, huge.clone(), &[431, 400, 0]),
        (addresses.admin, huge, &[431, 400, 0]),
        (addresses.admin, many, &[431, 400, 0]),
        (
            addresses.admin,
            "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n".into(),
            &[400, 0],
        ),
        (
            addresses.admin,
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
            &[400, 505, 0],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into(),
            &[403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: localhost.evil.example\r\nConnection: close\r\n\r\n"
                .into(),
            &[403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: 127.0.0.1.evil.example\r\nConnection: close\r\n\r\n"
                .into(),
            &[403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: 10.0.0.1\r\nConnection: close\r\n\r\n".into(),
            &[403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: [::1]:15000\r\nConnection: close\r\n\r\n".into(),
            &[200],
        ),
        // Two of them, one of them before the other's eyes alone.
        (
            addresses.admin,
            format!("GET /config HTTP/1.1\r\nHost: evil.example\r\n{local}"),
            &[400, 403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        (
            addresses.admin,
            format!("GET http://evil.example/config HTTP/1.1\r\n{local}"),
            &[400, 403],
        ),
        (
            addresses.admin,
            format!("GET http://localhost/config HTTP/1.1\r\n{local}"),
            &[200],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: evil.example@localhost\r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: localhost@evil.example\r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        (
            addresses.admin,
            "GET /config HTTP/1.1\r\nHost: 0x7f.1\r\nConnection: close\r\n\r\n".into(),
            &[400, 403],
        ),
        // What a browser asks before it lets another site's page send JSON.
        (
            addresses.admin,
            format!("OPTIONS /drain?percent=100 HTTP/1.1\r\nOrigin: http://evil.example\r\nAccess-Control-Request-Method: POST\r\n{local}"),
            &[405],
        ),
        (
            addresses.admin,
            format!("GET /connections?contains={} HTTP/1.1\r\n{local}", "x".repeat(15_000)),
            &[200],
        ),
        (
            addresses.admin,
            format!("GET /endpoints?contains={}&limit=18446744073709551615 HTTP/1.1\r\n{local}", "%00%ff".repeat(2_000)),
            &[200],
        ),
        (
            addresses.admin,
            format!("GET /explain?sni={}&alpn={} HTTP/1.1\r\n{local}", "_.".repeat(3_000), ",".repeat(6_000)),
            &[200],
        ),
        (
            addresses.admin,
            format!("GET /routes?limit=99999999999999999999 HTTP/1.1\r\n{local}"),
            &[400],
        ),
        (
            addresses.admin,
            format!("GET /failures?limit=-1 HTTP/1.1\r\n{local}"),
            &[400],
        ),
        (
            addresses.admin,
            format!("GET /explain HTTP/1.1\r\n{local}"),
            &[400],
        ),
        (
            addresses.admin,
            post("/loglevel?level=proxy%3Dloud", json),
            &[400],
        ),
        // A body that is announced and never comes.
        (
            addresses.admin,
            format!("POST /drain?percent=101 HTTP/1.1\r\nContent-Length: 1000000000\r\n{json}{local}"),
            &[400],
        ),
        (
            addresses.admin,
            format!("PUT /config HTTP/1.1\r\n{local}"),
            &[405],
        ),
        (
            addresses.admin,
            format!("GET /nothing HTTP/1.1\r\n{local}"),
            &[404],
        ),
        (
            addresses.admin,
            format!("GET /drain?percent=100 HTTP/1.1\r\n{local}"),
            &[405],
        ),
        (addresses.admin, post("/drain?percent=100", ""), &[415]),
        (
            addresses.admin,
            post("/drain?percent=100", "Content-Type: text/plain\r\n"),
            &[415],
        ),
        (addresses.admin, post("/drain?percent=101", json), &[400]),
        (addresses.admin, post("/drain?percent=0", json), &[400]),
        (addresses.admin, post("/drain", json), &[400]),
        (addresses.admin, post("/loglevel?level=", ""), &[415]),
        (
            addresses.admin,
            post("/drain?percent=1&over=0s", json),
            &[400],
        ),
        (
            addresses.admin,
            post("/drain?percent=1&over=1s", json),
            &[202],
        ),
    ] {
        let answer = exchange(to, request.as_bytes()).await;
        let status = answer.map_or(0, |answer| answer.status);
        assert!(
            statuses.contains(&status),
            "{status} for {}",
            &request[..request.len().min(120)]
        );
    }
    // Heads that never end hold a place for a while, but not the server.
    let mut slow = Vec::new();
    for address in [addresses.ready, addresses.stats, addresses.admin] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            stream
                .write_all(b"GET / HTTP/1.1\r\nX: ")
                .await
                .expect("sent");
            slow.push(stream);
        }
    }
    assert_eq!(get(addresses.ready, "/healthz/ready").await.status, 200);
    assert_eq!(get(addresses.stats, "/metrics").await.status, 200);
    assert_eq!(get(addresses.admin, "/config").await.status, 200);
    mesh.client(Role::Inbound).ask().await.expect("an answer");
}

/// Readers who do not read hold up nobody else, and each has in the end all that it asked for.
#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_of_much_hold_up_nobody() {
    let (mesh, _backend) = served_mesh().await;
    let addresses = mesh.app.addresses().clone();
    let services = (0..40_u8).map(|n| {
        let endpoints =
            (0..100_u8).map(|at| endpoint(SocketAddr::from(([10, 9, n, at], 80)), HERE));
        let mut service = hello_service(endpoints.collect());
        let host = format!("s{n}.default.svc.cluster.local");
        service.host = model::Hostname::parse(&host).expect("a host name");
        service
    });
    mesh.publish(services.collect(), &[]).await;
    let mut slow = Vec::new();
    for path in [
        "/snapshot",
        "/endpoints?limit=100000",
        "/routes?limit=100000",
    ] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(addresses.admin)
                .await
                .expect("a connection");
            let request = format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            slow.push((path, stream));
        }
    }
    let whole = get(addresses.admin, "/snapshot").await;
    assert!(whole.body.len() > 400_000, "{}", whole.body.len());
    assert_eq!(whole.json()["services"].as_array().map(Vec::len), Some(40));
    assert_eq!(get(addresses.ready, "/healthz/ready").await.status, 200);
    for (path, mut stream) in slow {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
        let read: serde_json::Value = serde_json::from_str(body).expect("all of it");
        let count = |key: &str| read[key].as_array().map(Vec::len);
        match path {
            "/snapshot" => assert_eq!(body, whole.body),
            "/routes?limit=100000" => assert_eq!(count("routes"), Some(80)),
            _ => assert_eq!(count("endpoints"), Some(4_000)),
        }
    }
}
