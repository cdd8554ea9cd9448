//! Why a hello is refused. Finer than [`Reason`], for the log line; every variant belongs to exactly one reason.

use crate::close::Reason;

/// Why a hello is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Reject {
    /// The first record is an alert: the client gave up before it began.
    #[error("a TLS alert came first; the client gave up before its hello")]
    Alert,
    /// The first byte is text.
    #[error("plain text, not TLS; the client must speak TLS on this port")]
    Text,
    /// The first byte is that of an SSL 2.0 hello.
    #[error("an SSL 2.0 hello or binary data; the client must speak TLS 1.0 or later")]
    Ssl2,
    /// The first byte begins no TLS handshake record.
    #[error("not TLS; the client must speak TLS on this port")]
    NotTls,
    /// The first record is a handshake record by its type, but of a version that TLS never had.
    #[error("not TLS: the first record's version is none of SSL 3.0 to TLS 1.3")]
    RecordVersion,
    /// A handshake record without a byte, which RFC 8446 section 5.1 forbids.
    #[error("malformed: an empty handshake record, which RFC 8446 section 5.1 forbids")]
    EmptyRecord,
    /// A record longer than RFC 8446 section 5.1 allows.
    #[error("malformed: a record of more than 2^14 bytes, which RFC 8446 section 5.1 forbids")]
    LongRecord,
    /// A record of another type or version before the hello's end, which RFC 8446 section 5.1 forbids.
    #[error(
        "malformed: something other than a handshake record stands between the records of the hello"
    )]
    ForeignRecord,
    /// The first handshake message is not a ClientHello.
    #[error("malformed: the first handshake message is no ClientHello")]
    NotClientHello,
    /// Something stands behind the hello within its last record, which RFC 8446 section 5.1 forbids before a key change.
    #[error("malformed: bytes follow the hello within its last record")]
    TrailingMessage,
    /// The hello asks for SSL 3.0 or older, or for a version that is not TLS's.
    #[error("malformed: the hello's version is not TLS 1.0 or later")]
    LegacyVersion,
    /// A length within the hello points beyond its end.
    #[error("malformed: a field of the hello runs beyond its end")]
    Truncated,
    /// Bytes are left where a field should end.
    #[error("malformed: bytes are left over at the end of a field of the hello")]
    TrailingBytes,
    /// A list within the hello is empty, too long or cut through.
    #[error("malformed: a list within the hello has a length that its definition forbids")]
    BadList,
    /// More raw bytes than the ceiling.
    #[error("the hello is larger than the limit; raise the limit if such clients are wanted")]
    TooLarge,
    /// More than one entry in the list of server names; parsers disagree about which one counts.
    #[error("two server names in one hello")]
    TwoNames,
    /// The same extension twice, which RFC 8446 section 4.2 forbids; parsers disagree about which one counts.
    #[error("the same extension twice in one hello")]
    DuplicateExtension,
    /// The server name is empty, too long, or has bytes or labels that no host name has.
    #[error("the server name is no host name")]
    BadName,
    /// The server name is an IP address, which RFC 6066 section 3 forbids.
    #[error(
        "the server name is an IP address, which RFC 6066 section 3 forbids; the client must send a host name"
    )]
    AddressAsName,
    /// No server name.
    #[error("no server name; the client must send one (SNI)")]
    NoName,
}

impl Reject {
    /// The reason under which it is counted.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Alert | Self::Text | Self::Ssl2 | Self::NotTls | Self::RecordVersion => {
                Reason::NotTls
            }
            Self::EmptyRecord
            | Self::LongRecord
            | Self::ForeignRecord
            | Self::NotClientHello
            | Self::TrailingMessage
            | Self::LegacyVersion
            | Self::Truncated
            | Self::TrailingBytes
            | Self::BadList => Reason::MalformedHello,
            Self::TooLarge => Reason::HelloTooLarge,
            Self::TwoNames => Reason::TwoNames,
            Self::DuplicateExtension => Reason::DuplicateExtension,
            Self::BadName | Self::AddressAsName => Reason::BadName,
            Self::NoName => Reason::NoName,
        }
    }
}
