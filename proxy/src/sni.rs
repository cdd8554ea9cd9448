//! The grammar of mesh names, `outbound_.<port>_.<subset>_.<host>`: taken apart, put together. It knows no services.
//!
//! Istio compares such names as strings, so only the one spelling that it writes is read here; its own parser, which takes
//! `inbound_`, ports with leading zeros and missing parts, is not followed.

use std::fmt;

/// A mesh name's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MeshName<'a> {
    /// The Service's port, never a target port.
    pub port: u16,
    /// A subset's name; empty for the whole service.
    pub subset: &'a str,
    /// The service's host name.
    pub host: &'a str,
}

/// How every mesh name begins.
const PREFIX: &str = "outbound_.";
/// What stands between its parts.
const SEPARATOR: &str = "_.";

/// Takes a normalised server name apart. `None` if it is not of the mesh's form: the prefix, a port from 1 to 65535 in
/// decimal without leading zeros, a subset that may be empty, and a host that is not empty and holds no further separator.
#[must_use]
pub fn parse_mesh_name(name: &str) -> Option<MeshName<'_>> {
    let rest = name.strip_prefix(PREFIX)?;
    let (port, rest) = rest.split_once(SEPARATOR)?;
    let (subset, host) = rest.split_once(SEPARATOR)?;
    if host.is_empty() || host.contains(SEPARATOR) {
        return None;
    }
    Some(MeshName {
        port: parse_port(port)?,
        subset,
        host,
    })
}

/// Digits only (`str::parse` would take a plus sign), the first of them not zero.
fn parse_port(digits: &str) -> Option<u16> {
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) || digits.starts_with('0') {
        return None;
    }
    digits.parse().ok()
}

impl MeshName<'_> {
    /// Whether a normalised server name is this one as Envoy compares it: the table's names are lower case, a subset's may not
    /// be. Port 0 has no name.
    #[must_use]
    pub(crate) fn is_spelled(&self, name: &str) -> bool {
        let Self { port, subset, host } = self;
        let rest = name.strip_prefix(PREFIX);
        let Some((digits, rest)) = rest.and_then(|rest| rest.split_once(SEPARATOR)) else {
            return false;
        };
        let mut parts = [*subset, SEPARATOR, *host].into_iter();
        parse_port(digits) == Some(*port) && parts.try_fold(rest, after) == Some("")
    }
}

/// What stands after a part as it is spelled in lower case.
fn after<'a>(name: &'a str, part: &str) -> Option<&'a str> {
    let (head, tail) = name.split_at_checked(part.len())?;
    let lower = part.bytes().map(|byte| byte.to_ascii_lowercase());
    head.bytes().eq(lower).then_some(tail)
}

impl fmt::Display for MeshName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { port, subset, host } = self;
        write!(f, "{PREFIX}{port}{SEPARATOR}{subset}{SEPARATOR}{host}")
    }
}

#[cfg(test)]
mod tests;
