//! A kind is followed through everything that can happen to an API server, against one in process.

use bytes::Bytes;
use futures::channel::mpsc::unbounded;
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::*;
use crate::kubernetes::secret::Secret;
use crate::kubernetes::testing::{Fake, Reply};

const LIST: &str = "/api/v1/namespaces";

/// A follower of namespaces that keeps their names, and what it told.
struct Rig {
    fake: Fake,
    events: mpsc::Receiver<((), Event<String>)>,
    streaming: Arc<AtomicBool>,
    _follower: JoinHandle<()>,
}

fn rig(fake: &Fake, api: Api) -> Rig {
    rig_of(fake, api, Identity::default())
}

fn rig_of(fake: &Fake, api: Api, identity: Identity) -> Rig {
    let (out, events) = mpsc::channel(100);
    let streaming = Arc::new(AtomicBool::new(true));
    let follow = Follow {
        api,
        target: Target {
            path: LIST.into(),
            metadata: false,
            labels: None,
        },
        kind: (),
        convert: |object: Namespace| object.metadata.name.unwrap_or_default(),
        weigh: |_| Weight { group: 0, mass: 1 },
        ceiling: Ceiling {
            objects: 1_000,
            bytes: 1 << 20,
        },
        streaming: streaming.clone(),
        identity,
        memory: SharedMemory::default(),
        out,
    };
    Rig {
        fake: fake.clone(),
        events,
        streaming,
        _follower: tokio::spawn(follow.run()),
    }
}

impl Rig {
    /// The next event that says something: `=a,b` a reset, `+a`, `-a`, `!fault`.
    async fn next(&mut self) -> String {
        loop {
            let (_, event) = self.events.recv().await.expect("it goes on for ever");
            return match event {
                Event::Reset(mut names, counts) => {
                    assert_eq!(names.len(), counts.objects);
                    names.sort();
                    format!("={}", names.join(","))
                }
                Event::Apply(name, _) => format!("+{name}"),
                Event::Delete(name, _) => format!("-{}", name.name),
                Event::Fault(fault) => format!("!{fault}"),
                Event::Stranger => "stranger".into(),
                Event::Alive => continue,
            };
        }
    }

    /// The next event but faults.
    async fn next_good(&mut self) -> String {
        loop {
            let said = self.next().await;
            if !said.starts_with('!') {
                return said;
            }
        }
    }

    /// Waits until the follower watches.
    async fn watching(&self) {
        let fake = self.fake.clone();
        fake.until(|asked| {
            asked.last().is_some_and(|last| {
                last.path.contains("watch=true") && !last.path.contains("sendInitialEvents")
            })
        })
        .await;
    }
}

