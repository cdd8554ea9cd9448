//! The one clock of the data path: milliseconds since the process began to serve, and microseconds where they are only
//! reported. Nothing else reads the time.

use std::time::Duration;

use tokio::time::Instant;

/// A moment, in milliseconds since the [`Clock`] was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub u64);

/// A moment, in microseconds since the [`Clock`] was made: for what is reported, never for a deadline.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Micros(pub u64);

/// Turns the system's monotonic clock into [`Millis`]; copies agree with each other.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    base: Instant,
}

impl Clock {
    /// A clock that starts now, at 1: 0 means "never" wherever a moment is stored.
    #[must_use]
    pub fn start() -> Self {
        Self {
            base: Instant::now() - Duration::from_millis(1),
        }
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Millis {
        Millis(u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// The present moment, finer.
    #[must_use]
    pub fn micros(&self) -> Micros {
        Micros(u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX))
    }
}

impl Millis {
    /// This moment and so much later.
    #[must_use]
    pub fn after(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl Micros {
    /// The same moment, coarser.
    #[must_use]
    pub const fn millis(self) -> Millis {
        Millis(self.0 / 1_000)
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}
