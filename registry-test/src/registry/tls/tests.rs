//! HTTPS of a test registry, with clients of rustls.

use crate::{
    TestRegistry, artifact,
    fault::{Redirect, cut, on, redirect, stall},
    image,
    tap::Side,
};
use http::Method;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use std::{
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv6Addr, TcpStream, ToSocketAddrs},
    sync::Arc,
    thread,
};

const GET: &[u8] = b"GET /v2/ HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Connects as a client that trusts only the registry's authority, and has its certificate, if there is one.
fn connect(registry: &TestRegistry) -> StreamOwned<ClientConnection, TcpStream> {
    connect_to(registry, registry.url())
}

/// Connects to another host, given as a URL without a path.
fn connect_to(registry: &TestRegistry, host: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let host = host.strip_prefix("https://").unwrap_or(host);
    let (name, _) = host.rsplit_once(':').unwrap();
    connect_as(registry, name.trim_matches(['[', ']']), host)
}

/// Connects to an address, whose certificate has to have this name.
fn connect_as(
    registry: &TestRegistry,
    name: &str,
    address: impl ToSocketAddrs,
) -> StreamOwned<ClientConnection, TcpStream> {
    let ca = CertificateDer::from_pem_slice(registry.ca_pem().unwrap().as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(ca).unwrap();
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match registry.client_certificate() {
        Some(identity) => {
            let certificate = CertificateDer::from_pem_slice(identity.certificate_pem.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(identity.key_pem.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = name.to_owned().try_into().unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, TcpStream::connect(address).unwrap())
}

/// Sends bytes; returns the answer, and how the connection ended.
fn exchange(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    request: &[u8],
) -> (String, io::Result<usize>) {
    let mut answer = Vec::new();
    let end = stream
        .write_all(request)
        .and_then(|()| stream.read_to_end(&mut answer));
    (String::from_utf8(answer).unwrap(), end)
}

#[test]
fn a_client_that_trusts_the_authority_speaks_http_1() {
    for address in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
        let registry = TestRegistry::builder().bind(address).tls(provider()).start();
        let mut stream = connect(&registry);

        let (answer, end) = exchange(&mut stream, GET);

        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(end.is_ok(), "the end is announced: {end:?}");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(registry.requests().ping().status(200).count(), 1);
    }
}

#[test]
fn the_certificate_has_the_host_that_clients_use() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .host("registry.test")
        .start();
    let mut stream = connect_as(&registry, "registry.test", registry.addr());

    assert!(exchange(&mut stream, GET).0.starts_with("HTTP/1.1 200"));
}

#[test]
fn a_cut_answer_ends_without_being_announced() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .seed("app:v1", image())
        .start();
    registry.fault(on(Method::GET).manifest(), cut(Side::Response).after(20));
    let mut stream = connect(&registry);

    let get = b"GET /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\n\r\n";
    let (answer, end) = exchange(&mut stream, get);

    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "{\"schemaVersion\":2,\"");
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_connection_is_reset() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .seed("app:v1", image())
        .start();
    registry.fault(on(Method::GET).manifest(), cut(Side::Response).after(20).reset());
    let mut stream = connect(&registry);

    let get = b"GET /v2/app/manifests/v1 HTTP/1.1\r\nHost: r\r\n\r\n";
    let (_, end) = exchange(&mut stream, get);

    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_held_answer_goes_on_when_its_gate_opens() {
    let registry = TestRegistry::builder().tls(provider()).start();
    let held = registry.fault(on(Method::GET).ping(), stall(Side::Response));
    let mut stream = connect(&registry);
    stream.write_all(GET).unwrap();
    assert!(held.gate().reached(1));

    held.gate().open();

    assert!(exchange(&mut stream, b"").0.starts_with("HTTP/1.1 200"));
}

#[test]
fn the_second_host_has_a_certificate_of_the_same_authority() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .seed("app@sha256", artifact("application/vnd.a").file("a", "content"))
        .start();
    let to = Redirect::OtherHost {
        refuse_authorization: true,
        expires: None,
    };
    registry.fault(on(Method::GET).blob(), redirect(to));
    let digest = registry_core::Digest::of(registry_core::Algorithm::Sha256, b"content");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");

    let blob = get(&format!("/v2/app/blobs/{digest}"));
    let (redirected, _) = exchange(&mut connect(&registry), blob.as_bytes());
    let location = redirected
        .lines()
        .find_map(|line| line.strip_prefix("location: "));
    let url = location.expect("a redirect");
    let path = url.match_indices('/').nth(2).unwrap().0;
    let (host, path) = url.split_at(path);
    let (answer, _) = exchange(&mut connect_to(&registry, host), get(path).as_bytes());

    assert!(host.starts_with("https://"), "{host}");
    assert_ne!(host, registry.url());
    assert!(answer.ends_with("\r\n\r\ncontent"), "{answer}");
}

