//! Two regions under Istio, us and eu, which know each other: each a real API server with Istio's kinds, the Pod of `hello` as a
//! kubelet would tell of it, and a remote Secret of the other. It starts neither gateways nor istiods: each story has its own.

mod sidecar;

use std::path::PathBuf;

use ::sidecar::Pki;
use tempfile::TempDir;

pub use self::sidecar::{CLIENT, CLUSTER, STOCK, Sidecar, Traffic};
use crate::{CannotBuild, Istiod, Region, build, build_istiod, find_envoy, in_namespace, say};

/// A Gateway that exposes everything, as Istio's own instructions have it.
pub const EXPOSE: &str = include_str!("../fixtures/expose.yaml");

/// The two, and what a story needs beside them.
pub struct Istio {
    /// The program `istiod`.
    pub binary: PathBuf,
    /// Trust of all endpoints and clients.
    pub pki: Pki,
    /// The same as files.
    pub certificates: TempDir,
    /// The region where clients are.
    pub us: Region,
    /// The other one.
    pub eu: Region,
}

impl Istio {
    /// Starts them; nothing is exposed yet.
    ///
    /// # Panics
    /// When something does not start, or [`Self::can_run`] says no.
    pub async fn start() -> Self {
        let plane = build().expect("it was there before");
        let binary = build_istiod().expect("it was there before");
        let certificates = tempfile::tempdir().expect("a folder");
        Pki::create(certificates.path()).expect("certificates are written");
        let pki = Pki::read(certificates.path()).expect("and read");
        let us = Region::start(&plane, &pki, 2).await;
        let eu = Region::start(&plane, &pki, 3).await;
        for one in [&us, &eu] {
            Istiod::install(&binary, &one.plane).await;
            one.plane.apply(&pod(one.number)).await;
        }
        us.plane.apply(&eu.remote_secret().await).await;
        eu.plane.apply(&us.remote_secret().await).await;
        Self {
            binary,
            pki,
            certificates,
            us,
            eu,
        }
    }

    /// Whether a story can run here: not without Go, nor without a network namespace.
    #[must_use]
    pub fn can_run(test: &str) -> bool {
        for built in [build(), build_istiod()] {
            if let Err(CannotBuild(why)) = built {
                say(&format!("== SKIPPED {test}: {why}"));
                return false;
            }
        }
        in_namespace(test)
    }

    /// Whether one can that needs Envoy, too.
    #[must_use]
    pub fn can_run_with_envoy(test: &str) -> bool {
        if let Err(why) = find_envoy() {
            say(&format!("== SKIPPED {test}: {why}"));
            return false;
        }
        Self::can_run(test)
    }
}

/// What a kubelet would say of the Pod of hello.
fn pod(number: u8) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: hello-1, namespace: default, labels: {{app: hello, version: v1, security.istio.io/tlsMode: istio}}}}
spec: {{nodeName: node-1, serviceAccountName: hello, containers: [{{name: hello, image: hello}}]}}
status: {{phase: Running, podIP: 10.{number}.0.1, podIPs: [{{ip: 10.{number}.0.1}}]}}
"
    )
}
