//! The xDS server lives on the control runtime and never on a data worker: while that runtime stands still, connections are served
//! and xDS is not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::thread;

use gateway::config::{Gateway, Role};
use tests::{Mesh, Place, endpoint, hello_service, until};
use tokio::sync::oneshot;
use tonic::codegen::tokio_stream;
use tonic::transport::Channel;
use xds::proto::discovery::DeltaDiscoveryRequest;
use xds::proto::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use xds::proto::{CLUSTER, core};

const HERE: Place = Place {
    cluster: "us",
    network: "n2",
    locality: "us-west/a",
};

/// Connections that are served while xDS is not; the one worker would have had to answer both.
const CONNECTIONS: usize = 50;

/// A gateway on a control runtime of its own, which only goes on when it is told to.
struct Control {
    stand: Option<oneshot::Sender<()>>,
    stands: oneshot::Receiver<()>,
    go_on: std::sync::mpsc::Sender<()>,
    end: Option<oneshot::Sender<()>>,
    thread: thread::JoinHandle<()>,
}

impl Control {
    async fn start(xds: SocketAddr) -> (Self, Mesh) {
        let (started, mesh) = oneshot::channel();
        let (stand, to_stand) = oneshot::channel::<()>();
        let (tell, stands) = oneshot::channel();
        let (go_on, to_go_on) = std::sync::mpsc::channel();
        let (end, to_end) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            let mesh = runtime.block_on(Mesh::start(
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                |config: &mut Gateway| config.xds.address = Some(xds),
            ));
            assert!(started.send(mesh).is_ok());
            // Ends as well when the story has failed.
            let _ = runtime.block_on(to_stand);
            let _ = tell.send(());
            let _ = to_go_on.recv();
            let _ = runtime.block_on(to_end);
        });
        let control = Self {
            stand: Some(stand),
            stands,
            go_on,
            end: Some(end),
            thread,
        };
        (control, mesh.await.expect("the gateway starts"))
    }
}

/// Who wants all clusters is told how many there are.
async fn clusters(xds: SocketAddr) -> usize {
    let channel = Channel::from_shared(format!("http://{xds}")).expect("an address");
    let channel = channel.connect().await.expect("connected");
    let first = DeltaDiscoveryRequest {
        node: Some(core::Node {
            id: "one".into(),
            ..core::Node::default()
        }),
        type_url: CLUSTER.into(),
        ..DeltaDiscoveryRequest::default()
    };
    let mut client = AggregatedDiscoveryServiceClient::new(channel);
    let stream = client.delta_aggregated_resources(tokio_stream::once(first));
    let mut stream = stream.await.expect("a stream").into_inner();
    let response = stream.message().await.expect("no error");
    response.expect("a response").resources.len()
}

#[tokio::test]
async fn xds_stands_still_with_the_control_runtime_and_connections_do_not() {
    let xds = SocketAddr::new(sidecar::fresh_loopback(), 18000);
    let (mut control, mesh) = Control::start(xds).await;
    let backend = mesh.backend("us").await;
    let service = hello_service(vec![endpoint(backend.address(), HERE)]);
    mesh.publish(vec![service], &[]).await;
    let client = mesh.client(Role::Inbound);
    client.ask().await.expect("an answer");
    assert_eq!(clusters(xds).await, 1);

    drop(control.stand.take());
    (&mut control.stands).await.expect("it stands still");
    let asking = tokio::spawn(clusters(xds));
    for _ in 0..CONNECTIONS {
        client.ask().await.expect("an answer");
    }
    assert!(!asking.is_finished(), "a data worker has answered");

    control.go_on.send(()).expect("it waits");
    assert_eq!(asking.await.expect("it asks"), 1);
    mesh.stop().await;
    drop(control.end.take());
    until("its thread has ended", || control.thread.is_finished()).await;
}
