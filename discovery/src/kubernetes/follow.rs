//! One kind of object of one API server, listed and then watched for ever: whatever goes wrong is told and tried again, and
//! nothing is taken away that the server did not take away. It must not know what the objects mean.

mod backoff;
mod list;
mod memory;
mod target;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use kube::Resource;
use kube::api::WatchEvent;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

pub use self::backoff::Backoff;
pub(super) use self::memory::hash_of;
pub use self::memory::{Counts, Memory, SharedMemory, Weight};
pub use self::target::Target;
use super::api::{Api, Fault};
use super::identity::{Identity, Known};

/// How long the server lets one watch go on. The usual five minutes would leave a dead link unnoticed for as long.
const WATCH: Duration = Duration::from_secs(20);

/// How long a watch may be silent: it ends by itself before that.
const SILENCE: Duration = Duration::from_secs(25);

/// Bytes of one event; etcd keeps no object above 1.5 MiB.
const LINE: usize = 4 << 20;

/// Until a list that takes away too much is asked for again.
const SECOND_LOOK: Duration = Duration::from_secs(5);

/// A watch that ends sooner than this without a word counts as a failure, and one that told something is not begun again
/// before: a server that ends each watch after one event would else be asked as fast as it answers, for ever.
const TOO_SHORT: Duration = Duration::from_secs(1);

/// A watch that went on for so long was a good one: if a list is needed after it, that is the first failure. Lists are dear, so
/// a server that gives a list and then no watch is asked for the next one later and later.
const SOUND: Duration = Duration::from_secs(10);

/// What becomes known of a kind.
#[derive(Debug)]
pub enum Event<F> {
    /// These are all objects there are.
    Reset(Vec<F>, Counts),
    /// This one is new or changed.
    Apply(F, Counts),
    /// This one is gone.
    Delete(Name, Counts),
    /// The server answers, and there is nothing else to say.
    Alive,
    /// Something went wrong; what was known before stays.
    Fault(Fault),
    /// The server is another cluster's than before; what was known before stays.
    Stranger,
}

/// An object's namespace (empty for those that have none) and name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What may be taken from a server before it counts as gone mad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ceiling {
    /// Objects of one list.
    pub objects: usize,
    /// Bytes of one list.
    pub bytes: usize,
}

/// How one kind is followed. `T` is the object as the server sends it, `F` what is kept of it, `K` what the receiver calls
/// the kind.
pub struct Follow<T, F, K> {
    /// The server.
    pub api: Api,
    /// What is listed and watched.
    pub target: Target,
    /// What the receiver calls it.
    pub kind: K,
    /// What is kept of an object.
    pub convert: fn(T) -> F,
    /// How much it counts.
    pub weigh: fn(&F) -> Weight,
    /// Limits of a list.
    pub ceiling: Ceiling,
    /// Whether the server can list by watching; shared by all kinds of a server, and `false` once it cannot.
    pub streaming: Arc<AtomicBool>,
    /// Which cluster the server was found to be.
    pub identity: Identity,
    /// What is known, and at first what was known before: the first list is compared with it as every later one is with the
    /// one before.
    pub memory: SharedMemory,
    /// Who is told.
    pub out: mpsc::Sender<(K, Event<F>)>,
}

/// Nobody listens any more.
struct Closed;

/// Why a step came to its end.
enum End {
    /// To be begun anew, from the last version.
    Over,
    /// Something went wrong. With `true` what is known may have a gap, so that only a list helps.
    Broken(Fault, bool),
    /// The server is another cluster's.
    Stranger,
    /// Nobody listens any more.
    Closed,
}

