//! A worker's open connections, found again by a small key. It must not know what they do.

use std::ops::Range;
use std::rc::Rc;

use crate::conn::Conn;
use crate::tick::Key;

/// The list. A place is used again, with another serial number, when its connection is gone.
#[derive(Default)]
pub(super) struct Conns {
    places: Vec<Option<Rc<Conn>>>,
    free: Vec<u32>,
    serial: u32,
}

impl Conns {
    /// Adds the connection that `make` makes for the key it gets.
    pub(super) fn add(&mut self, make: impl FnOnce(Key) -> Conn) -> Rc<Conn> {
        self.serial = self.serial.wrapping_add(1);
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            u32::try_from(self.places.len() - 1).unwrap_or(u32::MAX)
        });
        let conn = Rc::new(make(Key {
            slot,
            serial: self.serial,
        }));
        self.places[slot as usize] = Some(conn.clone());
        conn
    }

    /// The connection of this key, if it is still open.
    pub(super) fn get(&self, key: Key) -> Option<&Rc<Conn>> {
        let conn = self.places.get(key.slot as usize)?.as_ref()?;
        (conn.key == key).then_some(conn)
    }

    /// Takes a connection out.
    pub(super) fn remove(&mut self, key: Key) {
        if self.get(key).is_some() {
            self.places[key.slot as usize] = None;
            self.free.push(key.slot);
        }
    }

    /// Whether any is open.
    pub(super) fn any(&self) -> bool {
        self.free.len() < self.places.len()
    }

    /// How many are open.
    pub(super) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// How many places there are, in use or not.
    pub(super) fn places(&self) -> usize {
        self.places.len()
    }

    /// Those in some of the places.
    pub(super) fn in_places(&self, places: Range<usize>) -> impl Iterator<Item = &Rc<Conn>> {
        self.places[places].iter().flatten()
    }

    /// Does something with each.
    pub(super) fn each(&self, act: impl FnMut(&Rc<Conn>)) {
        self.places.iter().flatten().for_each(act);
    }
}
