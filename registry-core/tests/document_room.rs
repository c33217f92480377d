//! Tests of the memory budget for documents: the share of one client, for receiving and for sending.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use registry_core::{
    Algorithm, Digest, Identity, Limits, MediaType, Registry,
    auth::{ClientAddress, FromExtensions},
    service::{ManifestPush, ResponseBody},
    storage::MemoryStorage,
};
use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

/// Creates a registry with a budget of 4 MiB, a quarter of it for each client.
fn registry() -> Registry {
    let mut limits = Limits::default();
    limits.document_bytes = 4 << 20;
    Registry::builder(MemoryStorage::new())
        .authenticator(FromExtensions)
        .allow_anonymous_push()
        .limits(limits)
        .build()
}

fn of_client<B>(mut request: Request<B>, user: Option<&str>, address: &str) -> Request<B> {
    let address: SocketAddr = address.parse().unwrap();
    request.extensions_mut().insert(ClientAddress(address));
    if let Some(user) = user {
        request.extensions_mut().insert(Identity::new(user));
    }
    request
}

/// The beginning of a manifest whose rest never arrives.
struct Beginning(Option<Bytes>);

impl Body for Beginning {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

type Putting = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

/// Begins to put a manifest, and returns the response if there is one already.
async fn begin(putting: &mut Putting) -> Option<u16> {
    poll_fn(|context| {
        Poll::Ready(match putting.as_mut().poll(context) {
            Poll::Ready(answer) => Some(answer.status().as_u16()),
            Poll::Pending => None,
        })
    })
    .await
}

/// Checks that a client that sends incomplete manifests leaves memory for others.
#[tokio::test]
async fn what_one_client_sends_is_a_quarter() {
    let registry = registry();
    let put = |user: Option<&str>, address: &str| -> Putting {
        let body = Beginning(Some(Bytes::from(vec![b' '; 600 << 10])));
        let request = Request::put("/v2/a/manifests/v1").body(body).unwrap();
        Box::pin(registry.handle(of_client(request, user, address)))
    };
    let mut held = Vec::new();
    for (user, address, answer) in [
        (None, "192.0.2.1:1", None),
        (None, "192.0.2.1:2", Some(429)),
        (Some("ann"), "192.0.2.1:1", None),
        (Some("ann"), "192.0.2.2:1", Some(429)),
        (None, "[2001:db8::1]:1", None),
        (None, "[2001:db8::2]:1", Some(429)),
        (Some("bob"), "192.0.2.1:1", None),
    ] {
        let mut putting = put(user, address);
        assert_eq!(begin(&mut putting).await, answer, "{user:?} {address}");
        held.push(putting);
    }

    held.clear();
    assert_eq!(begin(&mut put(None, "192.0.2.1:1")).await, None);
}

/// Checks that the share of a client does not make a large document unreadable.
#[tokio::test]
async fn one_that_is_larger_than_a_quarter_is_sent_where_its_client_has_nothing_else() {
    let registry = registry();
    let padding = "x".repeat(2 << 20);
    let index = format!(
        r#"{{"schemaVersion":2,"mediaType":"{}","manifests":[],"annotations":{{"a":"{padding}"}}}}"#,
        MediaType::OCI_INDEX
    );
    let digest = Digest::of(Algorithm::Sha256, index.as_bytes());
    let repository = registry.repository("a").unwrap();
    let push = ManifestPush::new(digest, index);
    repository.put_manifest(push).await.unwrap();
    let get = async || {
        let target = format!("/v2/a/manifests/{digest}");
        let request = Request::get(target).body(String::new()).unwrap();
        registry
            .handle(of_client(request, Some("ann"), "192.0.2.1:1"))
            .await
    };

    let first = get().await;

    assert_eq!(first.status(), 200);
    assert_eq!(get().await.status(), 429);
    drop(first);
    assert_eq!(get().await.status(), 200);
}
