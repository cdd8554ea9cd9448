//! When to publish: the first change after a quiet time at once, those that follow together. It must not publish.

use std::time::Duration;

use tokio::time::Instant;

/// How long a change waits for the next one.
const PAUSE: Duration = Duration::from_millis(10);

/// How long it waits at most, while changes keep coming.
const LONGEST: Duration = Duration::from_millis(100);

/// Changes that are not published yet.
#[derive(Debug, Default)]
pub(super) struct Gather {
    first: Option<Instant>,
    due: Option<Instant>,
    published: Option<Instant>,
}

impl Gather {
    /// Something has changed.
    pub(super) fn change(&mut self, now: Instant) {
        let Some(first) = self.first else {
            let quiet = self.published.is_none_or(|at| now - at >= PAUSE);
            self.first = Some(now);
            self.due = Some(if quiet { now } else { now + PAUSE });
            return;
        };
        if self.due.is_some_and(|due| due > first) {
            self.due = Some((now + PAUSE).min(first + LONGEST));
        }
    }

    /// When to publish; `None`: there is nothing to.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// All changes so far are published.
    pub(super) fn publish(&mut self, now: Instant) {
        *self = Self {
            published: Some(now),
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Changes at these milliseconds; each publication happens when it is due.
    fn published_at(changes: &[u64]) -> Vec<u64> {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let ms = |instant: Instant| u64::try_from((instant - begin).as_millis()).expect("small");
        let mut gather = Gather::default();
        let mut published = Vec::new();
        for change in changes {
            while let Some(due) = gather.due().filter(|due| *due <= at(*change)) {
                published.push(ms(due));
                gather.publish(due);
            }
            gather.change(at(*change));
        }
        if let Some(due) = gather.due() {
            published.push(ms(due));
        }
        published
    }

    #[test]
    fn the_first_at_once_and_those_that_follow_together() {
        assert_eq!(published_at(&[5]), [5]);
        assert_eq!(published_at(&[5, 500]), [5, 500], "quiet between them");
        assert_eq!(published_at(&[5, 6, 12]), [5, 22], "ten after the last");
        assert_eq!(published_at(&[5, 6, 17]), [5, 16, 27]);
        let stream: Vec<u64> = (0..=150).step_by(5).collect();
        assert_eq!(published_at(&stream), [0, 105, 160], "a hundred at most");
    }
}
