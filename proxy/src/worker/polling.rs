//! Busy polling: a worker through which something has just passed looks for more instead of going to sleep, for a short while. It
//! must not keep a worker awake through which nothing passes, nor cost one that does not poll anything.
//!
//! To be woken takes a thread longer than to pass some bytes on, and a lone round trip waits for that twice.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Worker;

/// Whether a worker is to look again.
#[derive(Debug)]
pub(super) struct Polling {
    /// How long, from the last time that something has passed.
    span: Duration,
    /// Something has passed since it was looked at last.
    stirred: Cell<bool>,
    until: Cell<Instant>,
    /// The worker may sleep.
    sleeps: Cell<bool>,
    woken: Notify,
}

impl Polling {
    /// None of no time.
    pub(super) fn new(span: Duration) -> Option<Self> {
        (!span.is_zero()).then(|| Self {
            span,
            stirred: Cell::new(false),
            until: Cell::new(Instant::now()),
            sleeps: Cell::new(true),
            woken: Notify::new(),
        })
    }

    /// Whether the worker may sleep.
    #[cfg(test)]
    pub(super) fn sleeps(&self) -> bool {
        self.sleeps.get()
    }

    /// Something has passed.
    pub(super) fn stir(&self) {
        self.stirred.set(true);
        if self.sleeps.replace(false) {
            self.woken.notify_one();
        }
    }

    /// Whether to look again.
    fn goes_on(&self, now: Instant) -> bool {
        if self.stirred.take() {
            self.until.set(now + self.span);
        }
        let goes_on = now < self.until.get();
        self.sleeps.set(!goes_on);
        goes_on
    }
}

/// Keeps the worker awake while something passes; ends at once where it is not to poll.
pub(super) async fn poll_busily(worker: Rc<Worker>) {
    let Some(polling) = &worker.polling else {
        return;
    };
    loop {
        polling.woken.notified().await;
        // A task that yields has the runtime ask the kernel what is ready without waiting for it, once all others have run.
        while polling.goes_on(Instant::now()) {
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_span_there_is_nothing_to_ask() {
        assert!(Polling::new(Duration::ZERO).is_none());
    }

    /// It looks until nothing has passed for a span.
    #[test]
    fn what_passes_begins_the_span_anew() {
        let micros = Duration::from_micros;
        let polling = Polling::new(micros(50)).expect("a span");
        let begin = Instant::now();
        let mut seen = Vec::new();
        for (at, stirs) in [
            (0, true),
            (49, false),
            (60, true),
            (109, false),
            (110, false),
        ] {
            if stirs {
                polling.stir();
                assert!(!polling.sleeps.get());
            }
            seen.push(polling.goes_on(begin + micros(at)));
            assert_eq!(polling.sleeps.get(), seen.last() == Some(&false));
        }
        assert_eq!(seen, [true, true, true, true, false]);
    }
}
