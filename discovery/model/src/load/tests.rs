//! Envoy 1.40's shares, measured, as exact expectations. Where its documentation's tables differ (rows 8 and 15), the
//! measured shares stand here.

use proptest::prelude::*;

use super::*;

type Row = (u32, u32, u32);

fn tiers(rows: &[Row]) -> Vec<Availability> {
    rows.iter()
        .map(|(healthy, degraded, total)| Availability {
            healthy: *healthy,
            degraded: *degraded,
            total: *total,
        })
        .collect()
}

/// (row, tiers, overprovisioning, panic threshold, healthy loads, degraded loads, panic)
type Vector<'a> = (u32, &'a [Row], u32, u32, &'a [u32], &'a [u32], &'a [bool]);

#[test]
fn priority_vectors() {
    const Y: bool = true;
    const N: bool = false;
    let vectors: &[Vector<'_>] = &[
        (
            1,
            &[(8, 0, 10), (10, 0, 10)],
            140,
            50,
            &[100, 0],
            &[0, 0],
            &[N, N],
        ),
        (
            2,
            &[(72, 0, 100), (100, 0, 100)],
            140,
            50,
            &[100, 0],
            &[0, 0],
            &[N, N],
        ),
        (
            3,
            &[(71, 0, 100), (100, 0, 100)],
            140,
            50,
            &[99, 1],
            &[0, 0],
            &[N, N],
        ),
        (
            4,
            &[(7, 0, 10), (10, 0, 10)],
            140,
            50,
            &[98, 2],
            &[0, 0],
            &[N, N],
        ),
        (
            5,
            &[(5, 0, 10), (10, 0, 10)],
            140,
            50,
            &[70, 30],
            &[0, 0],
            &[N, N],
        ),
        (
            6,
            &[(1, 0, 4), (4, 0, 4)],
            140,
            50,
            &[35, 65],
            &[0, 0],
            &[N, N],
        ),
        (
            7,
            &[(0, 0, 4), (4, 0, 4)],
            140,
            50,
            &[0, 100],
            &[0, 0],
            &[N, N],
        ),
        (
            8,
            &[(5, 0, 10), (6, 0, 10)],
            140,
            50,
            &[70, 30],
            &[0, 0],
            &[N, N],
        ),
        (
            9,
            &[(1, 0, 4), (1, 0, 4)],
            140,
            50,
            &[50, 50],
            &[0, 0],
            &[Y, Y],
        ),
        (
            10,
            &[(1, 0, 4), (1, 0, 4), (4, 0, 4)],
            140,
            50,
            &[35, 35, 30],
            &[0; 3],
            &[N; 3],
        ),
        (
            11,
            &[(25, 0, 100), (25, 0, 100), (20, 0, 100)],
            140,
            50,
            &[34, 33, 33],
            &[0; 3],
            &[Y; 3],
        ),
        (
            12,
            &[(25, 0, 100), (25, 0, 100), (20, 0, 100)],
            140,
            0,
            &[37, 35, 28],
            &[0; 3],
            &[N; 3],
        ),
        (
            13,
            &[(1, 0, 20), (13, 0, 20)],
            140,
            50,
            &[8, 92],
            &[0, 0],
            &[Y, N],
        ),
        (
            14,
            &[(25, 0, 100), (40, 0, 100)],
            140,
            30,
            &[39, 61],
            &[0, 0],
            &[Y, N],
        ),
        (
            15,
            &[(0, 0, 4), (0, 0, 4)],
            140,
            50,
            &[50, 50],
            &[0, 0],
            &[Y, Y],
        ),
        (
            16,
            &[(0, 0, 4), (0, 0, 2)],
            140,
            50,
            &[67, 33],
            &[0, 0],
            &[Y, Y],
        ),
        (
            17,
            &[(1, 0, 4), (0, 0, 12)],
            140,
            50,
            &[25, 75],
            &[0, 0],
            &[Y, Y],
        ),
        (
            18,
            &[(0, 0, 4), (0, 0, 4)],
            140,
            0,
            &[0, 0],
            &[0, 0],
            &[N, N],
        ),
        (19, &[(71, 29, 100)], 140, 50, &[99], &[1], &[N]),
        (20, &[(25, 65, 100)], 140, 50, &[35], &[65], &[N]),
        (21, &[(5, 0, 100)], 140, 50, &[100], &[0], &[Y]),
        (
            22,
            &[(0, 5, 10), (10, 0, 10)],
            140,
            50,
            &[0, 100],
            &[0, 0],
            &[N, N],
        ),
        (
            23,
            &[(2, 3, 10), (10, 0, 10)],
            140,
            50,
            &[28, 72],
            &[0, 0],
            &[N, N],
        ),
        (
            24,
            &[(1, 2, 10), (2, 1, 10), (1, 0, 10)],
            140,
            50,
            &[34, 33, 33],
            &[0; 3],
            &[Y; 3],
        ),
        (
            25,
            &[(0, 0, 0), (5, 0, 5)],
            140,
            50,
            &[0, 100],
            &[0, 0],
            &[N, N],
        ),
        (
            26,
            &[(1, 0, 3), (1, 0, 3), (1, 0, 3)],
            140,
            50,
            &[46, 46, 8],
            &[0; 3],
            &[N; 3],
        ),
        (
            27,
            &[(5, 0, 10), (10, 0, 10)],
            100,
            50,
            &[50, 50],
            &[0, 0],
            &[N, N],
        ),
        (
            28,
            &[(5, 0, 10), (10, 0, 10)],
            200,
            50,
            &[100, 0],
            &[0, 0],
            &[N, N],
        ),
    ];
    for (row, input, overprovisioning, threshold, healthy, degraded, panic) in vectors {
        let loads = priority_loads(&tiers(input), *overprovisioning, *threshold);
        assert_eq!(loads.healthy, *healthy, "row {row}");
        assert_eq!(loads.degraded, *degraded, "row {row}");
        assert_eq!(loads.panic, *panic, "row {row}");
    }
}

