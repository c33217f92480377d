//! Handshakes on TCP connections, and the answer for clients that do not speak TLS.

use crate::{challenges::ACME_TLS_ALPN, stream::TlsStream, tls::Tls};
use rustls::{AlertDescription, server::Acceptor};
use std::io;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::LazyConfigAcceptor;

/// First byte of every TLS connection: a record with a handshake message.
const TLS_HANDSHAKE: u8 = 0x16;

/// Answer for a client that speaks HTTP without TLS. It begins like that of Go's servers, which people search for.
const PLAIN_HTTP_BODY: &str = "{\"errors\":[{\"code\":\"UNSUPPORTED\",\"message\":\"Client sent an HTTP request to an HTTPS \
                               server: this port speaks TLS, use https://\"}]}\n";

/// Number of bytes of a request that are read after the answer, so that a reset does not lose the answer.
const DRAIN: u64 = 64 * 1024;

/// Reason why a handshake failed. The client was sent an alert where TLS has one for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The client closed the connection before it sent anything: a port scan, or a probe of a load balancer.
    #[error("the client disconnected before the handshake")]
    Left,
    /// The client speaks HTTP without TLS, and was answered 400.
    #[error("the client speaks HTTP without TLS: it must use https://")]
    PlainHttp,
    /// The client speaks neither TLS nor HTTP.
    #[error("the client speaks neither TLS nor HTTP (its first byte is {0:#04x})")]
    NotTls(u8),
    /// No certificate exists, or none for the name that the client asked for.
    #[error("no certificate {}", .name.as_deref().map_or_else(|| "to present".to_owned(), |name| format!("for {name:?}")))]
    #[non_exhaustive]
    NoCertificate {
        /// Name that the client asked for (SNI), if any.
        name: Option<String>,
    },
    /// An ACME authority asked for a proof and got it. The connection has no further use.
    #[error("an ACME authority validated the name of this server")]
    Validated,
    /// The connection broke.
    #[error("the connection broke during the handshake")]
    Io(#[source] io::Error),
    /// Client and server did not agree, or one refused the other's certificate.
    #[error("{0}")]
    Refused(String),
}

impl HandshakeError {
    /// Returns true if the error needs no action: scanners, probes, broken connections, validating authorities.
    #[must_use]
    pub fn is_noise(&self) -> bool {
        match self {
            Self::Left | Self::NotTls(_) | Self::Io(_) | Self::Validated => true,
            Self::PlainHttp | Self::NoCertificate { .. } | Self::Refused(_) => false,
        }
    }
}

impl Tls {
    /// Performs the handshake.
    ///
    /// It takes as long as the client does: set a timeout, and run it in the connection's own task.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection.
    ///
    /// # Errors
    ///
    /// [`HandshakeError`]; the connection is closed then.
    pub async fn accept(&self, mut stream: TcpStream) -> Result<TlsStream, HandshakeError> {
        let mut first = [0];
        match stream.peek(&mut first).await {
            Ok(0) => return Err(HandshakeError::Left),
            Ok(_) => {}
            Err(error) => return Err(HandshakeError::Io(error)),
        }
        match first {
            [TLS_HANDSHAKE] => {}
            // A method, or the preface of HTTP/2.
            [b'A'..=b'Z'] => {
                answer_plain_http(&mut stream).await.map_err(HandshakeError::Io)?;
                return Err(HandshakeError::PlainHttp);
            }
            [other] => return Err(HandshakeError::NotTls(other)),
        }
        let start = LazyConfigAcceptor::new(Acceptor::default(), stream)
            .await
            .map_err(explain)?;
        let hello = start.client_hello();
        let validates = hello
            .alpn()
            .is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_TLS_ALPN));
        if let (true, Some(config)) = (validates, self.validation()) {
            return Err(match start.into_stream(config).await {
                Ok(_) => HandshakeError::Validated,
                Err(error) => explain(error),
            });
        }
        let name = hello.server_name().map(str::to_owned);
        let known = self.has_certificate_for(name.as_deref());
        // Also without a certificate, so that the client gets an alert.
        match start.into_stream(self.config()).await {
            Ok(stream) => Ok(TlsStream::new(stream)),
            Err(_) if !known => Err(HandshakeError::NoCertificate { name }),
            Err(error) => Err(explain(error)),
        }
    }
}

