//! A bare relay: what the kernel alone costs, beside which a gateway's own share shows. One thread, epoll, one buffer; it looks
//! for a name's bytes in the hello instead of reading it. It must not do anything that is not needed to move the bytes: no
//! limits, no timers, no second endpoint, no log, no splice.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, bail};
use memchr::memmem::Finder;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect,
    recv, send, shutdown, socket_with, sockopt,
};

/// The shared buffer, as large as the one of a worker of ours.
const BUFFER: usize = 256 << 10;

/// Events taken at once.
const EVENTS: usize = 256;

/// The listener's mark; a pair's two sides are its index twice, and one more.
const LISTENER: u64 = u64::MAX;

/// What one name leads to.
#[derive(Debug)]
pub struct Route {
    name: Finder<'static>,
    endpoints: Vec<SocketAddr>,
}

impl Route {
    /// Hellos that have these bytes in them go to these addresses in turn; there must be one.
    #[must_use]
    pub fn new(name: &str, endpoints: Vec<SocketAddr>) -> Self {
        let name = Finder::new(name).into_owned();
        Self { name, endpoints }
    }
}

/// Relays until the process is ended.
///
/// # Errors
/// When the listener or epoll fails.
pub fn run(listen: SocketAddr, routes: Vec<Route>) -> Result<()> {
    let listener = TcpListener::bind(listen).with_context(|| format!("cannot bind {listen}"))?;
    listener.set_nonblocking(true)?;
    sockopt::set_tcp_nodelay(&listener, true)?;
    // No segment that is an ACK and nothing else, as long as bytes follow soon.
    sockopt::set_tcp_quickack(&listener, false)?;
    let poll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &poll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut relay = Relay {
        poll,
        routes,
        pairs: Vec::new(),
        free: Vec::new(),
        turn: 0,
        buffer: vec![0; BUFFER],
    };
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(
            &relay.poll,
            rustix::buffer::spare_capacity(&mut events),
            None,
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(fault) => return Err(fault.into()),
        }
        for event in &events {
            // Copied: the kernel's form of it is packed.
            let Event { flags, data } = *event;
            match data.u64() {
                LISTENER => relay.accept(&listener)?,
                mark => relay.see(mark, flags),
            }
        }
    }
}

struct Relay {
    poll: OwnedFd,
    routes: Vec<Route>,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    turn: usize,
    buffer: Vec<u8>,
}

/// Two sockets: the client's and, once its hello is there, the endpoint's.
struct Pair {
    sides: [Option<OwnedFd>; 2],
    /// What could not be sent to each side yet.
    behind: [VecDeque<u8>; 2],
    /// Which side has said that it is done.
    done: [bool; 2],
    /// Whether the client's socket is watched: only where its hello was late, or its endpoint is there.
    hears_client: bool,
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let client = match accept_with(listener, flags) {
                Ok(client) => client,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(fault) => return Err(fault).context("accept"),
            };
            let pair = Pair {
                sides: [Some(client), None],
                behind: Default::default(),
                done: [false; 2],
                hears_client: false,
            };
            let at = self.free.pop().unwrap_or(self.pairs.len());
            if at == self.pairs.len() {
                self.pairs.push(None);
            }
            let served = self.begin(at, pair);
            self.keep(at, served);
        }
    }

    /// Reads the hello, which is nearly always there already.
    fn begin(&mut self, at: usize, mut pair: Pair) -> Result<Option<Pair>> {
        let client = pair.sides[0].as_ref().context("no client")?;
        let read = match recv(client, &mut self.buffer[..], RecvFlags::empty()) {
            Ok((read, _)) if read > 0 => read,
            Err(Errno::AGAIN) => {
                if !pair.hears_client {
                    self.watch(client, at, 0)?;
                    pair.hears_client = true;
                }
                return Ok(Some(pair));
            }
            _ => return Ok(None),
        };
        let hello = &self.buffer[..read];
        let mut routes = self.routes.iter();
        let Some(route) = routes.find(|route| route.name.find(hello).is_some()) else {
            bail!("nobody is called so");
        };
        let endpoint = route.endpoints[self.turn % route.endpoints.len()];
        self.turn += 1;
        let family = match endpoint {
            SocketAddr::V4(_) => AddressFamily::INET,
            SocketAddr::V6(_) => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let upstream = socket_with(family, SocketType::STREAM, flags, None)?;
        sockopt::set_tcp_quickack(&upstream, false)?;
        match connect(&upstream, &endpoint) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(fault) => return Err(fault.into()),
        }
        pair.behind[1].extend(hello);
        self.watch(&upstream, at, 1)?;
        pair.sides[1] = Some(upstream);
        Ok(Some(pair))
    }

    fn see(&mut self, mark: u64, flags: EventFlags) {
        let (at, side) = ((mark / 2) as usize, (mark % 2) as usize);
        // Both sides of a pair may have an event in the same batch; the first can have ended it.
        let Some(pair) = self.pairs.get_mut(at).and_then(Option::take) else {
            return;
        };
        let went_on = match pair.sides[1] {
            None => self.begin(at, pair),
            Some(_) => self.go_on(at, pair, side, flags),
        };
        self.keep(at, went_on);
    }

    fn go_on(
        &mut self,
        at: usize,
        mut pair: Pair,
        side: usize,
        flags: EventFlags,
    ) -> Result<Option<Pair>> {
        let ended = EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
        if flags.contains(EventFlags::OUT) && !pair.behind[side].is_empty() {
            let all = pair.flush(side)?;
            if !pair.hears_client {
                pair.hears_client = true;
                // It tells at once if there is more than the hello.
                self.watch(pair.sides[0].as_ref().context("no client")?, at, 0)?;
            } else if all {
                self.pump(&mut pair, 1 - side, true)?;
            }
        }
        if flags.intersects(EventFlags::IN | ended) {
            self.pump(&mut pair, side, flags.intersects(ended))?;
        }
        Ok((!pair.is_over()).then_some(pair))
    }

    /// From that side to the other, until a read is short: what comes later is told by the kernel. Where it may have told an end
    /// already, until nothing is left.
    fn pump(&mut self, pair: &mut Pair, from: usize, to_the_end: bool) -> Result<()> {
        let to = 1 - from;
        while pair.behind[to].is_empty() && !pair.done[from] {
            let (Some(source), Some(sink)) = (&pair.sides[from], &pair.sides[to]) else {
                return Ok(());
            };
            let read = match recv(source, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((read, _)) => read,
                Err(Errno::AGAIN) => return Ok(()),
                Err(fault) => return Err(fault.into()),
            };
            if read == 0 {
                pair.done[from] = true;
                if !pair.is_over() {
                    shutdown(sink, Shutdown::Write)?;
                }
                return Ok(());
            }
            let sent = match send(sink, &self.buffer[..read], SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(fault) => return Err(fault.into()),
            };
            pair.behind[to].extend(&self.buffer[sent..read]);
            if read < self.buffer.len() && !to_the_end {
                return Ok(());
            }
        }
        Ok(())
    }

    fn watch(&self, socket: impl AsFd, at: usize, side: usize) -> Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        let mark = EventData::new_u64(at as u64 * 2 + side as u64);
        Ok(epoll::add(&self.poll, socket, mark, flags)?)
    }

    /// A pair that is over, or failed, is closed by being dropped.
    fn keep(&mut self, at: usize, pair: Result<Option<Pair>>) {
        match pair {
            Ok(Some(pair)) => self.pairs[at] = Some(pair),
            Ok(None) | Err(_) => self.free.push(at),
        }
    }
}

