//! When a credential ends, as it says itself: for people to see. Nothing is verified here, and nothing is decided by it.

use k8s_openapi::ByteString;
use serde_json::Value;

/// When a JSON Web Token ends, in seconds since 1970 (`exp`, RFC 7519 section 4.1.4); `None` if it does not say.
#[must_use]
pub fn of_token(token: &str) -> Option<i64> {
    let claims = token.split('.').nth(1)?;
    // The alphabet of base64url, without padding (RFC 7515 section 2).
    let mut padded: String = claims
        .chars()
        .map(|c| match c {
            '-' => '+',
            '_' => '/',
            other => other,
        })
        .collect();
    padded.extend(std::iter::repeat_n('=', (4 - padded.len() % 4) % 4));
    let claims: Value = serde_json::from_slice(&base64(&padded)?).ok()?;
    claims.get("exp")?.as_f64().map(|seconds| seconds as i64)
}

/// When the first certificate of a PEM text ends (`notAfter`, RFC 5280 section 4.1.2.5), in seconds since 1970.
#[must_use]
pub fn of_certificate(pem: &str) -> Option<i64> {
    let (_, rest) = pem.split_once("-----BEGIN CERTIFICATE-----")?;
    let (body, _) = rest.split_once("-----END CERTIFICATE-----")?;
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    not_after(&base64(&body)?)
}

/// Base64 with padding; the type that Kubernetes' own byte fields have decodes it.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let decoded: Result<ByteString, _> = serde_json::from_value(Value::String(text.to_owned()));
    decoded.ok().map(|ByteString(bytes)| bytes)
}

/// Certificates as PEM, in base64 once more, as kubeconfigs have them; `None`: there are none.
pub(super) fn to_pem(certificates: &[Vec<u8>]) -> Option<String> {
    let mut pem = String::new();
    for der in certificates {
        let body = encoded(der)?;
        pem.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in body.as_bytes().chunks(64) {
            pem.push_str(&String::from_utf8_lossy(line));
            pem.push('\n');
        }
        pem.push_str("-----END CERTIFICATE-----\n");
    }
    if pem.is_empty() {
        None
    } else {
        encoded(pem.as_bytes())
    }
}

/// Bytes as base64, by the same type.
pub(super) fn encoded(bytes: &[u8]) -> Option<String> {
    let value = serde_json::to_value(ByteString(bytes.to_vec())).ok()?;
    value.as_str().map(str::to_owned)
}

/// Certificate, TBSCertificate, then by position: an optional version `[0]`, serial, algorithm, issuer, validity.
fn not_after(der: &[u8]) -> Option<i64> {
    let (_, certificate, _) = element(der)?;
    let (_, mut rest, _) = element(certificate)?;
    let (tag, _, after) = element(rest)?;
    if tag == 0xa0 {
        rest = after;
    }
    for _serial_algorithm_issuer in 0..3 {
        rest = element(rest)?.2;
    }
    let (_, validity, _) = element(rest)?;
    let (_, _not_before, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, std::str::from_utf8(text).ok()?)
}

/// One DER element: its tag, its content, and what follows it.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first & 0x80 != 0 {
        let (bytes, after) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if bytes.len() > 4 {
            return None;
        }
        length = bytes
            .iter()
            .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        rest = after;
    }
    let (content, after) = rest.split_at_checked(length)?;
    Some((tag, content, after))
}

/// UTCTime `YYMMDDHHMMSSZ` (years 1950 to 2049) or GeneralizedTime `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &str) -> Option<i64> {
    let digits = text.strip_suffix('Z')?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        0x17 => {
            let (year, rest) = digits.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        0x18 => {
            let (year, rest) = digits.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let field = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let days = days_since_1970(year, field(0)?, field(2)?);
    Some(((days * 24 + field(4)?) * 60 + field(6)?) * 60 + field(8)?)
}

/// Days of the Gregorian calendar; years are counted from March, so that the leap day is their last.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year
        - 719_468
}

#[cfg(test)]
mod tests;