impl<T, F, K> Follow<T, F, K>
where
    T: Resource + DeserializeOwned,
    K: Clone,
{
    /// Lists and watches until nobody listens.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        let mut from: Option<String> = None;
        loop {
            let end = match from.take() {
                None => self.relist(&mut from).await,
                Some(version) => {
                    let begun = Instant::now();
                    from = Some(version.clone());
                    let mut heard = false;
                    let end = self.watch(&version, &mut from, &mut heard).await;
                    let lasted = begun.elapsed();
                    let end = match end {
                        End::Over if !heard && lasted < TOO_SHORT => {
                            End::Broken(Fault::Nonsense("a watch ends as it begins"), false)
                        }
                        end => end,
                    };
                    let good = match end {
                        End::Broken(_, gap) => heard && (!gap || lasted >= SOUND),
                        _ => true,
                    };
                    if good {
                        backoff.reset();
                    }
                    if matches!(end, End::Over) {
                        sleep(TOO_SHORT.saturating_sub(lasted)).await;
                    }
                    end
                }
            };
            let event = match end {
                End::Over => Event::Alive,
                End::Broken(fault, gap) => {
                    if gap {
                        from = None;
                    }
                    if fault == Fault::Unauthorized && self.api.has_newer_token() {
                        self.api.newer_token().await;
                        continue;
                    }
                    let busy = match fault {
                        Fault::Busy { retry_after, .. } => retry_after,
                        _ => None,
                    };
                    if self.tell(Event::Fault(fault.clone())).await.is_err() {
                        return;
                    }
                    let pause = backoff.next(busy);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = self.api.newer_token(), if fault == Fault::Unauthorized => {}
                        () = self.out.closed() => return,
                    }
                    continue;
                }
                End::Stranger => {
                    if self.tell(Event::Stranger).await.is_err() {
                        return;
                    }
                    tokio::select! {
                        () = sleep(backoff.next(None)) => {}
                        () = self.out.closed() => return,
                    }
                    continue;
                }
                End::Closed => return,
            };
            if self.tell(event).await.is_err() {
                return;
            }
        }
    }

    /// All objects anew. Sets the version from which to watch.
    async fn relist(&mut self, from: &mut Option<String>) -> End {
        let mut list = match self.list().await {
            Ok(list) => list,
            Err(fault) => return End::Broken(fault, true),
        };
        let mut fresh = Memory::of(&list.items, self.weigh, &list.version);
        if self.memory.loses_too_much(&fresh) {
            match self.identity.compare(&self.api).await {
                Ok(Known::Same | Known::Unknown) => {}
                Ok(Known::Another) => return End::Stranger,
                Err(fault) => return End::Broken(fault, true),
            }
            sleep(SECOND_LOOK).await;
            let second = match self.list().await {
                Ok(list) => list,
                Err(fault) => return End::Broken(fault, true),
            };
            let fresh_again = Memory::of(&second.items, self.weigh, &second.version);
            // It says the same if neither of the two, compared with the other, takes away more than a list may: a server that is
            // being filled says more each time. Names alone would not do: in a large cluster some come and go every second.
            if self.memory.loses_too_much(&fresh_again) && !fresh.says_the_same_as(&fresh_again) {
                return End::Broken(
                    Fault::Nonsense("two lists, 5 s apart, take away much and do not say the same"),
                    true,
                );
            }
            (list, fresh) = (second, fresh_again);
        }
        let counts = fresh.counts();
        self.memory.replace(fresh);
        *from = Some(list.version);
        let facts = list.items.into_iter().map(|(_, fact)| fact).collect();
        match self.tell(Event::Reset(facts, counts)).await {
            Ok(()) => End::Over,
            Err(Closed) => End::Closed,
        }
    }

    /// One watch, from a version to its end.
    async fn watch(&self, version: &str, from: &mut Option<String>, heard: &mut bool) -> End {
        let path = self.target.watch_path(version, WATCH);
        let mut lines = match self.api.lines(&path, self.target.events(), LINE).await {
            Ok(lines) => lines,
            Err(fault) => return broken_start(fault),
        };
        if self.tell(Event::Alive).await.is_err() {
            return End::Closed;
        }
        loop {
            let line = match lines.next(SILENCE).await {
                Ok(Some(line)) => line,
                Ok(None) => return End::Over,
                Err(fault @ Fault::TooLarge(_)) => return End::Broken(fault, true),
                Err(fault) => return End::Broken(fault, false),
            };
            let event = match serde_json::from_slice::<WatchEvent<T>>(&line) {
                Ok(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                    let name = Name::of(&object);
                    advance(from, object.meta().resource_version.as_deref());
                    let fact = (self.convert)(object);
                    let counts = self.memory.insert(&name, (self.weigh)(&fact));
                    Event::Apply(fact, counts)
                }
                Ok(WatchEvent::Deleted(object)) => {
                    let name = Name::of(&object);
                    advance(from, object.meta().resource_version.as_deref());
                    match self.memory.remove(&name) {
                        Some(counts) => Event::Delete(name, counts),
                        None => Event::Alive,
                    }
                }
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    advance(from, Some(&bookmark.metadata.resource_version));
                    Event::Alive
                }
                Ok(WatchEvent::Error(status)) => {
                    let code = http::StatusCode::from_u16(status.code).unwrap_or_default();
                    let message = status.message.as_bytes();
                    return broken_start(Fault::from_status(code, None, message));
                }
                Err(fault) => return End::Broken(Fault::garbage(&fault), true),
            };
            if from.as_ref().is_none_or(String::is_empty) {
                return End::Broken(Fault::Nonsense("an object without a version"), true);
            }
            if let Some(version) = from {
                self.memory.at(version);
            }
            *heard = true;
            if self.tell(event).await.is_err() {
                return End::Closed;
            }
        }
    }

    async fn tell(&self, event: Event<F>) -> Result<(), Closed> {
        let sent = self.out.send((self.kind.clone(), event)).await;
        sent.map_err(|_| Closed)
    }
}

/// Goes on to a version; never back, where both are numbers. A server that names an older one, in a bookmark for instance, would
/// else have us take for new what we know, and no longer see that a list is older than that.
fn advance(from: &mut Option<String>, version: Option<&str>) {
    let number = |version: &str| version.parse::<u64>().ok();
    let known = from.as_deref().and_then(number);
    let is_older =
        matches!((known, version.and_then(number)), (Some(known), Some(new)) if new < known);
    if !is_older {
        *from = version.map(str::to_owned);
    }
}

/// A watch that the server did not begin. Its version may be too old for it (410), or, after a restart with older data, too
/// new (504): then only a list helps. A server that is out of reach, or that asks for patience or another credential, has
/// not judged the version.
fn broken_start(fault: Fault) -> End {
    let keeps = matches!(
        fault,
        Fault::Unauthorized
            | Fault::Forbidden(_)
            | Fault::Busy { .. }
            | Fault::Unreachable(_)
            | Fault::Silent(_)
    );
    End::Broken(fault, !keeps)
}

impl Name {
    fn of(object: &impl Resource) -> Self {
        let meta = object.meta();
        Self {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests;
