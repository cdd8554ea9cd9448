//! The client on real sockets, against a server by the book: connecting, following, coming back, refusing, proving and being
//! proven to.

mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use tonic::metadata::MetadataMap;

use self::rig::{Authority, Rig};
use super::*;
use crate::client::book::Book;
use crate::client::samples::{self, chain, cluster, mesh_chain, names};
use crate::client::{Kind, Request, Tls};
use crate::proto::core::HealthStatus;
use crate::proto::pack;

const A: &str = "outbound_.80_._.a";
const B: &str = "outbound_.80_._.b";
const OK: HealthStatus = HealthStatus::Healthy;

impl Rig {
    /// A mesh name whose cluster has one endpoint.
    fn serve(&self, name: &str, address: &str) {
        self.put(Kind::Clusters, name, Some(pack(&cluster(name))));
        self.assign(name, address);
    }

    fn assign(&self, name: &str, address: &str) {
        let endpoints = samples::endpoints(name, &[(0, "us/a", 1, &[(address, 80, OK, 1)])]);
        self.put(Kind::Endpoints, name, Some(pack(&endpoints)));
    }

    fn listen(&self, names: &[&str]) {
        let chains = names.iter().map(|name| mesh_chain(name)).collect();
        let listener = samples::listener(15443, chains);
        self.put(Kind::Listeners, &listener.name, Some(pack(&listener)));
    }
}

/// What is routed where.
fn listed(names: &[(&str, &str)]) -> BTreeMap<String, Vec<String>> {
    let names = names.iter();
    names
        .map(|(name, address)| ((*name).to_owned(), vec![format!("0 {address}:80")]))
        .collect()
}

async fn until_routed(source: &mut Source, names_of: &[(&str, &str)]) {
    let wanted = listed(names_of);
    let waiting = source.snapshots.wait_for(|now| names(now) == wanted);
    let found = rig::soon(waiting).await.map(|_| ());
    found.expect("the client lives");
}

async fn until(source: &mut Source, holds: impl Fn(&Status) -> bool) -> Status {
    let found = rig::soon(source.status.wait_for(|now| holds(now))).await;
    found.expect("the client lives").clone()
}

#[tokio::test]
async fn it_is_ready_with_the_first_complete_set_and_not_before() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let rig = Rig::start(mode).await;
        rig.serve(A, "10.0.0.1");
        rig.listen(&[A]);
        rig.hold(true);
        let mut source = start(rig.settings(mode), None);
        let status = until(&mut source, |now| now.waiting == [A.into()]).await;
        assert!(!status.ready, "{status:?}");
        assert_eq!(names(&source.snapshots.borrow()), listed(&[]));
        assert!(status.waits_for().contains(A), "{}", status.waits_for());
        rig.hold(false);
        until_routed(&mut source, &[(A, "10.0.0.1")]).await;
        let status = until(&mut source, |now| now.ready).await;
        assert_eq!(status.state, State::Following);
        assert_eq!(status.kinds[&Kind::Clusters].resources, 1);
        assert_eq!((status.mode, status.last_error), (mode, None));
        // And follows.
        rig.serve(B, "10.0.0.2");
        rig.listen(&[A, B]);
        rig.assign(A, "10.0.0.3");
        until_routed(&mut source, &[(A, "10.0.0.3"), (B, "10.0.0.2")]).await;
        rig.listen(&[B]);
        until_routed(&mut source, &[(B, "10.0.0.2")]).await;
        assert_eq!(rig.book().nacks, []);
    }
}

#[tokio::test]
async fn a_server_that_goes_takes_nothing_with_it_and_is_told_what_is_known_when_it_is_back() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut rig = Rig::start(mode).await;
        rig.serve(A, "10.0.0.1");
        rig.serve(B, "10.0.0.2");
        rig.listen(&[A, B]);
        let mut source = start(rig.settings(mode), None);
        until_routed(&mut source, &[(A, "10.0.0.1"), (B, "10.0.0.2")]).await;
        rig.stop().await;
        let status = until(&mut source, |now| now.state == State::Waiting).await;
        assert!(status.ready && status.last_error.is_some(), "{status:?}");
        let known = names(&source.snapshots.borrow());
        assert_eq!(known, listed(&[(A, "10.0.0.1"), (B, "10.0.0.2")]));
        // Meanwhile one endpoint moves.
        rig.assign(B, "10.0.0.9");
        rig.book().told.clear();
        rig.again().await;
        until_routed(&mut source, &[(A, "10.0.0.1"), (B, "10.0.0.9")]).await;
        let status = until(&mut source, |now| now.state == State::Following).await;
        assert_eq!(status.streams, 2);
        let book = rig.book();
        match &book.opened[&Kind::Endpoints] {
            Request::Delta(first) => {
                let mut versions: Vec<_> = first.initial_resource_versions.keys().collect();
                versions.sort();
                assert_eq!(versions, [A, B]);
                assert_eq!(book.told, [B], "what is known is not sent again");
            }
            Request::Sotw(first) => assert_eq!(first.resource_names, [A, B]),
        }
    }
}

