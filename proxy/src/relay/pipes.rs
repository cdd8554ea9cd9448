//! Pipes for streams: 1 MiB each, because with the default 64 KiB a splice costs as much as a copy. It must not decide who
//! gets one.

use std::cell::{Cell, RefCell};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::pipe::{PipeFlags, fcntl_setpipe_size, pipe_with};
use tokio::time::Instant;

/// Bytes of a pipe: `fs.pipe-max-size` allows an unprivileged process this much.
const SIZE: usize = 1 << 20;

/// Most pipes of a worker. `fs.pipe-user-pages-soft` allows an unprivileged user about 64 of this size.
pub(super) const MOST: usize = 32;

/// How long nobody asks again after a pipe could not be had.
const RETRY: Duration = Duration::from_secs(1);

/// The pipes of one worker.
#[derive(Debug)]
pub(super) struct Pipes {
    pool: RefCell<Vec<Pipe>>,
    made: Cell<usize>,
    not_before: Cell<Option<Instant>>,
    /// Most that may exist at a time.
    most: usize,
    /// How often a stream asked and got none.
    refused: Cell<u64>,
}

/// A pipe and how much is in it. Boxed, because hardly any connection has one.
#[derive(Debug)]
pub(super) struct Pipe(Box<Ends>);

#[derive(Debug)]
struct Ends {
    read: OwnedFd,
    write: OwnedFd,
    held: usize,
}

impl Pipes {
    pub(super) fn new(most: usize) -> Self {
        Self {
            pool: RefCell::default(),
            made: Cell::new(0),
            not_before: Cell::new(None),
            most,
            refused: Cell::new(0),
        }
    }

    /// An empty pipe; `None` when all are in use or the kernel gives none, and then the stream is copied.
    pub(super) fn take(&self) -> Option<Pipe> {
        let pipe = self.pooled_or_made();
        if pipe.is_none() {
            self.refused.set(self.refused.get() + 1);
        }
        pipe
    }

    /// Pipes that streams hold now.
    pub(super) fn in_use(&self) -> usize {
        self.made.get() - self.pool.borrow().len()
    }

    /// How often a stream asked and got none.
    pub(super) fn refused(&self) -> u64 {
        self.refused.get()
    }

    fn pooled_or_made(&self) -> Option<Pipe> {
        if let Some(pipe) = self.pool.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.made.get() >= self.most {
            return None;
        }
        if self
            .not_before
            .get()
            .is_some_and(|moment| Instant::now() < moment)
        {
            return None;
        }
        match make() {
            Ok(pipe) => {
                self.made.set(self.made.get() + 1);
                Some(pipe)
            }
            Err(fault) => {
                tracing::debug!(%fault, "no pipe of 1 MiB to be had; streams are copied for now");
                self.not_before.set(Some(Instant::now() + RETRY));
                None
            }
        }
    }

    /// Takes a pipe back. One that still holds bytes of a connection that is over is closed: they must reach nobody else.
    pub(super) fn give_back(&self, pipe: Pipe) {
        if pipe.held() == 0 {
            self.pool.borrow_mut().push(pipe);
        } else {
            self.made.set(self.made.get() - 1);
        }
    }
}

fn make() -> rustix::io::Result<Pipe> {
    let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
    fcntl_setpipe_size(&write, SIZE)?;
    Ok(Pipe(Box::new(Ends {
        read,
        write,
        held: 0,
    })))
}

impl Pipe {
    /// Where bytes come out.
    pub(super) fn read_end(&self) -> &OwnedFd {
        &self.0.read
    }

    /// Where bytes go in.
    pub(super) fn write_end(&self) -> &OwnedFd {
        &self.0.write
    }

    /// Bytes in it. Packets that the kernel merged can make this more than the pipe's size.
    pub(super) fn held(&self) -> usize {
        self.0.held
    }

    pub(super) fn filled(&mut self, bytes: usize) {
        self.0.held += bytes;
    }

    pub(super) fn drained(&mut self, bytes: usize) {
        self.0.held = self.0.held.saturating_sub(bytes);
    }
}
