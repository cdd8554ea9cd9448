//! What became of the demo's requests, counted. It must not forgive: a failure counts as in flight on a killed endpoint
//! only when that endpoint had answered, and somebody was killed in that very time.

use std::collections::VecDeque;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::time::Instant;

use super::clients::Outcome;
use super::mesh::{REGIONS, ZONES};

/// How far the live table looks back.
const WINDOW: Duration = Duration::from_secs(2);

/// A kill is over for a client when the end has come through two gateways to it: milliseconds, but the machine may be
/// busy.
const AFTERMATH: Duration = Duration::from_secs(1);

/// Failures that are kept word for word.
const EXAMPLES: usize = 5;

/// All counts of a demo.
pub(super) struct Tally {
    started: Instant,
    rows: Vec<Row>,
    kill: Option<Kill>,
    /// The first failures, for the summary.
    pub(super) examples: Vec<String>,
}

/// The counts of one region's clients.
pub(super) struct Row {
    recent: VecDeque<Recent>,
    /// Times of all connections until their first response, microseconds.
    times: Histogram<u64>,
    /// Connections whose first request was answered.
    pub(super) answered: u64,
    /// Requests that were answered on connections held open.
    pub(super) held: u64,
    /// Connections and requests that failed though a live endpoint could have served them.
    pub(super) failed: u64,
    /// Requests in flight on an endpoint as it was killed.
    pub(super) in_flight: u64,
}

#[derive(Clone, Copy)]
struct Recent {
    ended: Instant,
    took: Duration,
    place: usize,
}

struct Kill {
    begun: Instant,
    ended: Option<Instant>,
}

impl Tally {
    pub(super) fn new(started: Instant) -> Self {
        Self {
            started,
            rows: REGIONS.iter().map(|_| Row::new()).collect(),
            kill: None,
            examples: Vec::new(),
        }
    }

    /// The counts of each region's clients.
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How long it has counted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now - self.started
    }

    /// What should be 0, over all regions.
    pub(super) fn failed(&self) -> u64 {
        self.rows.iter().map(|row| row.failed).sum()
    }

    /// From now on endpoints are being killed.
    pub(super) fn kill_begins(&mut self, now: Instant) {
        self.kill = Some(Kill {
            begun: now,
            ended: None,
        });
    }

    /// They are dead.
    pub(super) fn kill_ends(&mut self, now: Instant) {
        if let Some(kill) = &mut self.kill {
            kill.ended = Some(now);
        }
    }

    pub(super) fn count(&mut self, outcome: Outcome) {
        let killed = self.was_killed(outcome.begun, outcome.ended);
        let row = &mut self.rows[outcome.region];
        match outcome.result {
            Ok(who) if outcome.first => row.answer(outcome.begun, outcome.ended, &who),
            Ok(_) => row.held += 1,
            Err(error) if error.kind.reached_endpoint() && killed => row.in_flight += 1,
            Err(error) => {
                row.failed += 1;
                if self.examples.len() < EXAMPLES {
                    let name = REGIONS[outcome.region].name;
                    let at = (outcome.ended - self.started).as_secs_f64();
                    let took = outcome.ended - outcome.begun;
                    let example =
                        format!("at {at:.1} s a client in {name}, after {took:.1?}: {error}");
                    self.examples.push(example);
                }
            }
        }
    }

    /// Lets go of what the live table no longer shows.
    pub(super) fn forget_before(&mut self, now: Instant) {
        for row in &mut self.rows {
            while row
                .recent
                .front()
                .is_some_and(|old| now - old.ended > WINDOW)
            {
                row.recent.pop_front();
            }
        }
    }

    fn was_killed(&self, begun: Instant, ended: Instant) -> bool {
        self.kill.as_ref().is_some_and(|kill| {
            ended >= kill.begun && kill.ended.is_none_or(|over| begun <= over + AFTERMATH)
        })
    }
}

impl Row {
    fn new() -> Self {
        Self {
            recent: VecDeque::new(),
            // A minute at most, two digits: the clients give up after 15 s.
            times: Histogram::new_with_bounds(1, 60_000_000, 2).expect("bounds that fit"),
            answered: 0,
            held: 0,
            failed: 0,
            in_flight: 0,
        }
    }

    fn answer(&mut self, begun: Instant, ended: Instant, who: &str) {
        let took = ended - begun;
        self.answered += 1;
        self.times
            .saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        if let Some(place) = place(who) {
            self.recent.push_back(Recent { ended, took, place });
        }
    }

    /// New connections per second, lately.
    pub(super) fn rate(&self) -> f64 {
        self.recent.len() as f64 / WINDOW.as_secs_f64()
    }

    /// Percent of the recent connections that each zone answered, region by region.
    pub(super) fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0_u32; REGIONS.len() * ZONES.len()];
        for recent in &self.recent {
            counts[recent.place] += 1;
        }
        let all = self.recent.len().max(1) as f64;
        counts
            .into_iter()
            .map(|count| f64::from(count) * 100.0 / all)
            .collect()
    }

    /// The time that this share of the recent connections stayed under; zero without any.
    pub(super) fn recent_quantile(&self, quantile: f64) -> Duration {
        let mut times: Vec<_> = self.recent.iter().map(|recent| recent.took).collect();
        times.sort_unstable();
        let rank = (quantile * times.len() as f64).ceil() as usize;
        times
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// The same of all connections.
    pub(super) fn quantile(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.times.value_at_quantile(quantile))
    }
}

/// The column of whoever says `region/zone/name`.
fn place(who: &str) -> Option<usize> {
    let (region, zone) = who.split_once('/')?;
    let region_index = REGIONS.iter().position(|known| known.name == region)?;
    let letter = zone
        .split('/')
        .next()?
        .strip_prefix(region)?
        .strip_prefix('-')?;
    let zone_index = ZONES.iter().position(|known| *known == letter)?;
    Some(region_index * ZONES.len() + zone_index)
}

#[cfg(test)]
mod tests;