#[tokio::test]
async fn a_refused_resource_costs_no_other_and_is_named_until_it_is_mended() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let rig = Rig::start(mode).await;
        rig.serve(A, "10.0.0.1");
        rig.serve(B, "10.0.0.2");
        rig.listen(&[A, B]);
        let mut source = start(rig.settings(mode), None);
        until_routed(&mut source, &[(A, "10.0.0.1"), (B, "10.0.0.2")]).await;
        rig.assign(A, "nowhere");
        rig.assign(B, "10.0.0.3");
        until_routed(&mut source, &[(A, "10.0.0.1"), (B, "10.0.0.3")]).await;
        let status = until(&mut source, |now| !now.refused.is_empty()).await;
        let [refused] = &*status.refused else {
            panic!("{status:?}");
        };
        assert_eq!((refused.kind, &*refused.name), (Kind::Endpoints, A));
        assert_eq!(refused.why, "'nowhere' is not an IP address");
        assert_eq!(status.kinds[&Kind::Endpoints].nacks, 1);
        // A listener that cannot be read leaves the one before in force.
        let odd = samples::listener(15443, vec![chain(&["*"], &[], &[("c", 1)])]);
        rig.put(Kind::Listeners, "0.0.0.0_15443", Some(pack(&odd)));
        until(&mut source, |now| now.refused.len() == 2).await;
        let known = names(&source.snapshots.borrow());
        assert_eq!(known, listed(&[(A, "10.0.0.1"), (B, "10.0.0.3")]));
        rig.until("the server has heard of both", |book| {
            let nacks = book.nacks.iter();
            let kinds: Vec<Kind> = nacks.map(|(kind, _)| *kind).collect();
            kinds == [Kind::Endpoints, Kind::Listeners]
        })
        .await;
        rig.assign(A, "10.0.0.4");
        rig.listen(&[A, B]);
        until_routed(&mut source, &[(A, "10.0.0.4"), (B, "10.0.0.3")]).await;
        until(&mut source, |now| now.refused.is_empty()).await;
    }
}

#[tokio::test]
async fn a_server_without_the_delta_protocol_is_spoken_to_in_the_other() {
    let rig = Rig::start(Mode::Sotw).await;
    rig.serve(A, "10.0.0.1");
    rig.listen(&[A]);
    let mut source = start(rig.settings(Mode::Delta), None);
    until_routed(&mut source, &[(A, "10.0.0.1")]).await;
    let status = until(&mut source, |now| now.state == State::Following).await;
    assert_eq!(status.mode, Mode::Sotw);
}

#[tokio::test]
async fn what_was_kept_is_in_force_until_everything_has_come_once() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut rig = Rig::start(mode).await;
        rig.serve(A, "10.0.0.1");
        rig.serve(B, "10.0.0.2");
        rig.listen(&[A, B]);
        let mut source = start(rig.settings(mode), None);
        until_routed(&mut source, &[(A, "10.0.0.1"), (B, "10.0.0.2")]).await;
        let kept = source.snapshots.borrow().clone();
        drop(source);
        // The next run finds no server.
        rig.stop().await;
        let mut source = start(rig.settings(mode), Some(kept.clone()));
        let status = until(&mut source, |now| now.state == State::Waiting).await;
        assert!(status.ready && status.loaded, "{status:?}");
        assert!(Arc::ptr_eq(&source.snapshots.borrow(), &kept));
        // It comes back, and says one thing after the other: nothing of what was kept goes before all has come.
        rig.put(Kind::Clusters, B, None);
        rig.listen(&[A]);
        rig.assign(A, "10.0.0.7");
        rig.hold(true);
        rig.again().await;
        until(&mut source, |now| now.waiting == [A.into()]).await;
        assert!(Arc::ptr_eq(&source.snapshots.borrow(), &kept));
        rig.hold(false);
        until_routed(&mut source, &[(A, "10.0.0.7")]).await;
        let status = until(&mut source, |now| !now.loaded).await;
        assert!(status.ready);
    }
}

/// What is routed, how many targets it has, and the addresses behind the first.
fn plain(snapshot: &Snapshot) -> Option<(usize, Vec<String>)> {
    let route = snapshot.passthrough.first()?;
    let service = snapshot.service(&route.to.first()?.host)?;
    let endpoints = service.endpoints.iter();
    let of_first = endpoints.filter(|one| one.ports.contains_key("plain:80/v1"));
    let addresses = of_first.map(|one| one.address.to_string());
    Some((route.to.len(), addresses.collect()))
}

