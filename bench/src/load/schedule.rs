//! When the units of an open loop are due. It must not care whether anybody is free to do them: that is the point of it.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};
use tokio::io::unix::AsyncFd;

use super::shared::Shared;

/// So many units a second, growing from none over the ramp.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
    ramp: f64,
}

impl Schedule {
    pub(super) fn new(rate: f64, ramp: Duration) -> Self {
        Self {
            rate,
            ramp: ramp.as_secs_f64(),
        }
    }

    /// When the unit with this number is due, since the beginning. While the rate grows evenly to `rate`, the number of units
    /// due is `rate * t^2 / (2 * ramp)`.
    pub(super) fn moment(&self, unit: u64) -> Duration {
        let unit = unit as f64;
        let growing = self.rate * self.ramp / 2.0;
        let seconds = if unit < growing {
            (2.0 * unit * self.ramp / self.rate).sqrt()
        } else {
            self.ramp + (unit - growing) / self.rate
        };
        Duration::from_secs_f64(seconds)
    }
}

/// Releases each unit once it is due, until the last. tokio's timers count milliseconds; a unit that is a millisecond late
/// would show as latency, so this waits on a timer of the kernel's.
pub(super) async fn release(
    schedule: Schedule,
    start: Instant,
    shared: Rc<Shared>,
) -> io::Result<()> {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
    let timer = registered(timer)?;
    let mut unit = 0;
    loop {
        let left = loop {
            let left = schedule.moment(unit).saturating_sub(start.elapsed());
            if !left.is_zero() {
                break left;
            }
            if !shared.release() {
                return Ok(());
            }
            unit += 1;
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: Timespec::try_from(left).map_err(io::Error::other)?,
        };
        timerfd_settime(timer.get_ref(), TimerfdTimerFlags::empty(), &once)?;
        // Setting the timer takes away what it has said, so there is nothing to be read.
        timer.readable().await?.clear_ready();
    }
}

#[expect(
    deprecated,
    reason = "new() is deprecated for types whose descriptor can change; this has its one. Its successor is unsafe"
)]
fn registered(timer: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::new(timer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_due_evenly_at_a_steady_rate() {
        let schedule = Schedule::new(1000.0, Duration::ZERO);
        assert_eq!(schedule.moment(0), Duration::ZERO);
        assert_eq!(schedule.moment(2500), Duration::from_millis(2500));
    }

    #[test]
    fn a_ramp_holds_half_as_many_units_as_its_time_would_at_full_rate() {
        let schedule = Schedule::new(1000.0, Duration::from_secs(4));
        // A quarter of them by half of the time, all of them at its end, and then the full rate.
        assert_eq!(schedule.moment(500), Duration::from_secs(2));
        assert_eq!(schedule.moment(2000), Duration::from_secs(4));
        assert_eq!(schedule.moment(3000), Duration::from_secs(5));
    }
}
