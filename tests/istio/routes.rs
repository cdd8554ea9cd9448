//! The gateway as istiod's router routes as istiod's own Envoy configuration does, name by name, refusal by refusal, and goes
//! on when istiod does not. It speaks delta; a second client beside it speaks state of the world, and has to know the same.

use std::collections::{BTreeMap, BTreeSet};

use gateway::App;
use serde_json::Value;
use sidecar::{Client, Pki};
use tests::{EXPOSE, Istio, Istiod, Region, get, until_async};

const HELLO: &str = "outbound_.5000_._.hello.default.svc.cluster.local";
const V1: &str = "outbound_.5000_.v1_.hello.default.svc.cluster.local";
const PROXY: &str = "istio-eastwestgateway-0.istio-system";

/// Subsets; outlier detection makes the other zone the second tier, for the whole service alone.
const RULE: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: hello, namespace: default}
spec:
  host: hello.default.svc.cluster.local
  trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}}
  subsets:
    - {name: v1, labels: {version: v1}}
    - {name: v2, labels: {version: v2}}
";

/// A plain name that leads to two services by weight.
const PLAIN: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: plain, namespace: istio-system}
spec:
  selector: {istio: eastwestgateway}
  servers:
    - port: {number: 15012, name: tls, protocol: TLS}
      tls: {mode: PASSTHROUGH}
      hosts: ['plain.example']
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: plain, namespace: istio-system}
spec:
  hosts: ['plain.example']
  gateways: [plain]
  tls:
    - match: [{port: 15012, sniHosts: ['plain.example']}]
      route:
        - {weight: 75, destination: {host: hello.default.svc.cluster.local, port: {number: 5000}}}
        - {weight: 25, destination: {host: more.default.svc.cluster.local, port: {number: 80}}}
";

/// Another service, one more Pod of hello in another zone, and a host with a wildcard, of which istiod makes a mesh name.
const MORE: &str = "
apiVersion: v1
kind: Node
metadata:
  name: node-2
  labels: {topology.kubernetes.io/region: us-west, topology.kubernetes.io/zone: b}
---
apiVersion: v1
kind: Pod
metadata:
  name: hello-2
  namespace: default
  labels: {app: hello, version: v2, security.istio.io/tlsMode: istio}
spec: {nodeName: node-2, serviceAccountName: hello, containers: [{name: hello, image: hello}]}
status: {phase: Running, podIP: 10.2.0.2, podIPs: [{ip: 10.2.0.2}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: hello-more, namespace: default, labels: {kubernetes.io/service-name: hello}}
addressType: IPv4
ports: [{port: 9898, protocol: TCP}]
endpoints:
  - addresses: [10.2.0.2]
    nodeName: node-2
    targetRef: {kind: Pod, name: hello-2, namespace: default}
    conditions: {ready: true, serving: true, terminating: false}
---
apiVersion: v1
kind: Service
metadata: {name: more, namespace: default}
spec:
  selector: {app: more}
  ports: [{name: tls, port: 80, targetPort: 9898}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: more-abc, namespace: default, labels: {kubernetes.io/service-name: more}}
addressType: IPv4
ports: [{name: tls, port: 9898, protocol: TCP}]
endpoints:
  - addresses: [10.2.0.1]
    nodeName: node-1
    targetRef: {kind: Pod, name: hello-1, namespace: default}
    conditions: {ready: true, serving: true, terminating: false}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: wild, namespace: default}
spec:
  hosts: ['*.wild.default.svc.cluster.local']
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: TLS}]
  endpoints: [{address: 10.2.0.9, labels: {security.istio.io/tlsMode: istio}}]
";

/// What a name leads to: tier, address, and a mark where it is not ready.
type Names = BTreeMap<String, BTreeSet<String>>;

/// A region with its istiod, and the gateway that follows it.
struct Story {
    pki: Pki,
    region: Region,
    istiod: Istiod,
    /// What is known of it in state of the world.
    sotw: xds::client::Source,
    _other: (Region, Istiod),
}

