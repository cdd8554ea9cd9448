//! What was wrong with a socket, as far as a relay cares. It must not know whose socket it was.

use std::io;

/// What was wrong with a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The peer reset the connection.
    Reset,
    /// The peer did not answer in time; `waiting`: bytes of ours wait for it.
    Timeout {
        /// Whether this relay holds bytes for it.
        waiting: bool,
    },
    /// Anything else.
    Other,
}

/// What an error of a socket means. `waiting`: bytes of ours wait for that peer.
pub(super) fn fault_of(error: io::ErrorKind, waiting: bool) -> Fault {
    match error {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => Fault::Reset,
        io::ErrorKind::TimedOut => Fault::Timeout { waiting },
        _ => Fault::Other,
    }
}
