//! The demo's table and summary on a terminal, or as plain lines. It must not count anything itself.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::time::Duration;

use tokio::time::Instant;

use super::mesh::{PER_ZONE, REGIONS, ZONES};
use super::script::{SCENES, Scene};
use super::tally::{Row, Tally};

/// Where it is shown.
pub(super) struct Screen {
    tty: bool,
    /// Lines of the last frame, to be drawn over.
    drawn: usize,
}

impl Screen {
    pub(super) fn new(tty: bool) -> Self {
        Self { tty, drawn: 0 }
    }

    /// Between two frames: four a second can be followed by eye; a log wants less.
    pub(super) fn period(&self) -> Duration {
        match self.tty {
            true => Duration::from_millis(250),
            false => Duration::from_secs(1),
        }
    }

    /// A scene begins. A frame names its scene itself; a log needs a line.
    pub(super) fn scene(&mut self, index: usize, scene: &Scene) -> io::Result<()> {
        if self.tty {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "\n{}\n{}", heading(index, scene), columns())?;
        out.flush()
    }

    pub(super) fn draw(
        &mut self,
        index: usize,
        scene: &Scene,
        elapsed: Duration,
        tally: &Tally,
    ) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let rows = table(elapsed, tally);
        if self.tty {
            let frame = format!(
                "{}\n{}\n\n{}\n{rows}",
                intro(),
                heading(index, scene),
                columns()
            );
            out.write_all(self.over_the_last(&frame).as_bytes())?;
        } else {
            out.write_all(rows.as_bytes())?;
        }
        out.flush()
    }

    pub(super) fn summary(&mut self, now: Instant, tally: &Tally) -> io::Result<()> {
        let mut out = io::stdout().lock();
        write!(out, "\n{}", summary(now, tally))?;
        out.flush()
    }

    /// The frame, drawn where the last one stands: up to its first line (CPL), and everything below erased (ED).
    fn over_the_last(&mut self, frame: &str) -> String {
        let up = match self.drawn {
            0 => String::new(),
            lines => format!("\x1b[{lines}F"),
        };
        self.drawn = frame.lines().count();
        format!("{up}\x1b[J{frame}")
    }
}

fn intro() -> String {
    let endpoints = REGIONS.len() * ZONES.len() * PER_ZONE;
    format!(
        "causeway demo: {} regions, {} gateways, {endpoints} endpoints; no client tries twice",
        REGIONS.len(),
        REGIONS.len()
    )
}

fn heading(index: usize, scene: &Scene) -> String {
    format!("scene {} of {}: {}", index + 1, SCENES.len(), scene.title)
}

fn columns() -> String {
    let mut line = String::from("  time  clients new/s ");
    for region in &REGIONS {
        for zone in ZONES {
            // Writing to a String cannot fail, here and below.
            let _ = write!(line, " {:>4}", format!("{}-{zone}", region.name));
        }
    }
    line + "  p50 ms p99 ms failed"
}

fn table(elapsed: Duration, tally: &Tally) -> String {
    let mut text = String::new();
    for (region, row) in REGIONS.iter().zip(tally.rows()) {
        let seconds = elapsed.as_secs_f64();
        let _ = write!(
            text,
            "{seconds:>5.1}s  {:<7} {:>5.0} ",
            region.name,
            row.rate()
        );
        for share in row.shares() {
            let _ = match share {
                0.0 => write!(text, "    ."),
                _ => write!(text, " {share:>3.0}%"),
            };
        }
        let _ = writeln!(text, "  {} {:>6}", times(row), row.failed);
    }
    text
}

fn times(row: &Row) -> String {
    if row.rate() == 0.0 {
        return format!("{:>6} {:>6}", "-", "-");
    }
    let [p50, p99] = [0.5, 0.99].map(|quantile| millis(row.recent_quantile(quantile)));
    format!("{p50:>6.1} {p99:>6.1}")
}

fn summary(now: Instant, tally: &Tally) -> String {
    let mut text = format!(
        "summary after {:.1} s\n\
         clients  connections  requests on held ones   p50 ms   p99 ms  slowest ms\n",
        tally.age(now).as_secs_f64()
    );
    for (region, row) in REGIONS.iter().zip(tally.rows()) {
        let [p50, p99, slowest] = [0.5, 0.99, 1.0].map(|quantile| millis(row.quantile(quantile)));
        let _ = writeln!(
            text,
            "{:<7} {:>12} {:>22} {p50:>8.1} {p99:>8.1} {slowest:>11.1}",
            region.name, row.answered, row.held
        );
    }
    let in_flight: u64 = tally.rows().iter().map(|row| row.in_flight).sum();
    let _ = writeln!(
        text,
        "connections that failed to find a live endpoint: {} (0 expected)\n\
         requests in flight on an endpoint at the moment it was killed: {in_flight}",
        tally.failed()
    );
    for example in &tally.examples {
        let _ = writeln!(text, "  {example}");
    }
    text
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

#[cfg(test)]
mod tests;
