//! First bytes that are text: whose they are, so that who sends them is found. It must not take any of them for TLS.

use super::Reject;

/// How those begin who are known to come to the wrong port: HTTP/1.1 (RFC 9110 section 9.3, RFC 5789), HTTP/2 (RFC 9113 section
/// 3.4), SSH (RFC 4253 section 4.2), and load balancers with a PROXY header of either version.
const KNOWN: [(&[u8], Reject); 13] = [
    (b"GET ", Reject::Http),
    (b"HEAD ", Reject::Http),
    (b"POST ", Reject::Http),
    (b"PUT ", Reject::Http),
    (b"PATCH ", Reject::Http),
    (b"DELETE ", Reject::Http),
    (b"CONNECT ", Reject::Http),
    (b"OPTIONS ", Reject::Http),
    (b"TRACE ", Reject::Http),
    (b"PRI * HTTP/2.0\r\n", Reject::Http),
    (b"SSH-", Reject::Ssh),
    (b"PROXY ", Reject::ProxyHeader),
    (b"\r\n\r\n\0\r\nQUIT\n", Reject::ProxyHeader),
];

/// Who speaks; `None` while it can still be one of those that are known.
pub(super) fn judge(raw: &[u8]) -> Option<Reject> {
    if let Some((_, reject)) = KNOWN.iter().find(|(known, _)| raw.starts_with(known)) {
        return Some(*reject);
    }
    let undecided = KNOWN.iter().any(|(known, _)| known.starts_with(raw));
    (!undecided).then_some(Reject::Text)
}
