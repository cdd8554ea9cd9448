//! Whatever the order of subscriptions, answers, refusals, reconnects and changes, and however late anything arrives: in the
//! end the client has exactly the view's resources.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::*;
use super::rig::{World, content_of_any, content_of_resource, shelves};
use crate::proto::rpc::Status;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// They differ in everything: whole with the wildcard, as Envoy asks for clusters; in parts, by name; whole by name, as gRPC asks
/// for listeners.
const KINDS: [Kind; 3] = [Kind::Cluster, Kind::Endpoints, Kind::Listener];

/// Clients refuse contents that can be divided by this.
const BAD: u32 = 5;

#[derive(Clone, Debug)]
enum Step {
    /// The view changes: a kind's name has new contents, or none.
    Change(Index, Index, bool),
    /// The client wants these names of a kind from now on; of clusters, one beside all.
    Want(Index, Vec<bool>),
    /// A request or a response arrives.
    Arrive(bool),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<Index>(), any::<Index>(), prop::bool::weighted(0.7))
            .prop_map(|(kind, name, there)| Step::Change(kind, name, there)),
        2 => (any::<Index>(), prop::collection::vec(any::<bool>(), NAMES.len()))
            .prop_map(|(kind, names)| Step::Want(kind, names)),
        6 => any::<bool>().prop_map(Step::Arrive),
        1 => Just(Step::Reconnect),
    ]
}

enum Request {
    Sotw(SotwRequest),
    Delta(DeltaRequest),
}

enum Response {
    Sotw(Kind, SotwResponse),
    Delta(Kind, DeltaResponse),
}

/// A client of the one or the other protocol, as Envoy and gRPC are. But for one thing: in state-of-the-world it remembers what
/// it does not want any more. A name that is dropped and wanted again while a response is under way is lost otherwise, whatever
/// the server does, because it never hears of that (requests with a stale nonce count for nothing).
struct Client {
    mode: Mode,
    /// Whether it takes the good ones of a response that it refuses; of whole ones all clients do.
    takes_good_ones: bool,
    /// By kind: what it has, with versions for delta.
    have: [BTreeMap<String, (String, String)>; 4],
    /// What it wants; `None` is everything.
    want: [Option<BTreeSet<String>>; 4],
    accepted: [String; 4],
    nonce: [String; 4],
    /// Kinds that were asked for on this stream.
    asked: [bool; 4],
    out: VecDeque<Request>,
    inbox: VecDeque<Response>,
}

impl Client {
    fn new(mode: Mode, takes_good_ones: bool) -> Self {
        let mut want = [const { None }; 4];
        for by_name in [Kind::Endpoints, Kind::Listener] {
            want[by_name as usize] = Some(BTreeSet::new());
        }
        let mut client = Self {
            mode,
            takes_good_ones,
            have: Default::default(),
            want,
            accepted: Default::default(),
            nonce: Default::default(),
            asked: Default::default(),
            out: VecDeque::new(),
            inbox: VecDeque::new(),
        };
        client.connect();
        client
    }

    /// A new stream: what was under way is lost.
    fn connect(&mut self) {
        self.out.clear();
        self.inbox.clear();
        self.asked = Default::default();
        for kind in KINDS {
            self.nonce[kind as usize].clear();
            let want = self.want[kind as usize].as_ref();
            self.have[kind as usize].retain(|name, _| want.is_none_or(|want| want.contains(name)));
            match self.mode {
                Mode::Sotw => self.say_sotw(kind, None),
                Mode::Delta if self.wants_nothing_yet(kind) => {}
                Mode::Delta => {
                    self.asked[kind as usize] = true;
                    let want = self.want[kind as usize].clone();
                    let have = self.have[kind as usize].iter();
                    let request = DeltaRequest {
                        type_url: kind.type_url().into(),
                        resource_names_subscribe: match want {
                            None => vec!["*".into()],
                            Some(names) => names.into_iter().collect(),
                        },
                        initial_resource_versions: have
                            .map(|(name, (_, version))| (name.clone(), version.clone()))
                            .collect(),
                        ..DeltaRequest::default()
                    };
                    self.out.push_back(Request::Delta(request));
                }
            }
        }
    }