impl Story {
    /// Two regions, each with its API server and its istiod, which know each other; nothing is exposed yet.
    async fn start() -> Self {
        let Istio {
            binary,
            pki,
            us: mut region,
            eu: other,
            ..
        } = Istio::start().await;
        other.plane.apply(EXPOSE).await;
        let istiod = Istiod::start(&binary, &region, &[]).await;
        let their_istiod = Istiod::start(&binary, &other, &[]).await;
        let source = istiod.source(&region).await;
        let sotw = follow_in_state_of_the_world(&region, &source);
        region.set_source(source);
        region.start_gateway().await;
        Self {
            pki,
            region,
            istiod,
            sotw,
            _other: (other, their_istiod),
        }
    }

    fn app(&self) -> &App {
        self.region.app()
    }

    /// Waits until the gateway routes as istiod's own configuration does, and as `holds` asks; and until the snapshot in state of
    /// the world is the gateway's.
    async fn agree(&self, what: &str, holds: impl Fn(&Names) -> bool) -> Names {
        let found = std::cell::RefCell::new(Names::new());
        until_async(what, async || {
            let Some(configuration) = self.istiod.configuration(PROXY).await else {
                return false;
            };
            let theirs = envoys(&configuration);
            let ours = ours(self.app());
            let agree = ours == theirs && holds(&ours);
            found.replace(ours);
            agree
        })
        .await;
        until_async(&format!("{what}, in state of the world too"), async || {
            let ours = get(self.app().addresses().admin, "/snapshot").await.json();
            let theirs = serde_json::to_value(&**self.sotw.snapshots.borrow());
            let theirs = theirs.expect("a snapshot");
            ["services", "passthrough", "networks"]
                .iter()
                .all(|part| ours[part] == theirs[part])
        })
        .await;
        found.into_inner()
    }

    /// Whether a name is refused for being unknown, as Envoy refuses what no chain matches.
    fn refuses(&self, name: &str) -> bool {
        let tables = self.app().proxy().tables().load();
        tables
            .find(proxy::config::Role::Inbound, 15443, name)
            .is_err()
    }
}

/// Another router, as `protocol: sotw` makes it.
fn follow_in_state_of_the_world(region: &Region, source: &str) -> xds::client::Source {
    let source = source
        .replace("{xds: {", "{xds: {protocol: sotw, ")
        .replace(
            "podName: istio-eastwestgateway-0",
            "podName: istio-eastwestgateway-1",
        );
    let config = region.configuration(&source);
    let xds = config.source.xds.as_ref().expect("it follows a server");
    let settings = config.to_xds(xds);
    assert_eq!(settings.mode, xds::client::Mode::Sotw);
    xds::client::start(settings, None)
}

/// The mesh names that the data path routes, each with what it may dial.
fn ours(app: &App) -> Names {
    let now = app.proxy().now();
    let table = app.proxy().tables().load();
    let inbound = table
        .routes()
        .filter(|route| route.role == proxy::config::Role::Inbound);
    let names = inbound.map(|route| {
        let tiers = route.balancer().view(now).tiers;
        let addresses = tiers.iter().enumerate().flat_map(|(tier, of)| {
            let addresses = of.addresses.iter();
            addresses.map(move |one| {
                let ready = one.ready == proxy::balance::Readiness::Healthy;
                format!(
                    "{tier} {}{}",
                    one.address,
                    if ready { "" } else { " unready" }
                )
            })
        });
        (route.name(), addresses.collect())
    });
    names.collect()
}

