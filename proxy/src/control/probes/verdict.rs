//! What is thought of an address after the answers so far: k of n, a pure rule. It must not ask anything.

use crate::clock::Millis;
use crate::config;
use crate::probe::Outcome;

/// What is thought of a gateway's address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeState {
    /// Not known yet: it is used.
    #[default]
    Unknown,
    /// It answers.
    Alive,
    /// Somebody takes hellos; no name is known by which more could be found out.
    Weak,
    /// Nobody is there.
    Dead,
}

/// What an answer changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::control) enum Change {
    /// It is dead.
    Fell,
    /// It is back.
    Rose,
}

/// What is thought of an address, and since when.
#[derive(Debug, Default)]
pub(in crate::control) struct Verdict {
    state: ProbeState,
    since: Millis,
    last: Option<(Outcome, Millis)>,
    /// The latest answers since the state changed, the newest lowest; 1 is life.
    history: u32,
    known: u32,
    /// Failures since the last sign of life.
    row: u32,
}

impl ProbeState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Alive, Self::Weak, Self::Dead];

    /// Its name in metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Weak => "weak",
            Self::Dead => "dead",
        }
    }
}

impl Verdict {
    /// What is thought of it.
    pub(in crate::control) fn state(&self) -> ProbeState {
        self.state
    }

    /// Since when.
    pub(in crate::control) fn since(&self) -> Millis {
        self.since
    }

    /// The latest answer.
    pub(in crate::control) fn last(&self) -> Option<(Outcome, Millis)> {
        self.last
    }

    /// One more answer. `names`: how many names there are to ask for; where it is the name that failed, every one of them has
    /// to before the address is dead, because a service may not be exported there, or be dead alone.
    pub(super) fn note(
        &mut self,
        outcome: Outcome,
        names: u32,
        rule: &config::Probes,
        now: Millis,
    ) -> Option<Change> {
        self.last = Some((outcome, now));
        if outcome == Outcome::Unable {
            return None;
        }
        self.history = self.history << 1 | u32::from(outcome.is_life());
        self.known = (self.known + 1).min(rule.of);
        self.row = if outcome.is_life() {
            0
        } else {
            self.row.saturating_add(1)
        };
        let counted = u32::MAX
            .checked_shl(self.known)
            .map_or(u32::MAX, |rest| !rest);
        let lived = (self.history & counted).count_ones();
        let failed = self.known - lived;
        let state = match (self.state, outcome.is_life()) {
            (ProbeState::Dead, true) if lived < rule.rise => return None,
            (_, true) if outcome == Outcome::Weak => ProbeState::Weak,
            (_, true) => ProbeState::Alive,
            (ProbeState::Dead, false) => return None,
            (_, false) if failed < rule.fall => return None,
            (_, false) if outcome.is_of_name() && self.row < names => return None,
            (_, false) => ProbeState::Dead,
        };
        self.turn(state, now)
    }

    fn turn(&mut self, state: ProbeState, now: Millis) -> Option<Change> {
        let before = std::mem::replace(&mut self.state, state);
        if before == state {
            return None;
        }
        self.since = now;
        let change = match (before, state) {
            (_, ProbeState::Dead) => Change::Fell,
            (ProbeState::Dead, _) => Change::Rose,
            _ => return None,
        };
        (self.history, self.known) = (0, 0);
        Some(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: config::Probes = config::Probes {
        active: true,
        interval: std::time::Duration::from_secs(1),
        timeout: std::time::Duration::from_secs(1),
        fall: 3,
        rise: 2,
        of: 4,
    };

    /// What each answer changes; `x` refused, `r` reset, `o` alive, `w` weak, `-` our own want.
    fn changes(answers: &str, names: u32) -> String {
        let mut verdict = Verdict::default();
        let mut said = String::new();
        for (at, answer) in (1..).zip(answers.chars()) {
            let outcome = match answer {
                'x' => Outcome::Refused,
                'r' => Outcome::Reset,
                'o' => Outcome::Alive,
                'w' => Outcome::Weak,
                _ => Outcome::Unable,
            };
            said.push(match verdict.note(outcome, names, &RULE, Millis(at)) {
                Some(Change::Fell) => 'v',
                Some(Change::Rose) => '^',
                None => '.',
            });
        }
        said
    }

    #[test]
    fn three_of_four_fall_and_two_rise() {
        for (answers, expected) in [
            ("oxxoo", "....."),
            ("oxxx", "...v"),
            ("xxx", "..v"),
            ("oxxox", "....v"),
            ("oxoxox", "......"),
            ("xxxoo", "..v.^"),
            ("xxxoxo", "..v..^"),
            // Five answers later the first one counts no more.
            ("xxxoxxxo", "..v....."),
            ("xxxooxxo", "..v.^..."),
            ("xx--x", "....v"),
            ("xxxww", "..v.^"),
        ] {
            assert_eq!(changes(answers, 1), expected, "{answers}");
        }
    }

    #[test]
    fn a_name_that_fails_is_not_the_address_until_all_have() {
        assert_eq!(changes("orrr", 1), "...v");
        assert_eq!(changes("orrrr", 5), ".....");
        assert_eq!(changes("orrrrr", 5), ".....v");
        // A connect that fails says more than a name.
        assert_eq!(changes("orrx", 5), "...v");
        assert_eq!(changes("orrrorrrr", 5), ".........");
    }

    #[test]
    fn a_weak_sign_is_life_and_told_apart() {
        let mut verdict = Verdict::default();
        for (outcome, state, since) in [
            (Outcome::Weak, ProbeState::Weak, 1),
            (Outcome::Weak, ProbeState::Weak, 1),
            (Outcome::Traffic, ProbeState::Alive, 3),
            (Outcome::Refused, ProbeState::Alive, 3),
        ] {
            let now = Millis(verdict.last().map_or(1, |(_, at)| at.0 + 1));
            verdict.note(outcome, 1, &RULE, now);
            assert_eq!((verdict.state(), verdict.since()), (state, Millis(since)));
        }
    }
}
