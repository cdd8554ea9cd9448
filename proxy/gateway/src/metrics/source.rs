//! Metrics of where snapshots come from.

use discovery::file::FileStatus;
use discovery::kubernetes::status::{DiskStatus, State, Status, now};
use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use xds::client;

use crate::source::{Kind, Source};

/// Registers those of the source that is in use.
///
/// # Errors
/// When a metric is registered twice, which is a defect.
pub(super) fn register(registry: &Registry, source: &Source) -> prometheus::Result<()> {
    match &source.kind {
        Kind::File(source) => file(registry, &source.status.borrow()),
        Kind::Kubernetes(source) => {
            let status = source.status.borrow().clone();
            clusters(registry, &status)?;
            if let Some(of) = &status.disk {
                disk(registry, of)?;
            }
            findings(registry, &status)
        }
        Kind::Xds(of) => {
            if let Some(keeper) = &of.keeper {
                disk(registry, &keeper.status())?;
            }
            let status = of.source.status.borrow().clone();
            xds(registry, &status)
        }
    }
}

fn xds(registry: &Registry, status: &client::Status) -> prometheus::Result<()> {
    let gauge =
        |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
    let counter =
        |name: &str, help: &str, labels: &[&str]| IntCounterVec::new(Opts::new(name, help), labels);
    let state = gauge(
        "causeway_xds_client_state",
        "1 for the state that the stream from the xDS server is in, 0 for the others.",
        &["state"],
    )?;
    for one in client::State::ALL {
        let is = i64::from(one == status.state);
        state.with_label_values(&[one.as_str()]).set(is);
    }
    let loaded = gauge(
        "causeway_xds_client_loaded",
        "1 while what is in force was kept from an earlier run, because not everything has come from the xDS server since.",
        &[],
    )?;
    let none: [&str; 0] = [];
    loaded
        .with_label_values(&none)
        .set(i64::from(status.loaded));
    let silence = gauge(
        "causeway_xds_client_silence_seconds",
        "Since when nothing has come from the xDS server; a mesh in which nothing changes is silent, too.",
        &[],
    )?;
    if let Some(heard_at) = status.heard_at {
        silence
            .with_label_values(&none)
            .set(client::now() - heard_at);
    }
    let streams = counter(
        "causeway_xds_client_streams_total",
        "Streams from the xDS server that were opened.",
        &[],
    )?;
    streams.with_label_values(&none).inc_by(status.streams);
    let resources = gauge(
        "causeway_xds_client_resources",
        "Resources that the xDS server has sent, by kind.",
        &["kind"],
    )?;
    let refused = gauge(
        "causeway_xds_client_refused_resources",
        "Resources whose latest version cannot be read, by kind; the last good one is in force.",
        &["kind"],
    )?;
    let responses = counter(
        "causeway_xds_client_responses_total",
        "Responses of the xDS server, by kind and by whether all of it was taken.",
        &["kind", "outcome"],
    )?;
    for (kind, of) in &status.kinds {
        let name = kind.as_str();
        let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        resources
            .with_label_values(&[name])
            .set(whole(of.resources));
        let bad = status
            .refused
            .iter()
            .filter(|refused| refused.kind == *kind);
        refused.with_label_values(&[name]).set(whole(bad.count()));
        let taken = responses.with_label_values(&[name, "accepted"]);
        taken.inc_by(of.responses.saturating_sub(of.nacks));
        responses
            .with_label_values(&[name, "refused"])
            .inc_by(of.nacks);
    }
    for gauge in [state, loaded, silence, resources, refused] {
        registry.register(Box::new(gauge))?;
    }
    registry.register(Box::new(streams))?;
    registry.register(Box::new(responses))
}

fn file(registry: &Registry, status: &FileStatus) -> prometheus::Result<()> {
    let reloads = IntCounterVec::new(
        Opts::new(
            "causeway_source_reloads_total",
            "Versions of the source that were read, by outcome.",
        ),
        &["outcome"],
    )?;
    for (outcome, count) in [("accepted", status.reloads), ("refused", status.failures)] {
        reloads.with_label_values(&[outcome]).inc_by(count);
    }
    registry.register(Box::new(reloads))?;
    let wrong = IntGauge::new(
        "causeway_source_wrong",
        "1 while the latest version of the source is wrong and an earlier one is in force.",
    )?;
    wrong.set(i64::from(status.last_error.is_some()));
    registry.register(Box::new(wrong))
}

