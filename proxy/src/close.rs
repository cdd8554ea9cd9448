//! Why and how a connection ended: one value, from which every log line, metric and admin answer about it comes.

use std::fmt;

/// How one connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Close {
    /// How far it had come.
    pub stage: Stage,
    /// Why it ended.
    pub reason: Reason,
    /// Whose doing it was.
    pub blame: Blame,
}

/// The stages of a connection, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Taken from the listener, nothing read.
    Accept,
    /// Reading the ClientHello (and a PROXY header before it).
    Hello,
    /// Looking its server name up.
    Route,
    /// Choosing an endpoint.
    Pick,
    /// Connecting to one.
    Dial,
    /// The hello is sent; nothing has come back yet.
    Answer,
    /// Bytes flow.
    Relay,
}

/// Whose doing an end was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// A connection that ended as its peers wanted it to.
    Nobody,
    /// The client, or the network before it.
    Downstream,
    /// The endpoint, or the network behind us.
    Upstream,
    /// This gateway, or how it is set up.
    Gateway,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $flag:literal;)*) => {
        /// Why a connection ended: a closed set. The README's table says what each means and what to do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
        }

        impl Reason {
            /// Every reason, in the order of the stages where they happen.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in logs, metrics and answers.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Envoy's response flags for the same thing, as its access log prints them; `-` where Envoy has none.
            #[must_use]
            pub const fn flag(self) -> &'static str {
                match self {
                    $(Self::$variant => $flag,)*
                }
            }
        }
    };
}

reasons! {
    /// A ceiling is reached: open connections, one source's, pending hellos, descriptors, or the service's own limit.
    Overloaded = "overloaded", "UO";
    /// Nobody wanted to be served: closed by the client before its first byte (a load balancer's check, a scanner), or another
    /// gateway's probe, which was answered.
    Probe = "probe", "-";
    /// A PROXY header is required here, and what came is none.
    ProxyHeaderMissing = "proxy_header_missing", "-";
    /// A PROXY header came from an address that is not listed.
    ProxySourceRefused = "proxy_source_refused", "-";
    /// The hello was not complete in time.
    HelloTimeout = "hello_timeout", "-";
    /// The client closed or reset within its hello.
    HelloCut = "hello_cut", "-";
    /// The first bytes are not a TLS handshake.
    NotTls = "not_tls", "-";
    /// A TLS handshake that is no well-formed ClientHello.
    MalformedHello = "malformed_hello", "-";
    /// The hello is larger than the ceiling.
    HelloTooLarge = "hello_too_large", "-";
    /// Two server names in one hello.
    TwoNames = "two_names", "-";
    /// The same extension twice.
    DuplicateExtension = "duplicate_extension", "-";
    /// The server name is no host name.
    BadName = "bad_name", "-";
    /// No server name.
    NoName = "no_name", "-";
    /// None of the mesh's ALPN values is offered on a mesh listener.
    AlpnRefused = "alpn_refused", "NR";
    /// A mesh listener got a name that is not of the mesh's form.
    NotMeshName = "not_mesh_name", "NR";
    /// No such service is exported here.
    UnknownService = "unknown_service", "NR";
    /// The service is known, but not on that port.
    UnknownPort = "unknown_port", "NR";
    /// The service and port are known, but not that subset.
    UnknownSubset = "unknown_subset", "NR";
    /// The route is known, but none of its endpoints may be used now.
    NoEndpoint = "no_endpoint", "UH";
    /// The client went away while an endpoint was being dialled.
    ClientGone = "client_gone", "-";
    /// Every endpoint that was tried refused.
    DialRefused = "dial_refused", "UF,URX";
    /// No endpoint that was tried answered in time.
    DialTimeout = "dial_timeout", "UF,URX";
    /// No route to the endpoints that were tried, or another error of the network.
    DialUnreachable = "dial_unreachable", "UF,URX";
    /// The gateway itself could not dial: no descriptor, no port.
    DialUnable = "dial_unable", "UF";
    /// Every endpoint that was tried closed before its first byte.
    UpstreamClosedEarly = "upstream_closed_early", "UF,URX";
    /// The other network's gateway answered the hello with a TLS alert, which was passed on.
    GatewayAlert = "gateway_alert", "UF,URX";
    /// The client closed before the endpoint had answered at all.
    Unanswered = "unanswered", "-";
    /// Both sides closed.
    Done = "done", "-";
    /// The client reset the connection.
    ClientReset = "client_reset", "-";
    /// The endpoint reset the connection.
    UpstreamReset = "upstream_reset", "-";
    /// A peer took no more bytes until the user timeout ran out.
    PeerStalled = "peer_stalled", "-";
    /// A peer vanished: keepalive found nobody.
    PeerGone = "peer_gone", "-";
    /// Closed at a quiet moment because the gateway is draining.
    Drained = "drained", "-";
    /// Closed at the end of the drain window, quiet or not.
    DrainDeadline = "drain_deadline", "-";
    /// Closed to shed load, as an operator asked.
    Shed = "shed", "-";
    /// Older than the maximum age.
    MaxAge = "max_age", "DT";
    /// No byte has moved for as long as the service's policy allows.
    IdleTimeout = "idle_timeout", "-";
    /// A closer tier has recovered.
    Failback = "failback", "-";
    /// The gateway stopped at once.
    Stopped = "stopped", "-";
    /// A defect of the gateway.
    Internal = "internal", "-";
}

impl Close {
    /// A connection that ended at this stage, for this reason, by whose doing.
    #[must_use]
    pub const fn new(stage: Stage, reason: Reason, blame: Blame) -> Self {
        Self {
            stage,
            reason,
            blame,
        }
    }

    /// Whether somebody lost something: ends that the peers or the operator wanted are no failures.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        !matches!(
            self.reason,
            Reason::Done
                | Reason::Probe
                | Reason::Drained
                | Reason::Shed
                | Reason::MaxAge
                | Reason::IdleTimeout
                | Reason::Failback
                | Reason::Stopped
        )
    }
}

impl Stage {
    /// Every stage, in order.
    pub const ALL: &[Self] = &[
        Self::Accept,
        Self::Hello,
        Self::Route,
        Self::Pick,
        Self::Dial,
        Self::Answer,
        Self::Relay,
    ];

    /// Its name in logs, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Hello => "hello",
            Self::Route => "route",
            Self::Pick => "pick",
            Self::Dial => "dial",
            Self::Answer => "answer",
            Self::Relay => "relay",
        }
    }
}

impl Blame {
    /// Its name in logs, metrics and answers.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nobody => "nobody",
            Self::Downstream => "downstream",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at {} ({})",
            self.reason.as_str(),
            self.stage.as_str(),
            self.blame.as_str()
        )
    }
}
