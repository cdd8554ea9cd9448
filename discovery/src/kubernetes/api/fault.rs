//! What can go wrong between us and an API server, in words for people. No credential may stand in them.

use std::error::Error;
use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;

/// Characters of a server's message that are shown.
const MESSAGE: usize = 300;

/// Why a request had no good answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The server does not know the credential, or no longer (401).
    #[error("the API server does not accept the credential (401): it has ended or was revoked")]
    Unauthorized,
    /// The credential does not allow this (403).
    #[error("the credential does not allow it (403): {0}")]
    Forbidden(String),
    /// There is nothing (404).
    #[error("the API server has no such thing (404): {0}")]
    NotFound(String),
    /// The version of the data to go on from is too old (410).
    #[error("the version to go on from is gone (410)")]
    Gone,
    /// The server does not know this form of request (422, and 400).
    #[error("the API server does not take this request: {0}")]
    Unprocessable(String),
    /// The server has too much to do (429, 503 with a time).
    #[error("the API server asks for patience ({status})")]
    Busy {
        /// Its status.
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// Any other answer that is no success.
    #[error("the API server answered {status}: {message}")]
    Status {
        /// Its status.
        status: u16,
        /// What it says.
        message: String,
    },
    /// No answer, or a broken one.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// Nothing came for this long.
    #[error("nothing came from the API server for {0:?}")]
    Silent(Duration),
    /// An answer or a line above the limit.
    #[error("the API server's answer is larger than {0} bytes")]
    TooLarge(usize),
    /// A list of more objects than the limit.
    #[error("the API server lists more than {0} objects")]
    TooMany(usize),
    /// An answer that is not what was asked for. What it says is left out, for it may be a Secret.
    #[error("the API server's answer cannot be read, at its line {line}, column {column}")]
    Garbage {
        /// The line, counted from 1.
        line: usize,
        /// The column.
        column: usize,
    },
    /// An answer that can be read but makes no sense.
    #[error("the API server's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// We asked wrongly.
    #[error("the request cannot be made: {0}")]
    BadRequest(&'static str),
}

/// The part of a `Status` object that is of interest.
#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    message: String,
}

impl Fault {
    /// A request or body that broke; the last cause says most.
    pub(super) fn unreachable(fault: &kube::Error) -> Self {
        let mut cause: &dyn Error = fault;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        Self::Unreachable(shown(&cause.to_string()))
    }

    /// An answer that is not JSON, or not of the form that was asked for.
    pub(crate) fn garbage(fault: &serde_json::Error) -> Self {
        Self::Garbage {
            line: fault.line(),
            column: fault.column(),
        }
    }

    /// An answer that is no success, with its body.
    pub(crate) fn from_status(
        status: StatusCode,
        retry_after: Option<Duration>,
        body: &[u8],
    ) -> Self {
        let said: Result<Status, _> = serde_json::from_slice(body);
        let message = said.map_or_else(|_| String::new(), |said| shown(&said.message));
        match status {
            StatusCode::UNAUTHORIZED => Self::Unauthorized,
            StatusCode::FORBIDDEN => Self::Forbidden(message),
            StatusCode::NOT_FOUND => Self::NotFound(message),
            StatusCode::GONE => Self::Gone,
            StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => {
                Self::Unprocessable(message)
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Self::Busy {
                status: status.as_u16(),
                retry_after,
            },
            _ => Self::Status {
                status: status.as_u16(),
                message,
            },
        }
    }
}

/// What a server said, fit for a log: bounded, on one line.
fn shown(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MESSAGE).map(safe).collect()
}
