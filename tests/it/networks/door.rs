//! A door before a gateway: what a network does to whoever wants to enter it. It must not know what goes through.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What happens to whoever comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    /// They get through.
    Open,
    /// Nobody listens: the kernel answers with a reset.
    Refuse,
    /// The kernel answers nothing.
    Swallow,
    /// Accepted, and reset on the first bytes.
    Reset,
    /// Only probes of gateways are reset on their first bytes.
    ResetProbes,
}

/// A door; dropped, it is gone with everything that goes through it.
pub(super) struct Door {
    /// Where it is, whatever the weather.
    pub(super) address: SocketAddr,
    to: SocketAddr,
    stands: Stands,
}

/// What stands at the port; the port is kept whatever it is.
enum Stands {
    Listening(JoinHandle<()>),
    /// Refuses or swallows.
    Shut {
        _kept: Socket,
    },
    /// Between two of the others.
    Nothing,
}

/// The filter that lets nothing in: `BPF_RET | BPF_K` of 0 bytes (linux/bpf_common.h).
const NOTHING: SockFilter = SockFilter::new(0x06, 0, 0, 0);

impl Door {
    /// An open one that leads there.
    pub(super) fn open(to: SocketAddr) -> Self {
        let socket = bind(SocketAddr::new(sidecar::fresh_loopback(), 0)).expect("bound");
        let address = socket.local_addr().expect("an address");
        let address = address.as_socket().expect("of IP");
        let stands = listen(socket, to, Weather::Open).expect("it listens");
        Self {
            address,
            to,
            stands,
        }
    }

    /// This is the weather from now on; what has gone through so far is cut.
    pub(super) async fn set(&mut self, weather: Weather) {
        if let Stands::Listening(task) = &mut self.stands {
            task.abort();
            // Only when the task has ended is its listener closed; how it ended is known.
            let _ = task.await;
        }
        self.stands = Stands::Nothing;
        let socket = bind(self.address).expect("bound again");
        self.stands = match weather {
            Weather::Refuse => Stands::Shut { _kept: socket },
            Weather::Swallow => {
                // Before it listens, so that nobody slips in.
                socket.attach_filter(&[NOTHING]).expect("a filter");
                socket.listen(0).expect("it listens");
                Stands::Shut { _kept: socket }
            }
            _ => listen(socket, self.to, weather).expect("it listens"),
        };
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Stands::Listening(task) = &self.stands {
            task.abort();
        }
    }
}

fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::IPV4,
        Type::STREAM.cloexec().nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn listen(socket: Socket, to: SocketAddr, weather: Weather) -> io::Result<Stands> {
    socket.listen(1024)?;
    let listener = TcpListener::from_std(socket.into())?;
    Ok(Stands::Listening(tokio::spawn(async move {
        let mut inside = JoinSet::new();
        loop {
            if let Ok((client, _)) = listener.accept().await {
                // Whatever ends a connection, its ends have seen it.
                inside.spawn(pass(client, to, weather));
            }
            while inside.try_join_next().is_some() {}
        }
    })))
}

async fn pass(mut client: TcpStream, to: SocketAddr, weather: Weather) -> io::Result<()> {
    let mut first = vec![0; 16 << 10];
    let read = client.read(&mut first).await?;
    let is_probe = first[..read]
        .windows(14)
        .any(|bytes| bytes == b"causeway-probe");
    if weather == Weather::Reset || (weather == Weather::ResetProbes && is_probe) {
        return client.set_zero_linger();
    }
    let mut inside = TcpStream::connect(to).await?;
    inside.write_all(&first[..read]).await?;
    copy_bidirectional(&mut client, &mut inside).await?;
    Ok(())
}