/// What Envoy would do with istiod's configuration: chains with the mesh's ALPN, their clusters, those clusters' endpoints.
fn envoys(configuration: &Value) -> Names {
    let mut endpoints: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for dump in list(configuration, "configs") {
        for one in list(dump, "dynamic_endpoint_configs") {
            let assignment = field(one, "endpoint_config");
            let name = text(assignment, "cluster_name");
            let priorities: BTreeSet<u64> =
                list(assignment, "endpoints").iter().map(priority).collect();
            let of = endpoints.entry(name).or_default();
            for group in list(assignment, "endpoints") {
                let tier = priorities
                    .iter()
                    .position(|known| *known == priority(group));
                for endpoint in list(group, "lb_endpoints") {
                    let address = field(
                        field(field(endpoint, "endpoint"), "address"),
                        "socket_address",
                    );
                    let port = field(address, "port_value");
                    let mark = match text(endpoint, "health_status") {
                        "HEALTHY" | "" => "",
                        _ => " unready",
                    };
                    let ip = text(address, "address");
                    of.insert(format!("{} {ip}:{port}{mark}", tier.unwrap_or(0)));
                }
            }
        }
    }
    let mut names = Names::new();
    for dump in list(configuration, "configs") {
        for listener in list(dump, "dynamic_listeners") {
            let listener = field(field(listener, "active_state"), "listener");
            for chain in list(listener, "filter_chains") {
                let matched = field(chain, "filter_chain_match");
                let mesh = list(matched, "application_protocols")
                    .iter()
                    .any(|p| p == "istio");
                for name in list(matched, "server_names").iter().filter(|_| mesh) {
                    let name = name.as_str().unwrap_or_default();
                    if name.contains('*') {
                        // Envoy would refuse the whole listener for it; here it costs no other name.
                        continue;
                    }
                    names.insert(
                        name.to_owned(),
                        endpoints.get(name).cloned().unwrap_or_default(),
                    );
                }
            }
        }
    }
    names
}

/// A field by its name in protobuf, or as JSON writes that.
fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let (first, rest) = word.split_at(1);
        camel.push_str(&first.to_uppercase());
        camel.push_str(rest);
    }
    let found = value.get(name).or_else(|| value.get(&camel));
    found.unwrap_or(&Value::Null)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name).as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    field(value, name).as_str().unwrap_or_default()
}

fn priority(group: &Value) -> u64 {
    field(group, "priority").as_u64().unwrap_or(0)
}

