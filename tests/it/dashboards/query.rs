//! Which metrics and labels a PromQL query names, and which a scrape has. It must not judge whether the query is a good one:
//! promtool does.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that Prometheus adds to whatever it scrapes from a Pod.
const OF_TARGETS: [&str; 4] = ["namespace", "pod", "instance", "job"];

/// Words of PromQL that labels in brackets follow.
const BEFORE_LABELS: [&str; 6] = [
    "by",
    "on",
    "without",
    "ignoring",
    "group_left",
    "group_right",
];

/// Words of PromQL that stand where a metric could.
const WORDS: [&str; 5] = ["and", "or", "unless", "bool", "offset"];

/// The names of metrics, each with the labels of its series.
pub(crate) type Series = BTreeMap<String, BTreeSet<String>>;

/// What a query names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// Metrics, each with the labels it is selected by; one entry each time.
    pub(crate) metrics: Vec<(String, BTreeSet<String>)>,
    /// Labels that series are grouped or joined by.
    pub(crate) labels: BTreeSet<String>,
}

/// The series of a scrape.
pub(crate) fn series(scrape: &str) -> Series {
    let mut all = Series::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        for (name, labels) in named(line).metrics {
            all.entry(name).or_default().extend(labels);
        }
    }
    all
}

/// What a query names; the content of its strings does not matter.
pub(crate) fn named(query: &str) -> Named {
    let text = without_strings(query);
    let mut found = Named::default();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if first == '[' {
            rest = after(rest, ']');
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let (word, more) = rest.split_at(end);
            let more = more.trim_start();
            rest = more;
            if BEFORE_LABELS.contains(&word) {
                found.labels.extend(listed(more, '(', ')'));
                rest = after(more, ')');
            } else if more.starts_with('{') {
                found
                    .metrics
                    .push((word.to_owned(), listed(more, '{', '}')));
                rest = after(more, '}');
            } else if !(more.starts_with('(') || is_aggregation(more) || WORDS.contains(&word)) {
                found.metrics.push((word.to_owned(), BTreeSet::new()));
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    found
}

/// What a query names and nobody exports.
pub(crate) fn missing(query: &str, exported: &Series) -> Vec<String> {
    let named = named(query);
    let mut missing = Vec::new();
    let mut known: BTreeSet<&str> = OF_TARGETS.into();
    for (metric, labels) in &named.metrics {
        let Some(has) = exported.get(metric) else {
            missing.push(format!("metric {metric}"));
            continue;
        };
        known.extend(has.iter().map(String::as_str));
        let unknown = labels
            .iter()
            .filter(|label| !has.contains(*label) && !OF_TARGETS.contains(&label.as_str()));
        missing.extend(unknown.map(|label| format!("label {label} of {metric}")));
    }
    for label in &named.labels {
        // A label of the metric's own that the target has too is renamed.
        let renamed = label.strip_prefix("exported_");
        if !known.contains(renamed.unwrap_or(label)) {
            missing.push(format!("label {label}"));
        }
    }
    missing
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// Whether this follows an aggregation, like `sum by (pod) (...)`.
fn is_aggregation(more: &str) -> bool {
    let word = more.split(|c| !is_word(c)).next();
    matches!(word, Some("by" | "without"))
}

fn after(text: &str, end: char) -> &str {
    text.split_once(end).map_or("", |(_, rest)| rest)
}

/// The names in brackets; what is compared with a name is gone already.
fn listed(text: &str, open: char, close: char) -> BTreeSet<String> {
    let inside = text
        .strip_prefix(open)
        .and_then(|text| text.split_once(close));
    let names = inside.map_or("", |(inside, _)| inside).split(',');
    names
        .map(|name| name.trim().trim_end_matches(|c| !is_word(c)).to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

fn without_strings(text: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '"' if !escaped => inside = !inside,
            _ if inside => {}
            _ => out.push(c),
        }
        escaped = inside && c == '\\' && !escaped;
    }
    out
}

#[test]
fn names_are_found_wherever_they_stand() {
    let query = r#"sum by (pod, le) (rate(a_total{x=~"b, {c}", y!="\""}[5m] offset 10m)) / on (z) a2 > bool 0.5 unless b_total{} and (c)"#;
    let set = |names: &[&str]| {
        names
            .iter()
            .map(|name| (*name).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let metric = |name: &str, labels: &[&str]| (name.to_owned(), set(labels));
    assert_eq!(
        named(query),
        Named {
            metrics: vec![
                metric("a_total", &["x", "y"]),
                metric("a2", &[]),
                metric("b_total", &[]),
                metric("c", &[]),
            ],
            labels: set(&["pod", "le", "z"]),
        }
    );
    let scrape = "# HELP a_total b\na_total{x=\"1,2\",y=\"}\"} 1\na2 2.5e-05\nb_total 7\n";
    let exported = series(scrape);
    assert_eq!(exported["a_total"], set(&["x", "y"]));
    assert_eq!(
        missing(query, &exported),
        ["metric c", "label le", "label z"]
    );
    assert!(
        missing(
            "sum by (x, pod) (a_total{y=\"1\", namespace=\"n\"})",
            &exported
        )
        .is_empty()
    );
    assert_eq!(missing("a2{x=\"1\"}", &exported), ["label x of a2"]);
}
