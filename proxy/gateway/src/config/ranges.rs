//! Ranges of addresses as a person writes them: `10.0.0.0/8`, or a single address. It must not know who is in them.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Deserializer, de};

/// Bits before the IPv4 address in one that is mapped into IPv6 (RFC 4291 section 2.5.5.2).
const MAPPED: u8 = 96;

/// A list of ranges.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let ranges = texts.iter().map(|text| {
        range(text).ok_or_else(|| {
            let said = format!(
                "'{text}' is no range of addresses: write one like 10.0.0.0/8 or fd00::/8, or a single address"
            );
            de::Error::custom(said)
        })
    });
    ranges.collect()
}

/// IPv4 in IPv6's clothes is IPv4: that is how clients are seen.
fn range(text: &str) -> Option<IpNet> {
    let alone = || text.parse::<IpAddr>().ok().map(IpNet::from);
    let range = text.parse::<IpNet>().ok().or_else(alone)?;
    let IpNet::V6(six) = range else {
        return Some(range);
    };
    let mapped = six.addr().to_ipv4_mapped();
    let length = six.prefix_len().checked_sub(MAPPED);
    let four = mapped.zip(length);
    four.map_or(Some(range), |(address, length)| {
        Ipv4Net::new(address, length).ok().map(IpNet::V4)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_read_as_clients_are_seen() {
        for (text, read) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
            ("::ffff:10.9.0.0/112", "10.9.0.0/16"),
            ("::ffff:10.9.0.1", "10.9.0.1/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(
                range(text).map(|range| range.to_string()),
                Some(read.into()),
                "{text}"
            );
        }
        for text in [
            "",
            "10.0.0.0/33",
            "localhost",
            "10.0.0.0/8,fd00::/8",
            "fd00::1%lo",
        ] {
            assert_eq!(range(text), None, "{text}");
        }
    }
}
