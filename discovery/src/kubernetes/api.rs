//! Requests to one API server, each bounded in time and size. kube's own decoding is not used: it logs what it cannot read,
//! Secrets included, and reads lists and lines of any length. It must not know what is asked for, or why.

mod body;
mod fault;

use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, header};
use kube::Client;
use kube::client::Body;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

pub use self::body::Lines;
pub use self::fault::Fault;
use super::secret::Secret;

/// From a request to the head of its answer. With [`FRAME`] it is what finds a dead link that no watch runs on.
const HEAD: Duration = Duration::from_secs(10);

/// Between two pieces of an answer that is not a watch.
const FRAME: Duration = Duration::from_secs(10);

/// For the whole of such an answer, however steadily it drips: a page of a list is a few megabytes.
const WHOLE: Duration = Duration::from_secs(60);

/// Bytes of an answer that is one object; etcd keeps none above 1.5 MiB.
const OBJECT: usize = 4 << 20;

/// A connection to an API server; clones share it.
#[derive(Clone)]
pub struct Api {
    client: Client,
    token: Option<watch::Receiver<Secret>>,
}

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Whole objects.
    Full,
    /// A list of objects' metadata alone.
    MetadataList,
    /// Events with objects' metadata alone.
    MetadataEvents,
}

impl Form {
    /// Content negotiation of the API (`PartialObjectMetadata`, Kubernetes API concepts, "Metadata-only fetches").
    fn accept(self) -> &'static str {
        match self {
            Self::Full => "application/json",
            Self::MetadataList => {
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
            }
            Self::MetadataEvents => "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
        }
    }
}

impl Api {
    /// Requests go through this client. With a token they bear the newest one, which may change at any time; without, the
    /// client sees to that.
    #[must_use]
    pub fn new(client: Client, token: Option<watch::Receiver<Secret>>) -> Self {
        Self { client, token }
    }

    /// The same connection with another token, to try it.
    #[must_use]
    pub fn with_token(&self, token: Secret) -> Self {
        Self {
            client: self.client.clone(),
            token: Some(watch::channel(token).1),
        }
    }

    /// Waits until there is a newer token than at the last call; for ever if it cannot change.
    pub async fn newer_token(&mut self) {
        let Some(token) = &mut self.token else {
            return std::future::pending().await;
        };
        if token.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Whether there is a newer token than [`Api::newer_token`] has told of.
    #[must_use]
    pub fn has_newer_token(&self) -> bool {
        let token = self.token.as_ref();
        token.is_some_and(|token| token.has_changed().unwrap_or(false))
    }

    /// One object.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Fault> {
        self.fetch(path, Form::Full, OBJECT).await.map(|(it, _)| it)
    }

    /// An answer of at most so many bytes, and how many they were.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn fetch<T: DeserializeOwned>(
        &self,
        path: &str,
        form: Form,
        limit: usize,
    ) -> Result<(T, usize), Fault> {
        let request = self.request(Method::GET, path, form)?;
        let answer = self.send(request, Body::empty()).await?;
        decode(answer, limit).await
    }

    /// Sends an object; the answer is an object too.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn change<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<T, Fault> {
        let mut request = self.request(method, path, Form::Full)?;
        let value = HeaderValue::from_static(content_type);
        request.headers_mut().insert(header::CONTENT_TYPE, value);
        let answer = self.send(request, Body::from(body)).await?;
        decode(answer, OBJECT).await.map(|(it, _)| it)
    }

    /// An answer that goes on: one JSON value a line, none longer than this many bytes.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn lines(&self, path: &str, form: Form, longest: usize) -> Result<Lines, Fault> {
        let mut request = self.request(Method::GET, path, form)?;
        // From 1.37 on servers compress each event by itself, of which the client reads only the first.
        let plain = HeaderValue::from_static("identity");
        request.headers_mut().insert(header::ACCEPT_ENCODING, plain);
        let answer = self.send(request, Body::empty()).await?;
        Ok(Lines::new(answer.into_body(), longest))
    }

    fn request(&self, method: Method, path: &str, form: Form) -> Result<Request<()>, Fault> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::ACCEPT, form.accept());
        let mut request = request
            .body(())
            .map_err(|_| Fault::BadRequest("its path is not valid"))?;
        if let Some(token) = &self.token {
            let bearer = format!("Bearer {}", token.borrow().reveal());
            let mut bearer = HeaderValue::try_from(bearer)
                .map_err(|_| Fault::BadRequest("the token has characters that no token has"))?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(header::AUTHORIZATION, bearer);
        }
        Ok(request)
    }

    /// Sends a request; an answer that is no success is a fault.
    async fn send(&self, request: Request<()>, body: Body) -> Result<Response<Body>, Fault> {
        let request = request.map(|()| body);
        let answer = match timeout(HEAD, self.client.send(request)).await {
            Ok(answer) => answer.map_err(|fault| Fault::unreachable(&fault))?,
            Err(_) => return Err(Fault::Silent(HEAD)),
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let retry_after = answer.headers().get(header::RETRY_AFTER);
        let retry_after = retry_after
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let said = collect(answer, OBJECT).await.unwrap_or_default();
        let mut said = String::from_utf8_lossy(&said).into_owned();
        // A server knows the token and could repeat it.
        if let Some(token) = &self.token
            && !token.borrow().reveal().is_empty()
        {
            said = said.replace(token.borrow().reveal(), "(hidden)");
        }
        Err(Fault::from_status(status, retry_after, said.as_bytes()))
    }
}

async fn decode<T: DeserializeOwned>(
    answer: Response<Body>,
    limit: usize,
) -> Result<(T, usize), Fault> {
    let bytes = collect(answer, limit).await?;
    match serde_json::from_slice(&bytes) {
        Ok(it) => Ok((it, bytes.len())),
        Err(fault) => Err(Fault::garbage(&fault)),
    }
}

async fn collect(answer: Response<Body>, limit: usize) -> Result<Vec<u8>, Fault> {
    let collecting = body::collect(answer.into_body(), limit, FRAME);
    match timeout(WHOLE, collecting).await {
        Ok(bytes) => bytes,
        Err(_) => Err(Fault::Silent(WHOLE)),
    }
}

#[cfg(test)]
mod tests;
