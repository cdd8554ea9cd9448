//! The bytes of all hellos that a worker holds, their ceiling, and a few buffers to use again. It must not know what a
//! hello is.

use std::collections::VecDeque;

use crate::tick::Key;

/// What a buffer begins with: a usual hello, post-quantum key share included, has 1.4 to 1.8 KB.
const SMALL: usize = 2 << 10;

/// Buffers that are kept for the next hello.
const POOL: usize = 256;

/// What one worker holds.
#[derive(Debug)]
pub(super) struct Holding {
    ceiling: usize,
    /// What counts against the ceiling: all that is held but whole hellos of usual size.
    bytes: usize,
    /// Of these, what whole hellos hold that are larger.
    whole: usize,
    pool: Vec<Vec<u8>>,
    line: VecDeque<Key>,
}

impl Holding {
    pub(super) fn new(ceiling: usize) -> Self {
        Self {
            ceiling,
            bytes: 0,
            whole: 0,
            pool: Vec::new(),
            line: VecDeque::new(),
        }
    }

    /// Adds to what is held of one connection.
    pub(super) fn append(&mut self, held: &mut Vec<u8>, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let before = held.capacity();
        if before == 0 {
            *held = self.pool.pop().unwrap_or_else(|| Vec::with_capacity(SMALL));
        }
        held.extend_from_slice(bytes);
        self.bytes += held.capacity() - before;
    }

    /// A hello of so much capacity is whole, and stays until an endpoint has answered it; `false` if there is no room for that.
    /// Those of usual size always have it: they are part of what a connection costs, whose number has a limit of its own. The
    /// larger ones have half of the ceiling, but one at least, so that hellos which are still coming keep the other half: nothing
    /// makes room where an endpoint does not answer.
    pub(super) fn complete(&mut self, capacity: usize) -> bool {
        if capacity <= SMALL {
            self.bytes -= capacity;
            return true;
        }
        if self.whole > 0 && self.whole + capacity > self.ceiling / 2 {
            return false;
        }
        self.whole += capacity;
        true
    }

    /// Takes back what one connection held; `whole`: its hello was whole, and there was room for it.
    pub(super) fn release(&mut self, mut held: Vec<u8>, whole: bool) {
        let capacity = held.capacity();
        if !whole || capacity > SMALL {
            self.bytes -= capacity;
        }
        if whole && capacity > SMALL {
            self.whole -= capacity;
        }
        if held.capacity() == SMALL && self.pool.len() < POOL {
            held.clear();
            self.pool.push(held);
        }
    }

    /// Puts a connection at the end of the line; those at its front that no longer wait leave it.
    pub(super) fn queue(&mut self, key: Key, waits: impl Fn(Key) -> bool) {
        while self.line.front().is_some_and(|front| !waits(*front)) {
            self.line.pop_front();
        }
        self.line.push_back(key);
    }

    /// The first in line while more is held than the ceiling allows. Those in line may be complete or gone by now.
    pub(super) fn oldest_beyond_ceiling(&mut self) -> Option<Key> {
        if self.bytes > self.ceiling {
            self.oldest()
        } else {
            None
        }
    }

    /// Takes the first out of the line. It may be complete or gone by now.
    pub(super) fn oldest(&mut self) -> Option<Key> {
        self.line.pop_front()
    }
}
