//! How a client names what happened to it, played by hand on the other side.

use std::net::SocketAddr;

use super::Client;
use crate::{
    AlertDescription, HELLO_NAME, Kind, Pki, RawBackend, RawClient, SIDECAR_ALPN,
    client_hello_bytes, fresh_loopback,
};

fn anywhere() -> SocketAddr {
    SocketAddr::new(fresh_loopback(), 0)
}

/// The kind of failure that a client sees when the other side answers its hello with `answer` and closes.
async fn seen_after(answer: &[u8]) -> Kind {
    let pki = Pki::new();
    let backend = RawBackend::bind(anywhere()).expect("bound");
    let client = Client::new(&pki, backend.address());
    let play = async {
        let mut side = backend.accept().await.expect("a client");
        take_hello(&mut side).await;
        side.send(answer).await.expect("sent");
        side.finish().await.expect("closed");
        side.drain().await;
    };
    let (outcome, ()) = tokio::join!(client.ask(), play);
    outcome.expect_err("that is no answer").kind
}

async fn take_hello(side: &mut RawClient) {
    let header = side.receive(5).await.expect("a record header");
    let length = u16::from_be_bytes([header[3], header[4]]);
    side.receive(length.into()).await.expect("a record");
}

#[tokio::test]
async fn an_alert_is_told_from_a_close() {
    // RFC 8446 section 6: fatal (2), unrecognized_name (112).
    let alert = [21, 3, 3, 0, 2, 2, 112];
    assert_eq!(
        seen_after(&alert).await,
        Kind::Alert(AlertDescription::UnrecognisedName)
    );
    assert_eq!(seen_after(&[]).await, Kind::Unanswered);
    assert!(!Kind::Unanswered.reached_endpoint());
}

#[tokio::test]
async fn a_close_within_the_answer_is_a_cut() {
    let kind = seen_after(&[22, 3, 3, 0, 100, 2, 0]).await;
    assert_eq!(kind, Kind::Cut);
    assert!(kind.reached_endpoint());
}

#[tokio::test]
async fn what_is_no_tls_is_a_failed_handshake() {
    assert_eq!(
        seen_after(b"HTTP/1.1 400 Bad Request\r\n\r\n").await,
        Kind::Handshake
    );
}

#[test]
fn the_hello_carries_name_and_alpn_as_asked() {
    let pki = Pki::new();
    let hello = client_hello_bytes(&pki, HELLO_NAME, SIDECAR_ALPN).expect("a hello");
    let holds = |needle: &[u8]| hello.windows(needle.len()).any(|window| window == needle);
    assert_eq!(hello[0], 22, "a handshake record");
    assert!(holds(HELLO_NAME.as_bytes()));
    assert!(holds(b"\x13istio-peer-exchange\x05istio"));
    let plain = client_hello_bytes(&pki, "other.example", &[]).expect("a hello");
    assert!(!plain.windows(5).any(|window| window == b"istio"));
    assert!(client_hello_bytes(&pki, "not a name", &[]).is_err());
}