fn namespace(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

fn fake_with(names: &[&str]) -> Fake {
    let fake = Fake::default();
    for name in names {
        fake.put(LIST, namespace(name));
    }
    fake
}

#[tokio::test(start_paused = true)]
async fn a_list_then_changes() {
    for streaming in [false, true] {
        let fake = fake_with(&["a", "b"]);
        if streaming {
            fake.stream_lists();
        }
        let mut rig = rig(&fake, fake.api());
        assert_eq!(rig.next().await, "=a,b");
        assert_eq!(
            rig.streaming.load(std::sync::atomic::Ordering::Relaxed),
            streaming
        );
        rig.watching().await;
        fake.put(LIST, namespace("c"));
        assert_eq!(rig.next().await, "+c");
        fake.delete(LIST, "", "a");
        assert_eq!(rig.next().await, "-a");
        fake.put(LIST, namespace("b"));
        assert_eq!(rig.next().await, "+b");
        // It goes on from the last version when the watch ends.
        fake.break_watches();
        rig.fake
            .until(|asked| {
                asked
                    .last()
                    .is_some_and(|last| last.path.ends_with("resourceVersion=5"))
            })
            .await;
    }
}

/// Nothing has changed of this kind, and much else: without bookmarks a watch would begin anew from a version long gone.
#[tokio::test(start_paused = true)]
async fn a_watch_goes_on_from_the_last_bookmark() {
    let fake = fake_with(&["a"]);
    let (open, pieces) = unbounded();
    fake.script("resourceVersion=1", Reply::Stream(pieces));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next_good().await, "=a");
    let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "Namespace", "apiVersion": "v1",
        "metadata": {"resourceVersion": "77"}}});
    let sent = open.unbounded_send(format!("{bookmark}\n").into());
    sent.expect("somebody watches");
    drop(open);
    fake.until(|asked| {
        let last = asked.last();
        last.is_some_and(|last| last.path.ends_with("resourceVersion=77"))
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_stream_lists_is_asked_once() {
    let fake = fake_with(&["a"]);
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
    rig.watching().await;
    fake.script("watch=true", Reply::Status(410, json!({})));
    fake.break_watches();
    assert_eq!(rig.next_good().await, "=a");
    let streams = fake
        .asked()
        .into_iter()
        .filter(|asked| asked.path.contains("sendInitialEvents"));
    assert_eq!(streams.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_stream_never_ends_its_list_is_asked_in_pages() {
    let fake = fake_with(&["a"]);
    let (_open, pieces) = unbounded();
    fake.script("sendInitialEvents", Reply::Stream(pieces));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
}

#[tokio::test(start_paused = true)]
async fn pages_are_joined_and_a_list_that_outlives_its_version_begins_anew() {
    let fake = fake_with(&["z"]);
    let page = |name: &str, token: &str| {
        Reply::Status(
            200,
            json!({"metadata": {"resourceVersion": "9", "continue": token}, "items": [namespace(name)]}),
        )
    };
    fake.script("limit=500", page("a", "next"));
    fake.script("continue=next", page("b", ""));
    let mut one = rig(&fake, fake.api());
    assert_eq!(one.next().await, "=a,b");

    fake.script("limit=500", page("a", "gone"));
    fake.script("continue=gone", Reply::Status(410, json!({})));
    let mut two = rig(&fake, fake.api());
    assert_eq!(two.next().await, "=z", "all at once");
}

#[tokio::test(start_paused = true)]
async fn faults_are_told_and_take_nothing_away() {
    type Make = fn() -> Reply;
    let table: [(&str, Make); 9] = [
        ("401", || Reply::Status(401, json!({}))),
        ("403", || Reply::Status(403, json!({}))),
        ("429", || Reply::Status(429, json!({}))),
        ("answered 500", || Reply::Status(500, json!({}))),
        ("cannot be reached", || Reply::Broken),
        ("nothing came", || Reply::Never),
        ("cannot be read", || Reply::Bytes(Bytes::from("<html>\n"))),
        ("cannot be read", || {
            Reply::Bytes(Bytes::from("{\"type\": \"ADDED\", \"object\": 7}\n"))
        }),
        ("is gone", || Reply::Status(410, json!({}))),
    ];
    for (word, reply) in table {
        let fake = fake_with(&["a"]);
        let mut rig = rig(&fake, fake.api());
        assert_eq!(rig.next().await, "=a");
        rig.watching().await;
        fake.script("watch=true", reply());
        fake.put(LIST, namespace("b"));
        assert_eq!(rig.next().await, "+b");
        fake.break_watches();
        let said = rig.next().await;
        assert!(
            said.starts_with('!') && said.contains(word),
            "{word}: {said}"
        );
        rig.watching().await;
        // Whether by a list or by the watch: what is known afterwards is what there is.
        fake.until(|_| fake.watchers() > 0).await;
        fake.put(LIST, namespace("c"));
        let mut said = rig.next_good().await;
        if said.starts_with('=') {
            assert!(said == "=a,b" || said == "=a,b,c", "{word}: {said}");
            if said == "=a,b" {
                said = rig.next_good().await;
            }
        }
        assert!(said == "+c" || said == "=a,b,c", "{word}: {said}");
    }
}

#[tokio::test(start_paused = true)]
async fn lists_that_are_no_lists_are_faults() {
    let table = [
        json!({}),
        json!({"metadata": {"resourceVersion": ""}, "items": []}),
        json!({"metadata": {"resourceVersion": "1", "continue": "x"}, "items": []}),
        json!({"metadata": {"resourceVersion": "1"}, "items": [7]}),
    ];
    for list in table {
        let fake = fake_with(&["a"]);
        fake.script("limit=500", Reply::Status(200, list.clone()));
        let mut rig = rig(&fake, fake.api());
        assert!(rig.next().await.starts_with('!'), "{list}");
        assert_eq!(rig.next().await, "=a", "{list}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_is_cut_at_the_ceiling() {
    let fake = fake_with(&["a"]);
    let items: Vec<Value> = (0..1_001).map(|at| namespace(&at.to_string())).collect();
    let long = json!({"metadata": {"resourceVersion": "1", "continue": "more"}, "items": items});
    fake.script("limit=500", Reply::Status(200, long));
    fake.script(
        "limit=500",
        Reply::Bytes(Bytes::from(vec![b' '; (1 << 20) + 1])),
    );
    let mut rig = rig(&fake, fake.api());
    assert_eq!(
        rig.next().await,
        "!the API server lists more than 1000 objects"
    );
    assert_eq!(
        rig.next().await,
        "!the API server's answer is larger than 1048576 bytes"
    );
    assert_eq!(rig.next().await, "=a");
}

#[tokio::test(start_paused = true)]
async fn a_dead_link_is_noticed_within_thirty_seconds() {
    let fake = fake_with(&["a"]);
    let (_open, pieces) = unbounded();
    fake.script("resourceVersion=1", Reply::Stream(pieces));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
    let begun = Instant::now();
    assert!(rig.next().await.contains("nothing came"));
    assert!(begun.elapsed() <= Duration::from_secs(30), "of paused time");
}

#[tokio::test(start_paused = true)]
async fn a_quiet_watch_is_no_dead_link() {
    let fake = fake_with(&["a"]);
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
    // It ends and begins anew by itself, without a word, for hours.
    let later = tokio::time::timeout(Duration::from_secs(7200), rig.next()).await;
    assert!(later.is_err(), "{later:?}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ends_at_once_is_not_begun_again_at_once() {
    let fake = fake_with(&["a"]);
    for _ in 0..20 {
        fake.script("resourceVersion=1", Reply::Bytes(Bytes::new()));
    }
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
    let begun = Instant::now();
    for _ in 0..20 {
        assert!(rig.next().await.contains("ends as it begins"));
    }
    assert!(begun.elapsed() > Duration::from_secs(60), "of paused time");
}

#[tokio::test(start_paused = true)]
async fn a_401_makes_the_newest_token_be_tried_at_once() {
    let fake = fake_with(&["a"]);
    fake.accept_only("new");
    let (api, token) = fake.api_with_token("old");
    let mut rig = rig(&fake, api);
    assert!(rig.next().await.contains("401"));
    let begun = Instant::now();
    token.send_replace(Secret::new("new"));
    assert_eq!(rig.next().await, "=a");
    assert_eq!(begun.elapsed(), Duration::ZERO, "of paused time");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_takes_all_away_is_believed_only_the_second_time() {
    let fake = fake_with(&["a", "b"]);
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a,b");
    rig.watching().await;
    let empty = || {
        Reply::Status(
            200,
            json!({"metadata": {"resourceVersion": "7"}, "items": []}),
        )
    };
    fake.script("watch=true", Reply::Status(410, json!({})));
    fake.script("limit=500", empty());
    fake.break_watches();
    assert_eq!(rig.next_good().await, "=a,b", "the second list has them");

    rig.watching().await;
    fake.script("watch=true", Reply::Status(410, json!({})));
    fake.forget(LIST);
    let begun = Instant::now();
    fake.break_watches();
    assert_eq!(rig.next_good().await, "=");
    assert!(begun.elapsed() >= SECOND_LOOK, "of paused time");
}

#[tokio::test(start_paused = true)]
async fn another_cluster_at_the_same_address_takes_nothing_away() {
    let fake = fake_with(&["a", "b"]);
    let uid = |uid: &str| Reply::Status(200, json!({"metadata": {"uid": uid}}));
    let identity = Identity::default();
    fake.script("/kube-system", uid("one"));
    let first = identity.compare(&fake.api()).await;
    assert_eq!(first, Ok(Known::Same));
    let mut rig = rig_of(&fake, fake.api(), identity);
    assert_eq!(rig.next().await, "=a,b");
    rig.watching().await;
    fake.script("watch=true", Reply::Status(410, json!({})));
    fake.script("/kube-system", uid("two"));
    fake.script("/kube-system", uid("one"));
    fake.forget(LIST);
    fake.break_watches();
    assert_eq!(rig.next_good().await, "stranger");
    assert_eq!(
        rig.next_good().await,
        "=",
        "the old one is back, and really empty"
    );
}

/// A list, as it is answered at this version.
fn listed(version: &str, names: &[String]) -> Reply {
    let items: Vec<Value> = names.iter().map(|name| namespace(name)).collect();
    let metadata = json!({"resourceVersion": version});
    Reply::Status(200, json!({"metadata": metadata, "items": items}))
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|at| format!("n{at:02}")).collect()
}

/// A follower that knows thirty names and watches; its watch has ended, and only a list will help.
async fn knows_thirty() -> Rig {
    let fake = Fake::default();
    fake.script("limit=500", listed("1", &names(0..30)));
    fake.script("resourceVersion=1", Reply::Status(410, json!({})));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, format!("={}", names(0..30).join(",")));
    rig
}

/// In a large cluster something comes and goes every second, so no two lists are alike. What both of them lack is gone.
#[tokio::test(start_paused = true)]
async fn a_second_list_says_the_same_though_a_few_names_differ() {
    let mut rig = knows_thirty().await;
    let first = [names(0..12), vec!["new".into()]].concat();
    let second = [names(1..12), vec!["newer".into()]].concat();
    rig.fake.script("limit=500", listed("2", &first));
    rig.fake.script("limit=500", listed("3", &second));
    assert_eq!(rig.next_good().await, format!("={}", second.join(",")));
}

#[tokio::test(start_paused = true)]
async fn two_lists_that_contradict_each_other_are_both_not_believed() {
    let mut rig = knows_thirty().await;
    rig.fake.script("limit=500", listed("2", &names(0..15)));
    rig.fake.script("limit=500", listed("3", &names(15..30)));
    rig.fake.script("limit=500", listed("4", &names(0..29)));
    assert!(rig.next().await.contains("is gone"), "the watch");
    assert!(rig.next().await.contains("do not say the same"));
    assert_eq!(rig.next().await, format!("={}", names(0..29).join(",")));
}

/// A later page may be of a newer version. What has changed meanwhile on the first one is told only to who watches from its.
#[tokio::test(start_paused = true)]
async fn what_follows_pages_of_several_versions_is_watched_from_the_first() {
    let fake = Fake::default();
    let page = |version: &str, name: &str, token: &str| {
        let metadata = json!({"resourceVersion": version, "continue": token});
        Reply::Status(
            200,
            json!({"metadata": metadata, "items": [namespace(name)]}),
        )
    };
    fake.script("limit=500", page("7", "a", "next"));
    fake.script("continue=next", page("9", "b", ""));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a,b");
    rig.watching().await;
    let asked = fake.asked();
    let last = asked.last().expect("a watch");
    assert!(last.path.ends_with("resourceVersion=7"), "{}", last.path);
}

/// Else an older list would not be seen to be older any more.
#[tokio::test(start_paused = true)]
async fn a_bookmark_that_goes_back_is_not_followed() {
    let fake = fake_with(&["a", "b"]);
    let (watch, pieces) = unbounded();
    fake.script("resourceVersion=2", Reply::Stream(pieces));
    fake.script("resourceVersion=2", Reply::Status(410, json!({})));
    fake.script("limit=500", listed("2", &["a".into(), "b".into()]));
    fake.script("limit=500", listed("1", &["a".into()]));
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a,b");
    rig.watching().await;
    let back = json!({"type": "BOOKMARK", "object": {"kind": "Namespace", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}}});
    let sent = watch.unbounded_send(format!("{back}\n").into());
    sent.expect("it is being watched");
    drop(watch);
    assert!(rig.next().await.contains("is gone"));
    assert_eq!(rig.next().await, "=a,b", "the second look");
    let back =
        |asked: &crate::kubernetes::testing::Asked| asked.path.ends_with("resourceVersion=1");
    assert!(!fake.asked().iter().any(back));
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_after_one_event_are_begun_once_a_second() {
    let fake = fake_with(&["a"]);
    let event =
        json!({"type": "MODIFIED", "object": {"metadata": {"name": "a", "resourceVersion": "1"}}});
    for _ in 0..20 {
        let line = Bytes::from(format!("{event}\n"));
        fake.script("resourceVersion=1", Reply::Bytes(line));
    }
    let mut rig = rig(&fake, fake.api());
    assert_eq!(rig.next().await, "=a");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(rig.next().await, "+a");
    }
    assert!(begun.elapsed() >= Duration::from_secs(19), "of paused time");
}

/// It lists whenever it is asked, and never watches: each list costs both sides a great deal.
#[tokio::test(start_paused = true)]
async fn a_server_that_lists_and_never_watches_is_asked_less_and_less() {
    let fake = fake_with(&["a"]);
    for _ in 0..12 {
        fake.script("resourceVersion=1", Reply::Status(410, json!({})));
    }
    let mut rig = rig(&fake, fake.api());
    let begun = Instant::now();
    for _ in 0..12 {
        assert_eq!(rig.next_good().await, "=a");
    }
    assert!(begun.elapsed() > Duration::from_secs(60), "of paused time");
}