    /// To name nothing in the first request would be to ask for everything.
    fn wants_nothing_yet(&self, kind: Kind) -> bool {
        let want = self.want[kind as usize].as_ref();
        kind.is_whole() && want.is_some_and(BTreeSet::is_empty) && !self.asked[kind as usize]
    }

    fn say_sotw(&mut self, kind: Kind, error: Option<Status>) {
        if self.wants_nothing_yet(kind) {
            return;
        }
        self.asked[kind as usize] = true;
        let names = self.want[kind as usize].clone().unwrap_or_default();
        self.out.push_back(Request::Sotw(SotwRequest {
            version_info: self.accepted[kind as usize].clone(),
            resource_names: names.into_iter().collect(),
            type_url: kind.type_url().into(),
            response_nonce: self.nonce[kind as usize].clone(),
            error_detail: error,
            ..SotwRequest::default()
        }));
    }

    fn wants(&mut self, kind: Kind, names: BTreeSet<String>) {
        let before = self.want[kind as usize].replace(names.clone());
        let before = before.unwrap_or_default();
        if self.mode == Mode::Delta {
            self.have[kind as usize].retain(|name, _| names.contains(name));
        }
        match self.mode {
            Mode::Sotw => self.say_sotw(kind, None),
            Mode::Delta if self.wants_nothing_yet(kind) => {}
            Mode::Delta => {
                let first = !std::mem::replace(&mut self.asked[kind as usize], true);
                let gone = before.difference(&names).filter(|_| !first);
                self.out.push_back(Request::Delta(DeltaRequest {
                    type_url: kind.type_url().into(),
                    resource_names_subscribe: names.difference(&before).cloned().collect(),
                    resource_names_unsubscribe: gone.cloned().collect(),
                    ..DeltaRequest::default()
                }));
            }
        }
    }

    /// In delta, a cluster by name beside the wildcard, and not any more: both have to be answered.
    fn names_cluster(&mut self, name: &str, wanted: bool) {
        if self.mode == Mode::Delta {
            let (mut subscribe, mut unsubscribe) = (Vec::new(), Vec::new());
            if wanted {
                subscribe.push(name.to_owned());
            } else {
                self.have[Kind::Cluster as usize].remove(name);
                unsubscribe.push(name.to_owned());
            }
            self.out.push_back(Request::Delta(DeltaRequest {
                type_url: Kind::Cluster.type_url().into(),
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                ..DeltaRequest::default()
            }));
        }
    }

    fn receive(&mut self, response: Response) {
        match response {
            Response::Sotw(kind, response) => self.receive_sotw(kind, response),
            Response::Delta(kind, response) => self.receive_delta(kind, response),
        }
    }

    fn receive_sotw(&mut self, kind: Kind, response: SotwResponse) {
        let contents: Vec<_> = response
            .resources
            .iter()
            .map(|any| content_of_any(any))
            .collect();
        let bad = contents.iter().any(|content| is_bad(content));
        let at = kind as usize;
        if !bad || self.takes_good_ones || kind.is_whole() {
            let names = |content: &str| content.split('=').next().unwrap_or_default().to_owned();
            if kind.is_whole() {
                let there: BTreeSet<_> = contents.iter().map(|content| names(content)).collect();
                self.have[at].retain(|name, _| there.contains(name));
            }
            for content in contents.iter().filter(|content| !is_bad(content)) {
                let name = names(content);
                let wanted = self.want[at]
                    .as_ref()
                    .is_none_or(|want| want.contains(&name));
                if !content.contains('=') {
                    self.have[at].remove(&name); // an empty assignment
                } else if wanted {
                    self.have[at].insert(name, (content.clone(), String::new()));
                }
            }
        }
        self.nonce[at] = response.nonce;
        if bad {
            self.say_sotw(kind, Some(Status::default()));
        } else {
            self.accepted[at] = response.version_info;
            self.say_sotw(kind, None);
        }
    }

    fn receive_delta(&mut self, kind: Kind, response: DeltaResponse) {
        let read = response
            .resources
            .iter()
            .map(|resource| content_of_resource(resource));
        let read: Vec<_> = read.collect();
        let bad = read.iter().any(|(_, content, _)| is_bad(content));
        let at = kind as usize;
        if !bad || self.takes_good_ones {
            for (name, content, version) in read {
                let wanted = self.want[at]
                    .as_ref()
                    .is_none_or(|want| want.contains(&name));
                if !is_bad(&content) && wanted {
                    self.have[at].insert(name, (content, version));
                }
            }
            for name in response.removed_resources {
                self.have[at].remove(&name);
            }
        }
        self.out.push_back(Request::Delta(DeltaRequest {
            type_url: kind.type_url().into(),
            response_nonce: response.nonce,
            error_detail: bad.then(Status::default),
            ..DeltaRequest::default()
        }));
    }
}

