//! The incremental protocol: resources come and go one by one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::Told;
use super::subscription::Subscription;
use super::{Fault, RESPONSE, Said};
use crate::resource::{Tag, version_text};
use crate::server::wire::{DeltaRequest, DeltaResponse};
use crate::view::Shelf;

/// Stands for every resource of a kind.
pub(super) const WILDCARD: &str = "*";

impl Subscription {
    /// A request. Whatever its nonce, what it says of subscriptions holds.
    pub(super) fn delta(&mut self, shelf: &Shelf, request: DeltaRequest) -> Result<Said, Fault> {
        let said = match self.is_waiting() && self.is_last(&request.response_nonce) {
            true => self.answered(request.error_detail.as_ref(), true),
            false => Said::Nothing,
        };
        let first = !self.open;
        let nothing = request.resource_names_subscribe.is_empty()
            && request.resource_names_unsubscribe.is_empty();
        if !first && nothing {
            // An answer and no more, as most requests are.
            return Ok(said);
        }
        let named = request.resource_names_subscribe.len()
            + request.resource_names_unsubscribe.len()
            + request.initial_resource_versions.len();
        self.check_request(shelf, named)?;
        self.open = true;
        self.unsettled = true;
        let subscribe: BTreeSet<&str> = names(&request.resource_names_subscribe);
        let everything = request
            .resource_names_subscribe
            .iter()
            .any(|name| name == WILDCARD);
        // A client that names nothing in its first request means everything, of the kinds that know it.
        let everything = everything || (first && subscribe.is_empty() && self.kind.is_whole());
        let again = everything && self.wildcard;
        self.wildcard |= everything;
        self.must_answer |= everything && request.initial_resource_versions.is_empty();
        if self.wildcard {
            self.ledger.cover(shelf);
        }
        if again {
            for mut entry in self.ledger.iter_mut() {
                entry.forced |= !entry.named;
            }
        }
        if first {
            self.resume(shelf, &request, &subscribe);
        }
        self.ledger.with_names(&subscribe, shelf, |entry| {
            entry.named = true;
            // Who asks again is answered again, but for what he said to have when he came.
            let has_it = first && entry.told == Told::Version;
            entry.forced |= !has_it;
        });
        self.unsubscribe(shelf, &request.resource_names_unsubscribe);
        self.check_size()?;
        Ok(said)
    }

    /// What the client has from an earlier stream is not sent again; where it is older or gone, the client is told.
    fn resume(&mut self, shelf: &Shelf, request: &DeltaRequest, subscribe: &BTreeSet<&str>) {
        let versions = &request.initial_resource_versions;
        let wanted = |name: &&str| self.wildcard || subscribe.contains(name);
        let known: BTreeSet<&str> = versions.keys().map(String::as_str).filter(wanted).collect();
        self.ledger.with_names(&known, shelf, |entry| {
            let name = Arc::clone(&entry.tag.name);
            let name = &*name;
            let there = shelf.find(name);
            let same = there
                .is_some_and(|there| versions.get(name) == Some(&version_text(there.tag.version)));
            if !same {
                *entry.tag = Arc::new(Tag::of_name(name));
            }
            entry.told = Told::Version;
        });
        let state = self.ledger.state();
        self.resumes(state);
    }

    fn unsubscribe(&mut self, shelf: &Shelf, names_gone: &[String]) {
        if names_gone.iter().any(|name| name == WILDCARD) && self.wildcard {
            self.wildcard = false;
            self.ledger.retain(|entry| entry.named);
        }
        let gone = names(names_gone);
        if gone.is_empty() {
            return;
        }
        if self.wildcard {
            // The wildcard still covers the name, and a client that dropped it has to be given it again (or its absence).
            self.ledger.with_names(&gone, shelf, |entry| {
                entry.named = false;
                entry.forced = true;
            });
        } else {
            self.ledger.retain(|entry| !gone.contains(&*entry.tag.name));
        }
    }

    /// What is new, or with `removals` what is gone.
    pub(super) fn next_delta(
        &mut self,
        shelf: &Shelf,
        nonce: u64,
        removals: bool,
    ) -> Option<DeltaResponse> {
        if !self.is_due() {
            return None;
        }
        if self.wildcard && !removals {
            self.ledger.cover(shelf);
        }
        let mut response = DeltaResponse::default();
        let (mut bytes, mut left) = (0, 0_usize);
        let most = self.most;
        self.ledger.each_due(shelf, |entry, there| {
            let Some(entry) = entry.filter(|entry| entry.wants(there)) else {
                return;
            };
            let count = response.resources.len() + response.removed_resources.len();
            let room = count == 0 || (bytes < RESPONSE && count < most);
            if there.is_none() != removals || !room {
                left += 1;
                return;
            }
            match there {
                Some(there) => {
                    bytes += there.len();
                    response.resources.push(there.delta());
                }
                None => response.removed_resources.push(entry.tag.name.to_string()),
            }
            entry.sent(there);
        });
        let empty = response.resources.is_empty() && response.removed_resources.is_empty();
        if empty && !(self.must_answer && left == 0) {
            self.unsettled = left > 0;
            return None;
        }
        self.unsettled = left > 0;
        let state = self.ledger.state();
        response.nonce = self.sends(nonce, state);
        response.system_version_info = version_text(state);
        response.type_url = self.kind.type_url().to_owned();
        if !response.removed_resources.is_empty() {
            // Nobody asks for what is gone and was not named; it comes back by the wildcard.
            self.ledger.retain(|entry| entry.matters());
        }
        Some(response)
    }
}

fn names(of: &[String]) -> BTreeSet<&str> {
    of.iter()
        .map(String::as_str)
        .filter(|name| *name != WILDCARD)
        .collect()
}
