//! Where a kind is found, and how it is asked for (Kubernetes API concepts: lists in pages, watches, streaming lists).

use std::fmt::Write;
use std::time::Duration;

use crate::kubernetes::api::Form;

/// Objects of a page; client-go's number.
pub(super) const PAGE: usize = 500;

/// What is listed and watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The path of its list.
    pub path: String,
    /// Whether only metadata is asked for.
    pub metadata: bool,
    /// Only objects with these labels.
    pub labels: Option<&'static str>,
}

impl Target {
    /// How events are asked for.
    pub(super) fn events(&self) -> Form {
        if self.metadata {
            Form::MetadataEvents
        } else {
            Form::Full
        }
    }

    /// How lists are asked for.
    pub(super) fn lists(&self) -> Form {
        if self.metadata {
            Form::MetadataList
        } else {
            Form::Full
        }
    }

    /// One page of a list; all of it without a limit. No version is named, so it is a consistent read.
    pub(super) fn list_path(&self, limit: Option<usize>, token: &str) -> String {
        let mut path = self.with_labels();
        if let Some(limit) = limit {
            add(&mut path, "limit", &limit.to_string());
        }
        if !token.is_empty() {
            add(&mut path, "continue", token);
        }
        path
    }

    /// A watch from a version on.
    pub(super) fn watch_path(&self, version: &str, at_most: Duration) -> String {
        let mut path = self.with_labels();
        add(&mut path, "watch", "true");
        add(&mut path, "allowWatchBookmarks", "true");
        add(&mut path, "timeoutSeconds", &at_most.as_secs().to_string());
        add(&mut path, "resourceVersion", version);
        path
    }

    /// A watch that begins with all there is, and says where that ends. Consistent, as no version is named.
    pub(super) fn stream_path(&self, at_most: Duration) -> String {
        let mut path = self.with_labels();
        add(&mut path, "watch", "true");
        add(&mut path, "allowWatchBookmarks", "true");
        add(&mut path, "sendInitialEvents", "true");
        add(&mut path, "resourceVersionMatch", "NotOlderThan");
        add(&mut path, "timeoutSeconds", &at_most.as_secs().to_string());
        path
    }

    fn with_labels(&self) -> String {
        let mut path = self.path.clone();
        if let Some(labels) = self.labels {
            add(&mut path, "labelSelector", labels);
        }
        path
    }
}

fn add(path: &mut String, key: &str, value: &str) {
    path.push(if path.contains('?') { '&' } else { '?' });
    path.push_str(key);
    path.push('=');
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            path.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(path, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_asked_for_in_the_form_of_lists_and_of_events() {
        let target = |metadata| Target {
            path: String::new(),
            metadata,
            labels: None,
        };
        let forms = |target: Target| (target.lists(), target.events());
        assert_eq!(forms(target(false)), (Form::Full, Form::Full));
        let metadata = (Form::MetadataList, Form::MetadataEvents);
        assert_eq!(forms(target(true)), metadata);
    }

    #[test]
    fn values_are_encoded() {
        let target = Target {
            path: "/api/v1/secrets".into(),
            metadata: false,
            labels: Some("istio/multiCluster=true"),
        };
        assert_eq!(
            target.list_path(Some(500), "a+b=&c"),
            "/api/v1/secrets?labelSelector=istio%2FmultiCluster%3Dtrue&limit=500&continue=a%2Bb%3D%26c"
        );
        assert_eq!(
            target.watch_path("7", Duration::from_secs(20)),
            "/api/v1/secrets?labelSelector=istio%2FmultiCluster%3Dtrue&watch=true&allowWatchBookmarks=true\
             &timeoutSeconds=20&resourceVersion=7"
        );
    }
}
