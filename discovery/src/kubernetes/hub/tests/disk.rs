//! A gateway that starts anew: what it knew is on disk, and holds until each API server has been read.

use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::kubernetes::disk::{Disk, KeptNames};
use crate::kubernetes::settings::Ceilings;
use crate::kubernetes::source::prepare;
use crate::kubernetes::status::DiskStatus;
use crate::kubernetes::testing::Asked;
use crate::resolve::Answer;

const BOTH: [&str; 2] = ["10.1.0.1", "10.3.0.1"];

/// Our own cluster and eu, as a gateway knew them that has ended.
struct Before {
    own: Fake,
    eu: Fake,
    place: tempfile::TempDir,
}

impl Before {
    async fn new() -> Self {
        let (own, eu) = (own(), cluster("network3", "10.3.0.1"));
        eu.put(SERVICES, gateway_of("network3", "203.0.113.3"));
        own.put(
            SECRETS,
            secret("s", &[("eu", "https://eu", "very-secret-token")]),
        );
        let place = tempfile::tempdir().expect("a folder");
        let before = Self { own, eu, place };
        let mut rig = before.start().await;
        rig.endpoints(&BOTH).await;
        rig.state("ap", State::Synced).await;
        rig.state("eu", State::Synced).await;
        rig.source.save().await;
        before
    }

    /// Another gateway.
    async fn start(&self) -> Rig {
        Rig::start_from(self.own.clone(), self.servers(), Some(self.folder())).await
    }

    fn servers(&self) -> Servers {
        let known = BTreeMap::from([("https://eu".into(), self.eu.clone())]);
        Arc::new(Mutex::new(known))
    }

    fn folder(&self) -> PathBuf {
        self.place.path().join("below")
    }

    fn set_down(&self, down: bool) {
        self.own.set_down(down);
        self.eu.set_down(down);
    }
}

/// The Service of eu's gateway, whose load balancer has a name.
fn named(name: &str) -> Value {
    let mut service = gateway_of("network3", "");
    service["status"]["loadBalancer"]["ingress"] = json!([{"hostname": name}]);
    service
}

/// Follows every snapshot from the first that is not empty, and says at the end whether one of these was ever missing.
fn watch_for_losses(rig: &Rig) -> tokio::task::JoinHandle<Vec<String>> {
    let mut snapshots = rig.source.snapshots.clone();
    tokio::spawn(async move {
        let mut losses = Vec::new();
        while snapshots.changed().await.is_ok() {
            let known = endpoints(&snapshots.borrow_and_update());
            if BOTH.iter().any(|it| !known.contains(&(*it).to_owned())) {
                losses.push(format!("{known:?}"));
            }
        }
        losses
    })
}

/// Waits until eu's network is entered at this address.
async fn gateway_at(rig: &mut Rig, ip: IpAddr) {
    let snapshots = &mut rig.source.snapshots;
    let arrived = snapshots.wait_for(|snapshot| {
        let network = snapshot.networks.get(&NetworkId::from("network3"));
        let mut gateways = network.into_iter().flat_map(|network| &network.gateways);
        gateways.any(|gateway| gateway.address.ip() == ip)
    });
    drop(arrived.await.expect("it lives"));
}

fn disk_of(rig: &Rig) -> DiskStatus {
    let status = rig.source.status.borrow();
    status.disk.clone().expect("it keeps what it knows")
}

