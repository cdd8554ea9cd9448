//! One look-up of a name: addresses, none, or a failure. It must not remember what came before.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;

use model::Hostname;

/// What the C library says where there is no such name, or no address under it (`EAI_NONAME` and `EAI_NODATA` of
/// `getaddrinfo(3)`; glibc's words, then musl's). The standard library passes on the words alone. Whatever else it says is a failure
/// to find out, after which nothing changes, so words that are not known here lose nothing.
const NONE: [&str; 4] = [
    "Name or service not known",
    "No address associated with hostname",
    "Name does not resolve",
    "Name has no usable address",
];

/// What a look-up found.
#[derive(Debug)]
pub(crate) enum Answer {
    /// Addresses of both families, sorted; an IPv4 one that is mapped into IPv6 is itself.
    Addresses(Vec<IpAddr>),
    /// There are none; in whose words.
    Empty(String),
    /// It could not be found out.
    Fault(io::Error),
}

/// All addresses of a name. By the C library, on a thread of its own: since glibc 2.34 the hosts file and DNS are inside it even
/// where it is linked statically, which `make image-check` shows in an empty root.
pub(super) async fn look_up(name: Hostname) -> (Hostname, Answer) {
    let answer = match tokio::net::lookup_host((absolute(&name), 0)).await {
        Ok(addresses) => {
            let ips = addresses.map(|address| address.ip().to_canonical());
            let ips: BTreeSet<IpAddr> = ips.collect();
            match ips.is_empty() {
                true => Answer::Empty("no address".into()),
                false => Answer::Addresses(ips.into_iter().collect()),
            }
        }
        Err(fault) => judge(fault),
    };
    (name, answer)
}

/// Absolute, so that a search list cannot turn it into another name. A single label is one of the hosts file's.
fn absolute(name: &Hostname) -> String {
    let dot = if name.as_str().contains('.') { "." } else { "" };
    format!("{name}{dot}")
}

fn judge(fault: io::Error) -> Answer {
    let said = fault.to_string();
    match NONE.iter().any(|none| said.ends_with(none)) {
        true => Answer::Empty(said),
        false => Answer::Fault(fault),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_absolute_but_for_those_of_the_hosts_file() {
        for (name, asked) in [
            ("gateway.eu.example", "gateway.eu.example."),
            ("a.b", "a.b."),
            ("localhost", "localhost"),
        ] {
            let name = Hostname::parse(name).expect("a host name");
            assert_eq!(absolute(&name), asked);
        }
    }

    /// `tests/it/names.rs` has the C library say it.
    #[test]
    fn only_what_is_said_not_to_be_there_is_an_empty_answer() {
        for (said, empty) in [
            (
                "failed to lookup address information: Name or service not known",
                true,
            ),
            (
                "failed to lookup address information: No address associated with hostname",
                true,
            ),
            (
                "failed to lookup address information: Temporary failure in name resolution",
                false,
            ),
            (
                "failed to lookup address information: Non-recoverable failure in name resolution",
                false,
            ),
            ("Too many open files (os error 24)", false),
        ] {
            let answer = judge(io::Error::other(said));
            assert_eq!(matches!(answer, Answer::Empty(_)), empty, "{said}");
        }
    }

    #[tokio::test]
    async fn the_hosts_file_is_asked() {
        let name = Hostname::parse("localhost").expect("a host name");
        let (_, Answer::Addresses(ips)) = look_up(name).await else {
            panic!("the hosts file has localhost");
        };
        assert!(ips.contains(&IpAddr::from([127, 0, 0, 1])), "{ips:?}");
        assert!(ips.is_sorted(), "{ips:?}");
    }
}
