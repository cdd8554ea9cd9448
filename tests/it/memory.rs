//! What the binary's allocator is told to do, seen from outside: these settings are compiled in, and a build may lose them.

use std::process::Command;

use tests::{Child, endpoint, hello_service, mesh_yaml, until_async};

use crate::reasons::HERE;

const CAUSEWAY: &str = env!("CARGO_BIN_EXE_causeway-under-test");

/// So many that they are most of what the gateway holds: some 20 MB.
const MANY: usize = 20_000;

/// jemalloc says what it was told and by whom, where it is asked to.
#[test]
fn the_settings_are_compiled_in() {
    let said = Command::new(CAUSEWAY)
        .arg("--version")
        .env("_RJEM_MALLOC_CONF", "confirm_conf:true")
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&said.stderr);
    let compiled_in = said.lines().find(|line| line.contains("malloc_conf #1"));
    for setting in [
        "background_thread:true",
        "narenas:1,",
        "dirty_decay_ms:500",
        "muzzy_decay_ms:0",
    ] {
        assert!(
            compiled_in.is_some_and(|line| line.contains(setting)),
            "{setting} is not in {said}"
        );
    }
}

/// A gateway at rest has no thread that would ask the allocator for anything, so the allocator needs one of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_needed_any_more_is_given_back_at_rest() {
    let few = mesh_yaml(
        &[hello_service(vec![endpoint(
            ([127, 0, 0, 1], 5_000).into(),
            HERE,
        )])],
        &[],
        &[],
    );
    let many: String = (0..MANY)
        .map(|number| {
            format!(
                "  - host: service-{number}.default.svc.cluster.local\n    ports: [{{number: 5000, name: tls}}]\n    \
                 endpoints: [{{address: 10.{}.{}.1, cluster: us, network: n2}}]\n",
                number >> 8,
                number & 255
            )
        })
        .collect();
    let gateway = Child::start(CAUSEWAY, "", &format!("services:\n{many}"), None).await;
    assert!(gateway.threads().contains(&"jemalloc_bg_thd".to_owned()));
    let before = gateway.memory();
    gateway.write_mesh(&few);
    until_async("half of it is given back", async || {
        gateway.memory() < before / 2
    })
    .await;
}