fn set(of: &[&str]) -> BTreeSet<String> {
    of.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_of_istiod_routes_as_its_envoy_would_and_outlives_it() {
    if !Istio::can_run("routes::a_router_of_istiod_routes_as_its_envoy_would_and_outlives_it") {
        return;
    }
    let mut story = Story::start().await;
    let ready = story.app().addresses().ready;
    until_async("it is ready, though nothing is exposed", async || {
        get(ready, "/healthz/ready").await.status == 200
    })
    .await;
    let only = set(&["0 10.2.0.1:9898"]);
    story
        .agree(
            "nothing is routed before a Gateway is there",
            Names::is_empty,
        )
        .await;

    story.region.plane.apply(EXPOSE).await;
    let names = story
        .agree("hello is routed", |names| names.get(HELLO) == Some(&only))
        .await;
    // The exposed names and no others; the endpoints of the other network are behind its own gateway.
    assert!(
        names
            .keys()
            .all(|name| name.ends_with(".svc.cluster.local")),
        "{names:?}"
    );
    let client = Client::new(&story.pki, story.region.inbound());
    assert_eq!(client.ask().await.expect("an answer").who, "us");
    for name in [
        "outbound_.9898_._.hello.default.svc.cluster.local",
        "outbound_.5000_.v1_.hello.default.svc.cluster.local",
        "outbound_.5000_._.nosuch.default.svc.cluster.local",
        "outbound_.05000_._.hello.default.svc.cluster.local",
        "hello.default.svc.cluster.local",
    ] {
        assert!(!names.contains_key(name) && story.refuses(name), "{name}");
    }

    story.region.plane.apply(MORE).await;
    story.region.plane.apply(RULE).await;
    let tiers = set(&["0 10.2.0.1:9898", "1 10.2.0.2:9898"]);
    let names = story
        .agree("subsets and tiers are istiod's", |names| {
            names.get(HELLO) == Some(&tiers) && names.get(V1) == Some(&only)
        })
        .await;
    assert!(names.contains_key("outbound_.80_._.more.default.svc.cluster.local"));
    assert!(story.refuses("outbound_.53_._.more.default.svc.cluster.local"));

    story.region.set_ready(false).await;
    let unready = set(&["0 10.2.0.1:9898 unready", "1 10.2.0.2:9898"]);
    story
        .agree("an unready endpoint is known and not picked", |names| {
            names.get(HELLO) == Some(&unready)
        })
        .await;
    story.region.set_ready(true).await;
    story
        .agree("it is back", |names| names.get(HELLO) == Some(&tiers))
        .await;

    story.region.plane.apply(PLAIN).await;
    let snapshot = async || get(story.app().addresses().admin, "/snapshot").await.json();
    until_async("a plain name leads to two services by weight", async || {
        let routes = snapshot().await["passthrough"].clone();
        let of = |at: usize| {
            let to = &routes[0]["to"][at];
            (
                to["host"].as_str().unwrap_or("").to_owned(),
                to["weight"].as_u64(),
            )
        };
        routes[0]["hosts"][0] == "plain.example"
            && of(0) == ("hello.default.svc.cluster.local".into(), Some(75))
            && of(1) == ("more.default.svc.cluster.local".into(), Some(25))
    })
    .await;
    let status = get(story.app().addresses().admin, "/source").await.json();
    assert_eq!(status["refused"], serde_json::json!([]), "{status}");
    let left_out = status["leftOut"].as_array().expect("a list");
    let is_wild = |one: &Value| {
        let what = one["what"].as_str().unwrap_or_default();
        what.contains("outbound_.443_._.*.wild.default.svc.cluster.local")
    };
    assert!(left_out.iter().any(is_wild), "{status}");
    let xds = get(story.app().addresses().admin, "/xds").await.json();
    let told = &xds["client"];
    {
        let sotw = story.sotw.status.borrow();
        assert_eq!((sotw.mode, sotw.ready), (xds::client::Mode::Sotw, true));
        assert_eq!((&sotw.refused[..], sotw.streams), (&[][..], 1), "{sotw:?}");
    }
    assert_eq!(
        (&told["state"], &told["loaded"]),
        (&"following".into(), &false.into())
    );
    let version = told["kinds"]["listeners"]["version"].as_str();
    assert!(version.is_some_and(|version| !version.is_empty()), "{xds}");

    // istiod dies: nothing is lost. What goes meanwhile is gone when it is back.
    story.istiod.kill();
    until_async("the stream has ended", async || {
        let status = get(story.app().addresses().admin, "/source").await.json();
        status["state"] != "following"
    })
    .await;
    assert_eq!(client.ask().await.expect("an answer").who, "us");
    assert_eq!(get(ready, "/healthz/ready").await.status, 200);
    // A gateway that starts anew meanwhile goes on with what was kept.
    story.region.stop_gateway().await;
    story.region.start_gateway().await;
    story.region.until_ready().await;
    assert_eq!(client.ask().await.expect("an answer").who, "us");
    let status = get(story.app().addresses().admin, "/source").await.json();
    assert_eq!(status["loaded"], true, "{status}");
    story.region.plane.delete(RULE).await;
    story.istiod.restart().await;
    let both = set(&["0 10.2.0.1:9898", "0 10.2.0.2:9898"]);
    let names = story
        .agree("the rule that went meanwhile is gone", |names| {
            names.get(HELLO) == Some(&both)
        })
        .await;
    assert!(!names.contains_key(V1) && story.refuses(V1), "{names:?}");
    // Nobody listens at the second one. istiod does not know; we find out, and no client does.
    for _ in 0..30 {
        assert_eq!(client.ask().await.expect("an answer").who, "us");
    }
    let ejected = set(&["0 10.2.0.1:9898", "0 10.2.0.2:9898 unready"]);
    until_async("dials that fail eject it", async || {
        assert_eq!(client.ask().await.expect("an answer").who, "us");
        ours(story.app()).get(HELLO) == Some(&ejected)
    })
    .await;
    story.region.plane.delete(EXPOSE).await;
    story
        .agree("nothing is exposed any more", Names::is_empty)
        .await;
    assert!(client.ask().await.is_err());
}
