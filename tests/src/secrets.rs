//! A small SDS server, as Istio's agent has one for its Envoy: the workload's certificate under `default`, the mesh's root
//! under `ROOTCA`. It never renews them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::JoinHandle;
use tonic::codegen::Service;
use tonic::codegen::tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use xds::proto::core::{DataSource, data_source::Specifier};
use xds::proto::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use xds::proto::secret::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use xds::proto::tls::{CertificateValidationContext, Secret, TlsCertificate, secret::Type};
use xds::proto::{pack, protobuf::Any};

/// A running server; ended when this is dropped.
pub struct Secrets {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Secrets {
    /// Serves the files that `sidecar::Pki::create` writes into this folder.
    ///
    /// # Panics
    /// When the address cannot be bound.
    pub async fn start(folder: &Path, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.expect("bound");
        let address = listener.local_addr().expect("an address");
        let folder: Arc<Path> = folder.into();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = Server {
                    folder: folder.to_path_buf(),
                };
                let service = SecretDiscoveryServiceServer::new(server);
                let service = service_fn(move |request| {
                    let mut service = service.clone();
                    async move {
                        let answer = service.call(request).await;
                        Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
                    }
                });
                let serving = http2::Builder::new(TokioExecutor::new());
                // It ends with its client.
                tokio::spawn(serving.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { address, task }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Secrets {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Server {
    folder: PathBuf,
}

impl Server {
    fn secret(&self, name: &str) -> Any {
        let file = |name: &str| {
            let path = self.folder.join(name).display().to_string();
            Some(DataSource {
                specifier: Some(Specifier::Filename(path)),
                ..DataSource::default()
            })
        };
        let kind = match name {
            "ROOTCA" => Type::ValidationContext(CertificateValidationContext {
                trusted_ca: file("root-cert.pem"),
                ..CertificateValidationContext::default()
            }),
            _ => Type::TlsCertificate(TlsCertificate {
                certificate_chain: file("cert-chain.pem"),
                private_key: file("key.pem"),
                ..TlsCertificate::default()
            }),
        };
        pack(&Secret {
            name: name.into(),
            r#type: Some(kind),
        })
    }
}

#[tonic::async_trait]
impl SecretDiscoveryService for Server {
    type DeltaSecretsStream = UnboundedReceiverStream<Result<DeltaDiscoveryResponse, Status>>;
    type StreamSecretsStream = UnboundedReceiverStream<Result<DiscoveryResponse, Status>>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("Istio's proxies do not ask this way"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (answers, stream) = unbounded_channel();
        let mut requests = request.into_inner();
        let server = Self {
            folder: self.folder.clone(),
        };
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                // What has a nonce only acknowledges.
                if !request.response_nonce.is_empty() {
                    continue;
                }
                let names = request.resource_names.iter();
                let response = DiscoveryResponse {
                    version_info: "1".into(),
                    resources: names.map(|name| server.secret(name)).collect(),
                    type_url: request.type_url,
                    nonce: "1".into(),
                    ..DiscoveryResponse::default()
                };
                if answers.send(Ok(response)).is_err() {
                    return;
                }
            }
        });
        Ok(Response::new(UnboundedReceiverStream::new(stream)))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("Istio's proxies do not ask this way"))
    }
}
