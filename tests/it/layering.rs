//! What each crate must never depend on, held over the real dependency graph: normal dependencies, direct and transitive.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand, PackageId};

#[test]
fn nobody_depends_on_what_it_must_not_know() {
    let metadata = MetadataCommand::new().exec().expect("cargo metadata runs");
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|p| (&p.id, p.name.as_str()))
        .collect();
    let graph: BTreeMap<&PackageId, Vec<&PackageId>> = metadata
        .resolve
        .as_ref()
        .expect("a resolved graph")
        .nodes
        .iter()
        .map(|node| {
            let normal = node.deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind == DependencyKind::Normal)
            });
            (&node.id, normal.map(|dep| &dep.pkg).collect())
        })
        .collect();
    let reaches = |root: &str| {
        // By package, not by name: a second version of a crate has dependencies of its own.
        let mut seen: BTreeSet<&PackageId> = BTreeSet::new();
        let mut open: Vec<&PackageId> = names
            .iter()
            .filter(|(_, name)| **name == root)
            .map(|(id, _)| *id)
            .collect();
        assert!(!open.is_empty(), "no crate {root}");
        while let Some(id) = open.pop() {
            for next in &graph[id] {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.into_iter()
            .map(|id| names[id])
            .collect::<BTreeSet<_>>()
    };
    for (name, never) in [
        (
            "model",
            &[
                "tokio",
                "kube",
                "prost",
                "tonic",
                "hyper",
                "rustls",
                "discovery",
                "proxy",
                "xds",
                "gateway",
            ][..],
        ),
        ("discovery", &["proxy", "xds", "tonic", "gateway"]),
        ("xds", &["kube", "proxy", "discovery", "gateway"]),
        (
            "proxy",
            &[
                "kube",
                "tonic",
                "hyper",
                "rustls",
                "discovery",
                "xds",
                "gateway",
            ],
        ),
        ("sidecar", &["proxy", "discovery", "xds", "gateway"]),
        ("gateway", &["bench", "tests"]),
    ] {
        let reached = reaches(name);
        for forbidden in never {
            assert!(
                !reached.contains(forbidden),
                "{name} must never depend on {forbidden}"
            );
        }
        for nobodys in ["bench", "tests"] {
            assert!(
                !reached.contains(nobodys),
                "{name} must not depend on {nobodys}"
            );
        }
    }
}
