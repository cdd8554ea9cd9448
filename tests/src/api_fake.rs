//! An API server that can go wrong in every way, over real TLS: what it holds is given as YAML, and what it does to requests
//! as a fault. It must know nothing of who asks.

mod answer;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::control_plane::{documents, path_of};

/// What is done to every request, until another or none is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connections are refused.
    Refuse,
    /// Requests are read and never answered.
    Stall,
    /// The connection is reset in the middle of a list.
    ResetMidList,
    /// This status.
    Status(u16),
    /// Something that is no JSON.
    Garbage,
    /// Lists without end.
    Endless,
    /// The first list of each kind is empty, those that follow are true.
    EmptyOnce,
    /// Every list is empty.
    Empty,
    /// The first list of each kind is of an older version and lacks its first object, those that follow are true.
    OlderOnce,
    /// It is another cluster's, without objects.
    OtherCluster,
}

/// A running server; ended when this is dropped.
pub struct ApiFake {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    address: SocketAddr,
    acceptor: TlsAcceptor,
    /// PEM.
    certificate: String,
    state: Mutex<State>,
    /// Every change ends what is under way.
    changed: watch::Sender<()>,
}

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    /// Kinds, by path, that have had their one false list.
    lied: BTreeSet<String>,
    /// Objects by the path of their list.
    lists: BTreeMap<String, Vec<Value>>,
    documents: BTreeMap<String, Value>,
    version: u64,
    token: String,
    /// True lists that were given since the last fault was set.
    truths: usize,
}

impl ApiFake {
    /// Starts one at this address with these objects.
    ///
    /// # Panics
    /// When the address cannot be bound, or the text is no YAML.
    pub async fn start(address: SocketAddr, yaml: &str) -> Self {
        let made = generate_simple_self_signed([address.ip().to_string()]);
        let CertifiedKey { cert, signing_key } = made.expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("the key was made for the certificate");
        let shared = Arc::new(Shared {
            address,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate: cert.pem(),
            state: Mutex::new(State {
                version: 100,
                token: "first".into(),
                ..State::default()
            }),
            changed: watch::Sender::new(()),
        });
        let listener = bind(address);
        let task = tokio::spawn(serve(shared.clone(), listener));
        let fake = Self { shared, task };
        fake.put(yaml);
        fake
    }

    /// From now on it does this to requests, and what is under way ends. What it holds counts as changed, so that whoever
    /// watches has to list anew.
    pub fn set(&self, fault: Option<Fault>) {
        let mut state = self.state();
        state.fault = fault;
        state.lied.clear();
        state.truths = 0;
        state.version += 1;
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// These objects are new or different.
    ///
    /// # Panics
    /// When the text is no YAML.
    pub fn put(&self, yaml: &str) {
        let mut state = self.state();
        state.version += 1;
        let version = state.version.to_string();
        for mut object in documents(yaml) {
            let path = path_of(&object);
            let (list, _) = path.rsplit_once('/').expect("a name at its end");
            let list = if object["kind"] == "Secret" {
                list.to_owned()
            } else {
                answer::of_all_namespaces(list)
            };
            object["metadata"]["resourceVersion"] = json!(version);
            let known = state.lists.entry(list).or_default();
            let name = |object: &Value| object["metadata"]["name"].clone();
            known.retain(|other| name(other) != name(&object));
            known.push(object);
        }
        drop(state);
        self.shared.changed.send_replace(());
    }

    /// This is at this path.
    pub fn serve(&self, path: &str, document: Value) {
        self.state().documents.insert(path.to_owned(), document);
    }

    /// Only this token is known from now on.
    pub fn accept_only(&self, token: &str) {
        self.state().token = token.to_owned();
        self.shared.changed.send_replace(());
    }

    /// How many true lists it has given since the last fault was set.
    #[must_use]
    pub fn truths(&self) -> usize {
        self.state().truths
    }

    /// How it is reached, with this token.
    #[must_use]
    pub fn kubeconfig(&self, token: &str) -> String {
        let authority = base64(self.shared.certificate.as_bytes());
        let server = format!("https://{}", self.shared.address);
        format!(
            "apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: '{server}', certificate-authority-data: {authority}}}}}]
users: [{{name: u, user: {{token: {token}}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
"
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for ApiFake {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.changed.send_replace(());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    fn fault(&self) -> Option<Fault> {
        self.state().fault
    }
}

/// Bytes as API objects and kubeconfigs have them (RFC 4648 section 4).
#[must_use]
pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for at in 0..4 {
            if at <= chunk.len() {
                let index = bits >> (18 - 6 * at) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

fn bind(address: SocketAddr) -> TcpListener {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option");
    socket.bind(address).expect("a free address");
    socket.listen(64).expect("it listens")
}

async fn serve(shared: Arc<Shared>, mut listener: TcpListener) {
    let mut changed = shared.changed.subscribe();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                tokio::spawn(connection(shared.clone(), stream));
            }
            _ = changed.changed() => {}
        }
        if shared.fault() == Some(Fault::Refuse) {
            drop(listener);
            let healed = changed.wait_for(|()| shared.fault() != Some(Fault::Refuse));
            if healed.await.is_err() {
                return;
            }
            listener = bind(shared.address);
        }
    }
}

/// One connection, until something changes.
async fn connection(shared: Arc<Shared>, stream: TcpStream) {
    let mut changed = shared.changed.subscribe();
    tokio::select! {
        _ = changed.changed() => {}
        _ = wire::serve(&shared, stream) => {}
    }
}
