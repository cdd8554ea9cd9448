//! Whatever the order of subscriptions, answers, refusals, reconnects and changes, and however late anything arrives: in the
//! end the client has exactly the view's resources.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

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
    /// The client wants these names of a kind from now on; of clusters, these or all.
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

/// A client of the one or the other protocol, as Envoy and gRPC are. In state-of-the-world it remembers what it does not want any
/// more, Envoy for good, gRPC as long as the stream lasts: a name that is dropped and wanted again while a response is under way
/// is lost otherwise, whatever the server does, because it never hears of that (requests with a stale nonce count for nothing).
struct Client {
    mode: Mode,
    /// Whether it takes the good ones of a response that it refuses; of whole ones all clients do.
    takes_good_ones: bool,
    /// In state-of-the-world: whether it comes back without what it has dropped, under the version that it had.
    forgets: bool,
    /// By kind: what it has, with versions for delta.
    have: [BTreeMap<String, (String, String)>; 4],
    /// What it wants; `*` is everything.
    want: [BTreeSet<String>; 4],
    /// What it dropped and has not been sent since.
    dropped: [BTreeSet<String>; 4],
    accepted: [String; 4],
    /// Whether it refused the last response.
    refused: [bool; 4],
    nonce: [String; 4],
    /// Kinds that were asked for on this stream, and those of which a name was said there.
    asked: [bool; 4],
    named: [bool; 4],
    out: VecDeque<Request>,
    inbox: VecDeque<Response>,
}