impl Pair {
    /// Sends what is behind for that side; whether that was all of it.
    fn flush(&mut self, to: usize) -> Result<bool> {
        let sink = self.sides[to].as_ref().context("no such side yet")?;
        while !self.behind[to].is_empty() {
            match send(sink, self.behind[to].as_slices().0, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.behind[to].drain(..sent)),
                Err(Errno::AGAIN) => return Ok(false),
                Err(fault) => return Err(fault.into()),
            }
        }
        Ok(true)
    }

    fn is_over(&self) -> bool {
        self.done == [true; 2] && self.behind.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::backend::{Backend, Manner, Serving};
    use crate::load::{self, Opening, Plan, Work};

    #[test]
    fn bytes_of_each_kind_of_load_pass_it() {
        let manners = [
            (Manner::Answer, Work::Connections),
            (Manner::Echo, Work::RoundTrips),
            (Manner::Stream, Work::Download),
            (Manner::Sink, Work::Upload),
        ];
        let serve = |(manner, _): &(Manner, Work)| {
            Backend::start((Ipv4Addr::LOCALHOST, 0).into(), Serving::new(*manner), 0).unwrap()
        };
        let backends: Vec<Backend> = manners.iter().map(serve).collect();
        let names = ["answer.test", "echo.test", "stream.test", "sink.test"];
        let pairs = names.iter().zip(&backends);
        let routes = pairs.map(|(name, backend)| Route::new(name, vec![backend.address]));
        let routes = routes.collect();
        let listen = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listen.local_addr().unwrap();
        drop(listen);
        std::thread::spawn(move || run(address, routes));
        while TcpStream::connect(address).is_err() {
            std::thread::yield_now();
        }
        for ((_, work), name) in manners.iter().zip(names) {
            let plan = Plan {
                connections: 3,
                count: matches!(work, Work::Connections | Work::RoundTrips).then_some(300),
                bytes: 300_000,
                time: Some(std::time::Duration::from_millis(200)),
                limit: std::time::Duration::from_secs(20),
                ..Plan::new(
                    address,
                    *work,
                    Opening::bare(name, sidecar::SIDECAR_ALPN).unwrap(),
                )
            };
            let outcome = load::run(plan, false, &mut |_| Ok(())).unwrap();
            assert_eq!(outcome.failed(), 0, "{name}: {outcome}");
            assert!(outcome.done > 0 || outcome.bytes > 0, "{name}: {outcome}");
        }
    }
}
