//! The proxies that are measured: where they are, how they are set up alike, how they are started and found ready. It must not
//! favour one: what differs between them is what a user of each would write.

mod causeway;
mod envoy;
mod floor;
mod haproxy;
mod nginx;

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

pub use self::causeway::{build, workspace};
use crate::cores::Cores;
use crate::process::{self, Cpu, Ended};

/// How long a proxy may take until it listens; with thousands of routes some take seconds.
const START: Duration = Duration::from_secs(60);

/// How long each proxy waits for a hello: long enough that `memory` can open thousands of connections without one and look.
const HELLO_SECONDS: u32 = 120;

/// One proxy with one way to set it up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Peer {
    /// Ours, with its defaults and one worker.
    Causeway,
    /// The same with a worker that looks for more for 50 us before it sleeps, which only a lone round trip is meant to feel.
    #[value(skip)]
    CausewayPolling,
    /// With its defaults and one thread.
    Haproxy,
    /// The same with splicing forced and pipes of 1 MiB: its best for bulk, dearer for small round trips.
    HaproxySplice,
    /// With its defaults, one worker, and half-close as the others have it.
    Nginx,
    /// With its defaults and one worker.
    Envoy,
    /// No gateway: a bare relay, for what the kernel alone costs. It copies, so for bulk it is no floor.
    Floor,
}

/// What one server name leads to.
#[derive(Clone, Debug)]
pub struct Route {
    /// The service.
    pub host: String,
    /// Where it is served.
    pub endpoints: Vec<SocketAddr>,
    /// Where else, in another region than the proxy's: for when nobody of `endpoints` is left. Of all proxies only ours is told
    /// regions here.
    pub farther: Vec<SocketAddr>,
}

/// A proxy that is there.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub peer: Peer,
    /// Its binary.
    pub binary: PathBuf,
    /// What it says of itself.
    pub version: String,
}

/// A proxy that listens.
pub struct Running {
    /// Which.
    pub peer: Peer,
    /// Where.
    pub address: SocketAddr,
    child: Ended,
    /// Goes when this does.
    _folder: Folder,
}

/// What a peer's own file makes of routes: files to write, and arguments.
struct Setup {
    files: Vec<(&'static str, String)>,
    arguments: Vec<OsString>,
}

impl Peer {
    /// All of them with the settings that are compared, ours first.
    pub const ALL: [Self; 6] = [
        Self::Causeway,
        Self::HaproxySplice,
        Self::Haproxy,
        Self::Nginx,
        Self::Envoy,
        Self::Floor,
    ];

    /// Its name in tables, files and arguments.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Causeway => "causeway",
            Self::CausewayPolling => "causeway-polling",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
            Self::Floor => "floor",
        }
    }

    /// Where it is on this machine. `causeway`: our binary, where it is not the one that [`build`] makes.
    ///
    /// # Errors
    /// When it is not there, or does not run.
    pub fn find(self, causeway: Option<&Path>) -> Result<Found> {
        let (binary, version) = match self {
            Self::Causeway | Self::CausewayPolling => causeway::find(causeway)?,
            Self::Haproxy | Self::HaproxySplice => haproxy::find()?,
            Self::Nginx => nginx::find()?,
            Self::Envoy => envoy::find()?,
            Self::Floor => floor::find()?,
        };
        Ok(Found {
            peer: self,
            binary,
            version,
        })
    }

    /// Whether it is a Causeway.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Causeway | Self::CausewayPolling)
    }

    /// How the threads that serve connections are called, where there are others beside them.
    fn worker(self) -> &'static str {
        match self {
            Self::Causeway | Self::CausewayPolling => "worker",
            Self::Haproxy | Self::HaproxySplice => "haproxy",
            Self::Nginx => "nginx",
            Self::Envoy => "wrk:worker",
            Self::Floor => "bench",
        }
    }
}

impl Route {
    /// A service with endpoints.
    #[must_use]
    pub fn new(host: &str, endpoints: Vec<SocketAddr>) -> Self {
        Self {
            host: format!("{host}.default.svc.cluster.local"),
            endpoints,
            farther: Vec::new(),
        }
    }

