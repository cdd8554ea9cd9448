//! Whether a slice may have an endpoint at an address, without a look at its endpoints: a service of 50,000 has 500 slices, and
//! seeking one address in each of them takes longer than all the rest of a change. It says yes too often, never no wrongly.

use std::net::IpAddr;

use crate::kubernetes::facts::SliceEndpoint;

/// A slice with fewer endpoints is looked through instead; most services have one such slice.
const FEW: usize = 16;

/// Bits for each endpoint, at least: one of ten slices that do not have an address is looked through in vain.
const BITS: usize = 10;

/// A Bloom filter with one hash; empty: it says yes to everything.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(Box<[u64]>);

impl Filter {
    /// Of these endpoints.
    pub(super) fn of(endpoints: &[SliceEndpoint]) -> Self {
        if endpoints.len() < FEW {
            return Self::default();
        }
        let words = (endpoints.len() * BITS).div_ceil(64).next_power_of_two();
        let mut bits = vec![0; words].into_boxed_slice();
        for endpoint in endpoints {
            let (word, bit) = place(endpoint.address, words);
            bits[word] |= bit;
        }
        Self(bits)
    }

    /// Whether an endpoint may be at this address.
    pub(super) fn may_have(&self, address: IpAddr) -> bool {
        if self.0.is_empty() {
            return true;
        }
        let (word, bit) = place(address, self.0.len());
        self.0[word] & bit != 0
    }
}

/// The word, of so many (a power of two), and the bit in it that stand for an address.
fn place(address: IpAddr, words: usize) -> (usize, u64) {
    let number = match address {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            // The halves, one of them turned so that they do not cancel out.
            (bits as u64) ^ ((bits >> 64) as u64).rotate_left(32)
        }
    };
    // Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, section 6.4): the high bits are the well-mixed ones.
    let hash = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (hash >> 32) as usize & (words - 1);
    (word, 1 << (hash >> 58))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use model::Health;

    use super::*;

    fn endpoint(address: IpAddr) -> SliceEndpoint {
        SliceEndpoint {
            address,
            health: Health::Healthy,
            pod: "".into(),
            node: "".into(),
        }
    }

    fn v4(n: u32) -> IpAddr {
        Ipv4Addr::from_bits(0x0a00_0000 + n).into()
    }

    fn v6(n: u32) -> IpAddr {
        Ipv6Addr::from_bits(0xfd00 << 112 | u128::from(n)).into()
    }

    #[test]
    fn it_never_denies_what_is_there_and_seldom_grants_what_is_not() {
        for address in [v4, v6] {
            for count in [1, 15, 16, 100, 1_000] {
                // Far apart, as the Pods of a service are.
                let there: Vec<_> = (0..count).map(|n| endpoint(address(n * 251))).collect();
                let filter = Filter::of(&there);
                let mut all = there.iter();
                assert!(all.all(|endpoint| filter.may_have(endpoint.address)));
                let others = (0..10_000).map(|n| address(n * 251 + 7));
                let granted = others.filter(|other| filter.may_have(*other)).count();
                let expected = if count < 16 { 10_000 } else { 0 };
                assert!(granted.abs_diff(expected) < 2_000, "{count}: {granted}");
            }
        }
    }
}
