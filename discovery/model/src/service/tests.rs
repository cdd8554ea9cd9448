//! Which names a service has, and how each finds its endpoints.

use super::*;

fn service() -> Service {
    let port = |number, name: &str, protocol| Port {
        number,
        name: name.into(),
        protocol,
    };
    let assigned = Assigned {
        mesh: Some(vec!["80/v1".into(), "80/v1#1".into()]),
        plain: None,
    };
    let by_labels = Subset {
        labels: [("version".into(), "v2".into())].into(),
        ..Subset::default()
    };
    let by_name = Subset {
        assigned: Some([(80, assigned)].into()),
        ..Subset::default()
    };
    Service {
        host: Hostname::parse("s").expect("a host name"),
        ports: vec![
            port(53, "dns", Protocol::Udp),
            port(80, "http", Protocol::Tcp),
            port(81, "more", Protocol::Tcp),
        ],
        subsets: [("v1".into(), by_name), ("v2".into(), by_labels)].into(),
        policy: Arc::default(),
        endpoints: Chunked::from_items(Vec::new()),
    }
}

fn names(service: &Service, port: u16, subset: &str, audience: Audience) -> Option<String> {
    let join = service.join(port, subset, audience)?;
    Some(join.port_names.join(" "))
}

#[test]
fn names_are_joined_by_the_port_or_by_what_is_assigned() {
    use Audience::{Mesh, Plain};
    let service = service();
    for (port, subset, audience, expected) in [
        (80, "", Mesh, Some("http")),
        (80, "", Plain, Some("http")),
        (80, "v2", Mesh, Some("http")),
        (80, "v1", Mesh, Some("80/v1 80/v1#1")),
        (80, "v1", Plain, None),
        (81, "v1", Mesh, None),
        (81, "v2", Plain, Some("more")),
        (80, "v3", Mesh, None),
        (53, "", Mesh, None),
        (82, "", Mesh, None),
    ] {
        let found = names(&service, port, subset, audience);
        assert_eq!(found.as_deref(), expected, "{port} {subset} {audience:?}");
    }
    let join = service.join(80, "v1", Mesh).expect("a route");
    assert!(join.assigned && join.labels.is_empty());
    assert!(!service.join(80, "v2", Mesh).expect("a route").assigned);
}

#[test]
fn what_is_said_of_the_empty_subset_holds_for_the_whole_service() {
    let mut service = service();
    let nothing = Subset {
        assigned: Some(BTreeMap::new()),
        ..Subset::default()
    };
    service.subsets.insert("".into(), nothing);
    assert_eq!(service.join(80, "", Audience::Mesh), None);
    let named: Vec<_> = service.subset_names().collect();
    assert_eq!(named, ["", "v1", "v2"]);
}
