//! Names of things, as cheap shared strings. Nothing here knows what the names refer to.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! shared_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether the name is not known (the empty string).
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.0.is_empty()
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.into())
            }
        }

        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

shared_name! {
    /// A Kubernetes API server and what runs there, as Istio's `CLUSTER_ID` and the keys of remote Secrets name it.
    ClusterId
}

shared_name! {
    /// A set of addresses that reach each other directly, as the label `topology.istio.io/network` names it. Empty: not
    /// known.
    NetworkId
}

/// A DNS name in lower case without a trailing dot: `hello.default.svc.cluster.local`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hostname(Arc<str>);

/// The name of a service: the same host in two clusters is one service.
pub type ServiceId = Hostname;

/// A text that is no host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidHostname {
    /// The text as it was given.
    pub name: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Hostname {
    /// Normalises (lower case, one trailing dot removed) and checks the form of RFC 1123 section 2.1: labels of 1-63
    /// letters, digits, `-` or `_`, 253 bytes in all. Underscores are allowed, as Kubernetes and DNS allow them.
    ///
    /// # Errors
    /// [`InvalidHostname`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, InvalidHostname> {
        let name = text.strip_suffix('.').unwrap_or(text);
        let fault = if name.is_empty() {
            Some("it is empty")
        } else if name.len() > 253 {
            Some("it is longer than 253 bytes")
        } else if name
            .split('.')
            .any(|label| label.is_empty() || label.len() > 63)
        {
            Some("each label between the dots has 1 to 63 bytes")
        } else if !name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        {
            Some("only letters, digits, '-', '_' and '.' are allowed")
        } else {
            None
        };
        match fault {
            Some(why) => Err(InvalidHostname {
                name: text.to_owned(),
                why,
            }),
            None => Ok(Self(name.to_ascii_lowercase().into())),
        }
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Hostname {
    type Error = InvalidHostname;

    fn try_from(text: String) -> Result<Self, InvalidHostname> {
        Self::parse(&text)
    }
}

impl From<Hostname> for String {
    fn from(host: Hostname) -> Self {
        host.0.as_ref().into()
    }
}

impl Borrow<str> for Hostname {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InvalidHostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a host name: {}", self.name, self.why)
    }
}

impl std::error::Error for InvalidHostname {}
