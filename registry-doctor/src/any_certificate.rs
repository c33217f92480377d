//! TLS without verification of the server, for requests that carry no secret and whose answer is not trusted.

use std::{error::Error, io, sync::Arc};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, AlertDescription, ClientConfig, DEFAULT_VERSIONS, DigitallySignedStruct, SignatureScheme,
        SupportedProtocolVersion,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::{CryptoProvider, aws_lc_rs},
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

pub(crate) async fn connect(connection: TcpStream, host: &str) -> io::Result<TlsStream<TcpStream>> {
    connect_with(DEFAULT_VERSIONS, connection, host).await
}

/// Connects with these versions of TLS only.
pub(crate) async fn connect_with(
    versions: &[&'static SupportedProtocolVersion],
    connection: TcpStream,
    host: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, connection)
        .await
}

/// Returns the alert with which the peer ended a connection, if that caused the error.
pub(crate) fn alert(error: &(dyn Error + 'static)) -> Option<AlertDescription> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| {
        let tls = error.downcast_ref().or_else(|| {
            let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
            inner.downcast_ref()
        });
        match tls {
            Some(rustls::Error::AlertReceived(alert)) => Some(*alert),
            _ => None,
        }
    })
}

/// Verifier that accepts every certificate, also one of version 1, with which signatures cannot be verified here.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
