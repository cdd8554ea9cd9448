//! Objects as users write them, applied on the server's side. No controller runs, so a status is applied like the rest.

use discovery::kubernetes::api::Fault;
use http::Method;
use serde_json::Value;

use super::ControlPlane;

/// Who applies; fields of others are taken over.
const QUERY: &str = "fieldManager=user&force=true";

impl ControlPlane {
    /// Applies every object of this YAML text, with its status.
    ///
    /// # Panics
    /// When the text is no YAML, or the server refuses one; with what it says.
    pub async fn apply(&self, yaml: &str) {
        for object in documents(yaml) {
            let path = path_of(&object);
            let body = object.to_string().into_bytes();
            self.patch(&path, body.clone()).await;
            let is_definition = object["kind"] == "CustomResourceDefinition";
            if !object["status"].is_null() && !is_definition {
                self.patch(&format!("{path}/status"), body).await;
            }
        }
    }

    /// Deletes every object of this YAML text; nothing but kinds and names is looked at.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn delete(&self, yaml: &str) {
        for object in documents(yaml) {
            let path = path_of(&object);
            let deleted =
                self.api()
                    .change::<Value>(Method::DELETE, &path, "application/json", Vec::new());
            deleted
                .await
                .unwrap_or_else(|fault| panic!("{path} cannot be deleted: {fault}"));
        }
    }

    /// A kind that has only just been defined is not served at once: that is waited for.
    async fn patch(&self, path: &str, body: Vec<u8>) {
        let with_query = format!("{path}?{QUERY}");
        crate::until_async(&format!("{path} is served"), async || {
            let patched = self.api().change::<Value>(
                Method::PATCH,
                &with_query,
                "application/apply-patch+yaml",
                body.clone(),
            );
            match patched.await {
                Err(Fault::NotFound(_)) => false,
                Err(fault) => panic!("{path} cannot be applied: {fault}"),
                Ok(_) => true,
            }
        })
        .await;
    }
}

/// The objects of a YAML text, none for a part that is empty.
pub(crate) fn documents(yaml: &str) -> Vec<Value> {
    let documents = yaml.split("\n---").filter(|text| {
        let mut lines = text.lines().map(str::trim);
        lines.any(|line| !line.is_empty() && !line.starts_with('#') && line != "---")
    });
    documents
        .map(|text| serde_saphyr::from_str(text).unwrap_or_else(|why| panic!("{why}: {text}")))
        .collect()
}

/// By the API's conventions: plural of the kind, under its namespace if it has one.
pub(crate) fn path_of(object: &Value) -> String {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
    let version = text("/apiVersion").expect("apiVersion");
    let root = if version.contains('/') { "apis" } else { "api" };
    let kind = text("/kind").expect("kind").to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) if !stem.ends_with('a') => format!("{stem}ies"),
        _ => format!("{kind}s"),
    };
    let namespace = text("/metadata/namespace");
    let place = namespace.map_or_else(String::new, |name| format!("namespaces/{name}/"));
    let name = text("/metadata/name").expect("a name");
    format!("/{root}/{version}/{place}{plural}/{name}")
}
