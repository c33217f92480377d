//! Connections by a function of the user: Unix sockets, with and without TLS.

use crate::support::{Scripted, builder, content, descriptor, reply};
use bytes::Bytes;
use registry_client::{Error, Host, HostOptions, Proxies, RemoteRepository, Retry};
use registry_test::{TestRegistry, image};
use std::{
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tempfile::TempDir;
use tokio::{
    io::copy_bidirectional,
    net::{TcpStream, UnixListener, UnixStream},
    spawn,
};

/// Name that leads nowhere but to the socket.
const HOST: &str = "registry.socket";

/// Unix socket that forwards to a server on loopback.
struct Forwarded {
    directory: TempDir,
    connections: Arc<AtomicUsize>,
}

impl Forwarded {
    fn to(server: SocketAddr) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("socket")).unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let mut to = TcpStream::connect(server).await.unwrap();
                spawn(async move { copy_bidirectional(&mut from, &mut to).await });
            }
        });
        Self {
            directory,
            connections,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("socket")
    }

    fn options(&self) -> HostOptions {
        let path = self.path();
        HostOptions::new().connector(move || UnixStream::connect(path.clone()))
    }

    fn repository(&self, options: HostOptions) -> RemoteRepository {
        // Nobody listens there.
        let proxies = Proxies::all("http://ann:pw@127.0.0.1:9", "").unwrap();
        let client = builder()
            .host(Host::parse(HOST).unwrap(), options)
            .proxies(proxies)
            .build()
            .unwrap();
        client.repository(&format!("{HOST}/team/app")).unwrap()
    }
}

#[tokio::test]
async fn a_registry_on_a_unix_socket_is_pushed_to_and_pulled_from() {
    let registry = TestRegistry::start();
    let socket = Forwarded::to(registry.addr());
    let repository = socket.repository(socket.options());
    let layer = content(2_500_000);
    let described = descriptor(&layer);

    repository
        .push_blob(Bytes::from(layer.clone()), &described)
        .await
        .unwrap();

    let pulled = repository.blob(&described.digest, layer.len()).await.unwrap();
    assert!(pulled == layer);
    // One after the other, requests share a connection.
    assert_eq!(socket.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn no_proxy_and_no_login_of_one_is_sent() {
    let server = Scripted::start(|_| reply(200).body("{}"));
    let socket = Forwarded::to(server.host().parse().unwrap());

    socket.repository(socket.options()).manifest("v1").await.unwrap();

    let [received] = &server.received()[..] else {
        panic!("one request is enough");
    };
    assert_eq!(received.target, "/v2/team/app/manifests/v1");
    assert_eq!(received.header("host"), Some(HOST));
    assert_eq!(received.header("proxy-authorization"), None);
}

#[tokio::test]
async fn with_certificates_the_connection_has_tls() {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let registry = TestRegistry::builder().tls(provider).start();
    registry.seed("team/app:v1", image().files([("a", "1")]));
    let socket = Forwarded::to(registry.addr());
    let trusting = socket.options();
    let trusting = trusting.trust_pem(registry.ca_pem().unwrap().as_bytes()).unwrap();

    let error = socket.repository(trusting).manifest("v1").await.unwrap_err();

    // The certificate is of another name, which only a handshake can tell.
    let error = error.to_string();
    assert!(error.contains("certificate") && error.contains(HOST), "{error}");
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_use_the_connector() {
    let elsewhere = Scripted::start(|_| reply(200).body("{}"));
    let other = elsewhere.url("/elsewhere");
    let server = Scripted::start(move |_| reply(307).header("location", other.clone()));
    let socket = Forwarded::to(server.host().parse().unwrap());

    socket.repository(socket.options()).manifest("v1").await.unwrap();

    assert_eq!(elsewhere.received()[0].target, "/elsewhere");
}

#[tokio::test]
async fn the_connector_of_a_host_is_used_with_its_default_port_too() {
    let server = Scripted::start(|received| match received.path() {
        "/second" => reply(200).body("{}"),
        _ => reply(307).header("location", format!("http://{HOST}:80/second")),
    });
    let socket = Forwarded::to(server.host().parse().unwrap());
    let options = socket.options();

    socket.repository(options).manifest("v1").await.unwrap();

    assert_eq!(socket.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_error_of_the_function_is_told_after_the_attempts() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let options = HostOptions::new().connector(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Err::<UnixStream, _>(io::Error::other("the socket is someone else's")) }
    });
    let client = builder()
        .retry(Retry::new(2))
        .host(Host::parse(HOST).unwrap(), options)
        .build()
        .unwrap();
    let repository = client.repository(&format!("{HOST}/team/app")).unwrap();

    let error = repository.manifest("v1").await.unwrap_err();

    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(error.to_string().contains("someone else's"), "{error}");
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
}
