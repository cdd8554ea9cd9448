//! The raw ends against each other.

use std::net::SocketAddr;

use super::{Ended, RawBackend, RawClient, pattern};
use crate::fresh_loopback;

#[tokio::test]
async fn an_echo_returns_everything_and_half_closes() {
    let echo = RawBackend::echo(SocketAddr::new(fresh_loopback(), 0)).expect("bound");
    let mut client = RawClient::connect(echo.address()).await.expect("connected");
    let sent = pattern(100_001);
    client.send(&sent).await.expect("sent");
    client.finish().await.expect("half-closed");
    let (received, ended) = client.drain().await;
    assert!(
        received == sent,
        "{} bytes of {} came back",
        received.len(),
        sent.len()
    );
    assert_eq!(ended, Ended::Fin);
    assert!(echo.accept().await.is_err());
}

#[tokio::test]
async fn a_reset_is_told_from_a_close() {
    let backend = RawBackend::bind(SocketAddr::new(fresh_loopback(), 0)).expect("bound");
    let mut client = RawClient::connect(backend.address())
        .await
        .expect("connected");
    let mut side = backend.accept().await.expect("accepted");
    side.send(b"abc").await.expect("sent");
    assert_eq!(client.receive(3).await.expect("received"), b"abc");
    side.reset().expect("reset");
    assert_eq!(client.drain().await, (Vec::new(), Ended::Reset));
}

#[test]
fn the_pattern_does_not_repeat_within_64_kib() {
    let bytes = pattern(1 << 17);
    assert_eq!(bytes.len(), 1 << 17);
    let mut words: Vec<_> = bytes.chunks(2).collect();
    words.sort_unstable();
    words.dedup();
    assert_eq!(words.len(), 1 << 16);
}
