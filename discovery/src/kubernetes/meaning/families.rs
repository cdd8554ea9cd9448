//! A Service with both address families: each of its Pods stands in slices of both, and is one endpoint, by its address of the
//! Service's first family where it has one. It must not know what an endpoint is worth.
//!
//! Of endpoints without a Pod, which somebody wrote by hand, those of the first family count, or where there are none of those, the
//! others.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::cluster::Slice;
use super::touched::Which;
use crate::kubernetes::facts::{Family, SliceEndpoint, SliceFact};

/// Up to so many Pods are sought one by one.
const FEW: usize = 4;

/// Names of Pods. Those of facts are shared strings, so a few are told apart by where they are: at each change of a slice all
/// endpoints of the other family are looked at.
enum Pods<'a> {
    Few(Vec<&'a Arc<str>>),
    Many(HashSet<&'a str>),
}

impl<'a> Pods<'a> {
    fn of(endpoints: impl Iterator<Item = &'a SliceEndpoint>) -> Self {
        let mut few: Vec<&Arc<str>> = Vec::new();
        let mut endpoints = endpoints.map(|endpoint| &endpoint.pod);
        for pod in endpoints.by_ref() {
            if few.iter().any(|known| Arc::ptr_eq(known, pod)) {
                continue;
            }
            few.push(pod);
            if few.len() > FEW {
                let many = few.into_iter().chain(endpoints);
                return Self::Many(many.map(|pod| &**pod).collect());
            }
        }
        Self::Few(few)
    }

    fn has(&self, pod: &Arc<str>) -> bool {
        match self {
            Self::Few(pods) => pods.iter().any(|known| Arc::ptr_eq(known, pod)),
            Self::Many(pods) => pods.contains(&**pod),
        }
    }

    fn remove(&mut self, pod: &Arc<str>) {
        match self {
            Self::Few(pods) => pods.retain(|known| !Arc::ptr_eq(known, pod)),
            Self::Many(pods) => {
                pods.remove(&**pod);
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::Few(pods) => pods.is_empty(),
            Self::Many(pods) => pods.is_empty(),
        }
    }
}

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
    let mut alone = Pods::of(found.iter().map(|(_, endpoint)| *endpoint));
    for slice in slices.filter(|slice| is_first(&slice.fact) && leads(&slice.fact)) {
        for endpoint in &slice.fact.endpoints {
            if alone.is_empty() {
                return Vec::new();
            }
            alone.remove(&endpoint.pod);
        }
    }
    found.retain(|(_, endpoint)| alone.has(&endpoint.pod));
    found
}

/// The addresses of the other family that these endpoints' Pods have: when those come or go, these may count no more, or again.
pub(super) fn other_addresses<'a>(
    slices: impl Iterator<Item = &'a Slice>,
    family: Option<Family>,
    touched: impl Iterator<Item = &'a SliceEndpoint>,
) -> Vec<IpAddr> {
    let pods = Pods::of(touched);
    let others = slices.filter(|slice| slice.fact.family != family);
    let endpoints = others.flat_map(|slice| &slice.fact.endpoints);
    let same = endpoints.filter(|endpoint| pods.has(&endpoint.pod));
    same.map(|endpoint| endpoint.address).collect()
}

/// Whether it has a port that anybody could be led to.
pub(super) fn leads(slice: &SliceFact) -> bool {
    !slice.ports.is_empty()
}
