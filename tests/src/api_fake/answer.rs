//! What is answered to a request, by what is held and by the fault that is set. It must not know how that is sent.

use serde_json::{Value, json};

use super::{Fault, State};

/// What becomes of one request.
pub(super) enum Answer {
    /// A status and a body.
    Whole(u16, String),
    /// Half of a body, and a reset.
    Half(String),
    /// A list without end.
    Endless,
    /// A watch on which nothing happens, for so many seconds at most.
    Watch(u64),
    /// None.
    Never,
}

/// What the list of a kind in all namespaces is called.
pub(super) fn of_all_namespaces(list: &str) -> String {
    let Some((before, after)) = list.split_once("/namespaces/") else {
        return list.to_owned();
    };
    let kind = after.split_once('/').map_or("namespaces", |(_, kind)| kind);
    format!("{before}/{kind}")
}

impl State {
    /// The answer to a request for this path, with this credential.
    pub(super) fn answer(&mut self, path: &str, authorization: &str) -> Answer {
        match self.fault {
            Some(Fault::Stall) => return Answer::Never,
            Some(Fault::Status(status)) => {
                let body = json!({"kind": "Status", "message": "it is meant to go wrong"});
                return Answer::Whole(status, body.to_string());
            }
            Some(Fault::Garbage) => return Answer::Whole(200, "<html>\n".into()),
            _ => {}
        }
        if authorization != format!("Bearer {}", self.token) {
            return Answer::Whole(401, json!({"message": "Unauthorized"}).to_string());
        }
        let (list, query) = path.split_once('?').unwrap_or((path, ""));
        let value = |key: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            pairs.find(|(name, _)| *name == key).map(|(_, value)| value)
        };
        if list == "/api/v1/namespaces/kube-system" {
            let other = self.fault == Some(Fault::OtherCluster);
            let uid = if other { "another" } else { "the-uid" };
            let body = json!({"metadata": {"name": "kube-system", "uid": uid}});
            return Answer::Whole(200, body.to_string());
        }
        if let Some(document) = self.documents.get(list) {
            return Answer::Whole(200, document.to_string());
        }
        let plural = list.rsplit('/').next().unwrap_or_default();
        if !plural.ends_with('s') {
            let body = json!({"message": format!("{list} is not there")});
            return Answer::Whole(404, body.to_string());
        }
        if value("sendInitialEvents").is_some() {
            let body = json!({"message": "lists by watching are not known here"});
            return Answer::Whole(422, body.to_string());
        }
        if value("watch").is_none() {
            return self.list(list);
        }
        let from: u64 = value("resourceVersion")
            .and_then(|from| from.parse().ok())
            .unwrap_or(0);
        if from != self.version {
            let body = json!({"message": "that version is not known any more"});
            return Answer::Whole(410, body.to_string());
        }
        let seconds = value("timeoutSeconds").and_then(|seconds| seconds.parse().ok());
        Answer::Watch(seconds.unwrap_or(300))
    }

    fn list(&mut self, list: &str) -> Answer {
        let mut items = self.lists.get(list).cloned().unwrap_or_default();
        let mut version = self.version;
        let first = self.lied.insert(list.to_owned());
        match self.fault {
            Some(Fault::Endless) => return Answer::Endless,
            Some(Fault::Empty | Fault::OtherCluster) => items.clear(),
            Some(Fault::EmptyOnce) if first => items.clear(),
            Some(Fault::OlderOnce) if first => {
                version = 1;
                items.drain(..items.len().min(1));
            }
            _ => self.truths += 1,
        }
        let body = body(&items, version);
        if self.fault == Some(Fault::ResetMidList) {
            return Answer::Half(body);
        }
        Answer::Whole(200, body)
    }
}

fn body(items: &[Value], version: u64) -> String {
    let metadata = json!({"resourceVersion": version.to_string()});
    json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}).to_string()
}
