//! HAProxy as it is measured: TCP mode, routes by a map, with its defaults or with its best settings for bulk.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::cores::file_limit;

use super::{HELLO_SECONDS, Route, Setup, in_path, said};

pub(super) fn find() -> Result<(PathBuf, String)> {
    let binary = in_path("haproxy")?;
    let version = said(&binary, "-v")?;
    // "HAProxy version 2.6.12-1 2023/12/16 - https://haproxy.org/"
    let number = version
        .split_whitespace()
        .nth(2)
        .unwrap_or("of unknown version");
    Ok((binary, format!("haproxy {number}")))
}

/// `splice`: every byte goes through pipes of 1 MiB, both ways. Its own choice (`option splice-auto`) is of no use here: it takes
/// pipes of 64 KiB, which cost what a copy costs.
pub(super) fn setup(folder: &Path, address: SocketAddr, routes: &[Route], splice: bool) -> Setup {
    let map = folder.join("routes.map");
    let (pipes, splicing) = match splice {
        true => (
            "  tune.pipesize 1048576\n  maxpipes 256\n",
            "  option splice-request\n  option splice-response\n",
        ),
        false => ("", ""),
    };
    // It refuses to start with more than it has descriptors for: two for each connection, two for each pipe, and some more.
    let connections = file_limit().min(80_000).saturating_sub(1000) / 2;
    let mut config = format!(
        "global\n  nbthread 1\n  maxconn {connections}\n{pipes}\
         defaults\n  mode tcp\n{splicing}\
         \x20 timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n\
         frontend in\n  bind {address}\n\
         \x20 tcp-request inspect-delay {HELLO_SECONDS}s\n\
         \x20 tcp-request content accept if {{ req.ssl_hello_type 1 }}\n\
         \x20 use_backend %[req.ssl_sni,lower,map({})]\n",
        map.display()
    );
    let mut names = String::new();
    for (index, route) in routes.iter().enumerate() {
        let _ = writeln!(names, "{} route{index}", route.sni());
        let _ = writeln!(config, "backend route{index}");
        for (server, endpoint) in route.endpoints.iter().enumerate() {
            let _ = writeln!(config, "  server s{server} {endpoint}");
        }
    }
    Setup {
        files: vec![("haproxy.cfg", config), ("routes.map", names)],
        // In the foreground, one process.
        arguments: vec!["-db".into(), "-f".into(), folder.join("haproxy.cfg").into()],
    }
}
