//! A closed loop of load with a bare hello: each connection starts its next unit of work when the last one is done. Its
//! latencies leave out what a stalled gateway keeps from being sent; they must not be read as an open loop's.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use hdrhistogram::Histogram;
use sidecar::{Pki, SIDECAR_ALPN, client_hello_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What one unit of work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Work {
    /// Connect, hello, the answer to its end.
    Connections,
    /// So many bytes there and back, on a connection that stays.
    RoundTrips,
}

/// What to send.
#[derive(Clone, Debug)]
pub struct Plan {
    address: SocketAddr,
    work: Work,
    count: usize,
    connections: usize,
    bytes: usize,
    hello: Arc<[u8]>,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// Units of work done, and their latencies in nanoseconds.
    pub latency: Histogram<u64>,
    /// From the first unit of work to the last.
    pub took: Duration,
}

impl Plan {
    /// `count` units over `connections` in flight; `bytes` is a round trip's size.
    ///
    /// # Errors
    /// When `sni` is no DNS name, and when a number is 0.
    pub fn new(
        address: SocketAddr,
        work: Work,
        count: usize,
        connections: usize,
        bytes: usize,
        sni: &str,
    ) -> Result<Self> {
        ensure!(
            count > 0 && connections > 0 && bytes > 0,
            "count, connections and bytes must be at least 1"
        );
        let hello = client_hello_bytes(&Pki::new(), sni, SIDECAR_ALPN)?.into();
        Ok(Self {
            address,
            work,
            count,
            connections,
            bytes,
            hello,
        })
    }
}

/// Sends it all.
///
/// # Errors
/// The first unit of work that failed: a figure with failures in it is no figure.
pub async fn run(plan: Plan) -> Result<Outcome> {
    let left = Arc::new(AtomicUsize::new(plan.count));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..plan.connections {
        tasks.spawn(one(plan.clone(), Arc::clone(&left)));
    }
    let mut latency = Histogram::new(3)?;
    while let Some(done) = tasks.join_next().await {
        latency.add(done??)?;
    }
    Ok(Outcome {
        latency,
        took: start.elapsed(),
    })
}

async fn one(plan: Plan, left: Arc<AtomicUsize>) -> Result<Histogram<u64>> {
    let mut latency = Histogram::new(3)?;
    let mut buffer = vec![0; plan.bytes.max(plan.hello.len())];
    let mut open = None;
    while left
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
        .is_ok()
    {
        // A connection that stays is opened, and its echoed hello read, before the clock starts.
        if plan.work == Work::RoundTrips && open.is_none() {
            let mut stream = greet(&plan).await?;
            stream.read_exact(&mut buffer[..plan.hello.len()]).await?;
            open = Some(stream);
        }
        let start = Instant::now();
        if let Some(stream) = &mut open {
            stream.write_all(&buffer[..plan.bytes]).await?;
            stream
                .read_exact(&mut buffer[..plan.bytes])
                .await
                .context("a round trip was cut")?;
        } else {
            let mut stream = greet(&plan).await?;
            let mut got = 0;
            loop {
                let count = stream.read(&mut buffer).await?;
                if count == 0 {
                    break;
                }
                got += count;
            }
            // An alert is shorter: a refusal must not pass for an answer.
            ensure!(
                got >= crate::backend::ANSWER,
                "an answer of {got} bytes: refused?"
            );
        }
        latency.record(start.elapsed().as_nanos() as u64)?;
    }
    Ok(latency)
}

async fn greet(plan: &Plan) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(plan.address)
        .await
        .with_context(|| format!("cannot connect to {}", plan.address))?;
    stream.set_nodelay(true)?;
    stream.write_all(&plan.hello).await?;
    Ok(stream)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = |quantile| self.latency.value_at_quantile(quantile) as f64 / 1e3;
        write!(
            f,
            "{} done in {:.2} s, {:.0}/s; us p50 {:.0}, p99 {:.0}, max {:.0}",
            self.latency.len(),
            self.took.as_secs_f64(),
            self.latency.len() as f64 / self.took.as_secs_f64(),
            micros(0.5),
            micros(0.99),
            micros(1.0),
        )
    }
}

#[cfg(test)]
mod tests;
