//! [`Trust`]: the trusted certificates, with which chains are judged as Go's clients judge them.
//!
//! Unlike with rustls alone, a server may use a trusted certificate itself, even if it is marked as an authority.
//! `openssl req -x509` makes such certificates, and `certs.d/HOST/ca.crt` often holds one.

use crate::error::InvalidOption;
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
    sync::Arc,
};
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
            verify_server_cert_signed_by_trust_anchor, verify_server_name,
        },
        crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
        server::ParsedCertificate,
    },
};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Maximum size of a file of certificates, far more than the authorities of a system need.
const MAX_BYTES: u64 = 16 << 20;

/// Trusted authorities and certificates.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Returns a trust in nobody.
    pub(crate) fn none() -> Self {
        Self {
            roots: RootCertStore::empty(),
            certificates: Vec::new(),
            provider: Arc::new(aws_lc_rs::default_provider()),
        }
    }

    /// Adds the certificates of this machine.
    pub(crate) fn add_system(&mut self) {
        // A machine without any is no reason to stop: what is signed by them is then not known, and that is
        // said.
        self.add(rustls_native_certs::load_native_certs().certs);
    }

    /// Adds the certificates of a file in PEM.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, is not a regular file, is too large, or contains no certificate.
    pub(crate) fn add_file(&mut self, path: &Path) -> Result<(), InvalidOption> {
        let unusable = |error: &dyn fmt::Display| InvalidOption::Certificates {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        let text = read(path).map_err(|error| unusable(&error))?;
        let read: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<Result<_, _>>()
            .map_err(|error| unusable(&error))?;
        if read.is_empty() {
            return Err(unusable(&"it contains no certificate"));
        }
        self.add(read);
        Ok(())
    }

    fn add(&mut self, certificates: Vec<CertificateDer<'static>>) {
        self.roots.add_parsable_certificates(certificates.iter().cloned());
        self.certificates.extend(certificates);
    }

    /// Verifies that a chain leads to a trusted certificate at that time. The name is not checked.
    pub(crate) fn judge(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        at: UnixTime,
    ) -> Result<(), rustls::Error> {
        if self.certificates.iter().any(|known| known == own) {
            return is_current(own, at);
        }
        verify_server_cert_signed_by_trust_anchor(
            &ParsedCertificate::try_from(own)?,
            &self.roots,
            above,
            at,
            self.provider.signature_verification_algorithms.all,
        )
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened, which would wait for the writer of a named pipe. For a directory, the error of the system is
    // clearer.
    let kind = fs::metadata(path)?.file_type();
    if !kind.is_file() && !kind.is_dir() {
        return Err(io::Error::other("this is not a regular file"));
    }
    let mut text = Vec::new();
    File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(io::Error::other(format!(
            "this file is larger than {MAX_BYTES} bytes"
        )));
    }
    Ok(text)
}

fn is_current(certificate: &CertificateDer<'_>, at: UnixTime) -> Result<(), rustls::Error> {
    let damaged = |_| CertificateError::BadEncoding;
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(damaged)?;
    let now = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let validity = parsed.validity();
    if now < validity.not_before.timestamp() {
        Err(CertificateError::NotValidYet.into())
    } else if now > validity.not_after.timestamp() {
        Err(CertificateError::Expired.into())
    } else {
        Ok(())
    }
}

/// Performs a handshake with a trusted server that has the requested name.
pub(super) async fn connect(
    trust: &Arc<Trust>,
    connection: TcpStream,
    host: &str,
) -> io::Result<TlsStream<TcpStream>> {
    let config = ClientConfig::builder_with_provider(Arc::clone(&trust.provider))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Known(Arc::clone(trust))))
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config))
        .connect(name, connection)
        .await
}

#[derive(Debug)]
struct Known(Arc<Trust>);

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.0.judge(own, above, now)?;
        verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0
            .provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> String {
        Trust::none().add_file(path).unwrap_err().to_string()
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        assert!(refused(&path).contains("ca.crt: No such file"));
        assert!(refused(directory.path()).contains("s a directory"));

        fs::write(&path, "").unwrap();
        assert!(refused(&path).ends_with("ca.crt: it contains no certificate"));
    }

    #[test]
    fn a_file_that_is_too_large_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        let file = File::create(&path).unwrap();
        file.set_len(MAX_BYTES + 1).unwrap();

        assert!(refused(&path).ends_with("ca.crt: this file is larger than 16777216 bytes"));
    }

    #[test]
    #[cfg(unix)]
    fn a_named_pipe_without_a_writer_is_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ca.crt");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());

        assert!(refused(&path).ends_with("ca.crt: this is not a regular file"));
    }
}
