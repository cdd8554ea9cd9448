//! What a scrape of the metrics costs with very many series, and what clients feel of it. It must not count what the load's own
//! core does for it: the scraper steps back for the load.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use sidecar::{Pki, SIDECAR_ALPN, client_hello_bytes};

use crate::backend::{Backend, Manner, Serving};
use crate::cores::{self, Cores};
use crate::load::{self, Opening, Outcome, Plan, Work};
use crate::peers::{Found, Route, Running};

/// Scrapes whose processor time is added up: it is told in steps of 10 ms.
const SCRAPES: u32 = 50;

/// Threads that use every route once.
const USERS: usize = 16;

/// How long the gateway may take to count what was used.
const COUNTED: Duration = Duration::from_secs(30);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Names that are routed and used, each served by one endpoint.
    pub routes: usize,
    /// Round trips a second, on 64 connections.
    pub rate: f64,
    /// For how long each side of a round is measured.
    pub time: Duration,
    /// Rounds: each without scrapes and with them.
    pub rounds: usize,
    /// Time from one scrape to the next.
    pub every: Duration,
}

/// One scrape.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Series in it, Istio's and all.
    pub series: usize,
    /// Bytes of it.
    pub bytes: usize,
    /// The gateway's processor time.
    pub cpu: Duration,
    /// Time on the clock, nobody else being served.
    pub took: Duration,
    /// Resident memory that the gateway has before the first and after the last (PSS), in bytes.
    pub memory: (u64, u64),
}

/// Round trips of one round.
#[derive(Clone, Debug)]
pub struct Round {
    /// While nobody scrapes.
    pub quiet: Outcome,
    /// While somebody does.
    pub scraped: Outcome,
    /// How often that was.
    pub scrapes: u32,
}

/// Starts a gateway, uses every name once, and measures both.
///
/// # Errors
/// When something does not start, or a connection or a scrape fails.
pub fn run(found: &Found, cores: &Cores, what: &Measure) -> Result<(Cost, Vec<Round>)> {
    let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let backend = Backend::start(local, Serving::new(Manner::Echo), 0)?;
    let stats = TcpListener::bind(local)?.local_addr()?;
    let routes: Vec<Route> = (0..what.routes)
        .map(|n| Route::new(&format!("service-{n}"), vec![backend.address]))
        .collect();
    let arguments = ["--set".to_owned(), format!("stats.address={stats}")];
    let running = found.start_with(&routes, cores, &arguments)?;
    let pki = Pki::new();
    use_all(&pki, running.address, &routes)?;
    until_counted(stats, what.routes)?;
    let cost = cost(&running, stats)?;
    let opening = Opening::bare(&routes[0].sni(), SIDECAR_ALPN)?;
    let plan = Plan {
        rate: Some(what.rate),
        time: Some(what.time),
        warmup: Duration::from_secs(1),
        ..Plan::new(running.address, Work::RoundTrips, opening)
    };
    let mut rounds = Vec::new();
    for _ in 0..what.rounds {
        let quiet = trips(&plan)?;
        let stop = AtomicBool::new(false);
        let round = std::thread::scope(|scope| {
            let scraping = scope.spawn(|| scrape_often(stats, what.every, &stop));
            let scraped = trips(&plan);
            stop.store(true, Relaxed);
            let scrapes = scraping
                .join()
                .map_err(|_| anyhow!("the scraper panicked"))??;
            anyhow::Ok(Round {
                quiet,
                scraped: scraped?,
                scrapes,
            })
        });
        rounds.push(round?);
    }
    Ok((cost, rounds))
}

fn trips(plan: &Plan) -> Result<Outcome> {
    let outcome = load::run(plan.clone(), false, &mut |_| Ok(()))?;
    ensure!(
        outcome.failed() == 0,
        "round trips failed{}",
        outcome.complaint()
    );
    Ok(outcome)
}

