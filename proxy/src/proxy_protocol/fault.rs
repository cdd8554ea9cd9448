//! What is wrong with a PROXY header, in words for the log.

use crate::close::Reason;

/// Why a connection's first bytes are refused as a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ProxyFault {
    /// The first bytes begin no header of either version.
    #[error(
        "no PROXY header came first; make the load balancer send one, or turn it off for this listener"
    )]
    Missing,
    /// Version 1: no end of line within the 107 bytes that the longest line has.
    #[error("PROXY v1: the line does not end within 107 bytes")]
    LongLine,
    /// Version 1: a line feed without the carriage return before it.
    #[error("PROXY v1: the line ends without a carriage return")]
    NoReturn,
    /// Version 1: none of `TCP4`, `TCP6` and `UNKNOWN`.
    #[error("PROXY v1: the protocol is none of TCP4, TCP6 and UNKNOWN")]
    UnknownProtocol,
    /// Version 1: not exactly two addresses and two ports, with one space before each.
    #[error("PROXY v1: the line has not two addresses and two ports with one space before each")]
    BadLine,
    /// Version 1: an address that is not of the protocol's family.
    #[error("PROXY v1: an address is none of the family that the line names")]
    BadAddress,
    /// Version 1: a port that is no number up to 65535, or has leading zeros.
    #[error("PROXY v1: a port is no number from 0 to 65535 without leading zeros")]
    BadPort,
    /// Version 2's signature, but another version behind it.
    #[error("PROXY v2: the version behind the signature is {0}, not 2")]
    UnknownVersion(u8),
    /// Version 2: a command that is neither `LOCAL` nor `PROXY`.
    #[error("PROXY v2: the command {0:#x} is neither LOCAL nor PROXY")]
    UnknownCommand(u8),
    /// Version 2: an address family or transport that the protocol does not define.
    #[error("PROXY v2: the address family and transport {0:#04x} are not defined")]
    UnknownFamily(u8),
    /// Version 2: more bytes than we take.
    #[error("PROXY v2: {0} bytes follow the fixed part; at most 4080 are taken")]
    LongHeader(u16),
    /// Version 2: too few bytes for the addresses of its family.
    #[error("PROXY v2: {0} bytes are too few for the addresses of the family")]
    ShortAddresses(u16),
    /// Version 2: the extra fields behind the addresses do not fill the rest of the header.
    #[error("PROXY v2: an extra field (TLV) runs beyond the end of the header")]
    BadField,
}

impl ProxyFault {
    /// The reason under which all of them are counted.
    #[must_use]
    pub const fn reason(self) -> Reason {
        Reason::ProxyHeaderMissing
    }
}
