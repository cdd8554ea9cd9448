//! Which endpoint changes next, the same in every run: each change takes one endpoint's readiness away or gives it back. It
//! must not send anything.

use super::shape::Shape;

/// Primes, so that neighbouring changes are far apart and every slice has its turn.
const STRIDE: usize = 7919;
const STRIDE_IN_SLICE: usize = 31;

/// What is not ready at present.
pub(super) struct Changes {
    shape: Shape,
    next: usize,
    /// By cluster and slice: a bit for each endpoint that is not ready.
    unready: Vec<u128>,
}

/// One slice as it is after a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) cluster: usize,
    pub(super) slice: usize,
    pub(super) unready: u128,
}

impl Changes {
    /// Everything is ready.
    pub(super) fn new(shape: Shape) -> Self {
        Self {
            shape,
            next: 0,
            unready: vec![0; shape.clusters * shape.slices()],
        }
    }

    /// The next change.
    pub(super) fn next(&mut self) -> Changed {
        let at = self.next * STRIDE % self.unready.len();
        let (cluster, slice) = (at / self.shape.slices(), at % self.shape.slices());
        let (_, endpoints) = self.shape.slice(slice);
        self.unready[at] ^= 1 << (self.next * STRIDE_IN_SLICE % endpoints.len());
        self.next += 1;
        Changed {
            cluster,
            slice,
            unready: self.unready[at],
        }
    }

    /// How many endpoints are ready, of all.
    pub(super) fn ready(&self) -> usize {
        let unready = self.unready.iter().map(|bits| bits.count_ones() as usize);
        self.shape.total() - unready.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::super::shape::ALL;
    use super::*;

    #[test]
    fn each_change_is_one_endpoint_and_they_are_spread() {
        let mut changes = Changes::new(ALL[0]);
        let mut ready = changes.ready();
        assert_eq!(ready, ALL[0].total());
        let mut slices = std::collections::BTreeSet::new();
        for _ in 0..1000 {
            let changed = changes.next();
            slices.insert((changed.cluster, changed.slice));
            assert_eq!(changes.ready().abs_diff(ready), 1);
            ready = changes.ready();
        }
        assert_eq!(slices.len(), 1000);
    }
}
