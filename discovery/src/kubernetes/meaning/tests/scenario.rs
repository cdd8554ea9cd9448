//! Three clusters in three networks, each with its own gateway: what each of them makes of all three.

use super::stage::{EXPOSE, HELLO, POD, SERVICE, SLICE, Stage, me, node, system_namespace};
use crate::kubernetes::meaning::{Me, Rules};

/// Cluster, network, region, number.
const CLUSTERS: [(&str, &str, &str, u8); 3] = [
    ("ap", "network1", "ap-south", 1),
    ("us", "network2", "us-west", 2),
    ("eu", "network3", "eu-west", 3),
];

fn seen_from(at: usize) -> Stage {
    let (cluster, network, ..) = CLUSTERS[at];
    let me = Me {
        cluster: cluster.into(),
        network: network.into(),
        ..me()
    };
    let mut stage = Stage::of(me, Rules::default());
    for (cluster, network, region, number) in CLUSTERS {
        let gateway = format!(
            "
kind: Service
metadata: {{name: istio-eastwestgateway, namespace: istio-system, labels: {{topology.istio.io/network: {network}}}}}
spec: {{type: LoadBalancer, ports: [{{name: status-port, port: 15021}}, {{name: tls, port: 15443}}]}}
status: {{loadBalancer: {{ingress: [{{ip: 203.0.113.{number}}}]}}}}
"
        );
        stage.put(cluster, &system_namespace(network));
        stage.put(cluster, &node("node-1", region, "a"));
        stage.put(cluster, &gateway);
        stage.put(cluster, EXPOSE);
        stage.put(cluster, SERVICE);
        stage.put(
            cluster,
            &SLICE.replace("10.1.0.1", &format!("10.{number}.0.1")),
        );
        if stage.world.wants(&cluster.into()).pods {
            stage.put(cluster, POD);
        }
    }
    stage
}

#[test]
fn every_cluster_sees_all_three_and_its_own_pods_alone() {
    for (at, (own, ..)) in CLUSTERS.into_iter().enumerate() {
        let mut stage = seen_from(at);
        let lines = [
            "10.1.0.1 ap network1 ap-south/a",
            "10.2.0.1 us network2 us-west/a",
            "10.3.0.1 eu network3 eu-west/a",
        ];
        assert_eq!(stage.endpoints(HELLO), lines);
        for (_, network, _, number) in CLUSTERS {
            let gateway = format!("203.0.113.{number}:15443");
            assert_eq!(stage.gateways(network), [gateway], "{network}");
        }
        assert!(stage.findings().is_empty());
        let gateway = "istio-eastwestgateway.istio-system.svc.cluster.local";
        assert_eq!(stage.hosts(), [HELLO, gateway]);
        let service = stage.service(HELLO).expect("hello");
        for endpoint in service.endpoints.iter() {
            let known = !endpoint.origin.workload.name.is_empty();
            let expected = endpoint.origin.cluster.as_str() == own;
            assert_eq!(known, expected, "Pods of other networks are not read");
        }
    }
}

#[test]
fn an_endpoint_that_is_not_ready_anywhere_stays_in_the_count() {
    let mut stage = seen_from(0);
    let unready = SLICE
        .replace("10.1.0.1", "10.3.0.1")
        .replace("ready: true, serving: true", "ready: false, serving: false");
    stage.put("eu", &unready);
    assert_eq!(
        stage.endpoints(HELLO)[2],
        "10.3.0.1 eu network3 eu-west/a unhealthy"
    );
    stage.put(
        "eu",
        &unready.replace("ready: false, serving: false", "ready: true"),
    );
    assert_eq!(stage.endpoints(HELLO)[2], "10.3.0.1 eu network3 eu-west/a");
}
