//! A relay between two peers that a test plays. It must not assert anything about the relay.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Poll, Waker};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, LocalOptions};
use tokio::task::{JoinHandle, spawn_local};

use crate::relay::{End, Leftover, Relay, Shared, Side, Traffic};

/// A test that waits longer than this waits for what does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a test as a worker would run its connections.
pub(super) fn run<F: Future>(test: F) -> F::Output {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test)
            .await
            .expect("waits for what does not come")
    })
}

/// Lets everything else run until this holds.
pub(super) async fn until(mut holds: impl FnMut() -> bool) {
    while !holds() {
        tokio::task::yield_now().await;
    }
}

/// Bytes of the kernel's buffers.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    /// The peers' receive buffers and the relay's send buffers; `None` leaves the kernel's own choice.
    pub(super) out: Option<usize>,
    /// The relay's receive buffers.
    pub(super) into: Option<usize>,
}

type Watcher = Box<dyn FnMut()>;

/// A relay, its two peers, and a task that polls it.
pub(super) struct Rig {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    pub(super) relay: Rc<RefCell<Option<Relay>>>,
    pub(super) traffic: Rc<Traffic>,
    pub(super) shared: Rc<Shared>,
    /// Polls of the relay.
    pub(super) polls: Rc<Cell<u64>>,
    /// Called after each poll that moved bytes.
    watcher: Rc<RefCell<Option<Watcher>>>,
    waker: Rc<RefCell<Option<Waker>>>,
    task: JoinHandle<End>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::with(Shared::new(), Room::default(), &[])
    }

    pub(super) fn with(shared: Rc<Shared>, room: Room, leftover: &[u8]) -> Self {
        let (client, inner) = pair(room, Side::Client);
        let (outer, server) = pair(room, Side::Upstream);
        let leftover: Option<Leftover> = (!leftover.is_empty()).then(|| shared.leftover(leftover));
        let relay = Rc::new(RefCell::new(Some(Relay::new(
            inner,
            outer,
            shared.clone(),
            leftover,
        ))));
        let traffic = Rc::new(Traffic::default());
        let waker = Rc::new(RefCell::new(None));
        let polls = Rc::new(Cell::new(0));
        let watcher = Rc::new(RefCell::new(None::<Watcher>));
        let task = spawn_local({
            let (relay, traffic, waker, polls) =
                (relay.clone(), traffic.clone(), waker.clone(), polls.clone());
            let watcher = watcher.clone();
            poll_fn(move |cx| {
                *waker.borrow_mut() = Some(cx.waker().clone());
                polls.set(polls.get() + 1);
                let before = traffic.sent.get() + traffic.received.get();
                let end = match relay.borrow_mut().as_mut() {
                    Some(relay) => relay.poll(cx, &traffic),
                    None => Poll::Pending,
                };
                if traffic.sent.get() + traffic.received.get() > before
                    && let Some(watch) = watcher.borrow_mut().as_mut()
                {
                    watch();
                }
                if end.is_ready() {
                    // As the connection does: its sockets close when it ends.
                    relay.borrow_mut().take();
                }
                end
            })
        });
        Self {
            client,
            server,
            relay,
            traffic,
            shared,
            polls,
            watcher,
            waker,
            task,
        }
    }

    /// What it ended with, and the peers that are left.
    pub(super) async fn end(self) -> End {
        self.task.await.unwrap()
    }

    pub(super) fn is_over(&self) -> bool {
        self.relay.borrow().is_none()
    }

    /// What the worker's tick does.
    pub(super) fn rest(&self) {
        if let Some(relay) = self.relay.borrow_mut().as_mut() {
            relay.rest();
        }
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Has this called after each poll that moved bytes.
    pub(super) fn watch(&self, watcher: impl FnMut() + 'static) {
        *self.watcher.borrow_mut() = Some(Box::new(watcher));
    }

    /// Closes this side's peer.
    pub(super) fn close(&mut self, side: Side) {
        let socket = if side == Side::Client {
            &mut self.client
        } else {
            &mut self.server
        };
        // Something has to stand in its place: a socket that is connected to nobody.
        *socket = into_tokio(Socket::new(Domain::IPV4, Type::STREAM, None).unwrap());
    }

    /// Closes this side's peer with a reset, which throws away what it has not sent yet.
    pub(super) fn reset(&mut self, side: Side) {
        let socket = if side == Side::Client {
            &self.client
        } else {
            &self.server
        };
        SockRef::from(socket)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        self.close(side);
    }

    /// Lets the server write from this place until nobody between it and the client takes more; gives where it stopped.
    pub(super) async fn fill_from_server(&self, mut at: u64) -> u64 {
        let (mut quiet, mut polls) = (0, 0);
        while quiet < 1_000 {
            match self.server.try_write(text(at, 100_000)) {
                Ok(n) => at += u64::try_from(n).unwrap(),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    // Blocked is: nobody has woken the relay in many turns of everybody else.
                    quiet = if self.polls.get() == polls {
                        quiet + 1
                    } else {
                        0
                    };
                    polls = self.polls.get();
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        at
    }

    pub(super) fn with_relay<T>(&self, look: impl FnOnce(&Relay) -> T) -> T {
        look(self.relay.borrow().as_ref().expect("the relay is over"))
    }

    /// Whether the kernel has told of an error of the relay's socket to this side.
    pub(super) fn has_error(&self, side: Side) -> bool {
        self.with_relay(|relay| {
            let socket = if side == Side::Client {
                &relay.client
            } else {
                &relay.upstream
            };
            socket.try_io(Interest::ERROR, || Ok(())).is_ok()
        })
    }

    /// Holds everything up until the relay's kernel has something from this side. Loopback may take its time: a paced
    /// congestion control sends later than the write returns.
    pub(super) fn arrived(&self, side: Side) {
        while self.unread(side) == 0 {
            std::hint::spin_loop();
        }
    }

    /// Bytes from this side that the relay has not read.
    fn unread(&self, side: Side) -> u64 {
        self.with_relay(|relay| {
            let socket = if side == Side::Client {
                relay.client()
            } else {
                relay.upstream()
            };
            rustix::io::ioctl_fionread(socket.unwrap()).unwrap()
        })
    }

    /// What has come from the server as far as the relay's kernel: delivered, held, or not read yet.
    pub(super) fn come_from_server(&self) -> u64 {
        let held = self.with_relay(|relay| u64::try_from(relay.down.held()).unwrap());
        self.traffic.received.get() + held + self.unread(Side::Upstream)
    }

    /// Whether a stream from the server goes through a pipe.
    pub(super) fn splices_down(&self) -> bool {
        self.with_relay(|relay| relay.down.has_pipe())
    }
}

/// Who connects and who accepts: client and relay, or relay and server.
fn pair(room: Room, side: Side) -> (TcpStream, TcpStream) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let connector = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    // The relay accepts from clients and connects to upstreams.
    let (ours, theirs) = if side == Side::Client {
        (&listener, &connector)
    } else {
        (&connector, &listener)
    };
    if let Some(bytes) = room.out {
        ours.set_send_buffer_size(bytes).unwrap();
        theirs.set_recv_buffer_size(bytes).unwrap();
    }
    if let Some(bytes) = room.into {
        ours.set_recv_buffer_size(bytes).unwrap();
    }
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    listener.listen(1).unwrap();
    connector.connect(&listener.local_addr().unwrap()).unwrap();
    let accepted = listener.accept().unwrap().0;
    accepted.set_tcp_nodelay(true).unwrap();
    // A relay's upstream has it as soon as it needs it.
    connector.set_tcp_nodelay(side == Side::Client).unwrap();
    (into_tokio(connector), into_tokio(accepted))
}

fn into_tokio(socket: Socket) -> TcpStream {
    socket.set_nonblocking(true).unwrap();
    TcpStream::from_std(socket.into()).unwrap()
}

/// Bytes that tell their place: a repeated block whose length no buffer's divides.
static BLOCK: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = fastrand::Rng::with_seed(7);
    std::iter::repeat_with(|| random.u8(..))
        .take((256 << 10) + 13)
        .collect()
});

