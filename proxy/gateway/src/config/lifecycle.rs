//! How the gateway ends, and which connections end before they would. It must not end anything.

use std::time::Duration;

use discovery::Span;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happens after SIGTERM: not ready any more; after `announce` the listeners close; then what is open closes at quiet
/// moments within `window`, and the rest at its end.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long clients are still accepted, because load balancers need to learn first; `5s` by default.
    pub announce: Span,
    /// How long open connections may take to reach a quiet moment; `20s` by default.
    pub window: Span,
}

/// Connections that are closed at a quiet moment while they could go on.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Closing {
    /// Those that are older, a tenth more or less; none by default.
    pub max_age: Option<Span>,
    /// Failback: so many a second of those whose traffic has a closer tier again; 0 (default): they stay where they are.
    pub failback_per_second: u32,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            announce: Span(Duration::from_secs(5)),
            window: Span(Duration::from_secs(20)),
        }
    }
}
