//! Who owns a cluster, as a table of what happens to the Secrets.

use super::*;

fn secret(name: &str, created: i64, clusters: &[(&str, &str)]) -> RemoteSecret {
    let entry = |(id, text): &(&str, &str)| (ClusterId::from(*id), Raw(text.as_bytes().into()));
    RemoteSecret {
        name: named(name),
        created,
        clusters: clusters.iter().map(entry).collect(),
    }
}

fn named(name: &str) -> SecretName {
    let (namespace, name) = name.split_once('/').expect("namespace/name");
    SecretName {
        namespace: namespace.into(),
        name: name.into(),
    }
}

fn said(actions: Vec<Action>) -> Vec<String> {
    let said = |action| match action {
        Action::Configure { id, owner, raw } => {
            format!("{id}={} by {owner}", String::from_utf8_lossy(&raw.0))
        }
        Action::Remove { id } => format!("-{id}"),
    };
    actions.into_iter().map(said).collect()
}

fn owners() -> Owners {
    Owners::new("ap".into())
}

#[test]
fn each_key_is_a_cluster_but_our_own() {
    let mut owners = owners();
    let three = secret("a/s", 0, &[("ap", "x"), ("eu", "1"), ("us", "2")]);
    assert_eq!(
        said(owners.apply(three.clone())),
        ["eu=1 by a/s", "us=2 by a/s"]
    );
    assert!(owners.apply(three).is_empty(), "the same again");
    let changed = secret("a/s", 0, &[("eu", "1"), ("us", "3")]);
    assert_eq!(said(owners.apply(changed)), ["us=3 by a/s"]);
    let other_key = secret("a/s", 0, &[("br", "4"), ("eu", "1")]);
    assert_eq!(said(owners.apply(other_key)), ["-us", "br=4 by a/s"]);
    assert_eq!(said(owners.remove(&named("a/s"))), ["-br", "-eu"]);
    assert!(owners.remove(&named("a/s")).is_empty());
}

#[test]
fn the_first_owner_stays_and_the_next_takes_over() {
    let mut owners = owners();
    owners.apply(secret("a/first", 9, &[("eu", "1")]));
    assert!(
        owners
            .apply(secret("a/second", 5, &[("eu", "2")]))
            .is_empty()
    );
    assert!(
        owners
            .apply(secret("b/third", 1, &[("eu", "3")]))
            .is_empty()
    );
    let shadowed = owners.shadowed();
    assert_eq!(shadowed.len(), 2);
    assert_eq!(shadowed[0].owner, named("a/first"));
    assert_eq!(shadowed[0].secret, named("a/second"));

    assert_eq!(
        said(owners.remove(&named("a/first"))),
        ["eu=3 by b/third"],
        "the oldest of the others"
    );
    let lost_its_key = secret("b/third", 1, &[("us", "4")]);
    assert_eq!(
        said(owners.apply(lost_its_key)),
        ["eu=2 by a/second", "us=4 by b/third"]
    );
    assert!(owners.shadowed().is_empty());
}

#[test]
fn a_list_replaces_one_namespace_only() {
    let mut owners = owners();
    owners.apply(secret("a/s", 0, &[("eu", "1")]));
    owners.apply(secret("a/t", 0, &[("us", "2")]));
    owners.apply(secret("b/s", 0, &[("br", "3")]));
    let list = vec![
        secret("a/new", 0, &[("us", "5")]),
        secret("a/s", 0, &[("eu", "1"), ("ap", "own")]),
    ];
    assert_eq!(said(owners.replace("a", list.clone())), ["us=5 by a/new"]);
    assert!(owners.replace("a", list).is_empty());
    assert_eq!(said(owners.replace("b", Vec::new())), ["-br"]);
    assert_eq!(said(owners.replace("a", Vec::new())), ["-eu", "-us"]);
}

#[test]
fn of_one_list_the_oldest_secret_owns() {
    let mut owners = owners();
    let list = vec![
        secret("a/a", 7, &[("eu", "young")]),
        secret("a/b", 3, &[("eu", "old")]),
    ];
    assert_eq!(said(owners.replace("a", list)), ["eu=old by a/b"]);
}

/// What two namespaces have when a gateway starts, in either order of their answers.
#[test]
fn after_a_start_the_oldest_owns_whichever_namespace_answers_first() {
    let old = || secret("a/old", 3, &[("eu", "old")]);
    let young = || secret("b/young", 7, &[("eu", "young"), ("us", "only")]);
    let mut owners = owners();
    assert_eq!(said(owners.replace("a", vec![old()])), ["eu=old by a/old"]);
    let then = said(owners.replace("b", vec![young()]));
    assert_eq!(then, ["us=only by b/young"]);

    let mut owners = self::owners();
    let first = said(owners.replace("b", vec![young()]));
    assert_eq!(first, ["eu=young by b/young", "us=only by b/young"]);
    assert_eq!(said(owners.replace("a", vec![old()])), ["eu=old by a/old"]);
    assert_eq!(owners.shadowed()[0].secret, named("b/young"));

    // From then on the first one stays: also where a list comes once more.
    let older = secret("b/older", 1, &[("eu", "older")]);
    assert!(said(owners.replace("b", vec![young(), older])).is_empty());
    assert_eq!(
        said(owners.replace("a", Vec::new())),
        ["eu=older by b/older"]
    );
}

#[test]
fn no_kubeconfig_shows_itself() {
    let secret = secret("a/s", 0, &[("eu", "credential")]);
    let mut owners = owners();
    let actions = owners.apply(secret.clone());
    assert!(!format!("{secret:?} {owners:?} {actions:?}").contains("credential"));
}
