//! A network of our own, alike for all that is measured in it: loopback only, congestion control reno. It must not change
//! anything of the machine's own network.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Set where we are already in it. Not `CAUSEWAY_*`: the gateway takes that for a setting.
const INSIDE: &str = "BENCH_NAMESPACE";

/// Brings loopback up, and sets what differs from machine to machine: BBR, the default of some, halves bulk rates on loopback;
/// a narrow range of ports makes a connection pay for the search of a free one.
const PREPARE: &str = "ip link set lo up \
    && echo reno >/proc/sys/net/ipv4/tcp_congestion_control \
    && echo '10240 65535' >/proc/sys/net/ipv4/ip_local_port_range \
    && exec \"$0\" \"$@\"";

/// How a namespace is made: as root, or as whoever may be root in a namespace of users.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Whether we are in it already.
#[must_use]
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Goes on in a network namespace of its own: this process becomes its own command in it. Where that is not permitted it says
/// so, and goes on in the machine's network.
pub fn enter() {
    if inside() {
        return;
    }
    let Some(way) = WAYS.iter().find(|way| is_permitted(way)) else {
        eprintln!(
            "no network namespace ('unshare --net' and 'ip' are not permitted or not installed): measuring in the machine's \
             own network, with congestion control {}",
            congestion_control()
        );
        return;
    };
    let Ok(ourselves) = std::env::current_exe() else {
        return;
    };
    let error = Command::new("unshare")
        .args(*way)
        .args(["sh", "-c", PREPARE])
        .arg(ourselves)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        .exec();
    eprintln!(
        "cannot start ourselves in a network namespace: {error}; measuring in the machine's own network"
    );
}

/// What TCP uses where we are.
#[must_use]
pub fn congestion_control() -> String {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_congestion_control")
        .map_or_else(|error| error.to_string(), |name| name.trim().to_owned())
}

fn is_permitted(way: &[&str]) -> bool {
    let tried = Command::new("unshare")
        .args(way)
        .args(["sh", "-c", PREPARE, "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}
