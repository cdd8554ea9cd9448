//! `bench load`: what its arguments make of a plan, and how its outcome is shown. It sends nothing itself.

use std::io::IsTerminal;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bench::load::{self, Opening, Plan, Work};
use clap::Args;

use super::{pki, span};

/// Sends load to an address and says what came of it.
///
/// Without --rate the loop is closed: each connection waits for its last answer, so a target that stalls is sent less, and its
/// latencies look better than clients would find them. With --rate the loop is open: a unit's latency counts from the moment
/// it was due, whether anybody was free to send it or not.
#[derive(Args)]
pub(crate) struct Load {
    /// Where to: address or name, and port. Of a name with several addresses those of one family are taken in turn.
    #[arg(value_parser = addresses)]
    address: Addresses,
    /// What one unit of work is.
    #[arg(long, value_enum, default_value = "connections")]
    work: Work,
    /// End after so many units of work.
    #[arg(long)]
    count: Option<u64>,
    /// End after so long; 10s unless a count is given.
    #[arg(long = "for", value_parser = span, value_name = "TIME")]
    time: Option<Duration>,
    /// Connections in flight, or that stay; in an open loop the most that are in flight.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Bytes sent and received in a round trip.
    #[arg(long, default_value_t = 128)]
    bytes: usize,
    /// Units of work a second, whatever comes back: an open loop.
    #[arg(long)]
    rate: Option<f64>,
    /// Let the load grow from nothing over this time: the rate of an open loop, else the number of connections.
    #[arg(long, value_parser = span, default_value = "0s", value_name = "TIME")]
    ramp: Duration,
    /// Work for this long before anything is counted; in an open loop at its full rate.
    #[arg(long, value_parser = span, default_value = "0s", value_name = "TIME")]
    warmup: Duration,
    /// A unit that takes longer has failed.
    #[arg(long, value_parser = span, default_value = "15s", value_name = "TIME")]
    limit: Duration,
    /// Server name of the hello.
    #[arg(long, default_value = sidecar::HELLO_NAME)]
    sni: String,
    /// ALPN values of the hello, with commas; empty for none.
    #[arg(long, value_delimiter = ',', default_values = sidecar::SIDECAR_ALPN)]
    alpn: Vec<String>,
    /// Real mutual TLS. Without it a hello is sent as bare bytes, and what the endpoint sends back is taken as it is.
    #[arg(long)]
    tls: bool,
    /// Folder with root-cert.pem, cert-chain.pem and key.pem, as Istio names them; implies --tls.
    #[arg(long, value_name = "FOLDER")]
    certificates: Option<PathBuf>,
    /// Print the outcome as JSON.
    #[arg(long)]
    json: bool,
}

impl Load {
    pub(crate) fn run(self) -> Result<()> {
        let alpn: Vec<&str> = self
            .alpn
            .iter()
            .map(String::as_str)
            .filter(|name| !name.is_empty())
            .collect();
        let opening = if self.tls || self.certificates.is_some() {
            Opening::tls(&pki(self.certificates.as_deref())?, &self.sni, &alpn)?
        } else {
            Opening::bare(&self.sni, &alpn)?
        };
        let ten_seconds = self.count.is_none().then_some(Duration::from_secs(10));
        let plan = Plan {
            connections: self.connections,
            bytes: self.bytes,
            count: self.count,
            time: self.time.or(ten_seconds),
            warmup: self.warmup,
            rate: self.rate,
            ramp: self.ramp,
            limit: self.limit,
            ..Plan::new(self.address.0[0], self.work, opening)
        };
        let plan = Plan {
            addresses: self.address.0,
            ..plan
        };
        bench::cores::raise_file_limit();
        let progress = std::io::stderr().is_terminal();
        let outcome = load::run(plan, progress, &mut |_| Ok(()))?;
        if self.json {
            println!("{:#}", outcome.json());
        } else {
            println!("{outcome}");
        }
        if outcome.failed() > 0 {
            bail!("{} units of work failed", outcome.failed());
        }
        Ok(())
    }
}

/// Never empty.
#[derive(Clone)]
struct Addresses(Vec<SocketAddr>);

fn addresses(text: &str) -> Result<Addresses> {
    let all = text.to_socket_addrs();
    let all = all.with_context(|| format!("'{text}' is no address with a port"))?;
    let mut all: Vec<SocketAddr> = all.collect();
    let first = *all
        .first()
        .with_context(|| format!("'{text}' has no address"))?;
    // A name can have addresses of a family that this machine cannot reach.
    all.retain(|address| address.is_ipv4() == first.is_ipv4());
    Ok(Addresses(all))
}
