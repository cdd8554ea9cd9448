//! `causeway demo`: three regions on loopback in one process, real TLS, real gateways, and a script that breaks them. It
//! must not help the gateways: no health information changes when something dies, and no client tries twice.
//!
//! ```text
//! clients (one connection every 25 ms, a few held open)
//!    |  TLS, SNI, ALPN as sidecars send
//! gateway of the region --+--> endpoints of the region, two zones
//!    (outbound listener)  +--> gateways of the other regions (inbound listener) --> their endpoints
//! ```

mod clients;
mod mesh;
mod screen;
mod script;
mod tally;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::clients::Clients;
use self::mesh::{Mesh, REGIONS};
use self::screen::Screen;
use self::script::{Act, SCENES, Scene};
use self::tally::Tally;

/// How the demo runs.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long the script takes, scaled to fit; `None`: [`DURATION`]; zero: over and over until Ctrl-C.
    pub duration: Option<Duration>,
    /// Whether the terminal can redraw; else plain lines are printed.
    pub tty: bool,
}

/// How long the script takes unless told otherwise: each scene is long enough for its ejections (design section 6.6) to
/// be seen.
pub const DURATION: Duration = Duration::from_secs(28);

/// Plays the script and prints the summary. [`ExitCode::FAILURE`] when a connection failed that a live endpoint could have
/// served.
///
/// # Errors
/// When sockets, threads or the terminal are not to be had.
pub fn run(options: Options) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("demo")
        .enable_all()
        .build()
        .context("cannot start the runtime of the demo")?;
    let code = runtime.block_on(play(options));
    // The gateways' threads are joined by now; what is left are sockets that nobody waits for.
    runtime.shutdown_background();
    code
}

async fn play(options: Options) -> anyhow::Result<ExitCode> {
    let forever = options.duration == Some(Duration::ZERO);
    let length = match options.duration {
        Some(given) if !forever => given,
        _ => DURATION,
    };
    let mut stage = Stage::set(options.tty).await?;
    let ended = tokio::select! {
        ended = stage.play(length, forever) => ended,
        interrupted = tokio::signal::ctrl_c() => interrupted.context("cannot wait for Ctrl-C"),
    };
    let summary = stage.strike().await;
    ended?;
    summary
}

/// Everything that the script acts on.
struct Stage {
    mesh: Mesh,
    clients: Vec<Option<Clients>>,
    report: mpsc::UnboundedSender<clients::Outcome>,
    outcomes: mpsc::UnboundedReceiver<clients::Outcome>,
    tally: Tally,
    screen: Screen,
}

impl Stage {
    async fn set(tty: bool) -> anyhow::Result<Self> {
        let mesh = Mesh::start().await?;
        let (report, outcomes) = mpsc::unbounded_channel();
        let mut stage = Self {
            clients: REGIONS.iter().map(|_| None).collect(),
            mesh,
            report,
            outcomes,
            tally: Tally::new(Instant::now()),
            screen: Screen::new(tty),
        };
        for region in 0..REGIONS.len() {
            stage.start_clients(region).await?;
        }
        Ok(stage)
    }

    /// One run of the script takes `length`; at its end everything that it killed is back.
    async fn play(&mut self, length: Duration, forever: bool) -> anyhow::Result<()> {
        let started = Instant::now();
        for run in 0.. {
            let begin = started + length * run;
            for (index, scene) in SCENES.iter().enumerate() {
                for act in scene.acts {
                    self.act(*act).await?;
                }
                self.screen.scene(index, scene)?;
                self.watch(index, scene, started, begin + length.mul_f64(scene.until))
                    .await?;
            }
            if !forever {
                break;
            }
        }
        Ok(())
    }

    /// Counts and shows until this moment.
    async fn watch(
        &mut self,
        index: usize,
        scene: &Scene,
        started: Instant,
        until: Instant,
    ) -> anyhow::Result<()> {
        let mut redraw = interval(self.screen.period());
        redraw.set_missed_tick_behavior(MissedTickBehavior::Skip);
        redraw.tick().await;
        let end = sleep_until(until);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return Ok(()),
                Some(outcome) = self.outcomes.recv() => self.tally.count(outcome),
                now = redraw.tick() => {
                    self.tally.forget_before(now);
                    self.screen.draw(index, scene, now - started, &self.tally)?;
                }
            }
        }
    }

    async fn act(&mut self, act: Act) -> anyhow::Result<()> {
        match act {
            Act::KillZone { region, zone } => {
                self.tally.kill_begins(Instant::now());
                self.mesh.kill_zone(region, zone).await?;
                self.tally.kill_ends(Instant::now());
            }
            Act::ReviveZone { region, zone } => self.mesh.revive_zone(region, zone).await?,
            Act::KillRegion { region } => {
                // Who is dead asks nothing: the clients go first.
                self.clients[region] = None;
                self.tally.kill_begins(Instant::now());
                self.mesh.kill_region(region).await?;
                self.tally.kill_ends(Instant::now());
            }
            Act::ReviveRegion { region } => {
                self.mesh.revive_region(region).await?;
                self.start_clients(region).await?;
            }
        }
        Ok(())
    }

    async fn start_clients(&mut self, region: usize) -> anyhow::Result<()> {
        let client = self.mesh.client(region);
        self.mesh.until_serving(region).await?;
        self.clients[region] = Some(Clients::start(region, client, self.report.clone()));
        Ok(())
    }

    /// Ends everything in order, and says how it was.
    async fn strike(mut self) -> anyhow::Result<ExitCode> {
        self.clients.clear();
        // Both are counted: what was reported before the clients stopped, and nothing after it.
        while let Ok(outcome) = self.outcomes.try_recv() {
            self.tally.count(outcome);
        }
        self.screen.summary(Instant::now(), &self.tally)?;
        self.mesh.stop().await;
        Ok(match self.tally.failed() {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}
