//! What stops an installation, with the words that get it going again; and what only is spoken of.

use super::{helm, one, release};

#[test]
fn dots_that_were_taken_for_levels_fail_with_the_command_that_was_meant() {
    let Some(helm) =
        helm("refusals::dots_that_were_taken_for_levels_fail_with_the_command_that_was_meant")
    else {
        return;
    };
    // As a blog post has it.
    let wrong = ["--set", "labels.topology.istio.io/network=network1"];
    let said = helm.text(release(&wrong)).expect_err("it is refused");
    let meant = r"--set 'labels.topology\.istio\.io/network=network1'";
    assert!(said.contains(meant), "{said}");
    assert!(
        said.contains(r#"name = "labels.topology\\.istio\\.io/network", value = "network1""#),
        "{said}"
    );
    let meant = meant.trim_start_matches("--set '").trim_end_matches('\'');
    let objects = helm.objects(release(&["--set", meant]));
    let service = one(&objects, "Service", "eastwest-gateway");
    assert_eq!(
        service["metadata"]["labels"]["topology.istio.io/network"],
        "network1"
    );
    for path in [
        "annotations",
        "podAnnotations",
        "service.annotations",
        "nodeSelector",
        "serviceAccount.annotations",
    ] {
        let values = format!("{path}.example.com/key=a");
        let said = helm
            .text(release(&["--set", &values]))
            .expect_err("it is refused");
        let meant = format!(r"--set '{path}.example\.com/key=a'");
        assert!(said.contains(&meant), "{said}");
    }
}

#[test]
fn values_of_a_wrong_type_are_refused_with_their_place() {
    let Some(helm) = helm("refusals::values_of_a_wrong_type_are_refused_with_their_place") else {
        return;
    };
    for (values, place) in [
        ("kind=StatefulSet", "/kind"),
        ("service.type=External", "/service/type"),
        ("drain.window=20", "/drain/window"),
        ("drain.window=0s", "/drain/window"),
        (
            "config.drain.window=soon",
            "config.drain.window: soon is no duration",
        ),
        ("outbound.ports=15444", "/outbound/ports"),
        ("autoscaling.minReplicas=two", "/autoscaling/minReplicas"),
        ("service.ports[0].name=tls", "/service/ports/0"),
        ("source.kind=istiod", "/source/kind"),
        ("xds.meshTls.secret=default", "/xds/meshTls"),
        ("xds.enabled=true", "xds.tlsSecret: name a Secret"),
        (
            "xds.enabled=true,xds.tlsSecret=a,xds.plaintext=true",
            "exclude each other",
        ),
        (
            "networkGatewayPorts.tls.targetPort=15020",
            "networkGatewayPorts.tls.targetPort",
        ),
    ] {
        let said = helm.text(release(&["--set", values]));
        let said = said.expect_err(values);
        assert!(said.contains(place), "{values}: {said}");
    }
}

#[test]
fn what_is_not_known_or_means_nothing_is_named_and_changes_nothing() {
    let Some(helm) =
        helm("refusals::what_is_not_known_or_means_nothing_is_named_and_changes_nothing")
    else {
        return;
    };
    let known = ["--set", "networkGateway=network1"];
    let more = [
        "--set",
        "networkGateway=network1",
        "--set",
        "revision=canary,runAsRoot=true,pilot.cni.enabled=true,enabled=true,profile=remote",
        "--set",
        "hub=docker.io/istio,service.nodePort=3,discovery.netwrok=x,global.hub=gcr.io/istio,global.tag=1.20",
        "--set",
        r"podAnnotations.inject\.istio\.io/templates=gateway,podAnnotations.sidecar\.istio\.io/inject=true",
        "--set",
        r"labels.sidecar\.istio\.io/inject=true",
    ];
    assert_eq!(helm.text(release(&known)), helm.text(release(&more)));
    assert!(!helm.notes(release(&known)).contains("Please look at"));
    let notes = helm.notes(release(&more));
    for line in [
        "not known, and ignored: discovery.netwrok, hub, service.nodePort.",
        "without meaning here: enabled, pilot, profile, revision, runAsRoot.",
    ] {
        assert!(notes.contains(line), "{line}: {notes}");
    }
}

#[test]
fn what_does_not_go_together_is_spoken_of() {
    let Some(helm) = helm("refusals::what_does_not_go_together_is_spoken_of") else {
        return;
    };
    for (values, said) in [
        (
            "service.ports[0].port=15020,networkGateway=n",
            "left out of service.ports: 15020.",
        ),
        ("networkGateway=", "networkGateway is not set"),
        (
            r"networkGateway=a,labels.topology\.istio\.io/network=b",
            "networkGateway is a and labels.topology.istio.io/network is b",
        ),
        (
            "networkGateway=a,terminationGracePeriodSeconds=20",
            "announce is 5s, window 10s",
        ),
        ("networkGateway=a,hostPorts=true", "one Pod on each Node"),
        (
            "networkGateway=a,snapshot.persistentVolumeClaim.enabled=true,snapshot.persistentVolumeClaim.accessModes={ReadWriteOnce}",
            "is for one Node at a time",
        ),
        (
            "networkGateway=a,service.type=None",
            "no other cluster finds this gateway",
        ),
        (
            "networkGateway=a,rbac.enabled=false",
            "unless eastwest-gateway has its roles from elsewhere",
        ),
        (
            "networkGateway=a,source.kind=xds",
            "istiod is not told which cluster this is",
        ),
        (
            "networkGateway=a,lifecycle.postStart.exec.command={/bin/sh,-c,true}",
            "there is no /bin/sh in the image, nor a shell, so the Pod will not start",
        ),
        (
            "networkGateway=a,lifecycle.preStop.exec.command={sleep,5}",
            "preStop.sleep waits without one",
        ),
        (
            "networkGateway=a,config.busyPollMicros=50,config.workers=1",
            "adds Pods that are not needed",
        ),
        (
            "networkGateway=a,config.busyPollMicros=50,autoscaling.enabled=false",
            "One worker fewer",
        ),
    ] {
        let notes = helm.notes(release(&["--set", values]));
        assert!(notes.contains(said), "{values}: {notes}");
        assert_eq!(notes.matches("\n- ").count(), 1, "{values}: {notes}");
    }
    for values in [
        "networkGateway=a,rbac.enabled=false,source.kind=xds,cluster.name=us",
        "networkGateway=a,source.kind=xds,env.ISTIO_META_CLUSTER_ID=us",
        "networkGateway=a,lifecycle.preStop.exec.command={causeway,status}",
        "networkGateway=a,lifecycle.preStop.sleep.seconds=5",
        "networkGateway=a,config.busyPollMicros=0",
        "networkGateway=a,config.busyPollMicros=50,config.workers=1,autoscaling.targetCPUUtilizationPercentage=null",
    ] {
        let notes = helm.notes(release(&["--set", values]));
        assert!(!notes.contains("Please look at"), "{values}: {notes}");
    }
}
