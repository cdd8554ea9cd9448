//! The state-of-the-world protocol: each request names everything that is wanted; responses of LDS and CDS hold everything
//! there is, those of EDS and RDS what is new.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::delta::WILDCARD;
use super::ledger::Told;
use super::subscription::Subscription;
use super::{Fault, RESPONSE, Said};
use crate::proto::endpoint::ClusterLoadAssignment;
use crate::resource::{Kind, Resource, version_text};
use crate::server::wire::{SotwRequest, SotwResponse};
use crate::view::Shelf;

/// What the names of a request are beside those of the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// The same, in whatever order: Envoy puts a cluster that has changed first.
    Same,
    /// Some of them, and no others.
    Fewer,
    /// Others, which have to be answered.
    Others,
}

impl Subscription {
    /// A request. One that answers another than the last response was made before the client saw that one, and is ignored.
    pub(super) fn sotw(&mut self, shelf: &Shelf, request: SotwRequest) -> Result<Said, Fault> {
        if self.has_sent() && !self.is_last(&request.response_nonce) {
            return Ok(Said::Nothing);
        }
        let answers = self.is_waiting();
        let said = match answers {
            true => self.answered(request.error_detail.as_ref(), !self.sends_whole()),
            false => Said::Nothing,
        };
        self.check_request(shelf, request.resource_names.len())?;
        let first = !self.open;
        let names = self.set_names(shelf, &request.resource_names);
        self.check_size()?;
        self.open = true;
        self.unsettled |= names == Names::Others || first;
        if first {
            self.resume_state(shelf, &request.version_info);
        } else if !answers && names == Names::Same && self.has_sent() {
            // The same request once more: Envoy has a changed cluster, which needs its endpoints again. (With fewer names it
            // has one cluster less, and needs nothing.)
            self.must_answer = true;
            self.unsettled = true;
            for mut entry in self.ledger.iter_mut() {
                entry.forced = true;
            }
        }
        Ok(said)
    }

    /// Subscribes to exactly these names.
    fn set_names(&mut self, shelf: &Shelf, wanted: &[String]) -> Names {
        // Every answer says all names once more.
        let mut hasher = DefaultHasher::new();
        wanted.hash(&mut hasher);
        let says = Some(hasher.finish());
        if std::mem::replace(&mut self.said, says) == says {
            return Names::Same;
        }
        self.named |= !wanted.is_empty();
        let everything = self.kind.is_whole() && !self.named;
        let wildcard = everything || wanted.iter().any(|name| name == WILDCARD);
        let names: BTreeSet<&str> = wanted
            .iter()
            .map(String::as_str)
            .filter(|name| *name != WILDCARD)
            .collect();
        let mut changed = wildcard && !self.wildcard;
        let mut fewer = self.wildcard && !wildcard;
        self.wildcard = wildcard;
        self.must_answer |= changed;
        let already = self.ledger.iter().filter(|entry| entry.named);
        if !already
            .map(|entry| &*entry.tag.name)
            .eq(names.iter().copied())
        {
            let whole = self.kind.is_whole();
            for mut entry in self.ledger.iter_mut() {
                let wanted = names.contains(&*entry.tag.name);
                fewer |= entry.named && !wanted;
                entry.named &= wanted;
            }
            self.ledger.with_names(&names, shelf, |entry| {
                changed |= !entry.named;
                entry.named = true;
            });
            self.must_answer |= whole && changed;
        }
        if !wildcard {
            self.ledger.retain(|entry| entry.named);
        }
        match (changed, fewer) {
            (true, _) => Names::Others,
            (false, true) => Names::Fewer,
            (false, false) => Names::Same,
        }
    }

    /// A client that comes back with the state that is there needs nothing. (One that refused a response in between and took
    /// a part of it has another state than it says; it gets that part right with the next change.) The version says what the
    /// client had once: who may have forgotten some of that since is told everything.
    fn resume_state(&mut self, shelf: &Shelf, version: &str) {
        self.must_answer |= self.sends_whole();
        if version.is_empty() || self.forgets {
            return;
        }
        if self.wildcard {
            self.ledger.cover(shelf);
        }
        let mut state = 0_u64;
        self.ledger.each(shelf, |entry, there| {
            if let (Some(_), Some(there)) = (entry, there) {
                state = state.wrapping_add(there.tag.mark);
            }
        });
        if version_text(state) != version {
            return;
        }
        self.ledger.each(shelf, |entry, there| {
            if let (Some(entry), Some(there)) = (entry, there) {
                *entry.tag = Arc::clone(&there.tag);
                entry.told = Told::Version;
            }
        });
        self.resumes(state);
        self.must_answer = false;
    }

    /// Whether a response holds everything there is.
    pub(super) fn sends_whole(&self) -> bool {
        self.kind.is_whole()
    }

    /// What is due.
    pub(super) fn next_sotw(&mut self, shelf: &Shelf, nonce: u64) -> Option<SotwResponse> {
        if !self.is_due() {
            return None;
        }
        if self.wildcard {
            self.ledger.cover(shelf);
        }
        let (mut news, mut left) = (self.must_answer, false);
        let mut resources = Vec::new();
        if self.sends_whole() {
            self.ledger.each(shelf, |entry, there| {
                news |= entry.is_some_and(|entry| entry.wants(there));
            });
            if news {
                self.ledger.each(shelf, |entry, there| {
                    let Some(entry) = entry else { return };
                    entry.sent(there);
                    resources.extend(there.map(|there| there.any()));
                });
            }
        } else {
            let (mut bytes, most, kind) = (0, self.most, self.kind);
            self.ledger.each(shelf, |entry, there| {
                let Some(entry) = entry.filter(|entry| entry.wants(there)) else {
                    return;
                };
                if !resources.is_empty() && (bytes >= RESPONSE || resources.len() >= most) {
                    left = true;
                    return;
                }
                // Said, an empty assignment is the absence that it stands for: it is no burden once nobody names it.
                entry.sent(there);
                let empty = match (there, kind) {
                    (None, Kind::Endpoints) => Some(empty(&entry.tag.name)),
                    _ => None,
                };
                if let Some(said) = there.or(empty.as_ref()) {
                    bytes += said.len();
                    resources.push(said.any());
                }
            });
            news = !resources.is_empty();
        }
        self.unsettled = left;
        if !news {
            return None;
        }
        let state = self.ledger.state();
        let response = SotwResponse {
            version_info: version_text(state),
            resources,
            type_url: self.kind.type_url().to_owned(),
            nonce: self.sends(nonce, state),
        };
        self.ledger.retain(|entry| entry.matters());
        Some(response)
    }
}

/// Endpoints of a cluster that is not there: an empty assignment, because this protocol has no way to say that a name is
/// gone, and an Envoy that hears nothing waits for 15 s.
fn empty(name: &str) -> Arc<Resource> {
    let nothing = ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        ..ClusterLoadAssignment::default()
    };
    Arc::new(Resource::new(name, &nothing))
}