#[tokio::test]
async fn a_route_stays_until_what_takes_its_place_is_there() {
    let (v1, v2) = ("outbound|80|v1|a", "outbound|80|v2|a");
    for mode in [Mode::Delta, Mode::Sotw] {
        let rig = Rig::start(mode).await;
        let route = |to: &[(&str, u32)]| {
            let listener = samples::listener(15443, vec![chain(&["a.example"], &[], to)]);
            rig.put(Kind::Listeners, &listener.name, Some(pack(&listener)));
        };
        rig.serve(v1, "10.0.0.1");
        rig.serve(v2, "10.0.0.2");
        route(&[(v1, 1)]);
        let mut source = start(rig.settings(mode), None);
        let until_plain = async |source: &mut Source, to: usize, address: &str| {
            let wanted = Some((to, vec![address.to_owned()]));
            let waiting = source.snapshots.wait_for(|now| plain(now) == wanted);
            let found = rig::soon(waiting).await.map(|_| ());
            found.expect("the client lives");
        };
        until_plain(&mut source, 1, "10.0.0.1").await;
        // A VirtualService gets a second target, whose endpoints take their time.
        rig.hold(true);
        route(&[(v1, 90), (v2, 10)]);
        until(&mut source, |now| now.waiting == [v2.into()]).await;
        let now = plain(&source.snapshots.borrow());
        assert_eq!(now, Some((1, vec!["10.0.0.1".to_owned()])));
        // Meanwhile the old one is followed.
        rig.assign(v1, "10.0.0.3");
        until_plain(&mut source, 1, "10.0.0.3").await;
        rig.hold(false);
        until_plain(&mut source, 2, "10.0.0.3").await;
    }
}

/// istiod may have sent clusters and take its time for listeners: an empty set would be put in force, and kept.
#[test]
fn what_was_kept_is_not_given_up_for_half_of_an_answer() {
    let kept = Arc::new(Snapshot {
        version: 7,
        passthrough: Arc::new(vec![model::PassthroughRoute {
            hosts: vec!["a.example".into()],
            port: Some(15443),
            to: Vec::new(),
        }]),
        ..Snapshot::default()
    });
    for (known, served) in [(Some(kept), true), (None, false)] {
        let is_kept = known.is_some();
        let mut follower = Follower::new(Settings::default(), known);
        let mut server = Book::default();
        server.set(Kind::Clusters, A, Some(pack(&cluster(A))));
        let mut requests = follower.session.open().into_iter();
        let clusters = requests.next().and_then(|request| server.request(request));
        follower.session.receive(clusters.expect("an answer"));
        follower.tell(|_| ());
        assert_eq!(follower.report.borrow().ready, is_kept);
        follower.give_up();
        let routes = follower.publish.borrow().passthrough.len();
        assert_eq!(routes, usize::from(served));
        // Without anything else a server without listeners need not say so.
        let (ready, loaded) = (
            follower.report.borrow().ready,
            follower.report.borrow().loaded,
        );
        assert_eq!((ready, loaded), (true, is_kept));
        let listeners = requests.next().and_then(|request| server.request(request));
        follower.session.receive(listeners.expect("an answer"));
        follower.tell(|_| ());
        assert_eq!(follower.publish.borrow().passthrough.len(), 0);
        assert!(!follower.report.borrow().loaded);
    }
}

/// The clock stands still and jumps when nothing is left to do, so nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_server_may_take_its_time_before_its_first_word() {
    let rig = Rig::start(Mode::Delta).await;
    rig.serve(A, "10.0.0.1");
    for mode in [Mode::Delta, Mode::Sotw] {
        rig.be_silent(Duration::from_secs(3_600));
        let mut session = Session::new(mode, NetworkId::default());
        let (channel, first) = (rig.channel().await, session.open());
        let began = Link::begin(channel, MetadataMap::new(), mode, first, 64 << 10).await;
        let mut link = began.unwrap_or_else(|fault| panic!("{mode:?}: {fault}"));
        let response = link.next().await.expect("a response");
        assert_eq!(session.receive(response).kind, Some(Kind::Clusters));
    }
}

/// The answer to a refusal would be the same response, and so on as fast as both can.
#[tokio::test(start_paused = true)]
async fn what_is_refused_and_comes_again_is_not_answered_at_once() {
    let rig = Rig::start(Mode::Sotw).await;
    rig.book().stubborn = 100;
    let mut odd = cluster(A);
    odd.lb_policy = 99;
    rig.put(Kind::Clusters, A, Some(pack(&odd)));
    let mut follower = Follower::new(rig.settings(Mode::Sotw), None);
    let (channel, first) = (rig.channel().await, follower.session.open());
    let began = Link::begin(channel, MetadataMap::new(), Mode::Sotw, first, 64 << 10).await;
    let _snapshots = follower.publish.subscribe();
    let talk = follower.converse(began.expect("a stream"));
    let outcome = tokio::time::timeout(AGAIN * 10, talk).await;
    assert!(outcome.is_err(), "the stream goes on");
    let nacks = rig.book().nacks.len();
    assert!((9..=11).contains(&nacks), "{nacks} in ten seconds");
    assert_eq!(follower.report.borrow().refused.len(), 1);
}