/// One connection to every name.
fn use_all(pki: &Pki, gateway: SocketAddr, routes: &[Route]) -> Result<()> {
    std::thread::scope(|scope| {
        let each = routes.len().div_ceil(USERS);
        let users = routes.chunks(each).map(|routes| {
            scope.spawn(move || {
                routes.iter().try_for_each(|route| {
                    let used = use_one(pki, gateway, route);
                    used.with_context(|| format!("{} through {gateway}", route.sni()))
                })
            })
        });
        let users: Vec<_> = users.collect();
        let mut all = users.into_iter();
        all.try_for_each(|user| user.join().map_err(|_| anyhow!("a user panicked"))?)
    })
}

fn use_one(pki: &Pki, gateway: SocketAddr, route: &Route) -> Result<()> {
    let hello = client_hello_bytes(pki, &route.sni(), SIDECAR_ALPN)?;
    let mut client = TcpStream::connect(gateway)?;
    client.write_all(&hello)?;
    let mut echo = vec![0; hello.len()];
    client.read_exact(&mut echo)?;
    ensure!(echo == hello, "something else than the echo came");
    Ok(())
}

fn until_counted(stats: SocketAddr, routes: usize) -> Result<()> {
    let begun = Instant::now();
    loop {
        let text = scrape(stats)?;
        let series = text.lines().filter(|line| line.starts_with("istio_tcp_"));
        if series.count() >= routes * 4 {
            return Ok(());
        }
        if begun.elapsed() > COUNTED {
            bail!("not all of {routes} services are in the metrics after {COUNTED:?}");
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn cost(running: &Running, stats: SocketAddr) -> Result<Cost> {
    let before = (running.cpu()?, running.memory()?);
    let begun = Instant::now();
    let mut text = String::new();
    for _ in 0..SCRAPES {
        text = scrape(stats)?;
    }
    let took = begun.elapsed();
    Ok(Cost {
        series: text.lines().filter(|line| !line.starts_with('#')).count(),
        bytes: text.len(),
        cpu: running.cpu()?.since(before.0).total() / SCRAPES,
        took: took / SCRAPES,
        memory: (before.1, running.memory()?),
    })
}

/// Until it is told to stop; gives how often.
fn scrape_often(stats: SocketAddr, every: Duration, stop: &AtomicBool) -> Result<u32> {
    cores::step_back(19).context("the scraper cannot step back for the load")?;
    let mut count = 0;
    while !stop.load(Relaxed) {
        let next = Instant::now() + every;
        sip(stats)?;
        count += 1;
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(count)
}

/// A scrape that keeps nothing and steps aside after each piece: who measures shares its core, and its own work there must not
/// be taken for the gateway's.
fn sip(stats: SocketAddr) -> Result<()> {
    let mut server = ask(stats)?;
    let mut piece = vec![0; 64 << 10];
    let mut all = 0;
    loop {
        match server.read(&mut piece)? {
            0 => break,
            read => all += read,
        }
        std::thread::yield_now();
    }
    ensure!(all > piece.len(), "a scrape had only {all} bytes");
    Ok(())
}

fn ask(stats: SocketAddr) -> Result<TcpStream> {
    let mut server = TcpStream::connect(stats)?;
    server.write_all(format!("GET /metrics HTTP/1.0\r\nHost: {stats}\r\n\r\n").as_bytes())?;
    Ok(server)
}

/// What `/metrics` says now.
///
/// # Errors
/// When it does not answer, or not with 200.
pub(crate) fn scrape(stats: SocketAddr) -> Result<String> {
    let mut server = ask(stats)?;
    let mut answer = String::new();
    server.read_to_string(&mut answer)?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .context("a scrape was no HTTP answer")?;
    let status = head.lines().next().unwrap_or_default();
    ensure!(
        status.contains(" 200 "),
        "a scrape was answered with {status}"
    );
    Ok(body.to_owned())
}