    /// The server name that leads there, as a sidecar says it.
    #[must_use]
    pub fn sni(&self) -> String {
        format!("outbound_.5000_._.{}", self.host)
    }
}

impl Found {
    /// Starts it on its core, and waits until it listens.
    ///
    /// # Errors
    /// When it does not; with what it said.
    pub fn start(&self, routes: &[Route], cores: &Cores) -> Result<Running> {
        self.start_with(routes, cores, &[])
    }

    /// The same with further arguments.
    ///
    /// # Errors
    /// When it does not listen; with what it said.
    pub fn start_with(
        &self,
        routes: &[Route],
        cores: &Cores,
        arguments: &[String],
    ) -> Result<Running> {
        let name = self.peer.name();
        ensure!(
            self.peer.is_ours() || routes.iter().all(|route| route.farther.is_empty()),
            "{name} is told no regions"
        );
        // Not bound by anybody meanwhile: who finds it taken says so.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let folder = Folder::new(name, address.port())?;
        let setup = match self.peer {
            Peer::Causeway => causeway::setup(&folder.0, address, routes, 0),
            Peer::CausewayPolling => causeway::setup(&folder.0, address, routes, 50),
            Peer::Haproxy => haproxy::setup(&folder.0, address, routes, false),
            Peer::HaproxySplice => haproxy::setup(&folder.0, address, routes, true),
            Peer::Nginx => nginx::setup(&folder.0, address, routes),
            Peer::Envoy => envoy::setup(&folder.0, address, routes),
            Peer::Floor => floor::setup(address, routes),
        };
        for (file, text) in &setup.files {
            fs::write(folder.0.join(file), text)?;
        }
        let log = folder.0.join("log");
        let out = fs::File::create(&log)?;
        let mut command = Command::new(&self.binary);
        command
            .args(setup.arguments)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out);
        let child = cores
            .start_proxy(&mut command)
            .with_context(|| format!("cannot start {}", self.binary.display()))?;
        let mut running = Running {
            peer: self.peer,
            address,
            child: Ended(child),
            _folder: folder,
        };
        running.until_it_listens().with_context(|| {
            let said = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            format!("{name} said last: {}", last.join(" | "))
        })?;
        Ok(running)
    }
}

impl Running {
    /// CPU time so far, with all threads and children.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> Result<Cpu> {
        process::cpu(self.child.0.id())
    }

    /// Memory, with all children.
    ///
    /// # Errors
    /// When it has ended.
    pub fn memory(&self) -> Result<u64> {
        process::memory(self.child.0.id())
    }

    /// The threads that serve connections.
    ///
    /// # Errors
    /// When none has the name that this proxy gives them.
    pub fn workers(&self) -> Result<Vec<u32>> {
        let main = self.child.0.id();
        let threads = process::threads(main);
        let workers: Vec<u32> = threads
            .iter()
            .filter(|(_, name)| name.starts_with(self.peer.worker()))
            .map(|(thread, _)| *thread)
            // nginx's first process serves nobody while it has children.
            .filter(|thread| self.peer != Peer::Nginx || *thread != main)
            .collect();
        ensure!(
            !workers.is_empty(),
            "{} has no thread called {}*, only {threads:?}",
            self.peer.name(),
            self.peer.worker()
        );
        Ok(workers)
    }

    fn until_it_listens(&mut self) -> Result<()> {
        let begin = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.0.try_wait()? {
                bail!("it ended with {status}");
            }
            ensure!(
                begin.elapsed() < START,
                "it does not listen on {} after {START:?}",
                self.address
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// A folder for one proxy's files, removed in the end.
struct Folder(PathBuf);

impl Folder {
    /// `port`: where it listens, because two tests of one process may start the same proxy at once.
    fn new(name: &str, port: u16) -> Result<Self> {
        let name = format!("causeway-bench-{}-{name}-{port}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// What a program says when it is asked for its version, on whichever of its outputs.
fn said(binary: &Path, argument: &str) -> Result<String> {
    let output = Command::new(binary)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {}", binary.display()))?;
    let both = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&both).trim().to_owned())
}

/// A program in `PATH`, or where Debian keeps those of the administrator.
fn in_path(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: `make peers` installs it"))
}

#[cfg(test)]
pub(crate) mod tests;
