//! Every limit, once, with what was counted when it was set. A change that needs a higher one says here why it is worth it.

use crate::say;

/// The most that something may take.
pub(crate) struct Limit {
    what: &'static str,
    most: f64,
}

/// 19.2 to 19.3 were counted, with every thread of this process traced. The target is 18 of a release binary, where `bench
/// syscalls` traces the worker alone (17.4).
pub(crate) const CALLS_OF_A_CONNECTION: Limit = Limit {
    what: "system calls of a connection",
    most: 20.0,
};

/// The target: two reads, two writes and a part of an epoll_wait.
pub(crate) const CALLS_OF_A_ROUND_TRIP: Limit = Limit {
    what: "system calls of a round trip",
    most: 4.3,
};

/// 1,263 were counted. The target of 1.7 KB is of resident memory; this is what is asked of the allocator for it.
pub(crate) const BYTES_OF_AN_IDLE_CONNECTION: Limit = Limit {
    what: "bytes of an idle connection",
    most: 1_350.0,
};

/// 153 were counted, for snapshot and table together; the target is 200.
pub(crate) const BYTES_OF_AN_ENDPOINT: Limit = Limit {
    what: "bytes of an endpoint",
    most: 160.0,
};

/// 756 were counted, for snapshot and table together, its one endpoint included. The target is 1,000; what else this process
/// allocates meanwhile is some bytes of it.
pub(crate) const BYTES_OF_A_ROUTE: Limit = Limit {
    what: "bytes of a route",
    most: 775.0,
};

/// Of a hello of 517 bytes, the usual size before post-quantum keys; 2,237 were counted.
pub(crate) const INSTRUCTIONS_OF_A_HELLO: Limit = Limit {
    what: "instructions of a hello's parse",
    most: 2_500.0,
};

/// Among 10,000 endpoints, the choice given back included; 258 to 261 were counted. 236 were fewer, but six of those were locked, which cost
/// more than twenty others each, and four of these are.
pub(crate) const INSTRUCTIONS_OF_A_PICK: Limit = Limit {
    what: "instructions of a pick",
    most: 280.0,
};

impl Limit {
    /// Says what was counted, and fails beyond the limit.
    pub(crate) fn hold(&self, counted: f64) {
        let Self { what, most } = self;
        say(&format!("== guard: {counted:.2} {what}, at most {most}"));
        assert!(
            counted <= *most,
            "{counted:.2} {what}; the limit is {most} (proxy/tests/guard/limits.rs)"
        );
        assert!(counted > 0.0, "{what}: nothing was counted");
    }
}