#[tokio::test]
async fn both_sides_prove_who_they_are_and_files_are_read_for_every_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    let [roots, token] = ["root-cert.pem", "istio-token"].map(|name| folder.path().join(name));
    let authority = Authority::new();
    let mut rig = Rig::start_with(Mode::Delta, Some(&authority)).await;
    rig.serve(A, "10.0.0.1");
    rig.listen(&[A]);
    let mut settings = rig.settings(Mode::Delta);
    settings.server.tls = Some(Tls {
        roots: roots.clone(),
        name: Some("localhost".into()),
    });
    settings.server.token = Some(token.clone());
    settings.server.cluster = "us".into();
    let mut source = start(settings, None);
    let faulty = |said: &'static str| {
        move |now: &Status| {
            let error = now.last_error.as_deref();
            error.is_some_and(|error| error.contains(said))
        }
    };
    until(&mut source, faulty("root-cert.pem")).await;
    fs::write(&token, "secret-1\n").expect("written");
    fs::write(&roots, Authority::new().pem()).expect("written");
    let status = until(&mut source, faulty("cannot be reached")).await;
    let error = status.last_error.unwrap_or_default();
    assert!(error.contains("certificate"), "{error}");
    assert!(rig.callers().is_empty(), "a stranger is told nothing");
    fs::write(&roots, authority.pem()).expect("written");
    until_routed(&mut source, &[(A, "10.0.0.1")]).await;
    let caller = |token: &str| (format!("Bearer {token}"), "us".to_owned());
    assert_eq!(rig.callers(), [caller("secret-1")]);
    // Tokens are renewed in place; the next stream bears the new one.
    fs::write(&token, "secret-2\n").expect("written");
    rig.stop().await;
    until(&mut source, |now| now.state == State::Waiting).await;
    rig.again().await;
    until(&mut source, |now| now.streams == 2).await;
    assert_eq!(rig.callers(), [caller("secret-1"), caller("secret-2")]);
    // A token that no header may bear is complained of without being told.
    fs::write(&token, "secret-\u{7}").expect("written");
    rig.stop().await;
    rig.again().await;
    let status = until(&mut source, faulty("istio-token")).await;
    assert!(!format!("{status:?}").contains("secret-"), "{status:?}");
}

#[tokio::test]
async fn a_response_without_measure_ends_the_stream_and_takes_nothing_away() {
    let rig = Rig::start(Mode::Delta).await;
    rig.serve(A, "10.0.0.1");
    rig.listen(&[A]);
    let mut settings = rig.settings(Mode::Delta);
    settings.ceilings.response = 64 << 10;
    let mut source = start(settings, None);
    until_routed(&mut source, &[(A, "10.0.0.1")]).await;
    let giant = samples::cluster(&"x".repeat(100 << 10));
    rig.put(Kind::Clusters, &giant.name, Some(pack(&giant)));
    let status = until(&mut source, |now| now.last_error.is_some()).await;
    let error = status.last_error.expect("one");
    assert!(error.contains("65536"), "{error}");
    assert_eq!(
        names(&source.snapshots.borrow()),
        listed(&[(A, "10.0.0.1")])
    );
    // The server comes to its senses.
    rig.put(Kind::Clusters, &giant.name, None);
    rig.assign(A, "10.0.0.2");
    until_routed(&mut source, &[(A, "10.0.0.2")]).await;
}

/// The clock stands still and jumps when nothing is left to do, so nobody waits for it.
#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_waited_for_and_what_was_kept_stays() {
    let rig = Rig::start(Mode::Delta).await;
    let kept = Arc::new(Snapshot {
        version: 7,
        ..Snapshot::default()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("bound");
    let mut settings = rig.settings(Mode::Delta);
    settings.server.address = listener.local_addr().expect("an address").to_string();
    let mut source = start(settings, Some(kept));
    let mut accepted = Vec::new();
    // It takes connections and never speaks; each is given up, and the next one comes.
    for _ in 0..3 {
        accepted.push(listener.accept().await.expect("accepted"));
    }
    let status = until(&mut source, |now| now.last_error.is_some()).await;
    assert!(status.ready && status.loaded, "{status:?}");
    assert_eq!(source.snapshots.borrow().version, 7);
}
