//! What is applied to the cluster that is to be read: an account, a role, a binding. It must not grant more than discovery
//! reads of a remote cluster.

use http::Method;
use serde_json::Value;

use super::{Api, RemoteSecretError, Request, failed};

/// Who applies: fields that others own are taken over, as these objects are ours.
const QUERY: &str = "fieldManager=causeway&force=true";

/// One object to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its path in the API.
    path: String,
    /// The object as YAML.
    pub yaml: String,
}

/// The account, the role and the binding, in the order in which they are applied.
#[must_use]
pub fn manifests(request: &Request) -> Vec<Manifest> {
    let Request {
        namespace,
        service_account,
        ..
    } = request;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let binding = format!("{service_account}-{namespace}");
    vec![
        Manifest {
            path: format!("/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}"),
            yaml: format!(
                "apiVersion: v1
kind: ServiceAccount
metadata:
  name: {service_account}
  namespace: {namespace}
"
            ),
        },
        Manifest {
            path: format!("{rbac}/clusterroles/causeway-reader"),
            yaml: "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: causeway-reader
rules:
- apiGroups: [\"\"]
  resources: [namespaces, nodes, pods, services]
  verbs: [get, list, watch]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [get, list, watch]
"
            .into(),
        },
        Manifest {
            path: format!("{rbac}/clusterrolebindings/{binding}"),
            yaml: format!(
                "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {binding}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: causeway-reader
subjects:
- kind: ServiceAccount
  name: {service_account}
  namespace: {namespace}
"
            ),
        },
    ]
}

impl Manifest {
    /// An object by its path.
    pub(super) fn new(path: String, yaml: String) -> Self {
        Self { path, yaml }
    }

    /// Applies it on the server's side.
    pub(super) async fn apply(&self, api: &Api) -> Result<Value, RemoteSecretError> {
        let path = format!("{}?{QUERY}", self.path);
        let body = self.yaml.clone().into_bytes();
        let applied = api.change(Method::PATCH, &path, "application/apply-patch+yaml", body);
        applied
            .await
            .map_err(failed(format!("{} cannot be applied", self.path)))
    }
}
