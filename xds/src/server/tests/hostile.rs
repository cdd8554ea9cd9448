//! Clients that mean no good, or are broken: each costs little, ends with a reason, and harms no other.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::proto::{ENDPOINTS, core};

/// What a client with this first request is told.
async fn refusal(rig: &Rig, first: DeltaDiscoveryRequest) -> tonic::Status {
    let channel = rig.endpoint().connect().await.expect("connected");
    let (sender, receiver) = mpsc::channel(1);
    sender.send(first).await.expect("sent");
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.delta_aggregated_resources(stream_of(receiver)).await;
    let mut stream = stream.expect("a stream").into_inner();
    soon(stream.message()).await.expect_err("refused")
}

/// Another client is served as ever.
async fn serves_others(rig: &Rig) {
    let channel = rig.endpoint().connect().await.expect("connected");
    let (_answers, mut stream) = delta(channel).await;
    let first = soon(stream.message()).await.expect("no error");
    assert!(!first.expect("a response").resources.is_empty());
}

#[tokio::test]
async fn a_node_or_a_request_beyond_all_measure_is_refused() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let with = |node: core::Node| DeltaDiscoveryRequest {
        node: Some(node),
        type_url: CLUSTER.into(),
        ..DeltaDiscoveryRequest::default()
    };
    let status = refusal(
        &rig,
        with(core::Node {
            user_agent_name: "x".repeat(2 << 20),
            ..core::Node::default()
        }),
    )
    .await;
    assert_eq!(status.code(), tonic::Code::InvalidArgument);
    assert!(status.message().contains("1048576"), "{status}");
    let status = refusal(
        &rig,
        with(core::Node {
            user_agent_name: "x".repeat(17 << 20),
            ..core::Node::default()
        }),
    )
    .await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    let status = refusal(
        &rig,
        DeltaDiscoveryRequest {
            node: node(),
            type_url: ENDPOINTS.into(),
            resource_names_subscribe: (0..=session::MAX_NAMES).map(|n| n.to_string()).collect(),
            ..DeltaDiscoveryRequest::default()
        },
    )
    .await;
    assert_eq!(status.code(), tonic::Code::ResourceExhausted, "{status}");
    assert!(status.message().contains("names"), "{status}");
    serves_others(&rig).await;
    assert!(rig.server.registry().streams().len() <= 1, "none is left");
}

#[tokio::test]
async fn who_does_not_read_costs_one_response_whatever_changes() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let (_answers, _unread) = delta(rig.endpoint().connect().await.expect("connected")).await;
    let sent = || rig.server.registry().counts().kinds[Kind::Cluster as usize];
    soon(async {
        while sent().resources == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let channel = rig.endpoint().connect().await.expect("connected");
    let (answers, mut stream) = delta(channel).await;
    // The other one follows a hundred changes.
    let mut known = 0;
    for n in 0..100 {
        rig.add(&format!("b{n}.d.svc"));
        while known < n + 2 {
            let response = soon(stream.message()).await.expect("no error");
            let response = response.expect("a response");
            known += response.resources.len();
            let ack = DeltaDiscoveryRequest {
                type_url: CLUSTER.into(),
                response_nonce: response.nonce,
                ..DeltaDiscoveryRequest::default()
            };
            answers.send(ack).await.expect("sent");
        }
    }
    let streams = rig.server.registry().streams();
    let waiting = streams
        .iter()
        .filter(|stream| stream.kinds[0].standing.resources == 1);
    assert_eq!(waiting.count(), 1, "{streams:?}");
    assert_eq!(sent().resources, 102, "101 to the one, 1 to the other");
    assert!(streams.iter().any(|stream| stream.lag > Duration::ZERO));
}

#[tokio::test]
async fn a_connection_has_so_many_streams_and_no_more() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let channel = rig.endpoint().connect().await.expect("connected");
    let mut open = Vec::new();
    for _ in 0..8 {
        let mut stream = delta(channel.clone()).await;
        soon(stream.1.message()).await.expect("no error");
        open.push(stream);
    }
    let ninth = tokio::spawn(async move {
        let mut stream = delta(channel).await;
        stream.1.message().await.expect("no error");
        stream
    });
    // A round trip on the same connection.
    let (answers, stream) = &mut open[0];
    let again = DeltaDiscoveryRequest {
        type_url: CLUSTER.into(),
        response_nonce: "1".into(),
        resource_names_subscribe: vec!["none".into()],
        ..DeltaDiscoveryRequest::default()
    };
    answers.send(again).await.expect("sent");
    soon(stream.message()).await.expect("no error");
    assert_eq!(rig.server.registry().counts().opened, 8);
    open.pop();
    soon(ninth).await.expect("it has its turn");
    assert_eq!(rig.server.registry().counts().opened, 9);
}

#[tokio::test]
async fn who_speaks_something_else_is_hung_up_on_or_told() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let mut stream = TcpStream::connect(rig.server.address())
        .await
        .expect("connected");
    stream
        .write_all(b"GET /healthz/ready HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .expect("written");
    let mut said = Vec::new();
    // A reset is an end, too.
    let _ = soon(stream.read_to_end(&mut said)).await;
    assert!(!said.starts_with(b"HTTP/1"), "{said:?}");

    let channel = rig.endpoint().connect().await.expect("connected");
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.expect("ready");
    let codec = tonic_prost::ProstCodec::<DeltaDiscoveryRequest, DeltaDiscoveryResponse>::default();
    let path = "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats";
    let path = http::uri::PathAndQuery::from_static(path);
    let request = tonic::Request::new(DeltaDiscoveryRequest::default());
    let status = soon(grpc.unary(request, path, codec))
        .await
        .expect_err("refused");
    assert_eq!(status.code(), tonic::Code::Unimplemented);
    assert!(status.message().contains("LoadReporting"), "{status}");
    serves_others(&rig).await;
}

/// The clock stands still and jumps when nothing is left to do, so nobody waits for it.
#[tokio::test]
async fn who_connects_and_says_nothing_loses_the_place() {
    let rig = Rig::start(None, async {}).await;
    rig.add("a.d.svc");
    let channel = rig.endpoint().connect().await.expect("connected");
    let (sender, receiver) = mpsc::channel::<DeltaDiscoveryRequest>(1);
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let silent = client.delta_aggregated_resources(stream_of(receiver)).await;
    let mut silent = silent.expect("a stream").into_inner();
    let mut half_open = TcpStream::connect(rig.server.address())
        .await
        .expect("connected");
    let mut half_spoken = TcpStream::connect(rig.server.address())
        .await
        .expect("connected");
    half_spoken
        .write_all(b"PRI * HTTP/2.0\r\n")
        .await
        .expect("written");

    tokio::time::pause();
    for stream in [&mut half_open, &mut half_spoken] {
        let mut said = Vec::new();
        stream.read_to_end(&mut said).await.expect("it is closed");
    }
    assert_eq!(rig.server.registry().counts().refused_connections, 2);
    let status = silent.message().await.expect_err("refused");
    assert_eq!(status.code(), tonic::Code::DeadlineExceeded, "{status}");
    assert_eq!(rig.server.registry().streams().len(), 0);
    drop(sender);
}
