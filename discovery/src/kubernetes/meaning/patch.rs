//! A service's list of endpoints with some of them derived again. It must not know what they mean.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{Chunked, ClusterId, Endpoint, Keyed};

use super::touched::Which;

/// The list with the touched endpoints replaced by `fresh`, which is all of them that there are now.
pub(super) fn patch(
    before: &Chunked<Endpoint>,
    touched: &BTreeMap<ClusterId, Which>,
    mut fresh: Vec<Endpoint>,
) -> Chunked<Endpoint> {
    fresh.sort_by(Endpoint::cmp_key);
    let chunks = before.chunks().iter();
    let endpoints = chunks
        .filter(|chunk| may_hold(chunk, touched))
        .flat_map(|chunk| chunk.iter());
    // An address alone rules out most endpoints, and costs less than looking at their cluster.
    let any = touched.values().fold(Which::Some(Vec::new()), Which::or);
    let stale = endpoints.filter(|endpoint| {
        let which = || touched.get(&endpoint.origin.cluster);
        any.has(endpoint.address) && which().is_some_and(|which| which.has(endpoint.address))
    });
    let mut gone = Vec::new();
    let mut same = vec![false; fresh.len()];
    for stale in stale {
        match fresh.binary_search_by(|fresh| fresh.cmp_key(stale)) {
            Ok(at) => same[at] = fresh[at] == *stale,
            Err(_) => gone.push(stale.clone()),
        }
    }
    let mut same = same.into_iter();
    fresh.retain(|_| !same.next().unwrap_or(false));
    before.edited(&gone, fresh)
}

/// Whether a chunk can hold a touched endpoint. Endpoints of one place stand together, by address; so the first and the last
/// say enough of a chunk that lies in one place, as most of a long list do.
fn may_hold(chunk: &[Endpoint], touched: &BTreeMap<ClusterId, Which>) -> bool {
    let (Some(first), Some(last)) = (chunk.first(), chunk.last()) else {
        return false;
    };
    // Origins are pooled, so most chunks show by one pointer that they lie in one place.
    let (one, other) = (&*first.origin, &*last.origin);
    let is_one_place = Arc::ptr_eq(&first.origin, &last.origin)
        || (&one.network, &one.locality, &one.cluster)
            == (&other.network, &other.locality, &other.cluster);
    if !is_one_place {
        return true;
    }
    let which = touched.get(&first.origin.cluster);
    which.is_some_and(|which| which.has_between(first.address, last.address))
}