fn is_bad(content: &str) -> bool {
    let number = content
        .split_once('=')
        .and_then(|(_, number)| number.parse::<u32>().ok());
    number.is_some_and(|number| number.is_multiple_of(BAD))
}

struct Both {
    client: Client,
    session: Session,
    world: World,
    view: Arc<Shelves>,
    content: u32,
}

impl Both {
    fn change(&mut self, kind: Kind, name: &str, there: bool) {
        self.content += 1;
        let of_kind = &mut self.world[kind as usize];
        if there {
            of_kind.insert(name.into(), self.content);
        } else {
            of_kind.remove(name);
        }
        self.view = shelves(&self.world, Some(&self.view));
        self.session.offer(self.view.clone());
    }

    /// Whether anything arrived.
    fn arrive(&mut self, at_server: bool) -> bool {
        if at_server {
            let said = match self.client.out.pop_front() {
                Some(Request::Sotw(request)) => self.session.sotw(request),
                Some(Request::Delta(request)) => self.session.delta(request),
                None => return false,
            };
            said.expect("the stream goes on");
            return true;
        }
        let due = match self.client.mode {
            Mode::Sotw => self
                .session
                .next_sotw()
                .map(|(kind, r)| Response::Sotw(kind, r)),
            Mode::Delta => self
                .session
                .next_delta()
                .map(|(kind, r)| Response::Delta(kind, r)),
        };
        self.client.inbox.extend(due);
        match self.client.inbox.pop_front() {
            Some(response) => self.client.receive(response),
            None => return false,
        }
        true
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Change(kind, name, there) => {
                let kind: &Kind = kind.get(&KINDS);
                let name: &&str = name.get(&NAMES);
                self.change(*kind, name, *there);
            }
            Step::Want(kind, which) => {
                let kind: &Kind = kind.get(&KINDS);
                if *kind == Kind::Cluster {
                    return self.client.names_cluster("a", which[0]);
                }
                let names = NAMES.iter().zip(which).filter(|(_, wanted)| **wanted);
                let names = names.map(|(name, _)| (*name).to_owned());
                self.client.wants(*kind, names.collect());
            }
            Step::Arrive(at_server) => drop(self.arrive(*at_server)),
            Step::Reconnect => {
                self.session = Session::new(self.view.clone());
                self.client.connect();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]
    #[test]
    fn the_client_ends_with_what_is_there(
        delta in any::<bool>(),
        takes_good_ones in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mode = if delta { Mode::Delta } else { Mode::Sotw };
        let world = World::default();
        let view = shelves(&world, None);
        let mut both = Both {
            client: Client::new(mode, takes_good_ones),
            session: Session::new(view.clone()),
            world,
            view,
            content: 0,
        };
        for step in &steps {
            both.step(step);
        }
        for round in 0.. {
            prop_assert!(round < 1_000, "it does not end");
            let moved = [both.arrive(true), both.arrive(false)];
            if moved == [false; 2] {
                break;
            }
        }
        prop_assert!(both.session.is_settled());
        for kind in KINDS {
            let at = kind as usize;
            let want = &both.client.want[at];
            let wanted = |name: &String| want.as_ref().is_none_or(|want| want.contains(name));
            let there = both.world[at].iter().filter(|(name, _)| wanted(name));
            let there: BTreeMap<_, _> = there.map(|(name, content)| (name.clone(), format!("{name}={content}"))).collect();
            for (name, content) in &there {
                let has = both.client.have[at].get(name).map(|(content, _)| content);
                if is_bad(content) {
                    prop_assert_ne!(has, Some(content));
                } else {
                    prop_assert_eq!(has, Some(content), "{}", kind.as_str());
                }
            }
            let has = both.client.have[at].keys();
            for name in has.filter(|name| wanted(name)) {
                prop_assert!(there.contains_key(name), "{} {name} is left over", kind.as_str());
            }
        }
    }
}
