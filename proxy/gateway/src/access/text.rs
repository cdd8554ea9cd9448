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
    let cluster = report.route.as_ref().map(|route| route.name());
    let cluster = cluster.as_deref().unwrap_or("-");
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
    use super::super::tests::report;
    use super::*;

    /// Field by field as Istio's default format has them: 24 of them, also where HTTP's are empty.
    #[test]
    fn a_failure_is_istios_default_line() {
        assert_eq!(
            line(&report()),
            "[2026-11-21T04:36:46.123Z] \"- - -\" 0 UF,URX - dial_refused \"-\" 0 0 42 - \"-\" \"-\" \"-\" \"-\" \
             \"10.0.1.5:9898\" - - 0.0.0.0:15443 10.1.0.7:40000 outbound_.5000_._.hello.default.svc.cluster.local -\n"
        );
    }
}
