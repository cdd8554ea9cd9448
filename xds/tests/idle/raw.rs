//! A client of ADS (delta) that keeps nothing: HTTP/2 by hand (RFC 9113), as far as one stream needs it. What it holds would be
//! counted as the server's.

use std::net::SocketAddr;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use xds::proto::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const PATH: &str =
    "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;

/// The largest frame that everybody takes.
const FRAME: usize = 16 << 10;

/// One stream, number 1.
pub(crate) struct Raw {
    stream: TcpStream,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("connected");
        stream.set_nodelay(true).expect("set");
        let mut raw = Self { stream };
        let mut hello = PREFACE.to_vec();
        // Windows that are never full: the stream's (setting 4) and the connection's.
        let window = 0x7fff_ffff_u32.to_be_bytes();
        hello.extend(frame(SETTINGS, 0, 0, &[&[0, 4][..], &window].concat()));
        hello.extend(frame(WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()));
        // Static table: 3 is POST, 6 http; 4 and 1 are the names of path and authority (RFC 7541, appendix A).
        let mut headers = vec![0x83, 0x86];
        headers.extend(literal(4, PATH));
        headers.extend(literal(1, "causeway"));
        headers.extend(literal(31, "application/grpc"));
        hello.extend(frame(HEADERS, END_HEADERS, 1, &headers));
        raw.stream.write_all(&hello).await.expect("written");
        raw
    }

    pub(crate) async fn send(&mut self, request: &DeltaDiscoveryRequest) {
        let body = request.encode_to_vec();
        let length = u32::try_from(body.len()).expect("short");
        let message = [&[0][..], &length.to_be_bytes(), &body].concat();
        for piece in message.chunks(FRAME) {
            let piece = frame(DATA, 0, 1, piece);
            self.stream.write_all(&piece).await.expect("written");
        }
    }

    /// The next response, accepted at once.
    pub(crate) async fn next(&mut self) -> DeltaDiscoveryResponse {
        let mut message = Vec::new();
        loop {
            let mut head = [0; 9];
            self.stream.read_exact(&mut head).await.expect("a frame");
            let [a, b, c, kind, flags, ..] = head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let mut payload = vec![0; length];
            self.stream.read_exact(&mut payload).await.expect("a frame");
            match kind {
                SETTINGS if flags & ACK == 0 => {
                    let ack = frame(SETTINGS, ACK, 0, &[]);
                    self.stream.write_all(&ack).await.expect("written");
                }
                DATA => message.extend(payload),
                _ => {}
            }
            let whole = message.split_first_chunk::<5>().filter(|(head, rest)| {
                let [_, length @ ..] = **head;
                rest.len() >= u32::from_be_bytes(length) as usize
            });
            if let Some((_, body)) = whole {
                let response = DeltaDiscoveryResponse::decode(body).expect("a response");
                self.send(&DeltaDiscoveryRequest {
                    type_url: response.type_url.clone(),
                    response_nonce: response.nonce.clone(),
                    ..DeltaDiscoveryRequest::default()
                })
                .await;
                return response;
            }
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header that no table takes up, with a name of the static table: four bits, so 15 and more go on in the next byte.
fn literal(name: u8, value: &str) -> Vec<u8> {
    let name = match name {
        0..15 => vec![name],
        _ => vec![15, name - 15],
    };
    let length = u8::try_from(value.len()).expect("short");
    assert!(length < 127, "one byte says it");
    [&name[..], &[length], value.as_bytes()].concat()
}
