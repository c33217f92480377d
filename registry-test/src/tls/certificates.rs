//! [`Certificates`]: a throw-away authority, and what it has signed.

use super::{pem, session::TlsSession};
use crate::tap::{Encryption, Session};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{
    RootCertStore, ServerConfig, crypto::CryptoProvider, pki_types::PrivatePkcs8KeyDer,
    server::WebPkiClientVerifier,
};
use std::{fmt, io, sync::Arc};

/// A certificate that clients identify themselves with, and its key.
#[derive(Clone)]
#[non_exhaustive]
pub struct ClientCertificate {
    /// The certificate, in PEM.
    pub certificate_pem: String,
    /// Its private key, in PEM (PKCS #8).
    pub key_pem: String,
}

/// The key is left out.
impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCertificate")
            .field("certificate_pem", &self.certificate_pem)
            .finish_non_exhaustive()
    }
}

/// A throw-away authority, and the certificate of one server. Its key is forgotten.
pub(crate) struct Certificates {
    server: Arc<ServerConfig>,
    ca_pem: String,
    client: Option<ClientCertificate>,
}

impl Certificates {
    /// Creates a certificate for a server that clients reach by these names and IP addresses, or as `localhost`. With
    /// `client`, the server requires the client's certificate.
    ///
    /// # Errors
    ///
    /// An error of the provider, which may lack what TLS 1.2 and 1.3 need.
    pub(crate) fn create(
        provider: Arc<CryptoProvider>,
        mut names: Vec<String>,
        client: bool,
    ) -> io::Result<Self> {
        names.push("localhost".into());
        let authority = authority().map_err(io::Error::other)?;
        let (certificate, key) = issue(&authority, names, ExtendedKeyUsagePurpose::ServerAuth)?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?;
        let builder = if client {
            let mut roots = RootCertStore::empty();
            roots.add(authority.der().clone()).map_err(io::Error::other)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().map_err(io::Error::other)?)
        } else {
            builder.with_no_client_auth()
        };
        let chain = vec![certificate.der().clone()];
        let secret = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let mut server = builder
            .with_single_cert(chain, secret)
            .map_err(io::Error::other)?;
        server.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            server: Arc::new(server),
            ca_pem: pem::encode("CERTIFICATE", authority.der()),
            client: if client { Some(identity(&authority)?) } else { None },
        })
    }

    pub(crate) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub(crate) const fn client(&self) -> Option<&ClientCertificate> {
        self.client.as_ref()
    }
}

impl Encryption for Certificates {
    fn begin(&self) -> io::Result<Box<dyn Session>> {
        Ok(Box::new(TlsSession::new(Arc::clone(&self.server))?))
    }
}

/// The keys are left out.
impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates")
            .field("ca_pem", &self.ca_pem)
            .finish_non_exhaustive()
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Result<Authority, rcgen::Error> {
    let mut params = named("registry-test throw-away CA", Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

/// Signs a certificate for these names, with a new key.
fn issue(
    authority: &Authority,
    names: Vec<String>,
    purpose: ExtendedKeyUsagePurpose,
) -> io::Result<(rcgen::Certificate, KeyPair)> {
    let issued = named("registry-test", names).and_then(|mut params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        // Strict clients, such as Python's, require it.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok((params.signed_by(&key, authority)?, key))
    });
    issued.map_err(io::Error::other)
}

fn identity(authority: &Authority) -> io::Result<ClientCertificate> {
    let (certificate, key) = issue(authority, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)?;
    Ok(ClientCertificate {
        certificate_pem: pem::encode("CERTIFICATE", certificate.der()),
        key_pem: pem::encode("PRIVATE KEY", &key.serialize_der()),
    })
}

fn named(name: &str, names: Vec<String>) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}
