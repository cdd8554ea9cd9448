//! Crowds at the HTTP servers: silent ones, those who stay, those who never read. Whoever asks is answered all the same.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use tests::{Answer, get};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;

use super::served_mesh;

/// Longer than the kubelet waits for its probe by default, and shorter than a server waits for a request.
const PROBE: Duration = Duration::from_secs(9);

/// Longer than an answer takes on a busy machine, in true time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks for readiness, as the kubelet does: who has to wait is not ready.
async fn probe(address: SocketAddr) {
    assert_eq!(answer(address, "/healthz/ready").await.status, 200);
}

/// The answer, which must not take any of the runtime's time. A blocking task keeps its clock from jumping over what the kernel
/// has yet to bring, as it otherwise does when nothing is left to do; but not for ever, when there is no answer.
async fn answer(address: SocketAddr, path: &str) -> Answer {
    let (answered, is_answered) = mpsc::channel::<()>();
    let keeping = tokio::task::spawn_blocking(move || is_answered.recv_timeout(PATIENCE));
    let asked = tokio::time::timeout(PROBE, get(address, path)).await;
    drop(answered);
    let kept = keeping.await.expect("it ends");
    assert_eq!(kept, Err(RecvTimeoutError::Disconnected), "in true time");
    asked.expect("an answer in time")
}

/// More than a server serves at once, who say nothing, or ask once and stay, and are back as soon as they are sent away. The
/// clock is the runtime's own, so nobody waits.
#[tokio::test(start_paused = true)]
async fn who_stays_without_a_question_holds_up_nobody() {
    let (mesh, _backend) = served_mesh().await;
    let addresses = mesh.app.addresses().clone();
    let ask = "GET /healthz/live HTTP/1.1\r\nHost: x\r\n\r\n";
    for (address, first) in [
        (addresses.ready, ""),
        (addresses.ready, "GET /healthz/live HTTP/1.1\r\nHo"),
        (addresses.ready, ask),
        (addresses.stats, ""),
    ] {
        let mut crowd = tokio::task::JoinSet::new();
        let came = Arc::new(Semaphore::new(0));
        for _ in 0..100 {
            let came = came.clone();
            crowd.spawn(async move {
                loop {
                    let mut stream = TcpStream::connect(address).await.expect("a connection");
                    let _ = stream.write_all(first.as_bytes()).await;
                    came.add_permits(1);
                    let mut rest = Vec::new();
                    let _ = stream.read_to_end(&mut rest).await;
                }
            });
        }
        let all = came.acquire_many(100).await.expect("they come");
        for _ in 0..20 {
            if address == addresses.ready {
                probe(address).await;
            } else {
                let scraped = answer(address, "/metrics").await;
                assert!(scraped.body.contains("causeway_build_info"));
            }
        }
        drop(all);
    }
}

/// Those who ask without end and never read keep nobody else from being answered, and each is left when it is old.
#[tokio::test(start_paused = true)]
async fn who_never_reads_holds_up_nobody() {
    let (mesh, _backend) = served_mesh().await;
    let address = mesh.app.addresses().ready;
    let mut crowd = Vec::new();
    for _ in 0..64 {
        crowd.push(greedy(address).await);
    }
    probe(address).await;
    // There is a place for the youngest, but not for ever.
    let last = crowd.last().expect("there are 64");
    let is_left = || !matches!(last.take_error(), Ok(None));
    assert!(!is_left());
    tokio::time::sleep(Duration::from_secs(80)).await;
    // A minute more, second by second, each with some true time for the kernel, in which the clock stands.
    let mut seconds = 0;
    // Asking takes the error away.
    while !is_left() {
        assert!(seconds < 60, "it is left when it is old");
        tokio::time::sleep(Duration::from_secs(1)).await;
        let true_time = || std::thread::sleep(Duration::from_millis(100));
        tokio::task::spawn_blocking(true_time).await.expect("slept");
        seconds += 1;
    }
}

/// Silent ones push out each other before whoever is being answered: a long answer is not cut.
#[tokio::test(start_paused = true)]
async fn a_crowd_cuts_no_answer() {
    let (mesh, _backend) = served_mesh().await;
    let address = mesh.app.addresses().ready;
    let reader = greedy(address).await;
    let mut crowd = Vec::new();
    for _ in 0..200 {
        crowd.push(TcpStream::connect(address).await.expect("a connection"));
    }
    probe(address).await;
    assert!(matches!(reader.take_error(), Ok(None)));
}

/// One who asks for more answers than both kernels keep, and reads none.
async fn greedy(address: SocketAddr) -> TcpStream {
    let requests = "GET /healthz/ready HTTP/1.1\r\nHost: x\r\n\r\n".repeat(4_000);
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4_096).expect("a small one");
    // The server's send buffer begins as a multiple of this.
    let small = socket2::SockRef::from(&socket).set_tcp_mss(536);
    small.expect("small segments");
    let mut stream = socket.connect(address).await.expect("a connection");
    let sending = stream.write_all(requests.as_bytes());
    let _ = tokio::time::timeout(Duration::from_millis(100), sending).await;
    stream
}
