//! Objects as users write them, applied on the server's side. No controller runs, so a status is applied like the rest.

use std::cell::{Cell, RefCell};

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

    /// What is at this path; an answer that does not come in time is asked for again.
    ///
    /// # Errors
    /// Why there is none.
    ///
    /// # Panics
    /// When the server is never in a state to answer.
    pub async fn get(&self, path: &str) -> Result<Value, Fault> {
        let answer = RefCell::new(Err(Fault::BadRequest("nothing was asked")));
        crate::until_async(&format!("{path} is answered for"), async || {
            let said = self.api().get(path).await;
            let is_answer = !matches!(&said, Err(fault) if passes(fault));
            *answer.borrow_mut() = said;
            is_answer
        })
        .await;
        answer.into_inner()
    }

    /// Deletes every object of this YAML text; nothing but kinds and names is looked at.
    ///
    /// # Panics
    /// When the server refuses.
    pub async fn delete(&self, yaml: &str) {
        for object in documents(yaml) {
            let path = path_of(&object);
            let unheard = Cell::new(false);
            crate::until_async(&format!("{path} is deleted"), async || {
                let deleted = self.api().change::<Value>(
                    Method::DELETE,
                    &path,
                    "application/json",
                    Vec::new(),
                );
                match deleted.await {
                    Ok(_) => true,
                    // By the request before, whose answer did not come.
                    Err(Fault::NotFound(_)) if unheard.get() => true,
                    Err(fault) if passes(&fault) => {
                        println!("{path} is to be deleted: {fault}");
                        unheard.set(true);
                        false
                    }
                    Err(fault) => panic!("{path} cannot be deleted: {fault}"),
                }
            })
            .await;
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
                Err(fault) if passes(&fault) => {
                    println!("{path} is to be applied: {fault}");
                    false
                }
                Err(fault) => panic!("{path} cannot be applied: {fault}"),
                Ok(_) => true,
            }
        })
        .await;
    }
}

/// Whether the same request may have a better answer soon: not when the server refuses it, but when it has too much to do on a
/// busy machine, with an etcd that is slow, or when the connection was one of a server that has ended.
pub(crate) fn passes(fault: &Fault) -> bool {
    match fault {
        Fault::Busy { .. } | Fault::Unreachable(_) | Fault::Silent(_) => true,
        Fault::Status { status, .. } => *status >= 500,
        _ => false,
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
