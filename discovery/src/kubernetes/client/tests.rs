//! What becomes a client and what does not. Nothing is dialled.

use super::*;
use crate::kubernetes::kubeconfig::ClientCertificate;

fn access() -> Access {
    Access {
        server: "https://10.0.0.1:6443".into(),
        authority: None,
        tls_server_name: None,
        insecure: true,
        proxy: None,
        token: Some(Secret::new("very-secret-token")),
        certificate: None,
    }
}

#[tokio::test]
async fn checked_access_becomes_a_client_whose_token_can_change() {
    let (api, token) = remote(&access()).expect("a client");
    assert!(!api.has_newer_token());
    token.send_replace(Secret::new("newer"));
    assert!(api.has_newer_token());
    let named = Access {
        tls_server_name: Some("kubernetes.default".into()),
        proxy: Some("http://10.0.0.9:3128".into()),
        ..access()
    };
    assert!(remote(&named).is_ok());
}

#[tokio::test]
async fn what_is_no_certificate_is_refused_without_quoting_it() {
    // "-----BEGIN X-----\nvery-secret-token" in base64.
    let data = "LS0tLS1CRUdJTiBYLS0tLS0KdmVyeS1zZWNyZXQtdG9rZW4=".to_owned();
    let broken = [
        Access {
            authority: Some(data.clone()),
            ..access()
        },
        Access {
            certificate: Some(ClientCertificate {
                chain: data.clone(),
                key: Secret::new(data),
            }),
            ..access()
        },
        Access {
            proxy: Some("very-secret-token://%%".into()),
            ..access()
        },
        Access {
            tls_server_name: Some("not a name!".into()),
            ..access()
        },
    ];
    for access in broken {
        let Err(fault) = remote(&access) else {
            panic!("refused: {access:?}");
        };
        assert!(!fault.to_string().contains("very-secret"), "{fault}");
    }
}

#[tokio::test]
async fn a_local_kubeconfig_is_found_by_name_and_its_faults_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config");
    let of = |context: Option<&str>| Local {
        kubeconfig: Some(path.clone()),
        context: context.map(str::to_owned),
    };
    let said = |result: Result<Home, ClientError>| match result {
        Ok(home) => home.namespace,
        Err(fault) => fault.to_string(),
    };
    assert!(said(local(&of(None)).await).contains("No such file"));
    std::fs::write(&path, "token: [very-secret-token").expect("written");
    let broken = said(local(&of(None)).await);
    assert!(broken.contains("not a kubeconfig") && !broken.contains("very-secret"));
    let text = "clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: u, user: {token: t}}]\n\
                contexts: [{name: a, context: {cluster: c, user: u, namespace: mesh}}, {name: b, context: {cluster: z}}]\n\
                current-context: a\n";
    std::fs::write(&path, text).expect("written");
    assert_eq!(said(local(&of(None)).await), "mesh");
    assert!(said(local(&of(Some("b"))).await).contains("(context 'b')"));
    assert!(said(local(&of(Some("none"))).await).contains("(context 'none')"));
}

/// Each cluster has a file of its own, as when they were made one after the other.
#[tokio::test]
async fn several_kubeconfigs_are_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let paths = ["missing", "ap", "us"].map(|name| folder.path().join(name));
    for (path, port) in paths[1..].iter().zip(["1", "2"]) {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.expect("a name");
        let text = format!(
            "clusters: [{{name: {name}, cluster: {{server: 'https://127.0.0.1:{port}'}}}}]\n\
             users: [{{name: {name}, user: {{token: t}}}}]\n\
             contexts: [{{name: {name}, context: {{cluster: {name}, user: {name}}}}}]\ncurrent-context: {name}\n"
        );
        std::fs::write(path, text).expect("written");
    }
    let server = async |context: Option<&str>| match from_files(&paths, context).await {
        Ok(config) => config.cluster_url.to_string(),
        Err(fault) => fault.to_string(),
    };
    assert_eq!(server(None).await, "https://127.0.0.1:1/");
    assert_eq!(server(Some("us")).await, "https://127.0.0.1:2/");
    assert!(server(Some("eu")).await.contains("(context 'eu')"));
    let missing = from_files(&paths[..1], None).await.map(|_| ());
    let missing = missing.expect_err("none is there").to_string();
    assert!(missing.contains("No such file"), "{missing}");
}
