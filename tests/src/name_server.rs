//! A DNS server for stories: it knows a few names, and remembers what it was asked. It must not resolve anything else.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Types of records (RFC 1035, 3.2.2; RFC 3596, 2.1).
const A: u16 = 1;
const AAAA: u16 = 28;

/// The header before the question (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// A running name server, ended when this is dropped.
pub struct NameServer {
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Starts one that knows these names, by UDP.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(address: SocketAddr, names: &[(&str, &[IpAddr])]) -> io::Result<Self> {
        let socket = UdpSocket::bind(address).await?;
        let known: BTreeMap<String, Vec<IpAddr>> = names
            .iter()
            .map(|(name, ips)| ((*name).to_owned(), ips.to_vec()))
            .collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        let task = tokio::spawn(async move {
            let mut query = [0; 1_500];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                let Some((answer, name)) = answer(&query[..length], &known) else {
                    continue;
                };
                lock(&seen).push(name);
                // Who asked may be gone.
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Ok(Self { asked, task })
    }

    /// The names it was asked for, one after the other.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(names: &Mutex<Vec<String>>) -> std::sync::MutexGuard<'_, Vec<String>> {
    names.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer to a query with one question, and the name in it. A name that is not known does not exist.
fn answer(query: &[u8], known: &BTreeMap<String, Vec<IpAddr>>) -> Option<(Vec<u8>, String)> {
    let mut at = HEADER;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            break;
        }
        let label = query.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes(query.get(at + 1..at + 3)?.try_into().ok()?);
    let question = query.get(HEADER..at + 5)?;
    let name = labels.join(".");
    let found = known.get(&name);
    let records: Vec<Vec<u8>> = found
        .into_iter()
        .flatten()
        .filter_map(|ip| match (ip, kind) {
            (IpAddr::V4(ip), A) => Some(ip.octets().to_vec()),
            (IpAddr::V6(ip), AAAA) => Some(ip.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut answer = query.get(..2)?.to_vec();
    // A response, recursion wanted and available; 3: no such name (RFC 1035, 4.1.1).
    answer.extend([0x81, if found.is_some() { 0x80 } else { 0x83 }, 0, 1, 0]);
    answer.push(u8::try_from(records.len()).ok()?);
    answer.extend([0; 4]);
    answer.extend(question);
    for record in records {
        // The name of the question, its type, class IN, a minute, the address.
        answer.extend([0xc0, HEADER as u8]);
        answer.extend(kind.to_be_bytes());
        answer.extend([0, 1, 0, 0, 0, 60, 0]);
        answer.push(u8::try_from(record.len()).ok()?);
        answer.extend(record);
    }
    Some((answer, name))
}
