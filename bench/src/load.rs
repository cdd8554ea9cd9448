//! Sends load and measures it: one thread, one runtime, as cheap as it can be, because it shares the machine with what it
//! measures. It must not hide a failure, nor, in an open loop, the time that a unit of work waited before it could start.

mod outcome;
mod plan;
mod progress;
mod schedule;
mod shared;
mod unit;
pub(crate) mod wire;

use std::future::pending;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::runtime::Builder;
use tokio::task::{JoinHandle, JoinSet, LocalSet};
use tokio::time::{sleep, timeout};

pub use self::outcome::Outcome;
pub use self::plan::{Opening, Plan, Work};
use self::progress::Progress;
use self::schedule::Schedule;
use self::shared::{Phase, Shared};

/// A moment of a load at which somebody may look at something else; the load waits until they have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Everything that stays is open, the warm-up is over, and what is counted begins.
    Begin,
    /// What is counted is over; what stays is still open.
    End,
}

/// Sends it all, on a runtime of its own: not to be called from within one. `progress`: a line each second on standard error.
///
/// # Errors
/// When the plan cannot be carried out, when not all connections that should stay can be opened, and what `mark` answers.
/// Units of work that fail are no error here: [`Outcome::failures`] has them.
pub fn run(
    plan: Plan,
    progress: bool,
    mark: &mut dyn FnMut(Mark) -> Result<()>,
) -> Result<Outcome> {
    plan.check()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, drive(plan, progress, mark))
}

async fn drive(
    plan: Plan,
    progress: bool,
    mark: &mut dyn FnMut(Mark) -> Result<()>,
) -> Result<Outcome> {
    let shared = Rc::new(Shared::new(plan));
    let plan = &shared.plan;
    let mut workers = JoinSet::new();
    for index in 0..plan.connections {
        workers.spawn_local(unit::worker(Rc::clone(&shared), index));
    }
    // A ramp is itself what is to be seen, so nothing is held back until all is open.
    if plan.ramp.is_zero() {
        all_open(&shared).await?;
    }
    shared.enter(Phase::Working);
    if !plan.warmup.is_zero() {
        let warming = pace(&shared, Duration::ZERO);
        sleep(plan.warmup).await;
        stop(warming).await?;
    }
    mark(Mark::Begin)?;
    let begin = Instant::now();
    shared.record_from(begin);
    let mut progress = progress.then(|| Progress::new(begin));
    let pacer = pace(&shared, plan.ramp);
    let deadline = plan.time.map(|time| begin + time);
    let mut asked = pin!(asked_to_end(plan));
    let mut is_over = false;
    while !is_over && !shared.counted() && deadline.is_none_or(|deadline| Instant::now() < deadline)
    {
        let second = Instant::now() + Duration::from_secs(1);
        let until = deadline.map_or(second, |deadline| deadline.min(second));
        tokio::select! {
            // Woken early when the count is reached.
            _ = timeout(until - Instant::now(), shared.until_counted()) => {}
            () = &mut asked => is_over = true,
        }
        if let Some(progress) = &mut progress {
            progress.print(&shared);
        }
    }
    stop(pacer).await?;
    shared.enter(Phase::Ending);
    // What was begun is finished, and what was due is done: its latency belongs to the figure.
    let drained = timeout(plan.limit, shared.until_drained()).await.is_ok();
    let took = begin.elapsed();
    // Those who could not open a connection have nothing more to do, but what was due is due.
    if !drained || plan.rate.is_some() {
        shared.give_up();
    }
    mark(Mark::End)?;
    workers.abort_all();
    while workers.join_next().await.is_some() {}
    Ok(shared.outcome(took))
}

type Pacer = Option<JoinHandle<io::Result<()>>>;

/// An open loop's units are due from now on.
fn pace(shared: &Rc<Shared>, ramp: Duration) -> Pacer {
    shared.plan.rate.map(|rate| {
        let (schedule, begin) = (Schedule::new(rate, ramp), Instant::now());
        shared.pace(schedule, begin);
        tokio::task::spawn_local(schedule::release(schedule, begin, Rc::clone(shared)))
    })
}

async fn stop(pacer: Pacer) -> Result<()> {
    match pacer {
        Some(pacer) if pacer.is_finished() => pacer.await??,
        Some(pacer) => pacer.abort(),
        None => {}
    }
    Ok(())
}

async fn asked_to_end(plan: &Plan) {
    match &plan.end {
        Some(end) => end.notified().await,
        None => pending().await,
    }
}

async fn all_open(shared: &Shared) -> Result<()> {
    let plan = &shared.plan;
    if !unit::stays(plan.work) {
        return Ok(());
    }
    // Thousands take their time; none at all for as long as a unit may take is a failure.
    let mut open = 0;
    while open < plan.connections {
        let more = timeout(plan.limit, shared.until_open(open + 1)).await;
        if more.is_err() {
            bail!(
                "only {open} of {} connections to {} could be opened{}",
                plan.connections,
                plan.addresses[0],
                shared.outcome(Duration::ZERO).complaint()
            );
        }
        open = shared.open();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
