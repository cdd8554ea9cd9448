//! Who a client says it is: what Istio's agent says of a gateway's proxy (`pkg/bootstrap`, `pkg/model/proxy.go`). It finds
//! nothing out.

use std::collections::{BTreeMap, HashMap};

use model::Locality;

use crate::proto::core::{Locality as ProtoLocality, Node as ProtoNode};
use crate::proto::protobuf::{Struct, Value, value::Kind};

/// A gateway, in the words of Istio's node metadata; what is empty is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Its address, which is part of its id.
    pub ip: String,
    /// Its Pod (`NAME`).
    pub name: String,
    /// Its namespace (`NAMESPACE`).
    pub namespace: String,
    /// The DNS domain of its cluster.
    pub domain: String,
    /// Its workload, for the server's own reports.
    pub workload: String,
    /// `CLUSTER_ID`: endpoints of which cluster are its own.
    pub cluster: String,
    /// `NETWORK`.
    pub network: String,
    /// `REQUESTED_NETWORK_VIEW`: endpoints of these networks are sent as they are, those of others not at all.
    pub network_view: Vec<String>,
    /// `LABELS`: which Gateways it serves.
    pub labels: BTreeMap<String, String>,
    /// `SERVICE_ACCOUNT`.
    pub service_account: String,
    /// Where it runs.
    pub locality: Locality,
    /// Further metadata, each a text; it comes before the ones above.
    pub metadata: BTreeMap<String, String>,
}

impl Node {
    /// `router~<ip>~<pod>.<namespace>~<namespace>.svc.<domain>`.
    #[must_use]
    pub fn id(&self) -> String {
        let Self {
            ip,
            name,
            namespace,
            domain,
            ..
        } = self;
        format!("router~{ip}~{name}.{namespace}~{namespace}.svc.{domain}")
    }

    /// As requests bear it.
    pub(crate) fn to_proto(&self) -> ProtoNode {
        let said = [
            ("NAME", &self.name),
            ("NAMESPACE", &self.namespace),
            ("CLUSTER_ID", &self.cluster),
            ("NETWORK", &self.network),
            ("REQUESTED_NETWORK_VIEW", &self.network_view.join(",")),
            ("SERVICE_ACCOUNT", &self.service_account),
            ("INSTANCE_IPS", &self.ip),
            ("WORKLOAD_NAME", &self.workload),
        ];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        let mut fields: HashMap<String, Value> = said
            .map(|(key, said)| (key.to_owned(), text(said)))
            .collect();
        let further = self.metadata.iter();
        fields.extend(further.map(|(key, said)| (key.clone(), text(said))));
        let labels = self.labels.iter();
        let labels = Struct {
            fields: labels
                .map(|(key, said)| (key.clone(), text(said)))
                .collect(),
        };
        fields.insert(
            "LABELS".to_owned(),
            Value {
                kind: Some(Kind::StructValue(labels)),
            },
        );
        ProtoNode {
            id: self.id(),
            cluster: format!("{}.{}", self.workload, self.namespace),
            metadata: Some(Struct { fields }),
            locality: Some(ProtoLocality {
                region: self.locality.region.to_string(),
                zone: self.locality.zone.to_string(),
                sub_zone: self.locality.subzone.to_string(),
            }),
            user_agent_name: "causeway".to_owned(),
            ..ProtoNode::default()
        }
    }
}

fn text(said: &str) -> Value {
    Value {
        kind: Some(Kind::StringValue(said.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_says_of_itself_what_istios_agent_says() {
        let node = Node {
            ip: "10.2.0.20".into(),
            name: "gw-0".into(),
            namespace: "istio-system".into(),
            domain: "cluster.local".into(),
            workload: "gw".into(),
            cluster: "us".into(),
            network: "network2".into(),
            network_view: vec!["network2".into(), "network3".into()],
            labels: [("istio".into(), "eastwestgateway".into())].into(),
            locality: "us-east/us-east-1".into(),
            metadata: [("MESH_ID".into(), "mesh1".into())].into(),
            ..Node::default()
        };
        let said = node.to_proto();
        assert_eq!(
            said.id,
            "router~10.2.0.20~gw-0.istio-system~istio-system.svc.cluster.local"
        );
        assert_eq!(said.cluster, "gw.istio-system");
        assert_eq!(said.locality.expect("a locality").zone, "us-east-1");
        let fields = said.metadata.expect("metadata").fields;
        let mut keys: Vec<_> = fields.keys().map(String::as_str).collect();
        keys.sort_unstable();
        assert_eq!(
            keys,
            [
                "CLUSTER_ID",
                "INSTANCE_IPS",
                "LABELS",
                "MESH_ID",
                "NAME",
                "NAMESPACE",
                "NETWORK",
                "REQUESTED_NETWORK_VIEW",
                "WORKLOAD_NAME",
            ]
        );
        assert_eq!(fields["REQUESTED_NETWORK_VIEW"], text("network2,network3"));
        let Some(Kind::StructValue(labels)) = &fields["LABELS"].kind else {
            panic!("no labels");
        };
        assert_eq!(labels.fields["istio"], text("eastwestgateway"));
    }
}
