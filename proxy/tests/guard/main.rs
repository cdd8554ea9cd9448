//! The cost of the data path as counts, none of them a time: what a change makes dearer fails here, on any machine. One at a
//! time, because allocations of the whole process are counted.
//!
//! Two more counts stand elsewhere: allocations of a connection in `tests/allocations.rs`, and the size of its future in
//! `src/conn.rs`.

mod calls;
mod heap;
mod instructions;
mod limits;
mod stage;

use std::alloc::System;
use std::io::Write;
use std::sync::Mutex;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Held by the count that is made.
static ALONE: Mutex<()> = Mutex::new(());

/// Says it on the real standard error, which no test harness holds back.
fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
