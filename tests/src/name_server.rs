//! A DNS server for stories: it knows a few names, and remembers what it was asked. It must not resolve anything else.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// The type of record of IPv4 addresses (RFC 1035, 3.2.2).
pub const A: u16 = 1;

/// And of IPv6 addresses (RFC 3596, 2.1).
pub const AAAA: u16 = 28;

/// The header before the question (RFC 1035, 4.1.1).
const HEADER: usize = 12;

/// The name that no name server knows anything of: it is answered with SERVFAIL (RFC 1035, 4.1.1).
pub const TROUBLED: &str = "troubled.example";

/// A question: the name, in lower case and without its last dot, and the type of record.
pub type Question = (String, u16);

/// A running name server, ended when this is dropped.
pub struct NameServer {
    asked: Arc<Mutex<Vec<Question>>>,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Starts one that knows these names, by UDP: some may have no address. Names that are not among them do not exist, but for
    /// [`TROUBLED`].
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
                let Some((answer, question)) = answer(&query[..length], &known) else {
                    continue;
                };
                lock(&seen).push(question);
                // Who asked may be gone.
                let _ = socket.send_to(&answer, from).await;
            }
        });
        Ok(Self { asked, task })
    }

    /// What it was asked, one after the other.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        lock(&self.asked).clone()
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(asked: &Mutex<Vec<Question>>) -> std::sync::MutexGuard<'_, Vec<Question>> {
    asked.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer to a query with one question, and that question.
fn answer(query: &[u8], known: &BTreeMap<String, Vec<IpAddr>>) -> Option<(Vec<u8>, Question)> {
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
    // No fault, the server's failure, no such name (RFC 1035, 4.1.1).
    let code = match found {
        Some(_) => 0,
        None if name == TROUBLED => 2,
        None => 3,
    };
    // A response, recursion wanted and available.
    answer.extend([0x81, 0x80 | code, 0, 1, 0]);
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
    Some((answer, (name, kind)))
}