#[test]
fn large_bodies_pass_in_both_directions() {
    let registry = TestRegistry::builder().tls(provider()).start();
    let content = vec![b'7'; 8 << 20];
    let digest = registry_core::Digest::of(registry_core::Algorithm::Sha256, &content);
    let push = format!(
        "POST /v2/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: r\r\nContent-Length: {}\r\n\r\n",
        content.len()
    );
    let mut stream = connect(&registry);
    stream.write_all(push.as_bytes()).unwrap();
    stream.write_all(&content).unwrap();
    let get = format!("GET /v2/app/blobs/{digest} HTTP/1.1\r\nHost: r\r\nConnection: close\r\n\r\n");
    let (answer, end) = exchange(&mut stream, get.as_bytes());

    assert!(end.is_ok(), "{end:?}");
    assert!(answer.as_bytes().ends_with(&content));
    assert_eq!(registry.requests().upload().status(201).count(), 1);
    assert_eq!(registry.requests().blob().status(200).count(), 1);
}

#[test]
fn a_client_without_the_certificate_is_refused() {
    let registry = TestRegistry::builder()
        .tls(provider())
        .client_certificate()
        .start();
    let other = TestRegistry::builder()
        .tls(provider())
        .client_certificate()
        .start();

    let (answer, _) = exchange(&mut connect(&registry), GET);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(registry.ca_pem().unwrap().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connection = ClientConnection::new(Arc::new(config), registry.addr().ip().into()).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(registry.addr()).unwrap());
    let (answer, end) = exchange(&mut stream, GET);
    assert_eq!(answer, "");
    let reason = end.unwrap_err().to_string();
    assert!(reason.contains("CertificateRequired"), "{reason}");
    assert_ne!(
        registry.ca_pem(),
        other.ca_pem(),
        "each registry has an authority of its own"
    );
    assert_eq!(registry.requests().count(), 1);
}

#[test]
fn a_client_certificate_without_tls_is_an_error() {
    let refused = TestRegistry::builder().client_certificate().try_start();
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("call `Builder::tls`, too")
    );
}

#[test]
fn plain_http_gets_an_alert_and_the_registry_goes_on() {
    let registry = TestRegistry::builder().tls(provider()).start();
    let mut plain = TcpStream::connect(registry.addr()).unwrap();
    plain.write_all(GET).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert_eq!(answer.first(), Some(&21), "an alert");

    let waiting = TcpStream::connect(registry.addr()).unwrap();
    let (answer, _) = exchange(&mut connect(&registry), GET);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(registry);
    drop(waiting);
}

#[test]
fn connections_of_many_threads_work_side_by_side() {
    let registry = TestRegistry::builder().tls(provider()).start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..4 {
                    assert!(
                        exchange(&mut connect(&registry), GET)
                            .0
                            .starts_with("HTTP/1.1 200")
                    );
                }
            });
        }
    });
    assert_eq!(registry.requests().ping().count(), 32);
}
