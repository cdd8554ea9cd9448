//! Istio's default text line (its `pilot/pkg/model/telemetry_logging.go`), field by field, as its proxies write it for TCP:
//! what only HTTP has is `-`. Our reason stands where Envoy gives details of a connection's end.

use std::fmt::Write;

use proxy::access::Report;

use super::record::time;

/// The line, with its end.
pub(crate) fn line(report: &Report) -> String {
    let close = report.close;
    let details = if close.is_failure() {
        close.reason.as_str()
    } else {
        "-"
    };
    let chosen = report.chosen().or_else(|| report.attempts.last());
    let upstream = chosen.map_or_else(|| "-".to_owned(), |attempt| attempt.address.to_string());
    let cluster = report.route.as_ref().map_or("-", |route| &route.name);
    let sni = report.name.as_deref().unwrap_or("-");
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = writeln!(
        line,
        "[{start}] \"- - -\" 0 {flag} - {details} \"-\" {bytes_received} {bytes_sent} {duration} - \"-\" \"-\" \"-\" \"-\" \
         \"{upstream}\" {cluster} - {listener} {client} {sni} -",
        start = time(report.began),
        flag = close.reason.flag(),
        bytes_received = report.sent,
        bytes_sent = report.received,
        duration = report.duration.as_millis(),
        listener = report.listener,
        client = report.client,
    );
    line
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use proxy::access::{Attempt, Outcome};
    use proxy::close::{Blame, Close, Reason, Stage};
    use proxy::config::Role;

    use super::*;

    /// Field by field as Istio's default format has them: 24 of them, also where HTTP's are empty.
    #[test]
    fn a_failure_is_istios_default_line() {
        let report = Report {
            began: SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_235_806_123),
            duration: Duration::from_millis(42),
            listener: "0.0.0.0:15443".parse().expect("an address"),
            role: Role::Inbound,
            client: "10.1.0.7:40000".parse().expect("an address"),
            peer: None,
            name: Some("outbound_.5000_._.hello.default.svc.cluster.local".into()),
            alpn: ["istio"].into_iter().collect(),
            route: None,
            attempts: vec![Attempt {
                address: "10.0.1.5:9898".parse().expect("an address"),
                origin: std::sync::Arc::default(),
                tier: 0,
                gateway: false,
                outcome: Outcome::Refused,
                took: Duration::from_millis(1),
            }],
            sent: 0,
            received: 0,
            first_byte: None,
            close: Close::new(Stage::Dial, Reason::DialRefused, Blame::Upstream),
            omitted: 0,
        };
        assert_eq!(
            line(&report),
            "[2026-11-21T04:36:46.123Z] \"- - -\" 0 UF,URX - dial_refused \"-\" 0 0 42 - \"-\" \"-\" \"-\" \"-\" \
             \"10.0.1.5:9898\" - - 0.0.0.0:15443 10.1.0.7:40000 outbound_.5000_._.hello.default.svc.cluster.local -\n"
        );
    }
}
