//! The accept stage: takes clients from a worker's listener and gives each to the worker that should serve it. It must not
//! read a byte of theirs.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use crate::conn;
use crate::limits::Admission;
use crate::worker::Worker;

/// Most clients that are taken before those already there get a turn.
const BATCH: usize = 64;

/// How long nothing is accepted after the kernel had no descriptor or memory for another client.
const PAUSE: Duration = Duration::from_millis(100);

/// A listener that its worker's runtime watches.
pub(crate) type Registered = AsyncFd<TcpListener>;

/// Has the runtime of the calling worker watch a listener.
///
/// # Errors
/// When the kernel has no descriptor or memory for that.
pub(crate) fn register(listener: TcpListener) -> io::Result<Registered> {
    #[expect(
        deprecated,
        reason = "new() is deprecated for types whose descriptor can change; a listener owns its one. Its successor is unsafe"
    )]
    AsyncFd::new(listener)
}

/// Accepts until the task is dropped, or `closing` says true: then those who are in the queue are taken, and nobody after
/// them. Closing the listener before that would reset them.
pub(crate) async fn accept(
    worker: Rc<Worker>,
    listener: Registered,
    index: u16,
    mut closing: watch::Receiver<bool>,
) {
    let mut reserve = Reserve::new();
    loop {
        let ready = tokio::select! {
            ready = listener.readable() => ready,
            _ = closing.wait_for(|closing| *closing) => {
                return take_the_rest(&worker, listener.get_ref(), index, &mut reserve);
            }
        };
        let Ok(mut ready) = ready else {
            return;
        };
        let mut pause = false;
        for _ in 0..BATCH {
            match accept_one(listener.get_ref()) {
                Ok((socket, peer)) => admit(&worker, socket, peer, index),
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    break;
                }
                // The client gave up while it was queued, or the call was interrupted: the next one.
                Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
                Err(Errno::MFILE | Errno::NFILE) => {
                    pause = true;
                    match reserve.turn_one_away(listener.get_ref()) {
                        Ok(()) => worker.count_without_descriptor(),
                        // Without a descriptor the kernel does not even say that nobody waits.
                        Err(Errno::AGAIN) => {
                            ready.clear_ready();
                            break;
                        }
                        Err(_) => break,
                    }
                }
                Err(fault) => {
                    tracing::warn!(fault = %io::Error::from(fault), "accepting failed; trying again in {PAUSE:?}");
                    pause = true;
                    break;
                }
            }
        }
        drop(ready);
        if pause {
            tokio::time::sleep(PAUSE).await;
        } else {
            tokio::task::yield_now().await;
        }
    }
}

/// Takes who has come so far, before the listener closes.
fn take_the_rest(worker: &Rc<Worker>, listener: &TcpListener, index: u16, reserve: &mut Reserve) {
    loop {
        match accept_one(listener) {
            Ok((socket, peer)) => admit(worker, socket, peer, index),
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
            Err(Errno::MFILE | Errno::NFILE) if reserve.turn_one_away(listener).is_ok() => {
                worker.count_without_descriptor();
            }
            Err(_) => return,
        }
    }
}

fn admit(worker: &Rc<Worker>, socket: TcpStream, peer: SocketAddr, listener: u16) {
    let gauges = worker.gauges();
    let admission = gauges.enter(worker.source_at_accept(listener, peer));
    match admission {
        Admission::Drop => worker.stats().dropped(),
        Admission::Crowded => {
            let admission = match worker.end_oldest_hello() {
                true => Admission::Serve,
                false => Admission::Refuse,
            };
            gauges.assign(worker.index);
            Worker::start(worker, socket, peer, listener, admission);
        }
        Admission::Refuse => {
            gauges.assign(worker.index);
            Worker::start(worker, socket, peer, listener, admission);
        }
        Admission::Serve => {
            let place = gauges.place(worker.index);
            gauges.assign(place);
            if place == worker.index {
                Worker::start(worker, socket, peer, listener, admission);
            } else {
                Worker::hand_over(worker, place, socket, peer, listener);
            }
        }
    }
}

fn accept_one(listener: &TcpListener) -> Result<(TcpStream, SocketAddr), Errno> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer
        .and_then(|any| SocketAddr::try_from(any).ok())
        .ok_or(Errno::CONNABORTED)?;
    // A client of the other family on a `[::]` listener is known by its own address.
    Ok((
        socket.into(),
        SocketAddr::new(peer.ip().to_canonical(), peer.port()),
    ))
}

/// A descriptor kept back, so that a client can be taken and told when there is none left: it learns that at once,
/// instead of waiting in a queue that nobody can empty.
struct Reserve(Option<File>);

impl Reserve {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    fn turn_one_away(&mut self, listener: &TcpListener) -> Result<(), Errno> {
        self.0 = None;
        let taken = accept_one(listener);
        let told = taken.map(|(socket, _)| conn::turn_away_at_once(&socket));
        self.0 = File::open("/dev/null").ok();
        told
    }
}