#[test]
fn locality_vectors() {
    let vectors: &[(&[Row], &[f64])] = &[
        (&[(1, 10, 10), (2, 10, 10)], &[33.3, 66.7]),
        (&[(1, 7, 10), (2, 10, 10)], &[32.9, 67.1]),
        (&[(1, 5, 10), (2, 10, 10)], &[25.9, 74.1]),
        (&[(1, 1, 4), (2, 4, 4)], &[14.9, 85.1]),
        (&[(1, 0, 4), (2, 4, 4)], &[0.0, 100.0]),
        (&[(80, 2, 4), (20, 4, 4)], &[73.7, 26.3]),
        (&[(80, 1, 4), (20, 4, 4)], &[58.3, 41.7]),
        (&[(1, 1, 2), (1, 1, 2), (2, 4, 4)], &[20.6, 20.6, 58.8]),
    ];
    for (input, expected) in vectors {
        let input: Vec<_> = input
            .iter()
            .map(|(weight, eligible, total)| LocalityLoad {
                weight: *weight,
                eligible: *eligible,
                total: *total,
            })
            .collect();
        let shares = locality_shares(&input, 140);
        let sum: u64 = shares.iter().sum();
        for (share, expected) in shares.iter().zip(*expected) {
            let percent = 100.0 * *share as f64 / sum as f64;
            assert!(
                (percent - expected).abs() < 0.06,
                "{input:?}: {percent} for {expected}"
            );
        }
    }
}

fn any_tier() -> impl Strategy<Value = Availability> {
    (0_u32..50, 0_u32..50, 0_u32..50).prop_map(|(healthy, degraded, rest)| Availability {
        healthy,
        degraded,
        total: healthy + degraded + rest,
    })
}

proptest! {
    /// Everything is shared out or, where nothing is usable and panic is off, nothing.
    #[test]
    fn loads_sum_to_all_or_nothing(tiers in prop::collection::vec(any_tier(), 0..6), threshold in 0_u32..=100) {
        let loads = priority_loads(&tiers, 140, threshold);
        let sum: u32 = loads.healthy.iter().chain(&loads.degraded).sum();
        let usable = tiers.iter().any(|tier| tier.healthy + tier.degraded > 0);
        prop_assert!(sum == 100 || (sum == 0 && !(usable && threshold == 0)), "{loads:?}");
    }

    /// Without panic, a tier that has nothing usable gets nothing.
    #[test]
    fn what_is_not_usable_gets_nothing(tiers in prop::collection::vec(any_tier(), 1..6)) {
        let loads = priority_loads(&tiers, 140, 0);
        for (at, tier) in tiers.iter().enumerate() {
            prop_assert!(tier.healthy > 0 || loads.healthy[at] == 0);
            prop_assert!(tier.degraded > 0 || loads.degraded[at] == 0);
        }
    }
}