/// The stream's bytes from this place, as many as are at hand and wanted.
pub(super) fn text(at: u64, most: u64) -> &'static [u8] {
    let start = usize::try_from(at % u64::try_from(BLOCK.len()).unwrap()).unwrap();
    let end = BLOCK
        .len()
        .min(start.saturating_add(usize::try_from(most).unwrap()));
    &BLOCK[start..end]
}

/// Writes so many bytes of the stream.
pub(super) async fn send(socket: &mut (impl AsyncWriteExt + Unpin), from: u64, to: u64) {
    let mut at = from;
    while at < to {
        let piece = text(at, to - at);
        socket.write_all(piece).await.unwrap();
        at += u64::try_from(piece.len()).unwrap();
    }
}

/// Reads to the end or an error, holding every byte against the stream from `at`; gives where it ended, and by which error if by one.
pub(super) async fn receive(
    socket: &mut (impl AsyncReadExt + Unpin),
    at: u64,
) -> (u64, Option<std::io::ErrorKind>) {
    receive_some(socket, at, u64::MAX).await
}

/// The same, up to a place in the stream.
pub(super) async fn receive_some(
    socket: &mut (impl AsyncReadExt + Unpin),
    mut at: u64,
    to: u64,
) -> (u64, Option<std::io::ErrorKind>) {
    let mut bytes = vec![0; 128 << 10];
    while at < to {
        let most = bytes
            .len()
            .min(usize::try_from(to - at).unwrap_or(usize::MAX));
        let n = match socket.read(&mut bytes[..most]).await {
            Ok(0) => return (at, None),
            Ok(n) => n,
            Err(error) => return (at, Some(error.kind())),
        };
        let mut seen = &bytes[..n];
        while !seen.is_empty() {
            let due = text(at, u64::try_from(seen.len()).unwrap());
            assert!(
                seen[..due.len()] == *due,
                "other bytes than were sent, at {at}"
            );
            seen = &seen[due.len()..];
            at += u64::try_from(due.len()).unwrap();
        }
    }
    (at, None)
}
