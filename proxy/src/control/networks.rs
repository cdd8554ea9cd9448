//! Which other networks are dead, and whether it is they or we: a pure rule. It must not know addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use model::NetworkId;

use crate::clock::Millis;

/// Networks that die within this of each other have died of one cause.
const TOGETHER: Duration = Duration::from_secs(5);

/// What is thought of another network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NetworkState {
    /// At least one of its gateways is used.
    Usable,
    /// All of its gateways are out.
    Dead,
    /// All of its gateways are out, and so are those of every other network, since about the same moment: the fault is more
    /// likely ours, so they are tried when nothing else is left.
    LastResort,
}

/// Another network, and since when it is thought of so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkHealth {
    /// What is thought of it.
    pub state: NetworkState,
    /// Since when.
    pub since: Millis,
    /// Addresses at which it is entered.
    pub gateways: usize,
    /// How many of them are out: ejected by dials, or found dead by probes.
    pub out: usize,
    died: Millis,
}

/// What is thought of all of them.
#[derive(Debug, Default)]
pub(super) struct Networks {
    known: BTreeMap<NetworkId, NetworkHealth>,
}

impl NetworkState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Usable, Self::Dead, Self::LastResort];

    /// Its name in logs, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Usable => "usable",
            Self::Dead => "dead",
            Self::LastResort => "last_resort",
        }
    }
}

impl Networks {
    /// What is thought of each.
    pub(super) fn known(&self) -> &BTreeMap<NetworkId, NetworkHealth> {
        &self.known
    }

    /// So many gateways each network has now, and so many of them are out. Which networks are thought of otherwise since.
    pub(super) fn judge(
        &mut self,
        counts: BTreeMap<NetworkId, (usize, usize)>,
        now: Millis,
    ) -> Vec<NetworkId> {
        let before: BTreeMap<_, _> = self
            .known
            .iter()
            .map(|(network, health)| (network.clone(), health.state))
            .collect();
        self.known.retain(|network, _| counts.contains_key(network));
        for (network, (gateways, out)) in counts {
            let health = self.known.entry(network).or_insert(NetworkHealth {
                state: NetworkState::Usable,
                since: now,
                gateways,
                out,
                died: now,
            });
            (health.gateways, health.out) = (gateways, out);
            if out < gateways {
                health.turn(NetworkState::Usable, now);
            } else if health.state == NetworkState::Usable {
                health.died = now;
                health.turn(NetworkState::Dead, now);
            }
        }
        self.blame_ourselves(now);
        let changed = self.known.iter().filter(|(network, health)| {
            let state = before.get(*network).copied();
            state.unwrap_or(NetworkState::Usable) != health.state
        });
        changed.map(|(network, _)| network.clone()).collect()
    }

    /// Where every other network is dead, those that died last and together are the last resort, if they are several.
    fn blame_ourselves(&mut self, now: Millis) {
        let all_are_dead = || {
            let mut states = self.known.values().map(|health| health.state);
            states.all(|state| state != NetworkState::Usable)
        };
        if !all_are_dead() {
            for health in self.known.values_mut() {
                if health.state == NetworkState::LastResort {
                    health.turn(NetworkState::Dead, now);
                }
            }
            return;
        }
        let last = self.known.values().map(|health| health.died).max();
        let together =
            |health: &NetworkHealth| last.is_some_and(|last| last.since(health.died) <= TOGETHER);
        if self
            .known
            .values()
            .filter(|health| together(health))
            .count()
            < 2
        {
            return;
        }
        for health in self.known.values_mut().filter(|health| together(health)) {
            health.turn(NetworkState::LastResort, now);
        }
    }
}

impl NetworkHealth {
    fn turn(&mut self, state: NetworkState, now: Millis) {
        if self.state != state {
            (self.state, self.since) = (state, now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line a moment: its time in seconds, then how many of each network's two gateways are out; and after it what is thought.
    fn story(lines: &[(u64, &[usize], &str)]) {
        let mut networks = Networks::default();
        for (seconds, out, expected) in lines {
            let counts = ["n1", "n2", "n3"].into_iter().zip(*out);
            let counts = counts.map(|(network, out)| (network.into(), (2, *out)));
            let mut before: Vec<_> = networks.known.values().map(|health| health.state).collect();
            before.resize(out.len(), NetworkState::Usable);
            let changed = networks.judge(counts.collect(), Millis(seconds * 1_000 + 1));
            let states = networks.known.values().map(|health| health.state);
            let said: String = states
                .clone()
                .map(|state| match state {
                    NetworkState::Usable => 'u',
                    NetworkState::Dead => 'd',
                    NetworkState::LastResort => 'l',
                })
                .collect();
            assert_eq!(said, *expected, "at {seconds} s");
            let differ = states.zip(before).filter(|(now, before)| now != before);
            assert_eq!(changed.len(), differ.count(), "{changed:?} at {seconds} s");
        }
    }

    #[test]
    fn a_single_network_simply_leaves() {
        story(&[
            (0, &[0], "u"),
            (1, &[1], "u"),
            (2, &[2], "d"),
            (9, &[1], "u"),
        ]);
        story(&[
            (0, &[0, 0, 0], "uuu"),
            (1, &[2, 0, 0], "duu"),
            (2, &[2, 2, 0], "ddu"),
            (3, &[2, 2, 1], "ddu"),
        ]);
    }

    #[test]
    fn all_of_several_within_five_seconds_are_kept_as_last_resort() {
        story(&[
            (0, &[0, 0], "uu"),
            (10, &[2, 0], "du"),
            (15, &[2, 2], "ll"),
            (16, &[2, 1], "du"),
            (17, &[0, 0], "uu"),
        ]);
        story(&[(0, &[0, 0], "uu"), (10, &[2, 0], "du"), (16, &[2, 2], "dd")]);
        // One that was dead long before has nothing to do with it.
        story(&[
            (0, &[2, 0, 0], "duu"),
            (60, &[2, 2, 2], "dll"),
            (61, &[0, 2, 2], "udd"),
        ]);
        // A third one that follows later died of the same, or not: it is judged by the last that died.
        story(&[
            (0, &[0, 0, 0], "uuu"),
            (10, &[2, 2, 0], "ddu"),
            (14, &[2, 2, 2], "lll"),
        ]);
    }

    #[test]
    fn a_network_that_is_not_known_any_more_is_forgotten() {
        let mut networks = Networks::default();
        networks.judge([("n1".into(), (1, 1))].into(), Millis(1));
        assert!(networks.judge(BTreeMap::new(), Millis(2)).is_empty());
        assert!(networks.known().is_empty());
    }
}
