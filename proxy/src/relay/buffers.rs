//! The worker's one read buffer, and the few that hold what a slow peer has not taken yet. It must not do any IO.

use std::cell::{RefCell, RefMut};

/// Bytes of the worker's buffer.
const SCRATCH: usize = 256 << 10;

/// Buffers that are kept for the next slow peer.
const POOL: usize = 32;

/// The largest that is kept: what one read can leave.
const LARGEST: usize = 64 << 10;

/// The buffers of one worker.
#[derive(Debug)]
pub(super) struct Buffers {
    scratch: RefCell<Box<[u8]>>,
    pool: RefCell<Vec<Buffer>>,
}

/// Bytes that wait for a peer. Boxed, because hardly any connection has one and every connection has the room for it.
#[derive(Debug)]
pub(super) struct Buffer(Box<Kept>);

#[derive(Debug)]
struct Kept {
    bytes: Vec<u8>,
    taken: usize,
}

impl Buffers {
    pub(super) fn new() -> Self {
        Self {
            scratch: RefCell::new(vec![0; SCRATCH].into_boxed_slice()),
            pool: RefCell::default(),
        }
    }

    pub(super) fn scratch(&self) -> RefMut<'_, [u8]> {
        RefMut::map(self.scratch.borrow_mut(), |scratch| &mut **scratch)
    }

    /// A copy of these bytes.
    pub(super) fn keep(&self, bytes: &[u8]) -> Buffer {
        let mut buffer = self.pool.borrow_mut().pop().unwrap_or_else(|| {
            Buffer(Box::new(Kept {
                bytes: Vec::new(),
                taken: 0,
            }))
        });
        buffer.0.bytes.extend_from_slice(bytes);
        buffer
    }

    /// Takes a buffer back, whatever is left in it.
    pub(super) fn give_back(&self, mut buffer: Buffer) {
        let mut pool = self.pool.borrow_mut();
        if pool.len() < POOL && buffer.0.bytes.capacity() <= LARGEST {
            buffer.0.bytes.clear();
            buffer.0.taken = 0;
            pool.push(buffer);
        }
    }
}

impl Buffer {
    /// What still waits.
    pub(super) fn rest(&self) -> &[u8] {
        &self.0.bytes[self.0.taken..]
    }

    /// So many bytes were taken.
    pub(super) fn advance(&mut self, taken: usize) {
        self.0.taken += taken;
    }
}