#[tokio::test(start_paused = true)]
async fn with_every_api_server_down_everything_is_served_from_disk() {
    let before = Before::new().await;
    before.set_down(true);
    let mut rig = before.start().await;
    let losses = watch_for_losses(&rig);
    let status = rig.status(|status| status.ready).await;
    assert_eq!(endpoints(&rig.source.snapshots.borrow()), BOTH);
    for id in ["ap", "eu"] {
        let cluster = &status.clusters[&ClusterId::from(id)];
        assert_eq!(cluster.state, State::Loaded, "{id}");
        assert!(cluster.loaded && cluster.heard_at.is_some());
        assert_eq!((cluster.endpoints, cluster.synced_at), (1, None), "{id}");
    }
    let snapshot = rig.source.snapshots.borrow().clone();
    assert!(snapshot.networks.contains_key(&NetworkId::from("network3")));
    before.set_down(false);
    let status = rig.state("eu", State::Synced).await;
    assert!(!status.clusters[&ClusterId::from("eu")].loaded);
    let status = rig.state("ap", State::Synced).await;
    assert!(!status.clusters[&ClusterId::from("ap")].loaded);
    before.eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    drop(rig);
    assert_eq!(losses.await.expect("it ends"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn no_credential_is_on_disk() {
    let before = Before::new().await;
    let folder = std::fs::read_dir(before.place.path().join("below")).expect("a folder");
    let mut files = 0;
    for file in folder {
        let text = std::fs::read_to_string(file.expect("a file").path()).expect("text");
        assert!(!text.contains("very-secret"), "{text}");
        files += 1;
    }
    assert_eq!(files, 3, "two clusters and ourselves");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_has_a_name_is_where_it_was_while_no_name_server_answers() {
    let before = Before::new().await;
    // From the hosts file: each answer goes to disk.
    before.eu.put(SERVICES, named("localhost"));
    let mut rig = before.start().await;
    gateway_at(&mut rig, Ipv4Addr::LOCALHOST.into()).await;
    rig.source.save().await;
    drop(rig);
    let disk = Disk::new(before.place.path().join("below"));
    let names = disk.load(Ceilings::default()).names;
    let localhost = Hostname::parse("localhost").expect("a name");
    assert!(
        names[&localhost].contains(&Ipv4Addr::LOCALHOST.into()),
        "{names:?}"
    );

    // A name that nobody can resolve (RFC 6761 section 6.4).
    before.eu.put(SERVICES, named("gateway.invalid"));
    let mut rig = before.start().await;
    rig.state("eu", State::Synced).await;
    rig.source.save().await;
    drop(rig);
    let address = IpAddr::from([203, 0, 113, 9]);
    let name = Hostname::parse("gateway.invalid").expect("a name");
    disk.save_names(&[(name.clone(), vec![address])].into())
        .expect("written");
    before.set_down(true);
    let mut rig = before.start().await;
    rig.status(|status| status.ready).await;
    gateway_at(&mut rig, address).await;
    rig.source.save().await;
    let names = disk.load(Ceilings::default()).names;
    assert_eq!(
        names.get(&name),
        Some(&vec![address]),
        "for the next one too"
    );
}

/// A name server that says that there is no address is heeded after ten minutes: in the snapshot, and for the next start.
#[tokio::test(start_paused = true)]
async fn a_name_that_has_no_address_any_more_is_gone_from_the_disk_too() {
    let before = Before::new().await;
    // Whether it can be asked for makes no difference: it never has an address (RFC 6761 section 6.4).
    before.eu.put(SERVICES, named("gateway.invalid"));
    let mut rig = before.start().await;
    rig.state("eu", State::Synced).await;
    rig.source.save().await;
    drop(rig);
    let disk = Disk::new(before.folder());
    let name = Hostname::parse("gateway.invalid").expect("a name");
    let known = KeptNames::from([(name.clone(), vec![IpAddr::from([203, 0, 113, 9])])]);
    disk.save_names(&known).expect("written");
    before.set_down(true);

    let (home, settings, connect) =
        Rig::parts(&before.own, &before.servers(), Some(before.folder()));
    let (mut hub, published, _) = prepare(home, settings, connect).await.expect("it starts");
    let gateways = |hub: &mut Hub| {
        hub.take_answers();
        hub.publish();
        let snapshot = published.snapshots.borrow().clone();
        let network = snapshot.networks.get(&NetworkId::from("network3"));
        network.map_or(0, |network| network.gateways.len())
    };
    for (after, left) in [(0, 1), (599, 1), (1, 0)] {
        tokio::time::advance(Duration::from_secs(after)).await;
        hub.resolver
            .learn(&name, Answer::Empty("there is none".into()));
        assert_eq!(gateways(&mut hub), left, "{after} s later");
    }
    let running = tokio::spawn(hub.run());
    let (waiter, saved) = oneshot::channel();
    published.save.send(waiter).await.expect("it runs");
    saved.await.expect_err("the answer is that all is written");
    assert_eq!(disk.load(Ceilings::default()).names, KeptNames::new());
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn what_has_gone_meanwhile_goes_with_the_first_sync() {
    let before = Before::new().await;
    before.own.put(PODS, pod("hello-2"));
    before.own.put(SLICES, slice("hello-2", "10.1.0.2"));
    let mut rig = before.start().await;
    rig.endpoints(&["10.1.0.1", "10.1.0.2", "10.3.0.1"]).await;
    rig.source.save().await;
    before.own.delete(SLICES, "default", "hello-1");
    before.own.delete(SECRETS, "istio-system", "s");
    drop(rig);
    let begun = Instant::now();
    let mut rig = before.start().await;
    rig.endpoints(&["10.1.0.2"]).await;
    // All Secrets and all slices of eu are gone: that is believed only the second time.
    assert!(begun.elapsed() >= Duration::from_secs(5), "of paused time");
    rig.status(|status| status.clusters.len() == 1).await;
    rig.source.save().await;
    drop(rig);
    before.set_down(true);
    let mut rig = before.start().await;
    rig.endpoints(&["10.1.0.2"]).await;
}

/// Its control plane has lost its data, say, and the gateway's container was started anew.
#[tokio::test(start_paused = true)]
async fn another_cluster_in_place_of_ours_takes_nothing_away() {
    let before = Before::new().await;
    let stranger = Fake::default();
    stranger.serve(
        "/api/v1/namespaces/kube-system",
        json!({"metadata": {"uid": "another"}}),
    );
    let before = Before {
        own: stranger,
        ..before
    };
    let mut rig = before.start().await;
    rig.endpoints(&BOTH).await;
    let losses = watch_for_losses(&rig);
    let status = rig.state("ap", State::Frozen).await;
    let error = status.clusters[&ClusterId::from("ap")].last_error.clone();
    let error = error.expect("it says why").message;
    assert!(
        error.contains("another cluster") && error.contains("cluster-ap.json"),
        "{error}"
    );
    rig.status(|status| {
        let secrets = &status.secrets["istio-system"].last_error;
        secrets
            .as_ref()
            .is_some_and(|it| it.contains("another cluster"))
    })
    .await;
    assert!(rig.source.status.borrow().ready, "what is known is served");
    drop(rig);
    assert_eq!(losses.await.expect("it ends"), Vec::<String>::new());
}

/// Discovery of the API is late after a restart of the API server: the want of a kind is believed only the second time.
#[tokio::test(start_paused = true)]
async fn istios_kinds_that_are_not_found_at_once_are_kept() {
    let before = Before::new().await;
    let group = "/apis/networking.istio.io";
    let looks = |asked: &[Asked]| asked.iter().filter(|one| one.path == group).count();
    before.own.withdraw(group);
    let mut rig = before.start().await;
    let losses = watch_for_losses(&rig);
    let so_far = looks(&before.own.asked());
    before.own.until(|asked| looks(asked) > so_far).await;
    // All else that it wants to know can be had meanwhile.
    rig.status(|status| status.clusters[&ClusterId::from("eu")].state == State::Synced)
        .await;
    with_istio(&before.own);
    rig.state("ap", State::Synced).await;
    // Everything until here is published once this is.
    before.own.put(PODS, pod("hello-2"));
    before.own.put(SLICES, slice("hello-2", "10.1.0.2"));
    rig.endpoints(&["10.1.0.1", "10.1.0.2", "10.3.0.1"]).await;
    drop(rig);
    assert_eq!(losses.await.expect("it ends"), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_damaged_is_named_and_the_gateway_starts() {
    let before = Before::new().await;
    let file = before.place.path().join("below/cluster-eu.json");
    let good = std::fs::read(&file).expect("it is there");
    std::fs::write(&file, &good[..good.len() / 2]).expect("written");
    before.set_down(true);
    let mut rig = before.start().await;
    rig.endpoints(&["10.1.0.1"]).await;
    let ignored = disk_of(&rig).ignored;
    assert_eq!(ignored.len(), 1);
    assert!(ignored[0].file.ends_with("cluster-eu.json") && ignored[0].why.contains("damaged"));
    rig.status(|status| status.ready).await;
    before.set_down(false);
    rig.endpoints(&BOTH).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_written_without_being_asked_for() {
    let before = Before::new().await;
    let mut rig = before.start().await;
    rig.state("eu", State::Synced).await;
    before.eu.put(SLICES, slice("hello-2", "10.3.0.2"));
    rig.endpoints(&["10.1.0.1", "10.3.0.1", "10.3.0.2"]).await;
    let file = before.place.path().join("below/cluster-eu.json");
    let has_it = || std::fs::read_to_string(&file).is_ok_and(|text| text.contains("10.3.0.2"));
    let begun = Instant::now();
    while !has_it() {
        assert!(
            begun.elapsed() < Duration::from_secs(3600),
            "of paused time"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(disk_of(&rig).last_error.is_none());
}
