//! Who has a place at a server. A newcomer always gets one: whoever says nothing keeps neither the kubelet nor a scraper from
//! being answered. It must not know what is asked or answered.

mod owing;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::task::AbortHandle;

pub(super) use self::owing::{Debt, Owing};

/// Connections of one server at once: a few scrapers and people.
const CONNECTIONS: usize = 64;

/// The open connections of one server, the oldest first.
#[derive(Default)]
pub(super) struct Room(VecDeque<Guest>);

struct Guest {
    task: AbortHandle,
    debt: Arc<Debt>,
}

impl Room {
    /// Ends a connection if there is no place for a newcomer; whether it had to.
    pub(super) fn make_place(&mut self) -> bool {
        if self.0.len() < CONNECTIONS {
            return false;
        }
        self.0.retain(|guest| !guest.task.is_finished());
        if self.0.len() < CONNECTIONS {
            return false;
        }
        let owed: Vec<bool> = self.0.iter().map(|guest| guest.debt.is_open()).collect();
        if let Some(guest) = self.0.remove(who_leaves(&owed)) {
            guest.task.abort();
        }
        true
    }

    /// Takes a connection in.
    pub(super) fn admit(&mut self, task: AbortHandle, debt: Arc<Debt>) {
        self.0.push_back(Guest { task, debt });
    }
}

/// Which connection ends, of those (the oldest first) of which is said whether an answer is owed to them. The oldest to which
/// none is; but where most wait for answers, the oldest of all: those who never read must not leave so few places that the
/// others push each other out before they can ask.
fn who_leaves(owed: &[bool]) -> usize {
    let idle = owed.iter().filter(|owed| !**owed).count();
    if idle * 2 < owed.len() {
        return 0;
    }
    owed.iter().position(|owed| !owed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_nothing_is_owed_to_leaves_first() {
        for (owed, leaves) in [
            (&[false, false, false, false][..], 0),
            (&[true, false, true, false], 1),
            (&[true, true, false, false], 2),
            (&[true, true, true, false], 0),
            (&[true, true, true, true], 0),
            (&[false, true, true, true], 0),
        ] {
            assert_eq!(who_leaves(owed), leaves, "{owed:?}");
        }
    }
}
