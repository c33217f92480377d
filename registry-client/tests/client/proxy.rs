//! Proxies, for requests with and without TLS.

use crate::support::{Received, Scripted, builder, content, descriptor, reply};
use registry_client::{Client, Host, HostOptions, Proxies};

fn client(proxy: &Scripted) -> Client {
    let url = proxy.url("").replace("http://", "http://ann:pw@");
    let plain = Host::parse("plain.example:5000").unwrap();
    builder()
        .proxies(Proxies::all(&url, "direct.example").unwrap())
        .host(plain, HostOptions::new().plain_http(true))
        .build()
        .unwrap()
}

#[tokio::test]
async fn a_request_without_tls_goes_to_the_proxy_with_its_whole_url() {
    let blob = content(2000);
    let sent = blob.clone();
    let proxy = Scripted::start(move |_| reply(200).body(sent.clone()));
    let repository = client(&proxy).repository("plain.example:5000/a").unwrap();

    let pulled = repository.blob(&descriptor(&blob).digest, 2000).await.unwrap();

    assert!(pulled == blob);
    let [received] = &proxy.received()[..] else {
        panic!("one request is enough");
    };
    assert!(
        received
            .target
            .starts_with("http://plain.example:5000/v2/a/blobs/"),
        "{}",
        received.target
    );
    assert_eq!(received.header("proxy-authorization"), Some("Basic YW5uOnB3"));
    assert_eq!(received.header("authorization"), None);
}

#[tokio::test]
async fn a_request_with_tls_goes_through_a_tunnel() {
    let proxy = Scripted::start(|_| reply(403));
    let repository = client(&proxy).repository("registry.example/a").unwrap();

    let error = repository.manifest("v1").await.unwrap_err();

    let tunnels = |received: &Received| {
        received.method == "CONNECT"
            && received.target == "registry.example:443"
            && received.header("proxy-authorization") == Some("Basic YW5uOnB3")
    };
    assert!(proxy.received().iter().all(tunnels), "{:?}", proxy.received());
    let message = error.to_string();
    assert!(
        message.contains("the proxy") && !message.contains("pw"),
        "{message}"
    );
}

#[tokio::test]
async fn this_machine_is_reached_without_a_proxy() {
    let proxy = Scripted::start(|_| reply(500));
    let registry = Scripted::start(|_| reply(200).body("{}"));

    let repository = client(&proxy)
        .repository(&format!("{}/a", registry.host()))
        .unwrap();
    repository.manifest("v1").await.unwrap();

    assert!(proxy.received().is_empty());
}