/// Translates an error of the handshake for operators.
fn explain(error: io::Error) -> HandshakeError {
    let Some(cause) = error
        .get_ref()
        .and_then(|cause| cause.downcast_ref::<rustls::Error>())
    else {
        return HandshakeError::Io(error);
    };
    HandshakeError::Refused(match cause {
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            // An authority of the same name with another key: it was created again.
            | AlertDescription::DecryptError),
        ) => format!(
            "the client rejects the server's certificate ({alert:?}): it does not trust the issuer, or the \
             certificate lacks the requested name"
        ),
        rustls::Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the client rejects the server's certificate: it has expired".to_owned()
        }
        rustls::Error::NoCertificatesPresented => {
            "the client presented no certificate, but must: authorities for client certificates are set"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(problem) => {
            format!("the certificate of the client is not accepted: {problem}")
        }
        rustls::Error::PeerIncompatible(problem) => {
            format!("client and server have no version, cipher suite or signature in common: {problem:?}")
        }
        other => other.to_string(),
    })
}

async fn answer_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{PLAIN_HTTP_BODY}",
        PLAIN_HTTP_BODY.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(DRAIN), &mut tokio::io::sink()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cert_reloader::Files,
        options::{ClientAuth, Options},
        provider::provider,
        stream::ClientCertificate,
        test_certificates::{Authority, Issued},
        upkeep::Upkeep,
    };
    use rustls::{
        ClientConfig, RootCertStore,
        pki_types::{PrivateKeyDer, ServerName, pem::PemObject as _},
        version::{TLS12, TLS13},
    };
    use std::{fs, path::PathBuf, sync::Arc};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsConnector;

    /// Both ends of a handshake, in one process.
    struct Scene {
        directory: tempfile::TempDir,
        authority: Authority,
    }

    type Client = tokio_rustls::client::TlsStream<TcpStream>;

    impl Scene {
        fn new() -> Self {
            Self {
                directory: tempfile::tempdir().unwrap(),
                authority: Authority::new("root"),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn write(&self, issued: &Issued) {
            fs::write(self.path("tls.crt"), issued.pem()).unwrap();
            fs::write(self.path("tls.key"), issued.key_pem()).unwrap();
        }

        fn tls(&self, options: Options) -> (Tls, Upkeep) {
            Tls::from_files(Files::new(self.path("tls.crt"), self.path("tls.key")), options).unwrap()
        }

        /// Makes a server for `localhost`.
        fn serving(&self, options: Options) -> (Tls, Upkeep) {
            self.write(&self.authority.issue(&["localhost", "127.0.0.1"]));
            self.tls(options)
        }

        fn client(&self) -> ClientConfig {
            self.client_with(rustls::ALL_VERSIONS, None)
        }

        fn client_with(
            &self,
            versions: &[&'static rustls::SupportedProtocolVersion],
            certificate: Option<&Issued>,
        ) -> ClientConfig {
            let mut roots = RootCertStore::empty();
            roots.add(self.authority.certificate().der).unwrap();
            let builder = ClientConfig::builder_with_provider(provider().unwrap())
                .with_protocol_versions(versions)
                .unwrap()
                .with_root_certificates(roots);
            match certificate {
                None => builder.with_no_client_auth(),
                Some(issued) => {
                    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).unwrap();
                    builder
                        .with_client_auth_cert(vec![issued.certificate().der], key)
                        .unwrap()
                }
            }
        }
    }

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (server, client) = tokio::join!(listener.accept(), TcpStream::connect(address));
        (server.unwrap().0, client.unwrap())
    }

    async fn connect(
        tls: &Tls,
        config: ClientConfig,
        name: &str,
    ) -> (Result<TlsStream, HandshakeError>, io::Result<Client>) {
        let (server, client) = pair().await;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connector = TlsConnector::from(Arc::new(config));
        tokio::join!(tls.accept(server), connector.connect(name, client))
    }

    /// Returns the certificate that the client was shown.
    fn shown(client: &Client) -> Vec<u8> {
        client.get_ref().1.peer_certificates().unwrap()[0].to_vec()
    }

    #[tokio::test]
    async fn both_versions_are_spoken_with_and_without_a_name() {
        let scene = Scene::new();
        let (tls, _upkeep) = scene.serving(Options::new());
        for version in [&TLS12, &TLS13] {
            // No server name is sent for an address.
            for name in ["localhost", "127.0.0.1"] {
                let config = scene.client_with(&[version], None);

                let (server, client) = connect(&tls, config, name).await;

                assert!(!server.unwrap().is_http2());
                assert_eq!(
                    client.unwrap().get_ref().1.protocol_version(),
                    Some(version.version)
                );
            }
        }
    }

    #[tokio::test]
    async fn the_minimum_version_keeps_older_ones_out() {
        let scene = Scene::new();
        let (tls, _upkeep) = scene.serving(Options::new().minimum_version("tls1.3").unwrap());
        let config = scene.client_with(&[&TLS12], None);

        let (server, client) = connect(&tls, config, "localhost").await;

        assert!(server.unwrap_err().to_string().contains("in common"));
        assert!(client.unwrap_err().to_string().contains("ProtocolVersion"));
    }

    #[tokio::test]
    async fn http2_is_chosen_by_alpn_unless_turned_off() {
        let scene = Scene::new();
        for (options, expected) in [(Options::new(), true), (Options::new().http2(false), false)] {
            let (tls, _upkeep) = scene.serving(options);
            let mut config = scene.client();
            config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];

            let (server, client) = connect(&tls, config, "localhost").await;

            client.unwrap();
            assert_eq!(server.unwrap().is_http2(), expected);
        }
    }

    #[tokio::test]
    async fn without_a_certificate_the_client_gets_an_alert_and_later_a_connection() {
        let scene = Scene::new();
        let (tls, mut upkeep) = scene.tls(Options::new());

        let (server, client) = connect(&tls, scene.client(), "localhost").await;
        assert_eq!(
            server.unwrap_err().to_string(),
            "no certificate for \"localhost\""
        );
        assert!(client.unwrap_err().to_string().contains("fatal alert"));

        scene.write(&scene.authority.issue(&["localhost"]));
        upkeep.check().await;
        tls.serving().await;
        let (server, client) = connect(&tls, scene.client(), "localhost").await;
        assert!(server.is_ok() && client.is_ok());
    }

    #[tokio::test]
    async fn a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on() {
        let scene = Scene::new();
        let (tls, mut upkeep) = scene.serving(Options::new());
        let (server, open) = connect(&tls, scene.client(), "localhost").await;
        let (mut server, mut open) = (server.unwrap(), open.unwrap());
        let renewed = scene.authority.issue(&["localhost"]);

        scene.write(&renewed);
        upkeep.check().await;

        let (_, client) = connect(&tls, scene.client(), "localhost").await;
        assert_eq!(shown(&client.unwrap()), renewed.certificate().der.to_vec());
        open.write_all(b"still here").await.unwrap();
        open.flush().await.unwrap();
        let mut received = [0; 10];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(&received, b"still here");
    }

    #[tokio::test]
    async fn run_looks_at_the_files_when_it_is_told_to() {
        let scene = Scene::new();
        let (tls, upkeep) = scene.tls(Options::new());
        let running = tokio::spawn(upkeep.run());

        scene.write(&scene.authority.issue(&["localhost"]));
        tls.check_now();

        tls.serving().await;
        running.abort();
    }

    #[tokio::test]
    async fn client_certificates_are_asked_for_and_checked() {
        let scene = Scene::new();
        fs::write(scene.path("ca.crt"), scene.authority.pem()).unwrap();
        let right = scene.authority.issue(&["client"]);
        let wrong = Authority::new("stranger").issue(&["client"]);
        let options = Options::new().client_cas([scene.path("ca.crt")]);
        let optional = options.clone().client_auth(ClientAuth::IfGiven);
        let cases = [
            (&options, Some(&right), Ok(true)),
            (
                &options,
                Some(&wrong),
                Err("the certificate of the client is not accepted"),
            ),
            (&options, None, Err("the client presented no certificate")),
            (&optional, Some(&right), Ok(true)),
            (
                &optional,
                Some(&wrong),
                Err("the certificate of the client is not accepted"),
            ),
            (&optional, None, Ok(false)),
        ];
        for (options, certificate, expected) in cases {
            let (tls, _upkeep) = scene.serving(options.clone());
            let config = scene.client_with(rustls::ALL_VERSIONS, certificate);

            let (server, _client) = connect(&tls, config, "localhost").await;

            match (server, expected) {
                (Ok(stream), Ok(known)) => {
                    let shown = stream.client_certificate();
                    let name = shown.as_ref().and_then(ClientCertificate::common_name);
                    assert_eq!(name, known.then_some("client"));
                }
                (Err(error), Err(text)) => assert!(error.to_string().starts_with(text), "{error}"),
                (server, expected) => panic!("{server:?} instead of {expected:?}"),
            }
        }
    }

    #[tokio::test]
    async fn authorities_of_clients_are_reloaded_and_broken_files_change_nothing() {
        let scene = Scene::new();
        let other = Authority::new("other");
        fs::write(scene.path("ca.crt"), scene.authority.pem()).unwrap();
        let (tls, mut upkeep) = scene.serving(Options::new().client_cas([scene.path("ca.crt")]));
        let issued = other.issue(&["client"]);
        let connects = async || {
            let config = scene.client_with(rustls::ALL_VERSIONS, Some(&issued));
            connect(&tls, config, "localhost").await.0.is_ok()
        };
        assert!(!connects().await);

        fs::write(scene.path("ca.crt"), other.pem()).unwrap();
        upkeep.check().await;
        assert!(connects().await);

        fs::write(scene.path("ca.crt"), "rubbish").unwrap();
        upkeep.check().await;
        assert!(connects().await);
        assert!(format!("{:?}", tls.status()).contains("ca.crt: contains no PEM"));
    }

    #[tokio::test]
    async fn a_client_that_does_not_trust_the_certificate_is_explained() {
        let scene = Scene::new();
        let (tls, _upkeep) = scene.serving(Options::new());
        let stranger = Scene::new();

        let (server, _) = connect(&tls, stranger.client(), "localhost").await;

        let error = server.unwrap_err().to_string();
        assert!(error.contains("it does not trust the issuer"), "{error}");
    }

    #[tokio::test]
    async fn plain_http_is_answered_400_with_what_to_do() {
        let scene = Scene::new();
        let (tls, _upkeep) = scene.serving(Options::new());
        let (server, mut client) = pair().await;
        let request = async {
            client
                .write_all(b"GET /v2/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            client.read_to_string(&mut answer).await.unwrap();
            drop(client);
            answer
        };

        let (accepted, answer) = tokio::join!(tls.accept(server), request);

        assert!(matches!(accepted, Err(HandshakeError::PlainHttp)));
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{answer}");
        assert!(answer.contains("use https://"), "{answer}");
    }

    #[tokio::test]
    async fn rubbish_and_silence_are_told_apart() {
        let scene = Scene::new();
        let (tls, _upkeep) = scene.serving(Options::new());

        let (server, mut client) = pair().await;
        client.write_all(b"\0\0").await.unwrap();
        assert!(matches!(tls.accept(server).await, Err(HandshakeError::NotTls(0))));

        let (server, client) = pair().await;
        drop(client);
        assert!(matches!(tls.accept(server).await, Err(HandshakeError::Left)));

        let (server, mut client) = pair().await;
        client.write_all(b"\x16\x03\x01\x00\x05hello").await.unwrap();
        assert!(matches!(
            tls.accept(server).await,
            Err(HandshakeError::Refused(_))
        ));
    }

    #[test]
    fn the_answer_to_plain_http_is_an_error_body_of_the_registry() {
        use registry_core::error::{ErrorCode, error_body};

        let answer: serde_json::Value = serde_json::from_str(PLAIN_HTTP_BODY).unwrap();

        let message = answer["errors"][0]["message"].as_str().unwrap();
        let body = error_body(ErrorCode::Unsupported, message);
        assert_eq!(PLAIN_HTTP_BODY.trim_end().as_bytes(), body);
    }
}
