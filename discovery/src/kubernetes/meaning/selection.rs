//! Which DestinationRule holds for a service, and what several of them say together. A pure rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Hostname;

use super::hosts::{covers, full_name};
use super::{Me, Rules};
use crate::kubernetes::facts::{DestinationRuleFact, Key, SubsetFact, TrafficPolicy};

/// What all rules for one service say together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selected {
    pub(super) policy: Option<Arc<TrafficPolicy>>,
    pub(super) subsets: Vec<SubsetFact>,
}

/// The host of a rule, in full.
pub(super) fn rule_host(rule: &DestinationRuleFact, rules: &Rules) -> String {
    full_name(&rule.host, &rule.key.namespace, &rules.domain)
}

/// The rules for a service: those of our own namespace, else of the service's, else of the system namespace, the latter
/// two as far as they are exported to us; of these the ones with the most specific host (Istio's
/// `PushContext.destinationRule`). Several for that host are one: the oldest's policy, and the subsets of all, where of
/// two with one name the older's counts.
pub(super) fn select(
    all: &BTreeMap<Key, DestinationRuleFact>,
    me: &Me,
    rules: &Rules,
    host: &Hostname,
    namespace: &str,
) -> Selected {
    let mut found: Vec<(usize, std::cmp::Reverse<usize>, i64, &DestinationRuleFact)> = all
        .values()
        .filter_map(|rule| {
            let name = rule_host(rule, rules);
            let home = &*rule.key.namespace;
            let ours = home == &*me.namespace;
            let visible = ours || rule.export_to.is_visible(home, &me.namespace);
            let meant = rule.workloads.as_ref().is_none_or(|wanted| {
                ours && wanted
                    .iter()
                    .all(|(key, value)| me.labels.get(key) == Some(value))
            });
            if !visible || !meant || !covers(&name, host.as_str()) {
                return None;
            }
            let tier = [&*me.namespace, namespace, &*rules.system_namespace];
            let tier = tier.iter().position(|wanted| *wanted == home)?;
            // A host without a star is more specific than any with one, and then the longer one is.
            let length = if name.starts_with('*') {
                name.len()
            } else {
                usize::MAX
            };
            Some((tier, std::cmp::Reverse(length), rule.created, rule))
        })
        .collect();
    found.sort_by(|a, b| (a.0, a.1, a.2, &a.3.key).cmp(&(b.0, b.1, b.2, &b.3.key)));
    let Some(&(tier, length, ..)) = found.first() else {
        return Selected::default();
    };
    let mut selected = Selected::default();
    for (.., rule) in found.iter().filter(|(t, l, ..)| (*t, *l) == (tier, length)) {
        if selected.policy.is_none() {
            selected.policy.clone_from(&rule.policy);
        }
        for subset in &rule.subsets {
            if !selected
                .subsets
                .iter()
                .any(|known| known.name == subset.name)
            {
                selected.subsets.push(subset.clone());
            }
        }
    }
    selected
}
