//! A report in the words of the access log and of `/failures`. It must not leave anything out.

use std::time::{Duration, SystemTime};

use proxy::access::{Attempt, Report};
use serde::Serialize;

/// One connection that ended. Times are milliseconds, to the microsecond.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) start: String,
    pub(crate) duration_ms: f64,
    pub(crate) reason: &'static str,
    pub(crate) stage: &'static str,
    pub(crate) blame: &'static str,
    pub(crate) flag: &'static str,
    /// What was wrong with the hello, where that is why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    pub(crate) role: &'static str,
    pub(crate) listener: String,
    pub(crate) client: String,
    /// Who connected, where a PROXY header named another client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    pub(crate) sni: Option<String>,
    pub(crate) alpn: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) route: Option<Route>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) attempts: Vec<Tried>,
    pub(crate) sent: u64,
    pub(crate) received: u64,
    pub(crate) first_byte_ms: Option<f64>,
    /// Ends for the same reason that were left out since the line before.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) omitted: u64,
}

/// Where the server name led.
#[derive(Debug, Serialize)]
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) service: String,
    pub(crate) port: u16,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) subset: String,
}

/// An endpoint, or another network's gateway.
#[derive(Debug, Serialize)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
    pub(crate) cluster: String,
    pub(crate) network: String,
    pub(crate) locality: String,
    pub(crate) workload: String,
    pub(crate) tier: u8,
    pub(crate) gateway: bool,
}

/// One attempt to reach one.
#[derive(Debug, Serialize)]
pub(crate) struct Tried {
    #[serde(flatten)]
    pub(crate) endpoint: Endpoint,
    pub(crate) outcome: &'static str,
    pub(crate) ms: f64,
}

impl Record {
    /// What a report says.
    pub(crate) fn of(report: &Report) -> Self {
        let close = report.close;
        let route = report.route.as_ref().map(|route| Route {
            name: route.name(),
            service: route.service.to_string(),
            port: route.port,
            subset: route.subset.to_string(),
        });
        let tried = |attempt: &Attempt| Tried {
            endpoint: Endpoint::of(attempt),
            outcome: attempt.outcome.as_str(),
            ms: millis(attempt.took),
        };
        Self {
            start: time(report.began),
            duration_ms: millis(report.duration),
            reason: close.reason.as_str(),
            stage: close.stage.as_str(),
            blame: close.blame.as_str(),
            flag: close.reason.flag(),
            detail: report.reject.map(|reject| reject.to_string()),
            role: report.role.as_str(),
            listener: report.listener.to_string(),
            client: report.client.to_string(),
            peer: report.peer.map(|peer| peer.to_string()),
            sni: report.name.as_ref().map(ToString::to_string),
            alpn: report.alpn.to_string(),
            route,
            endpoint: report.chosen().map(Endpoint::of),
            attempts: report.attempts.iter().map(tried).collect(),
            sent: report.sent,
            received: report.received,
            first_byte_ms: report.first_byte.map(millis),
            omitted: report.omitted,
        }
    }

    /// As one line of JSON.
    pub(crate) fn line(&self) -> String {
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

impl Endpoint {
    fn of(attempt: &Attempt) -> Self {
        let origin = &attempt.origin;
        Self {
            address: attempt.address.to_string(),
            cluster: origin.cluster.to_string(),
            network: origin.network.to_string(),
            locality: origin.locality.to_string(),
            workload: origin.workload.name.to_string(),
            tier: attempt.tier,
            gateway: attempt.gateway,
        }
    }
}

/// `2026-11-21T04:36:46.123Z`, as Envoy writes `%START_TIME%`.
pub(crate) fn time(at: SystemTime) -> String {
    let at = jiff::Timestamp::try_from(at).unwrap_or_default();
    format!("{at:.3}")
}

fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1_000.0
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
