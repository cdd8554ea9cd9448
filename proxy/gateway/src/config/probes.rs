//! How the gateways of other networks are asked whether they are there. It must not ask anybody.

use discovery::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Switch;

/// Probes of every address at which another network is entered. One without a sign of life for `interval` is asked with a
/// hello for a service that is ready behind it; traffic that succeeds is a sign of life.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Probes {
    /// Whether there are any: `on` (default) or `off`. Without them only failing dials tell that a gateway is gone.
    pub active: Switch,
    /// Time without a sign of life before an address is asked, a tenth more or less; `1s` by default.
    pub interval: Span,
    /// How long it may take to answer, the connect included; `1s` by default.
    pub timeout: Span,
    /// So many failures of the last `of`, and it is dead; 3 by default.
    pub fall: u32,
    /// So many signs of life of the last `of`, and it is back; 2 by default.
    pub rise: u32,
    /// How many of the latest answers count; 4 by default, 32 at most.
    pub of: u32,
}

impl Default for Probes {
    fn default() -> Self {
        let usual = proxy::config::Probes::default();
        Self {
            active: Switch::On,
            interval: Span(usual.interval),
            timeout: Span(usual.timeout),
            fall: usual.fall,
            rise: usual.rise,
            of: usual.of,
        }
    }
}

impl Probes {
    pub(super) fn to_proxy(&self) -> proxy::config::Probes {
        proxy::config::Probes {
            active: self.active == Switch::On,
            interval: self.interval.0,
            timeout: self.timeout.0,
            fall: self.fall,
            rise: self.rise,
            of: self.of,
        }
    }

    /// What is wrong with them: the key, and why.
    pub(super) fn fault(&self) -> Option<(&'static str, &'static str)> {
        // More often than this says nothing more, and is felt by who is asked.
        if self.interval.0.as_millis() < 50 {
            return Some(("interval", "it must be 50ms at least"));
        }
        if self.timeout.0.is_zero() {
            return Some(("timeout", "it must be longer than nothing"));
        }
        if !(1..=32).contains(&self.of) {
            return Some(("of", "it must be between 1 and 32"));
        }
        let count = |key, count: u32| {
            let why = "it must be between 1 and 'of'";
            (!(1..=self.of).contains(&count)).then_some((key, why))
        };
        count("fall", self.fall).or_else(|| count("rise", self.rise))
    }
}
