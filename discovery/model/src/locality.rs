//! Where something runs. How close two places are is `closeness`'s business.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// `region/zone/subzone`; a part that is not known is empty, and equal only to empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Locality {
    /// For instance `us-west`.
    pub region: Arc<str>,
    /// For instance `us-west-a`.
    pub zone: Arc<str>,
    /// For instance a rack.
    pub subzone: Arc<str>,
}

impl FromStr for Locality {
    type Err = Infallible;

    /// Cuts at the first two slashes; parts that are missing stay empty.
    fn from_str(text: &str) -> Result<Self, Infallible> {
        let mut parts = text.splitn(3, '/').map(Arc::from);
        let mut next = || parts.next().unwrap_or_default();
        Ok(Self {
            region: next(),
            zone: next(),
            subzone: next(),
        })
    }
}

impl From<String> for Locality {
    fn from(text: String) -> Self {
        let Ok(locality) = text.parse();
        locality
    }
}

impl From<&str> for Locality {
    fn from(text: &str) -> Self {
        let Ok(locality) = text.parse();
        locality
    }
}

impl From<Locality> for String {
    fn from(locality: Locality) -> Self {
        locality.to_string()
    }
}

impl fmt::Display for Locality {
    /// Trailing empty parts are left out: `us-west/us-west-a`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.region)?;
        if !self.zone.is_empty() || !self.subzone.is_empty() {
            write!(f, "/{}", self.zone)?;
        }
        if !self.subzone.is_empty() {
            write!(f, "/{}", self.subzone)?;
        }
        Ok(())
    }
}
