//! What one connection of the load does, unit by unit. It must not decide when: [`Shared::next`] does.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::plan::{Opening, Work};
use super::shared::{Phase, Shared};
use super::wire::{CHUNK, Unopened, Wire};

/// How long a connection rests after a failure, so that a closed loop against a closed port does not spin.
const REST: Duration = Duration::from_millis(10);
/// First byte of a TLS record that is an alert (RFC 8446, section 5.1); its description is the seventh.
const ALERT: u8 = 21;
/// First byte of a TLS record of a handshake.
const HANDSHAKE: u8 = 22;

/// Whether connections of this work stay open from one unit to the next.
pub(super) fn stays(work: Work) -> bool {
    work != Work::Connections
}

/// One connection after another, or one that stays, until there is no more to do.
pub(super) async fn worker(shared: Rc<Shared>, index: usize) {
    let plan = &shared.plan;
    // The rate of an open loop grows by itself; in a closed one it is the connections that come one by one.
    if plan.rate.is_none() && !plan.ramp.is_zero() {
        sleep(plan.ramp.mul_f64(index as f64 / plan.connections as f64)).await;
    }
    let _kept = match plan.work {
        Work::Connections => connections(&shared).await,
        Work::RoundTrips => round_trips(&shared).await,
        Work::Download => staying(&shared, download).await,
        Work::Upload => staying(&shared, upload).await,
        Work::Idle | Work::Silent => staying(&shared, hold).await,
    };
    shared.idle();
    // What is open is closed by whoever ends this, after it has been counted.
    std::future::pending().await
}

/// What to say of a connection that did not come about.
pub(super) fn describe(error: &Unopened) -> String {
    match error {
        Unopened::Connect(error) => format!("no connection: {error}"),
        Unopened::Handshake(error) => format!("no handshake: {error}"),
    }
}

async fn connections(shared: &Shared) -> Option<Wire> {
    let plan = &shared.plan;
    let mut buffer = vec![0; 16 * 1024];
    while let Some(due) = shared.next().await {
        let asked = timeout(plan.limit, ask(shared, &mut buffer)).await;
        match asked.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
            Ok(count) => shared.done(due, name(&buffer[..count])),
            Err(what) => {
                shared.failed(due, &what);
                sleep(REST).await;
            }
        }
    }
    None
}

/// Connects, asks and reads to the end; how much of the answer is in the buffer.
async fn ask(shared: &Shared, buffer: &mut [u8]) -> Result<usize, String> {
    let opened = Wire::open(shared.address(), &shared.plan.opening).await;
    let mut wire = opened.map_err(|error| describe(&error))?;
    let cut = |error: io::Error| format!("no whole answer: {error}");
    if wire.is_tls() {
        wire.send(b"hello\n").await.map_err(cut)?;
    }
    let mut got = 0;
    while got < buffer.len() {
        let count = wire.receive(&mut buffer[got..]).await.map_err(cut)?;
        if count == 0 {
            break;
        }
        got += count;
        // An endpoint that takes a bare hello for TLS has answered, and waits for what a bare client never sends.
        if buffer[0] == HANDSHAKE {
            break;
        }
    }
    match buffer[..got] {
        [] => Err("closed without an answer".to_owned()),
        // A refusal must not pass for an answer.
        [ALERT, _, _, _, _, _, description] => Err(format!("TLS alert {description}")),
        _ => Ok(got),
    }
}

/// The first line, where it is text: an endpoint of `bench backend` says who it is.
fn name(answer: &[u8]) -> Option<&str> {
    let line = answer.split(|byte| *byte == b'\n').next()?;
    let readable = !line.is_empty() && line.iter().all(u8::is_ascii_graphic);
    readable.then(|| str::from_utf8(line).ok()).flatten()
}

