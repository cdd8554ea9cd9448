//! What is exposed, and to whom.

use super::stage::{EXPOSE, HELLO, POD, SERVICE, SLICE, Stage, me, system_namespace};
use crate::kubernetes::facts::Kind;
use crate::kubernetes::meaning::Rules;

fn bare() -> Stage {
    Stage::of(me(), Rules::default()).hello()
}

#[test]
fn without_a_gateway_nothing_is_exposed() {
    assert!(bare().hosts().is_empty());
}

#[test]
fn a_gateways_hosts_decide() {
    for (hosts, exposed) in [
        ("['*.local']", true),
        ("['*']", true),
        ("[hello.default.svc.cluster.local]", true),
        ("[HELLO.default.svc.cluster.local]", true),
        ("['*.default.svc.cluster.local']", true),
        ("['*.other.svc.cluster.local']", false),
        ("['*.global']", false),
        ("[other.default.svc.cluster.local, '*.local']", true),
        // The namespace before a host means nothing here.
        ("[elsewhere/*.local]", true),
        ("[./*.local]", true),
        ("[]", false),
    ] {
        let mut stage = bare().apply("us", &EXPOSE.replace("['*.local']", hosts));
        assert_eq!(stage.service(HELLO).is_some(), exposed, "{hosts}");
    }
}

#[test]
fn only_gateways_that_select_us_count() {
    for (selector, exposed) in [
        ("selector: {istio: eastwestgateway}", true),
        ("selector: {istio: ingressgateway}", false),
        ("selector: {istio: eastwestgateway, app: x}", false),
        ("selector: {}", true),
        ("unrelated: 1", true),
    ] {
        let gateway = EXPOSE
            .replace("selector: {istio: eastwestgateway}", selector)
            .replace("namespace: istio-system", "namespace: anywhere");
        let mut stage = bare().apply("us", &gateway);
        assert_eq!(stage.service(HELLO).is_some(), exposed, "{selector}");
    }
}

#[test]
fn only_the_mode_for_mesh_names_exposes_them() {
    for mode in ["PASSTHROUGH", "SIMPLE", "MUTUAL", "ISTIO_MUTUAL"] {
        let mut stage = bare().apply("us", &EXPOSE.replace("AUTO_PASSTHROUGH", mode));
        assert!(stage.hosts().is_empty(), "{mode}");
    }
}

#[test]
fn overlapping_gateways_expose_the_union_and_leave_what_others_still_expose() {
    let one = EXPOSE.replace("['*.local']", "['*.default.svc.cluster.local']");
    let two = EXPOSE.replace("cross-network-gateway", "second").replace(
        "['*.local']",
        "[hello.default.svc.cluster.local, hello.other.svc.cluster.local]",
    );
    let other = SERVICE.replace("namespace: default", "namespace: other");
    let mut stage = bare()
        .apply("us", &other)
        .apply("us", &one)
        .apply("us", &two);
    assert_eq!(stage.hosts(), [HELLO, "hello.other.svc.cluster.local"]);
    stage.delete("us", Kind::Gateway, "istio-system", "second");
    assert_eq!(stage.hosts(), [HELLO]);
    stage.delete("us", Kind::Gateway, "istio-system", "cross-network-gateway");
    assert!(stage.hosts().is_empty());
}

#[test]
fn istios_resources_count_in_our_own_cluster_alone() {
    let mut stage = bare().apply("eu", EXPOSE);
    assert!(stage.hosts().is_empty());
}

#[test]
fn export_to_decides_who_sees_a_service() {
    for (export_to, exposed) in [
        ("'*'", true),
        ("istio-system", true),
        ("'other, istio-system'", true),
        ("other", false),
        ("'.'", false),
        ("'~'", false),
        ("''", true),
    ] {
        let service = SERVICE.replace(
            "namespace: default",
            &format!(
                "namespace: default, annotations: {{networking.istio.io/exportTo: {export_to}}}"
            ),
        );
        let mut stage = Stage::new().hello().apply("us", &service);
        assert_eq!(stage.service(HELLO).is_some(), exposed, "{export_to}");
    }
}

#[test]
fn a_cluster_that_does_not_export_a_service_gives_it_no_endpoints() {
    let hidden = SERVICE.replace(
        "namespace: default",
        "namespace: default, annotations: {networking.istio.io/exportTo: '~'}",
    );
    let mut stage = Stage::new()
        .hello()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", &hidden.replace("port: 5000", "port: 6000"))
        .apply("eu", SLICE);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 us network1"]);
    assert_eq!(stage.service(HELLO).expect("hello").ports.len(), 1);
    // Our own cluster's word hides it altogether.
    stage.put("us", &hidden);
    stage.put("eu", SERVICE);
    assert!(stage.service(HELLO).is_none());
}

#[test]
fn external_names_are_not_exposed() {
    let external = SERVICE.replace(
        "selector: {app: hello}",
        "type: ExternalName\n  externalName: example.com",
    );
    let mut stage = Stage::new().hello().apply("us", &external);
    assert!(stage.hosts().is_empty());
}

#[test]
fn a_service_that_only_another_cluster_has_is_exposed_too() {
    let mut stage = Stage::new()
        .apply("eu", &system_namespace("network2"))
        .apply("eu", SERVICE)
        .apply("eu", SLICE)
        .apply("eu", POD);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 eu network2"]);
    stage.delete("eu", Kind::Service, "default", "hello");
    assert!(stage.hosts().is_empty(), "slices alone make no service");
    stage.put("eu", SERVICE);
    assert_eq!(stage.endpoints(HELLO), ["10.1.0.1 eu network2"]);
}
