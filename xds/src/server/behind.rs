//! Since when a client has lacked something of a kind. It must not know what.

use std::time::{Duration, Instant};

use super::session::Lacks;

/// Of one kind; each instant is that of a change which the client does not have.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Behind {
    /// The oldest that is not sent.
    due: Option<Instant>,
    /// The oldest in the response that waits for its answer.
    flying: Option<Instant>,
    /// The oldest that was refused, and that nothing has taken the place of.
    refused: Option<Instant>,
}

impl Behind {
    /// Notes an answer.
    pub(super) fn answered(&mut self, accepted: bool) {
        let since = self.flying.take();
        if !accepted {
            // Part of it may be sent again, and the rest is not.
            self.due = earliest(self.due, since);
            self.refused = earliest(self.refused, since);
        }
    }

    /// Notes how it stands at this moment, after a response of this kind if `sent`.
    pub(super) fn note(&mut self, now: Instant, sent: bool, lacks: Lacks) {
        if sent {
            self.flying = Some(self.due.unwrap_or(now));
        }
        let since = match sent {
            // The rest of what was due.
            true => self.flying,
            false => self.due,
        };
        self.due = lacks.sending.then(|| since.unwrap_or(now));
        if !lacks.answer {
            self.flying = None;
        }
        if !lacks.refused {
            self.refused = None;
        }
    }

    /// How long the client has lacked something; zero if it has everything.
    pub(super) fn age(&self, now: Instant) -> Duration {
        let since = [self.due, self.flying, self.refused];
        let since = since.into_iter().fold(None, earliest);
        since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Lacks = Lacks {
        sending: false,
        answer: false,
        refused: false,
    };
    const SENDING: Lacks = Lacks {
        sending: true,
        ..NOTHING
    };
    const WAITS: Lacks = Lacks {
        answer: true,
        ..NOTHING
    };
    const BOTH: Lacks = Lacks {
        sending: true,
        answer: true,
        ..NOTHING
    };
    const REFUSED: Lacks = Lacks {
        refused: true,
        ..NOTHING
    };

    /// Seconds after the beginning, and how long something lacks then.
    struct Story {
        begin: Instant,
        behind: Behind,
    }

    impl Story {
        fn new() -> Self {
            Self {
                begin: Instant::now(),
                behind: Behind::default(),
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.begin + Duration::from_secs(second)
        }

        fn note(&mut self, second: u64, sent: bool, lacks: Lacks) -> u64 {
            let now = self.at(second);
            self.behind.note(now, sent, lacks);
            self.behind.age(now).as_secs()
        }
    }

    #[test]
    fn changes_faster_than_answers_are_not_added_up() {
        let mut story = Story::new();
        assert_eq!(story.note(0, true, WAITS), 0);
        for second in 1..1_000 {
            // A change, while the one before is not answered; then its answer, which lets it out.
            assert_eq!(story.note(second, false, BOTH), 1);
            story.behind.answered(true);
            assert_eq!(story.note(second, true, WAITS), 0);
        }
        story.behind.answered(true);
        assert_eq!(story.note(2_000, false, NOTHING), 0);
    }

    #[test]
    fn what_is_refused_lacks_until_something_takes_its_place() {
        let mut story = Story::new();
        story.note(0, true, WAITS);
        story.behind.answered(false);
        assert_eq!(story.note(5, false, REFUSED), 5);
        // Something else comes and is accepted.
        let other = Lacks {
            answer: true,
            ..REFUSED
        };
        assert_eq!(story.note(7, true, other), 7);
        story.behind.answered(true);
        assert_eq!(story.note(8, false, REFUSED), 8);
        // And what takes its place.
        assert_eq!(story.note(9, true, WAITS), 0);
        story.behind.answered(true);
        assert_eq!(story.note(10, false, NOTHING), 0);
    }

    #[test]
    fn what_comes_in_parts_lacks_until_the_last() {
        let mut story = Story::new();
        assert_eq!(story.note(0, false, SENDING), 0);
        assert_eq!(story.note(3, true, BOTH), 3);
        story.behind.answered(true);
        assert_eq!(story.note(4, true, WAITS), 4);
        // Refused, and sent again in two parts.
        story.behind.answered(false);
        assert_eq!(story.note(6, true, BOTH), 6);
        story.behind.answered(true);
        assert_eq!(story.note(7, true, WAITS), 7);
        story.behind.answered(true);
        assert_eq!(story.note(8, false, NOTHING), 0);
    }
}
