//! A service's list of endpoints with some of them derived again. It must not know what they mean.

use std::collections::BTreeMap;

use model::{Chunked, ClusterId, Endpoint, Keyed};

use super::touched::Which;

/// Up to so many edits are made one by one, which copies a chunk each; more are made in one pass over the list.
const FEW: usize = 64;

/// The list with the touched endpoints replaced by `fresh`, which is all of them that there are now.
pub(super) fn patch(
    before: &Chunked<Endpoint>,
    touched: &BTreeMap<ClusterId, Which>,
    fresh: Vec<Endpoint>,
) -> Chunked<Endpoint> {
    let quick = Quick::of(touched);
    let is_stale = |endpoint: &Endpoint| {
        quick.may_have(endpoint)
            && touched
                .get(&endpoint.origin.cluster)
                .is_some_and(|which| which.has(endpoint.address))
    };
    let stale: Vec<&Endpoint> = before
        .iter()
        .filter(|endpoint| is_stale(endpoint))
        .collect();
    if stale.len() + fresh.len() > FEW {
        let kept = before.iter().filter(|endpoint| !is_stale(endpoint));
        let all = kept.cloned().chain(fresh).collect();
        return Chunked::from_items(all).sharing_with(before);
    }
    let gone = stale.iter().filter(|stale| {
        let mut fresh = fresh.iter();
        !fresh.any(|fresh| fresh.cmp_key(stale).is_eq())
    });
    let kept = gone.fold(before.clone(), |list, gone| list.without(gone));
    let new = fresh.into_iter().filter(|fresh| !stale.contains(&fresh));
    new.fold(kept, |list, new| list.with(new))
}

/// A first look at an address alone, because most endpoints of a long list are not touched.
enum Quick {
    Any,
    One(std::net::IpAddr),
    Some(Vec<std::net::IpAddr>),
}

impl Quick {
    fn of(touched: &BTreeMap<ClusterId, Which>) -> Self {
        let mut all = Vec::new();
        for which in touched.values() {
            match which {
                Which::All => return Self::Any,
                Which::Some(addresses) => all.extend(addresses),
            }
        }
        all.sort_unstable();
        all.dedup();
        match all.as_slice() {
            [one] => Self::One(*one),
            _ => Self::Some(all),
        }
    }

    fn may_have(&self, endpoint: &Endpoint) -> bool {
        match self {
            Self::Any => true,
            Self::One(address) => *address == endpoint.address,
            Self::Some(addresses) => addresses.binary_search(&endpoint.address).is_ok(),
        }
    }
}