async fn round_trips(shared: &Shared) -> Option<Wire> {
    let plan = &shared.plan;
    let mut buffer = vec![b'.'; plan.bytes];
    let mut wire = opened(shared).await?;
    while let Some(due) = shared.next().await {
        let asked = timeout(plan.limit, round_trip(&mut wire, &mut buffer)).await;
        match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => shared.done(due, None),
            Err(error) => {
                shared.failed(due, &format!("a round trip was cut: {error}"));
                shared.closed();
                sleep(REST).await;
                wire = opened(shared).await?;
            }
        }
    }
    Some(wire)
}

async fn round_trip(wire: &mut Wire, buffer: &mut [u8]) -> io::Result<()> {
    wire.send(buffer).await?;
    wire.receive_exact(buffer).await
}

/// A connection that stays; none when there is nothing more to do.
async fn opened(shared: &Shared) -> Option<Wire> {
    let plan = &shared.plan;
    loop {
        // The semaphore is never closed.
        let turn = shared.turn.acquire().await.ok()?;
        let tried = timeout(plan.limit, open(shared)).await;
        drop(turn);
        match tried.unwrap_or_else(|_| Err(Unopened::Handshake(io::ErrorKind::TimedOut.into()))) {
            Ok(wire) => {
                shared.opened();
                return Some(wire);
            }
            Err(error) => {
                shared.unopened(&error);
                sleep(REST).await;
            }
        }
        if shared.is_ending() {
            return None;
        }
    }
}

/// As far as the work wants it: without a word, with a hello, or with a hello that came back.
async fn open(shared: &Shared) -> Result<Wire, Unopened> {
    let plan = &shared.plan;
    if plan.work == Work::Silent {
        return Ok(Wire::Bare(Wire::connect(shared.address()).await?));
    }
    let mut wire = Wire::open(shared.address(), &plan.opening).await?;
    if let Opening::Bare(hello) = &plan.opening
        && matches!(plan.work, Work::RoundTrips | Work::Idle)
    {
        let mut echo = vec![0; hello.len()];
        let echoed = wire.receive_exact(&mut echo).await;
        echoed.map_err(Unopened::Handshake)?;
    }
    Ok(wire)
}

/// One connection that stays, and what is done with it once all are open.
async fn staying(
    shared: &Shared,
    work: impl AsyncFnOnce(&Shared, &mut Wire) -> io::Result<()>,
) -> Option<Wire> {
    let mut wire = opened(shared).await?;
    shared.until_phase(Phase::Working).await;
    match work(shared, &mut wire).await {
        Ok(()) => Some(wire),
        Err(error) => {
            shared.lost(&error);
            None
        }
    }
}

async fn download(shared: &Shared, wire: &mut Wire) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    while !shared.is_ending() {
        let count = wire.discard(&mut buffer).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        shared.moved(count);
    }
    Ok(())
}

/// Sends until the end, and has the endpoint say how much came: what is missing was lost.
async fn upload(shared: &Shared, wire: &mut Wire) -> io::Result<()> {
    let chunk = vec![b'.'; CHUNK];
    let mut sent = match &shared.plan.opening {
        Opening::Bare(hello) => hello.len() as u64,
        Opening::Tls(..) => 0,
    };
    while !shared.is_ending() {
        wire.send(&chunk).await?;
        shared.moved(chunk.len());
        sent += chunk.len() as u64;
    }
    wire.finish().await?;
    let mut answer = [0; 8];
    wire.receive_exact(&mut answer).await?;
    let came = u64::from_be_bytes(answer);
    if came != sent {
        let what = format!("{came} of {sent} bytes arrived");
        return Err(io::Error::other(what));
    }
    Ok(())
}

/// Keeps it and says nothing; whatever it says is not looked into.
async fn hold(shared: &Shared, wire: &mut Wire) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        tokio::select! {
            // What has ended by then was lost, however late it is noticed.
            biased;
            count = wire.receive(&mut buffer) => {
                if count? == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
            }
            () = shared.until_phase(Phase::Ending) => return Ok(()),
        }
    }
}