impl Client {
    fn new(mode: Mode, takes_good_ones: bool, forgets: bool) -> Self {
        let mut want: [BTreeSet<String>; 4] = Default::default();
        want[Kind::Cluster as usize].insert("*".into());
        let mut client = Self {
            mode,
            takes_good_ones,
            forgets,
            have: Default::default(),
            want,
            dropped: Default::default(),
            accepted: Default::default(),
            refused: Default::default(),
            nonce: Default::default(),
            asked: Default::default(),
            named: Default::default(),
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
        self.named = Default::default();
        for kind in KINDS {
            let at = kind as usize;
            self.nonce[at].clear();
            if self.mode == Mode::Sotw {
                if self.forgets {
                    self.have[at].retain(|name, _| !self.dropped[at].contains(name));
                    self.dropped[at].clear();
                }
                // Who took a part of what it refused has another state than its version says: the README says so, and here it says
                // nothing instead.
                if std::mem::take(&mut self.refused[at]) {
                    self.accepted[at].clear();
                }
                self.say_sotw(kind, None);
            } else {
                let have = self.have[at].iter();
                let versions = have.map(|(name, (_, version))| (name.clone(), version.clone()));
                let versions = versions.collect();
                self.say_delta(kind, self.want[at].clone(), BTreeSet::new(), versions);
            }
        }
    }

    fn is_wanted(&self, kind: Kind, name: &str) -> bool {
        let want = &self.want[kind as usize];
        want.contains("*") || want.contains(name)
    }

    /// To name nothing in the first request would be to ask for everything.
    fn wants_nothing_yet(&self, kind: Kind) -> bool {
        let at = kind as usize;
        kind.is_whole() && self.want[at].is_empty() && !self.asked[at]
    }

    fn say_sotw(&mut self, kind: Kind, error: Option<Status>) {
        if self.wants_nothing_yet(kind) {
            return;
        }
        let at = kind as usize;
        self.asked[at] = true;
        let mut names = self.want[at].clone();
        // The old way to want everything, which is not understood any more once a name was said.
        if !self.named[at] && names.len() == 1 {
            names.remove("*");
        }
        self.named[at] |= !names.is_empty();
        self.out.push_back(Request::Sotw(SotwRequest {
            version_info: self.accepted[at].clone(),
            resource_names: names.into_iter().collect(),
            type_url: kind.type_url().into(),
            response_nonce: self.nonce[at].clone(),
            error_detail: error,
            ..SotwRequest::default()
        }));
    }

    fn say_delta(
        &mut self,
        kind: Kind,
        subscribe: BTreeSet<String>,
        unsubscribe: BTreeSet<String>,
        versions: HashMap<String, String>,
    ) {
        if self.wants_nothing_yet(kind) {
            return;
        }
        let first = !std::mem::replace(&mut self.asked[kind as usize], true);
        let gone = unsubscribe.into_iter().filter(|_| !first);
        self.out.push_back(Request::Delta(DeltaRequest {
            type_url: kind.type_url().into(),
            resource_names_subscribe: subscribe.into_iter().collect(),
            resource_names_unsubscribe: gone.collect(),
            initial_resource_versions: versions,
            ..DeltaRequest::default()
        }));
    }

    fn wants(&mut self, kind: Kind, names: BTreeSet<String>) {
        let at = kind as usize;
        let before = std::mem::replace(&mut self.want[at], names.clone());
        if self.mode == Mode::Sotw {
            let had = self.have[at]
                .keys()
                .filter(|name| !self.is_wanted(kind, name));
            let had: Vec<String> = had.cloned().collect();
            self.dropped[at].extend(had);
            return self.say_sotw(kind, None);
        }
        // What it names no more is dropped, even where everything is wanted: it has to be told again, or that it is gone.
        let gone: BTreeSet<String> = before.difference(&names).cloned().collect();
        let kept =
            |name: &String| names.contains(name) || (names.contains("*") && !gone.contains(name));
        self.have[at].retain(|name, _| kept(name));
        let new = names.difference(&before).cloned().collect();
        self.say_delta(kind, new, gone, HashMap::new());
    }

    /// Everything, perhaps with a name beside it, or names alone; or, in delta, everything once more.
    fn wants_clusters(&mut self, which: &[bool]) {
        let at = Kind::Cluster as usize;
        let names = NAMES.iter().zip(which).filter(|(_, wanted)| **wanted);
        let mut names: BTreeSet<String> = names.map(|(name, _)| (*name).to_owned()).collect();
        match which {
            [_, true, true, ..] => {}
            [_, true, ..] if self.mode == Mode::Delta && self.want[at].contains("*") => {
                self.have[at].clear();
                let again = self.want[at].clone();
                return self.say_delta(Kind::Cluster, again, BTreeSet::new(), HashMap::new());
            }
            _ => {
                names.retain(|name| name == "a");
                names.insert("*".into());
            }
        }
        self.wants(Kind::Cluster, names);
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
                // What comes late is remembered as what is dropped late is.
                let wanted = !self.forgets || self.is_wanted(kind, &name);
                self.dropped[at].remove(&name);
                if !content.contains('=') {
                    self.have[at].remove(&name); // an empty assignment
                } else if wanted {
                    self.have[at].insert(name, (content.clone(), String::new()));
                }
            }
        }
        self.nonce[at] = response.nonce;
        self.refused[at] = bad;
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
                let wanted = self.is_wanted(kind, &name);
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
                    return self.client.wants_clusters(which);
                }
                let names = NAMES.iter().zip(which).filter(|(_, wanted)| **wanted);
                let names = names.map(|(name, _)| (*name).to_owned());
                self.client.wants(*kind, names.collect());
            }
            Step::Arrive(at_server) => drop(self.arrive(*at_server)),
            Step::Reconnect => {
                self.session = Session::new(self.view.clone(), self.client.forgets);
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
        forgets in any::<bool>(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mode = if delta { Mode::Delta } else { Mode::Sotw };
        let world = World::default();
        let view = shelves(&world, None);
        let mut both = Both {
            client: Client::new(mode, takes_good_ones, forgets),
            session: Session::new(view.clone(), forgets),
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
            let wanted = |name: &String| both.client.is_wanted(kind, name);
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
            // Whole responses are refused as a whole, also what is wanted without the bad one afterwards.
            if mode == Mode::Delta || !kind.is_whole() {
                let is_refused = there.values().any(|content| is_bad(content));
                let refused = both.session.lacks(kind).refused;
                prop_assert!(is_refused || !refused, "{}", kind.as_str());
                // A version that comes back does not say what was refused on the stream before.
                let says_all = mode == Mode::Delta || forgets;
                prop_assert!(refused || !is_refused || !says_all, "{}", kind.as_str());
            }
            let has = both.client.have[at].keys();
            for name in has.filter(|name| wanted(name)) {
                prop_assert!(there.contains_key(name), "{} {name} is left over", kind.as_str());
            }
        }
    }
}
