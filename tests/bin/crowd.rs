//! `crowd GATEWAY COUNT WHAT`: many clients at once, each on a connection of its own. One JSON line on standard output says
//! how they fared; each line on standard input has them go on, and is answered by another. It ends with its standard input.
//!
//! | WHAT | first | and again |
//! |---|---|---|
//! | `ask` | sends a hello and wants it back, from an endpoint that echoes | sends more and wants it back |
//! | `half` | sends 60 KB of a hello that is longer | tells how many have been ended by then |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sidecar::{HELLO_NAME, Pki, RawClient, SIDECAR_ALPN, client_hello_bytes, pattern};
use tests::raise_descriptors;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Longer than a gateway takes, however busy the machine: who waits longer is lost.
const PATIENCE: Duration = Duration::from_secs(90);

/// `ContentType.alert`, RFC 8446 section 5.1.
const ALERT: u8 = 0x15;

/// How a client fared.
enum Fate {
    /// It got back what it had sent.
    Served(RawClient),
    /// It was told by a TLS alert.
    Alerted,
    /// Its connection was closed without a word.
    Closed,
    /// Nothing came at all.
    Forgotten,
    /// Its bytes are sent, and the connection is open.
    Waiting(RawClient),
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("crowd GATEWAY COUNT WHAT");
    let gateway: SocketAddr = next().parse().expect("an address");
    let count: usize = next().parse().expect("a number");
    let what = next();
    let _ = raise_descriptors();
    let bytes: Arc<[u8]> = match what.as_str() {
        "ask" => client_hello_bytes(&Pki::new(), HELLO_NAME, SIDECAR_ALPN)
            .expect("a hello")
            .into(),
        "half" => half_hello().into(),
        other => panic!("'{other}' is nothing that a crowd does"),
    };
    let asks = what == "ask";
    let mut clients = JoinSet::new();
    for _ in 0..count {
        let bytes = bytes.clone();
        clients.spawn(async move {
            match RawClient::connect(gateway).await {
                Ok(client) if asks => ask(client, &bytes).await,
                Ok(client) => send(client, &bytes).await,
                Err(_) => Fate::Closed,
            }
        });
    }
    let mut open = report(clients).await;
    let more: Arc<[u8]> = pattern(1_000).into();
    while ordered().await {
        let mut clients = JoinSet::new();
        for client in open {
            let more = more.clone();
            clients.spawn(async move {
                if asks {
                    ask(client, &more).await
                } else {
                    look(client).await
                }
            });
        }
        open = report(clients).await;
    }
}

/// Waits for a line; `false` at the end of standard input.
async fn ordered() -> bool {
    let read = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    matches!(read.await, Ok(Ok(1..)))
}

/// Counts them, and keeps those whose connection is open.
async fn report(mut clients: JoinSet<Fate>) -> Vec<RawClient> {
    let mut open = Vec::new();
    let [
        mut served,
        mut waiting,
        mut alerted,
        mut closed,
        mut forgotten,
    ] = [0; 5];
    while let Some(fate) = clients.join_next().await {
        match fate.expect("a client") {
            Fate::Served(client) => {
                served += 1;
                open.push(client);
            }
            Fate::Waiting(client) => {
                waiting += 1;
                open.push(client);
            }
            Fate::Alerted => alerted += 1,
            Fate::Closed => closed += 1,
            Fate::Forgotten => forgotten += 1,
        }
    }
    println!(
        "{{\"served\":{served},\"waiting\":{waiting},\"alerted\":{alerted},\"closed\":{closed},\"forgotten\":{forgotten}}}"
    );
    open
}

async fn ask(mut client: RawClient, bytes: &[u8]) -> Fate {
    let asking = async {
        // Who is refused may be refused before it has sent.
        let _ = client.send(bytes).await;
        let Ok(first) = client.receive(1).await else {
            return Fate::Closed;
        };
        if first[0] == ALERT {
            return Fate::Alerted;
        }
        match client.receive(bytes.len() - 1).await {
            Ok(rest) if rest == bytes[1..] => Fate::Served(client),
            _ => Fate::Closed,
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or(Fate::Forgotten)
}

async fn send(mut client: RawClient, bytes: &[u8]) -> Fate {
    match timeout(PATIENCE, client.send(bytes)).await {
        Ok(Ok(())) => Fate::Waiting(client),
        Ok(Err(_)) => Fate::Closed,
        Err(_) => Fate::Forgotten,
    }
}

/// What the gateway has said so far.
async fn look(mut client: RawClient) -> Fate {
    match timeout(Duration::ZERO, client.drain()).await {
        Err(_) => Fate::Waiting(client),
        Ok((bytes, _)) if bytes.first() == Some(&ALERT) => Fate::Alerted,
        Ok(_) => Fate::Closed,
    }
}

/// 60 KB of a ClientHello that announces 60,001 bytes, in records of 15,000.
fn half_hello() -> Vec<u8> {
    let mut message = vec![0x01, 0x00, 0xea, 0x61];
    message.resize(60_000, 0);
    // Its version: what follows, zeros, is nobody's business before it is whole.
    message[4..6].copy_from_slice(&[0x03, 0x03]);
    message
        .chunks(15_000)
        .flat_map(|piece| {
            let [high, low] = (piece.len() as u16).to_be_bytes();
            [&[0x16, 0x03, 0x01, high, low][..], piece].concat()
        })
        .collect()
}
