//! What is taken from a kubeconfig and what is refused, as tables.

use super::*;

/// PEM in base64, as kubeconfigs have it: a begin line is all that is looked at here.
const PEM: &str = "LS0tLS1CRUdJTiBYLS0tLS0K";

const TOKEN: &str = "very-secret-token";

/// A kubeconfig as `istioctl create-remote-secret` writes it, with more lines for cluster and user.
fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: us\npreferences: {{}}\n\
         clusters:\n- name: us\n  cluster:\n    certificate-authority-data: {PEM}\n{cluster}\n\
         contexts:\n- name: us\n  context:\n    cluster: us\n    user: us\n\
         users:\n- name: us\n  user:\n{user}\n"
    )
}

const SERVER: &str = "    server: https://10.0.0.1:6443";
const LOGIN: &str = "    token: very-secret-token";

fn refused(text: &str) -> Refusal {
    check(text.as_bytes(), Allow::default()).expect_err("it is refused")
}

#[test]
fn what_istioctl_writes_is_taken() {
    let access = check(kubeconfig(SERVER, LOGIN).as_bytes(), Allow::default());
    let access = access.expect("a good kubeconfig");
    assert_eq!(access.server, "https://10.0.0.1:6443");
    assert_eq!(access.authority.as_deref(), Some(PEM));
    assert_eq!(access.token, Some(Secret::new(TOKEN)));
    assert!(!access.insecure);
    assert!(!format!("{access:?}").contains(TOKEN));
}

#[test]
fn a_client_certificate_is_taken() {
    let login = format!("    client-certificate-data: {PEM}\n    client-key-data: {PEM}");
    let access = check(kubeconfig(SERVER, &login).as_bytes(), Allow::default());
    let access = access.expect("a good kubeconfig");
    assert!(access.certificate.is_some() && access.token.is_none());
}

#[test]
fn of_several_contexts_the_current_one_counts() {
    let two = "clusters: [{name: a, cluster: {server: 'https://a'}}, {name: b, cluster: {server: 'https://b'}}]\n\
               users: [{name: u, user: {token: t}}, {name: evil, user: {exec: {command: sh}}}]\n\
               contexts: [{name: a, context: {cluster: a, user: evil}}, {name: b, context: {cluster: b, user: u}}]\n";
    let chosen = check(
        format!("{two}current-context: b\n").as_bytes(),
        Allow::default(),
    );
    assert_eq!(chosen.expect("a good kubeconfig").server, "https://b");
    assert_eq!(refused(two), Refusal::NoContext { contexts: 2 });
    let missing = |what, name: &str| Refusal::Missing {
        what,
        name: name.into(),
    };
    let unknown = refused(&format!("{two}current-context: c\n"));
    assert_eq!(unknown, missing("context", "c"));
    let one = "clusters: [{name: a, cluster: {server: 'https://a'}}]\nusers: [{name: u, user: {token: t}}]\n";
    let context = |cluster, user| {
        format!("{one}contexts: [{{name: x, context: {{cluster: {cluster}, user: {user}}}}}]\n")
    };
    assert!(check(context("a", "u").as_bytes(), Allow::default()).is_ok());
    assert_eq!(refused(&context("z", "u")), missing("cluster", "z"));
    assert_eq!(refused(&context("a", "z")), missing("user", "z"));
}

#[test]
fn the_hostile_is_refused_by_name() {
    let table = [
        ("    server: http://10.0.0.1", LOGIN, "not https"),
        ("    server: 'https://me:pass@10.0.0.1'", LOGIN, "user name"),
        ("    server: ''", LOGIN, "not given"),
        ("    server: 'https://'", LOGIN, "not an address"),
        (
            "    server: https://a\n    certificate-authority: /etc/ca",
            LOGIN,
            "'certificate-authority'",
        ),
        (
            "    server: https://a\n    insecure-skip-tls-verify: true",
            LOGIN,
            "discovery.allowInsecureTls",
        ),
        (
            "    server: https://a\n    proxy-url: http://b",
            LOGIN,
            "discovery.allowProxy",
        ),
        (SERVER, "    exec: {command: /bin/sh}", "'exec'"),
        (
            SERVER,
            "    auth-provider: {name: gcp, config: {}}",
            "'auth-provider'",
        ),
        (SERVER, "    tokenFile: /etc/shadow", "'tokenFile'"),
        (
            SERVER,
            "    client-certificate: /etc/c",
            "'client-certificate'",
        ),
        (SERVER, "    client-key: /etc/k", "'client-key'"),
        (SERVER, "    username: me\n    password: pass", "'username'"),
        (
            SERVER,
            "    token: very-secret-token\n    as: admin",
            "'as'",
        ),
        (SERVER, "    {}", "neither a token"),
        (SERVER, "    token: ''", "neither a token"),
        (
            SERVER,
            "    client-certificate-data: LS0tLS1CRUdJTiBYLS0tLS0K",
            "only one of",
        ),
        (
            SERVER,
            "    client-certificate-data: very-secret-token\n    client-key-data: very-secret-token",
            "'client-certificate-data'",
        ),
    ];
    for (cluster, user, word) in table {
        let said = refused(&kubeconfig(cluster, user)).to_string();
        assert!(said.contains(word), "{cluster} {user}: {said}");
        assert!(!said.contains(TOKEN) && !said.contains("pass@"), "{said}");
    }
}

#[test]
fn what_a_setting_allows_is_taken() {
    let allow = Allow {
        insecure_tls: true,
        proxy: true,
    };
    let cluster =
        "    server: https://a\n    insecure-skip-tls-verify: true\n    proxy-url: http://b:3128";
    let access = check(kubeconfig(cluster, LOGIN).as_bytes(), allow).expect("allowed");
    assert!(access.insecure);
    assert_eq!(access.proxy.as_deref(), Some("http://b:3128"));
}

#[test]
fn broken_text_is_refused_without_quoting_it() {
    assert_eq!(
        check(&[0xff, 0xfe], Allow::default()),
        Err(Refusal::NotText)
    );
    for text in [
        "very-secret-token",
        "users: [{name: very-secret-token, user: [",
        "users: {name: very-secret-token}",
        "current-context: [very-secret-token]",
    ] {
        let refusal = refused(text);
        assert!(!refusal.to_string().contains(TOKEN), "{refusal}");
        assert!(!format!("{refusal:?}").contains(TOKEN), "{refusal:?}");
    }
    let line = |name: char, of: char| {
        format!(
            "{name}: &{name} [{}]\n",
            vec![format!("*{of}"); 10].join(",")
        )
    };
    let names = ['b', 'c', 'd', 'e', 'f', 'g'];
    let levels = names.windows(2).map(|pair| line(pair[1], pair[0]));
    let bomb = format!(
        "a: &b [x,x,x,x,x,x,x,x,x,x]\n{}",
        levels.collect::<String>()
    );
    assert!(matches!(refused(&bomb), Refusal::Form { .. }));
}

#[test]
fn a_new_token_alone_is_told_from_any_other_change() {
    let of = |cluster: &str, user: &str| {
        check(kubeconfig(cluster, user).as_bytes(), Allow::default()).expect("a good kubeconfig")
    };
    let before = of(SERVER, LOGIN);
    assert!(before.differs_in_token_only(&of(SERVER, "    token: another")));
    assert!(!before.differs_in_token_only(&of("    server: https://b", LOGIN)));
    let certificate = format!("    client-certificate-data: {PEM}\n    client-key-data: {PEM}");
    assert!(!before.differs_in_token_only(&of(SERVER, &certificate)));
}
