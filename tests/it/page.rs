//! The dashboard: a browser gets it, a terminal does not; it asks only for what the admin API answers, and takes nothing from
//! elsewhere. How it looks, people judge.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use gateway::config::Role;
use serde_json::Value;
use sidecar::HELLO_NAME;
use tests::{Answer, exchange, get, until_async};

use crate::reasons::before_one;

const SCRIPT: &str = include_str!("../../proxy/gateway/src/http/admin/page/page.js");
const PAGE: &str = include_str!("../../proxy/gateway/src/http/admin/page/page.html");
const STYLE: &str = include_str!("../../proxy/gateway/src/http/admin/page/page.css");

async fn browse(admin: SocketAddr, path: &str) -> Answer {
    let request =
        format!("GET {path} HTTP/1.0\r\nHost: {admin}\r\nAccept: text/html,*/*;q=0.8\r\n\r\n");
    exchange(admin, request.as_bytes())
        .await
        .expect("an answer")
}

/// The words that follow each `before` in the script.
fn words_after(before: &str) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    for (at, _) in SCRIPT.match_indices(before) {
        // Not the end of another word.
        if SCRIPT[..at].ends_with(|c: char| c.is_alphanumeric() || c == '.') {
            continue;
        }
        let rest = &SCRIPT[at + before.len()..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_'));
        found.insert(&rest[..end.unwrap_or(rest.len())]);
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_the_dashboard_and_a_terminal_the_list() {
    let (mesh, _backend) = before_one(|_| {}).await;
    let admin = mesh.app.addresses().admin;
    let page = browse(admin, "/").await;
    assert_eq!((page.status, page.body.as_str()), (200, PAGE));
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.js", "text/javascript"),
        ("/page.css", "text/css"),
    ] {
        let head = browse(admin, path).await.head.to_lowercase();
        assert!(head.contains(&format!("content-type: {kind}")), "{head}");
        assert!(
            head.contains("content-security-policy: default-src 'none'; script-src 'self';"),
            "{head}"
        );
        assert!(!head.contains("unsafe-"), "{head}");
    }
    let list = get(admin, "/").await;
    assert!(list.head.contains("text/plain") && list.body.contains("/explain?sni=NAME"));
    assert!(list.body.contains("/mesh"), "{}", list.body);
}

#[test]
fn it_takes_nothing_from_elsewhere_and_makes_no_markup_of_names() {
    // The one address is a name: that of SVG's elements.
    let script = SCRIPT.replace("http://www.w3.org/2000/svg", "");
    for text in [script.as_str(), PAGE, STYLE] {
        for elsewhere in ["http:", "https:", "//cdn", "@import", "url("] {
            assert!(!text.contains(elsewhere), "{elsewhere}");
        }
    }
    for markup in [
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "new Function",
    ] {
        assert!(!SCRIPT.contains(markup), "{markup}");
    }
    // What the policy would not let run.
    for inline in ["style=", "<style", "onclick=", "onload=", "<script>"] {
        assert!(!PAGE.contains(inline), "{inline}");
    }
    for (before, kind) in [("byId(\"", "id"), ("fill(\"", "id")] {
        let ids = words_after(before);
        assert!(!ids.is_empty(), "{before}");
        for id in ids {
            assert!(PAGE.contains(&format!("{kind}=\"{id}\"")), "{id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_asks_for_what_the_api_answers() {
    let (mesh, _backend) = before_one(|_| {}).await;
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    let unknown = HELLO_NAME.replace("hello", "hullo");
    let client = mesh.client(Role::Inbound).named(&unknown).expect("a name");
    client.ask().await.expect_err("nobody has that name");
    let admin = mesh.app.addresses().admin;
    until_async("both are known", async || {
        let failures = get(admin, "/failures").await.json();
        let flows = get(admin, "/mesh").await.json();
        failures["failures"][0].is_object() && flows["flows"][0]["closed"] == 1
    })
    .await;
    let asked = words_after("ask(\"")
        .into_iter()
        .chain(words_after("ask(`"));
    let asked: BTreeSet<&str> = asked.collect();
    assert_eq!(
        asked,
        ["endpoints", "failures", "mesh", "routes", "status"].into()
    );
    let answer = async |path: &str| get(admin, path).await.json();
    let (status, in_figures) = (answer("/status").await, answer("/mesh").await);
    let routes = answer("/routes").await;
    let endpoints = answer("/endpoints").await;
    let has = |what: &str, value: &Value, computed: &[&str]| {
        let words = words_after(&format!("{what}."));
        assert!(!words.is_empty(), "{what}");
        for word in words.iter().filter(|word| !computed.contains(word)) {
            assert!(value.get(word).is_some(), "{what}.{word} is not in {value}");
        }
    };
    has("status", &status, &[]);
    has("mesh", &in_figures, &[]);
    let computed = ["perSecond", "failing", "bytesPerSecond"];
    has("flow", &in_figures["flows"][0], &computed);
    has("place", &in_figures["places"][0], &[]);
    has("routes", &routes, &[]);
    has("route", &routes["routes"][0], &[]);
    has("endpoints", &endpoints, &[]);
    for name in ["gateway", "address", "state"] {
        assert!(endpoints["endpoints"][0].get(name).is_some(), "{name}");
    }
    let failure = &answer("/failures").await["failures"][0];
    for name in ["start", "reason", "sni", "client", "attempts"] {
        assert!(failure.get(name).is_some(), "{name} in {failure}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn flows_are_counted_by_who_served_them() {
    let (mesh, backend) = before_one(|_| {}).await;
    let admin = mesh.app.addresses().admin;
    assert_eq!(
        get(admin, "/mesh").await.json()["flows"],
        serde_json::json!([])
    );
    mesh.client(Role::Inbound).ask().await.expect("an answer");
    until_async("it is counted", async || {
        let flow = &get(admin, "/mesh").await.json()["flows"][0];
        flow["closed"] == 1 && flow["bytesToClients"].as_u64() > Some(500)
    })
    .await;
    let mesh_in_figures = get(admin, "/mesh").await.json();
    let flow = &mesh_in_figures["flows"][0];
    assert_eq!([&flow["cluster"], &flow["network"]], ["us", "n2"]);
    assert_eq!([&flow["opened"], &flow["failed"]], [1, 0]);
    assert_eq!(mesh_in_figures["places"][0]["healthy"], 1);

    let refuses = backend.set(sidecar::Behaviour::Refuse).await;
    refuses.expect("it refuses");
    let refused = mesh.client(Role::Inbound).ask().await;
    refused.expect_err("nobody is there");
    until_async("the failure is counted", async || {
        let flows = get(admin, "/mesh").await.json();
        let flows = flows["flows"].as_array().cloned().unwrap_or_default();
        flows
            .iter()
            .filter_map(|flow| flow["failed"].as_u64())
            .sum::<u64>()
            == 1
    })
    .await;
}
