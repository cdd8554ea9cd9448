//! A Service with both address families: each of its Pods stands in slices of both, and is one endpoint, by its address of the
//! Service's first family where it has one. It must not know what an endpoint is worth.
//!
//! Of endpoints without a Pod, which somebody wrote by hand, those of the first family count, or where there are none of those, the
//! others.

use std::collections::HashSet;
use std::net::IpAddr;

use super::cluster::Slice;
use super::touched::Which;
use crate::kubernetes::facts::{Family, SliceEndpoint, SliceFact};

/// Of the touched endpoints of the other family those whose Pod has none of the first.
pub(super) fn of_other_family_alone<'a>(
    slices: impl Iterator<Item = &'a Slice> + Clone,
    first: Family,
    which: &Which,
) -> Vec<(&'a SliceFact, &'a SliceEndpoint)> {
    let is_first = |slice: &SliceFact| slice.family == Some(first);
    let others = slices.clone().filter(|slice| !is_first(&slice.fact));
    let others = others.filter(|slice| which.may_be_in(&slice.filter) && leads(&slice.fact));
    let mut found: Vec<_> = others
        .flat_map(|slice| {
            let touched = which.among(&slice.fact.endpoints).into_iter();
            touched.map(|endpoint| (&slice.fact, endpoint))
        })
        .collect();
    if found.is_empty() {
        return found;
    }
    let mut alone: HashSet<&str> = found.iter().map(|(_, endpoint)| &*endpoint.pod).collect();
    for slice in slices.filter(|slice| is_first(&slice.fact) && leads(&slice.fact)) {
        for endpoint in &slice.fact.endpoints {
            alone.remove(&*endpoint.pod);
        }
    }
    found.retain(|(_, endpoint)| alone.contains(&*endpoint.pod));
    found
}

/// The addresses of the other family that the Pods behind these addresses of a slice have: when those come or go, these may count
/// no more, or again.
pub(super) fn other_addresses<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    family: Option<Family>,
    touched: impl Iterator<Item = &'a SliceEndpoint>,
) -> Vec<IpAddr> {
    let pods: HashSet<&str> = touched.map(|endpoint| &*endpoint.pod).collect();
    let others = slices.filter(|slice| slice.fact.family != family);
    let endpoints = others.flat_map(|slice| &slice.fact.endpoints);
    let same = endpoints.filter(|endpoint| pods.contains(&*endpoint.pod));
    same.map(|endpoint| endpoint.address).collect()
}

/// Whether it has a port that anybody could be led to.
pub(super) fn leads(slice: &SliceFact) -> bool {
    !slice.ports.is_empty()
}