fn clusters(registry: &Registry, status: &Status) -> prometheus::Result<()> {
    let gauge =
        |name: &str, help: &str, labels: &[&str]| IntGaugeVec::new(Opts::new(name, help), labels);
    let state = gauge(
        "causeway_cluster_state",
        "1 for the state that a cluster is in, 0 for the others.",
        &["cluster", "state"],
    )?;
    let silence = gauge(
        "causeway_cluster_silence_seconds",
        "How old what is known of a cluster may be, on disk or not: since the kind that has been silent for longest was heard of.",
        &["cluster"],
    )?;
    let endpoints = gauge(
        "causeway_cluster_endpoints",
        "Endpoints in the slices of a cluster.",
        &["cluster"],
    )?;
    let ends = gauge(
        "causeway_cluster_credential_end_timestamp_seconds",
        "When the credential for a cluster ends, as it says itself.",
        &["cluster"],
    )?;
    let failing = gauge(
        "causeway_cluster_failing",
        "1 while something about a cluster goes wrong, or a newer kubeconfig is not in force.",
        &["cluster"],
    )?;
    let whole = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    for (id, cluster) in &status.clusters {
        let id = id.as_str();
        for one in State::ALL {
            let is = i64::from(one == cluster.state);
            state.with_label_values(&[id, one.as_str()]).set(is);
        }
        if let Some(heard_at) = cluster.heard_at {
            silence.with_label_values(&[id]).set(now() - heard_at);
        }
        endpoints
            .with_label_values(&[id])
            .set(whole(cluster.endpoints));
        if let Some(end) = cluster.credential_ends_at {
            ends.with_label_values(&[id]).set(end);
        }
        let fails = cluster.last_error.is_some() || cluster.pending.is_some();
        failing.with_label_values(&[id]).set(i64::from(fails));
    }
    for gauge in [state, silence, endpoints, ends, failing] {
        registry.register(Box::new(gauge))?;
    }
    let secrets = gauge(
        "causeway_cluster_secrets_failing",
        "1 while the remote Secrets of a namespace cannot be read.",
        &["namespace"],
    )?;
    for (namespace, of) in &status.secrets {
        let fails = i64::from(of.last_error.is_some());
        secrets.with_label_values(&[namespace]).set(fails);
    }
    registry.register(Box::new(secrets))
}

fn disk(registry: &Registry, status: &DiskStatus) -> prometheus::Result<()> {
    let failing = IntGauge::new(
        "causeway_cluster_disk_failing",
        "1 while what is known cannot be kept on disk for the next start.",
    )?;
    failing.set(i64::from(status.last_error.is_some()));
    let ignored = IntGauge::new(
        "causeway_cluster_disk_ignored",
        "Files on disk that were not used at the start.",
    )?;
    ignored.set(i64::try_from(status.ignored.len()).unwrap_or(i64::MAX));
    for gauge in [failing, ignored] {
        registry.register(Box::new(gauge))?;
    }
    if let Some(written_at) = status.written_at {
        let written = IntGauge::new(
            "causeway_cluster_disk_written_timestamp_seconds",
            "When something was written to disk last.",
        )?;
        written.set(written_at);
        registry.register(Box::new(written))?;
    }
    Ok(())
}

fn findings(registry: &Registry, status: &Status) -> prometheus::Result<()> {
    let findings = IntGaugeVec::new(
        Opts::new(
            "causeway_findings",
            "What makes endpoints or networks unusable, by kind and cluster: how many are concerned.",
        ),
        &["kind", "cluster"],
    )?;
    for finding in &status.findings {
        let labels = [finding.kind.as_str(), finding.cluster.as_str()];
        let count = i64::try_from(finding.count).unwrap_or(i64::MAX);
        findings.with_label_values(&labels).add(count);
    }
    let shadowed = IntGauge::new(
        "causeway_cluster_secrets_shadowed",
        "Clusters that a Secret names in vain, because another Secret came first.",
    )?;
    shadowed.set(i64::try_from(status.shadowed.len()).unwrap_or(i64::MAX));
    registry.register(Box::new(findings))?;
    registry.register(Box::new(shadowed))
}

#[cfg(test)]
mod tests {
    use discovery::kubernetes::meaning::{Finding, FindingKind};
    use prometheus::{Encoder, TextEncoder};

    use super::*;

    /// Findings of one kind in one cluster are one series, with the endpoints (or things) that all of them concern together.
    #[test]
    fn findings_count_what_is_concerned_by_kind_and_cluster() {
        let finding = |kind, cluster: &str, subject: &str, count| Finding {
            kind,
            cluster: cluster.into(),
            subject: subject.to_owned(),
            count,
            message: "why, and what to do".to_owned(),
        };
        let status = Status {
            findings: vec![
                finding(FindingKind::PortMismatch, "eu", "hello", 3),
                finding(FindingKind::PortMismatch, "eu", "other", 4),
                finding(FindingKind::PortMismatch, "ap", "hello", 1),
                finding(FindingKind::NetworkWithoutGateway, "", "network3", 12),
            ],
            ..Status::default()
        };
        let said = |status: &Status| {
            let registry = Registry::new();
            findings(&registry, status).expect("registered");
            let mut text = Vec::new();
            let encoded = TextEncoder::new().encode(&registry.gather(), &mut text);
            encoded.expect("text");
            let text = String::from_utf8(text).expect("text");
            let series = text.lines().filter(|line| line.starts_with("causeway_"));
            series.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            said(&status),
            [
                "causeway_cluster_secrets_shadowed 0",
                "causeway_findings{cluster=\"\",kind=\"network_without_gateway\"} 12",
                "causeway_findings{cluster=\"ap\",kind=\"port_mismatch\"} 1",
                "causeway_findings{cluster=\"eu\",kind=\"port_mismatch\"} 7",
            ]
        );
        // What is put right has no series any more.
        assert_eq!(
            said(&Status::default()),
            ["causeway_cluster_secrets_shadowed 0"]
        );
    }
}
