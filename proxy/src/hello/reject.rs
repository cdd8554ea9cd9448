//! Why a hello is refused. Finer than [`Reason`], for the log line and a counter of its own; every variant belongs to exactly
//! one reason.

use crate::close::Reason;

macro_rules! rejects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $reason:ident, $message:literal;)*) => {
        /// Why a hello is refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
        pub enum Reject {
            $($(#[$doc])* #[error($message)] $variant,)*
        }

        impl Reject {
            /// Every one.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// The reason under which the connection is counted.
            #[must_use]
            pub const fn reason(self) -> Reason {
                match self {
                    $(Self::$variant => Reason::$reason,)*
                }
            }
        }
    };
}

rejects! {
    /// The first record is an alert: the client gave up before it began.
    Alert = "alert", NotTls, "a TLS alert came first; the client gave up before its hello";
    /// A request in plain HTTP.
    Http = "http", NotTls, "plain HTTP; the client must speak TLS on this port";
    /// An SSH client.
    Ssh = "ssh", NotTls, "SSH; the client must speak TLS on this port";
    /// A PROXY header where none is wanted.
    ProxyHeader = "proxy_header", NotTls, "a PROXY header; give this listener 'proxyProtocol', or stop the load balancer from sending one";
    /// The first byte is text, of nobody we know.
    Text = "text", NotTls, "plain text, not TLS; the client must speak TLS on this port";
    /// The first byte is that of an SSL 2.0 hello.
    Ssl2 = "ssl2", NotTls, "an SSL 2.0 hello or binary data; the client must speak TLS 1.0 or later";
    /// The first byte begins no TLS handshake record.
    NotTls = "binary", NotTls, "not TLS; the client must speak TLS on this port";
    /// The first record is a handshake record by its type, but of a version that TLS never had.
    RecordVersion = "record_version", NotTls, "not TLS: the first record's version is none of SSL 3.0 to TLS 1.3";
    /// A handshake record without a byte, which RFC 8446 section 5.1 forbids.
    EmptyRecord = "empty_record", MalformedHello, "malformed: an empty handshake record, which RFC 8446 section 5.1 forbids";
    /// A record longer than RFC 8446 section 5.1 allows.
    LongRecord = "long_record", MalformedHello, "malformed: a record of more than 2^14 bytes, which RFC 8446 section 5.1 forbids";
    /// A record of another type or version before the hello's end, which RFC 8446 section 5.1 forbids.
    ForeignRecord = "foreign_record", MalformedHello, "malformed: something other than a handshake record stands between the records of the hello";
    /// The first handshake message is not a ClientHello.
    NotClientHello = "not_client_hello", MalformedHello, "malformed: the first handshake message is no ClientHello";
    /// Something stands behind the hello within its last record, which RFC 8446 section 5.1 forbids before a key change.
    TrailingMessage = "trailing_message", MalformedHello, "malformed: bytes follow the hello within its last record";
    /// The hello asks for SSL 3.0 or older, or for a version that is not TLS's.
    LegacyVersion = "legacy_version", MalformedHello, "malformed: the hello's version is not TLS 1.0 or later";
    /// A length within the hello points beyond its end.
    Truncated = "truncated", MalformedHello, "malformed: a field of the hello runs beyond its end";
    /// Bytes are left where a field should end.
    TrailingBytes = "trailing_bytes", MalformedHello, "malformed: bytes are left over at the end of a field of the hello";
    /// A list within the hello is empty, too long or cut through.
    BadList = "bad_list", MalformedHello, "malformed: a list within the hello has a length that its definition forbids";
    /// More raw bytes than the ceiling.
    TooLarge = "too_large", HelloTooLarge, "the hello is larger than 'limits.helloBytes'; raise it if such clients are wanted";
    /// More than one entry in the list of server names; parsers disagree about which one counts.
    TwoNames = "two_names", TwoNames, "two server names in one hello";
    /// The same extension twice, which RFC 8446 section 4.2 forbids; parsers disagree about which one counts.
    DuplicateExtension = "duplicate_extension", DuplicateExtension, "the same extension twice in one hello";
    /// The server name is empty, too long, or has bytes or labels that no host name has.
    BadName = "bad_name", BadName, "the server name is no host name";
    /// The server name is an IP address, which RFC 6066 section 3 forbids.
    AddressAsName = "address_as_name", BadName, "the server name is an IP address, which RFC 6066 section 3 forbids; the client must send a host name";
    /// No server name.
    NoName = "no_name", NoName, "no server name; the client must send one (SNI)";
}
