//! How following a server goes, for people and metrics. It decides nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::session::{Mode, Session};
use super::{Kind, Unused};

/// How following a server goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The server.
    pub address: String,
    /// Who we are to it.
    pub node: String,
    /// How it stands.
    pub state: State,
    /// Which protocol is spoken.
    pub mode: Mode,
    /// Whether a snapshot is in force: everything has come once, or was kept from an earlier run.
    pub ready: bool,
    /// What is in force was kept from an earlier run; not everything has come since.
    pub loaded: bool,
    /// Streams that were opened.
    pub streams: u64,
    /// When something last came, in seconds since 1970.
    pub heard_at: Option<i64>,
    /// What went wrong last, until a stream answers again.
    pub last_error: Option<String>,
    /// By kind.
    pub kinds: BTreeMap<Kind, KindStatus>,
    /// What cannot be read at present; the last good one of each name is in force.
    pub refused: Vec<Refused>,
    /// Endpoints that were asked for and have not come.
    pub waiting: Vec<Arc<str>>,
    /// What is not taken of what was sent.
    #[serde(flatten)]
    pub unused: Unused,
}

/// How the stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// A stream is being opened.
    #[default]
    Connecting,
    /// A stream is open.
    Following,
    /// It has ended; the next one is opened soon. What is known stays in force.
    Waiting,
}

/// One kind of resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct KindStatus {
    /// How many are known.
    pub resources: usize,
    /// The server's version.
    pub version: String,
    /// Responses so far.
    pub responses: u64,
    /// Responses of which something was refused.
    pub nacks: u64,
}

/// A resource that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Why.
    pub why: String,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connecting, Self::Following, Self::Waiting];

    /// Its name in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Following => "following",
            Self::Waiting => "waiting",
        }
    }
}

impl Status {
    /// What has to come before anything can be served, for people.
    #[must_use]
    pub fn waits_for(&self) -> String {
        let address = &self.address;
        match (&self.last_error, self.waiting.first()) {
            (Some(error), _) => format!("the xDS server {address}: {error}"),
            (None, Some(first)) => format!(
                "endpoints of {} names from the xDS server {address}, {first} first",
                self.waiting.len()
            ),
            (None, None) => format!("clusters and listeners from the xDS server {address}"),
        }
    }

    /// Something came.
    pub(crate) fn heard(&mut self, kind: Option<Kind>, refused: bool) {
        self.heard_at = Some(now());
        self.last_error = None;
        if let Some(kind) = kind {
            let of = self.kinds.entry(kind).or_default();
            of.responses += 1;
            of.nacks += u64::from(refused);
        }
    }

    /// What the session knows now.
    pub(crate) fn describe(&mut self, session: &mut Session) {
        self.mode = session.mode();
        for kind in Kind::ALL {
            let of = self.kinds.entry(kind).or_default();
            of.resources = session.world().count(kind);
            session.version(kind).clone_into(&mut of.version);
        }
        let refused = session.refused().map(|(kind, name, why)| Refused {
            kind,
            name: name.to_owned(),
            why: why.to_owned(),
        });
        self.refused = refused.collect();
        self.waiting = session.waiting();
        self.unused = session.world().unused();
    }
}

/// Seconds since 1970.
#[must_use]
pub fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
