//! Probes against whatever may stand at an address, and what becomes of the hello in a server that knows nothing of us.

use std::net::{Ipv4Addr, TcpListener as StdTcpListener};
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};
use socket2::SockRef;
use tokio::net::TcpListener;

use super::*;
use crate::hello::Parser;

const NAME: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
const LIMIT: Duration = Duration::from_secs(20);

/// What a server does with whoever comes.
#[derive(Clone, Copy)]
enum Server {
    Says(&'static [u8]),
    Closes,
    Resets,
    SaysNothing,
}

async fn found(server: Server, name: Option<&str>) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("bound");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut hello = [0; 1024];
        assert!(client.read(&mut hello).await.expect("a hello") > 0);
        match server {
            Server::Says(bytes) => client.write_all(bytes).await.expect("sent"),
            Server::Closes => {}
            Server::Resets => client.set_zero_linger().expect("set"),
            Server::SaysNothing => {
                let _ = client.read(&mut hello).await;
            }
        }
    });
    let limit = match server {
        Server::SaysNothing => Duration::from_millis(50),
        _ => LIMIT,
    };
    let (outcome, stream) = ask(address, name, limit).await;
    if let Some(stream) = stream {
        leave(stream).await;
    }
    serving.await.expect("served");
    outcome
}

#[tokio::test]
async fn what_stands_at_an_address() {
    use Server::{Closes, Resets, Says, SaysNothing};
    let alert = |description| match description {
        112 => Says(&[0x15, 3, 3, 0, 2, 2, 112]),
        80 => Says(&[0x15, 3, 3, 0, 2, 2, 80]),
        _ => Says(&[0x15, 3, 3, 0, 2, 2, 40]),
    };
    for (server, named, unnamed) in [
        (Says(&[0x16, 3, 3]), Outcome::Alive, Outcome::Weak),
        (alert(112), Outcome::Alert, Outcome::Weak),
        (alert(80), Outcome::Alert, Outcome::Weak),
        (alert(40), Outcome::Alive, Outcome::Weak),
        (Says(&[0x15, 3, 3]), Outcome::Closed, Outcome::Weak),
        (Closes, Outcome::Closed, Outcome::Weak),
        (Resets, Outcome::Reset, Outcome::Weak),
        (Says(b"HTTP/1.1 400"), Outcome::NotTls, Outcome::NotTls),
        (SaysNothing, Outcome::TimedOut, Outcome::TimedOut),
    ] {
        assert_eq!(found(server, Some(NAME)).await, named);
        assert_eq!(
            found(server, None).await,
            unnamed,
            "where {named:?} is named"
        );
    }
}

#[tokio::test]
async fn nobody_listens() {
    let bound = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    let address = bound.local_addr().expect("an address");
    drop(bound);
    assert_eq!(ask(address, Some(NAME), LIMIT).await.0, Outcome::Refused);
    assert_eq!(connect(address, LIMIT).await, Outcome::Refused);
}

#[test]
fn our_own_want_of_descriptors_says_nothing_of_the_address() {
    let here = SocketAddr::from(([127, 0, 0, 1], 9));
    let of = |errno: rustix::io::Errno| failed_to_connect(errno.into(), here);
    assert_eq!(of(rustix::io::Errno::MFILE), Outcome::Unable);
    assert_eq!(of(rustix::io::Errno::ADDRNOTAVAIL), Outcome::Unable);
    assert_eq!(of(rustix::io::Errno::CONNREFUSED), Outcome::Refused);
    assert_eq!(of(rustix::io::Errno::HOSTUNREACH), Outcome::Unreachable);
    let said = judge(Err(rustix::io::Errno::NOBUFS.into()), true);
    assert_eq!(said, Outcome::Unable);
}

#[test]
fn our_own_parser_reads_the_hello() {
    let bytes = hello::client_hello(NAME, &ALPN);
    let hello = Parser::new(64 << 10).advance(&bytes);
    let hello = hello.expect("a good hello").expect("a whole one");
    assert_eq!(hello.name.as_str(), NAME);
    assert!(hello.alpn.is_mesh() && hello.alpn.is_probe());
    assert_eq!((hello.len, hello.early_data), (bytes.len(), false));
}

/// A HelloRetryRequest is a ServerHello with this random: RFC 8446 section 4.1.3.
const RETRY: [u8; 8] = [0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11];

/// What the endpoint behind a gateway that knows nothing of us does with the hello: no key exchange, no signature.
#[test]
fn a_server_of_tls_1_3_asks_for_a_key_share_and_signs_nothing() {
    let certificate = vec![rustls::pki_types::CertificateDer::from(vec![0])];
    let key = rustls::sign::CertifiedKey::new(certificate, Arc::new(NeverSigns));
    let provider = rustls::crypto::ring::default_provider();
    let config = ServerConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(key)));
    let mut server = ServerConnection::new(Arc::new(config)).expect("a server");
    let bytes = hello::client_hello(NAME, &ALPN);
    let mut left = bytes.as_slice();
    while !left.is_empty() {
        server.read_tls(&mut left).expect("read");
    }
    server.process_new_packets().expect("a hello it takes");
    let mut answer = Vec::new();
    server.write_tls(&mut answer).expect("written");
    assert_eq!(answer[0], HANDSHAKE);
    assert_eq!(answer[11..19], RETRY, "a HelloRetryRequest");
}

/// The most expensive thing that a server does in a handshake.
#[derive(Debug)]
struct NeverSigns;

impl rustls::sign::SigningKey for NeverSigns {
    fn choose_scheme(
        &self,
        _: &[rustls::SignatureScheme],
    ) -> Option<Box<dyn rustls::sign::Signer>> {
        unreachable!("it is asked to sign")
    }

    fn algorithm(&self) -> rustls::SignatureAlgorithm {
        rustls::SignatureAlgorithm::ECDSA
    }
}

/// Leaving politely: the server sees an end and no reset, also where it was still sending.
#[tokio::test]
async fn a_server_that_says_more_sees_no_reset() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("bound");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.expect("a client");
        let mut bytes = vec![0x16; 64 << 10];
        assert!(client.read(&mut bytes).await.expect("a hello") > 0);
        client.write_all(&bytes).await.expect("sent");
        let end = loop {
            match client.read(&mut bytes).await {
                Ok(0) => break Ok(()),
                Ok(_) => {}
                Err(fault) => break Err(fault),
            }
        };
        client.write_all(&[0x16; 64]).await.expect("sent");
        end.expect("FIN and no reset");
        drop(client);
        SockRef::from(&listener).take_error().expect("asked")
    });
    let (outcome, stream) = ask(address, Some(NAME), LIMIT).await;
    assert_eq!(outcome, Outcome::Alive);
    leave(stream.expect("still there")).await;
    assert!(serving.await.expect("served").is_none());
}
