//! nginx as it is measured: the stream module with `ssl_preread`, one worker, its defaults but for half-close, without which it
//! loses what an endpoint sends after its client is done.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{HELLO_SECONDS, Route, Setup, in_path, said};

/// Where Debian's package `libnginx-mod-stream` puts it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn find() -> Result<(PathBuf, String)> {
    let binary = in_path("nginx")?;
    ensure!(
        Path::new(MODULE).exists(),
        "nginx has no stream module ({MODULE}): `make peers` installs it"
    );
    // "nginx version: nginx/1.22.1"
    let version = said(&binary, "-v")?;
    let number = version.rsplit('/').next().unwrap_or("of unknown version");
    Ok((binary, format!("nginx {number}")))
}

pub(super) fn setup(folder: &Path, address: SocketAddr, routes: &[Route]) -> Setup {
    let mut names = String::new();
    let mut upstreams = String::new();
    for (index, route) in routes.iter().enumerate() {
        let _ = writeln!(names, "    {} route{index};", route.sni());
        let _ = writeln!(upstreams, "  upstream route{index} {{");
        for endpoint in &route.endpoints {
            let _ = writeln!(upstreams, "    server {endpoint};");
        }
        upstreams.push_str("  }\n");
    }
    // As large as the names are: nginx refuses to start where they do not fit.
    let bucket = 256;
    let size = (routes.len() * 4).next_power_of_two().max(2048);
    let config = format!(
        "load_module {MODULE};\n\
         daemon off;\n\
         worker_processes 1;\n\
         pid nginx.pid;\n\
         error_log error.log error;\n\
         events {{ worker_connections 40000; }}\n\
         stream {{\n\
         \x20 map_hash_bucket_size {bucket};\n\
         \x20 map_hash_max_size {size};\n\
         \x20 map $ssl_preread_server_name $route {{\n{names}  }}\n\
         {upstreams}\
         \x20 server {{\n    listen {address} backlog=4096;\n    ssl_preread on;\n    preread_timeout {HELLO_SECONDS}s;\n    proxy_half_close on;\n    proxy_pass $route;\n  }}\n}}\n"
    );
    Setup {
        files: vec![("nginx.conf", config)],
        arguments: vec![
            "-p".into(),
            folder.into(),
            "-e".into(),
            "error.log".into(),
            "-c".into(),
            "nginx.conf".into(),
        ],
    }
}
