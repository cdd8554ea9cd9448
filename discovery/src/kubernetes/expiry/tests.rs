//! Ends of credentials, against what openssl and date say of them.

use super::*;

/// Made by openssl 3.0; `openssl x509 -enddate` says Nov 21 04:52:17 2027 GMT.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBczCCARmgAwIBAgIUQjwvVVcfBrq9t2GZs4+9NlJEMLwwCgYIKoZIzj0EAwIw
DzENMAsGA1UEAwwEdGVzdDAeFw0yNjExMjEwNDUyMTdaFw0yNzExMjEwNDUyMTda
MA8xDTALBgNVBAMMBHRlc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAARxfsgG
m4ezrOHtQ9hnGdjb8CoEys70FbaBnUB0bcVyOJbqL4UxoZiYuJjC4zJPVkDErmas
JeO+CPS2FEE6ob/Ho1MwUTAdBgNVHQ4EFgQUD6257U9B67vn6/ITXiEsJYjmPs0w
HwYDVR0jBBgwFoAUD6257U9B67vn6/ITXiEsJYjmPs0wDwYDVR0TAQH/BAUwAwEB
/zAKBggqhkjOPQQDAgNIADBFAiEA/Ho2ocdGszc7Ku3hYuM71HdYXA0BtzUqKoRu
BiWclgACIC+INCBnpcBt9wLgn5Fs6sZ4+6azfjo51+sFsobsSMQf
-----END CERTIFICATE-----
";

#[test]
fn a_certificate_says_when_it_ends() {
    assert_eq!(of_certificate(CERTIFICATE), Some(1_826_772_737));
    let chain = format!("a comment before it\n{CERTIFICATE}{CERTIFICATE}");
    assert_eq!(of_certificate(&chain), Some(1_826_772_737));
}

#[test]
fn both_forms_of_time_are_read() {
    // The seconds are those of date -u +%s.
    assert_eq!(time(0x18, "20510301010203Z"), Some(2_561_245_323));
    assert_eq!(time(0x17, "491231235959Z"), Some(2_524_607_999));
    assert_eq!(time(0x17, "700101000000Z"), Some(0));
    assert_eq!(time(0x17, "000229120000Z"), Some(951_825_600));
    for wrong in ["", "Z", "49123123595Z", "4912312359590", "4912312359é9Z"] {
        assert_eq!(time(0x17, wrong), None, "{wrong}");
    }
}

#[test]
fn a_damaged_certificate_says_nothing() {
    assert_eq!(of_certificate(""), None);
    let body: String = CERTIFICATE
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = base64(&body).expect("base64");
    for end in 0..der.len() {
        // Cut anywhere, the length of the outermost element no longer fits.
        assert_eq!(not_after(&der[..end]), None, "{end}");
    }
}

#[test]
fn a_token_says_when_it_ends() {
    // {"exp":1826772737,"x":"??>"}: its base64url has a '_' and no padding.
    assert_eq!(
        of_token("e30.eyJleHAiOjE4MjY3NzI3MzcsIngiOiI_Pz4ifQ.sig"),
        Some(1_826_772_737)
    );
    assert_eq!(of_token("e30.e30.sig"), None);
    for wrong in ["", "opaque", "a.b", "a.%%%.c"] {
        assert_eq!(of_token(wrong), None, "{wrong}");
    }
}

#[test]
fn certificates_go_to_pem_and_back() {
    assert_eq!(to_pem(&[]), None);
    let body: String = CERTIFICATE
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    let der = base64(&body).expect("base64");
    let twice = to_pem(&[der.clone(), der]).expect("two certificates");
    let pem = String::from_utf8(base64(&twice).expect("base64")).expect("text");
    assert_eq!(pem, CERTIFICATE.repeat(2));
}
