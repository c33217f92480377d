//! Certificates for tests, made while they run.

use crate::certificate::Certificate;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

/// A test authority, which signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A server's certificate, and its key.
pub(crate) struct Issued {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// Makes a root authority.
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(authority(name), key).unwrap())
    }

    /// Makes an authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::signed_by(authority(name), key, &self.0).unwrap())
    }

    /// Issues a certificate for `names`; without any, one with only a common name.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_from(names, |_| {})
    }

    /// Issues a certificate like [`issue`](Self::issue), changed before it is signed.
    pub(crate) fn issue_from(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let common_name = names.first().cloned().unwrap_or_else(|| "nobody".to_owned());
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, common_name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Issued { certificate, key }
    }

    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der(self.0.der().clone()).unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

impl Issued {
    pub(crate) fn certificate(&self) -> Certificate {
        Certificate::from_der(self.certificate.der().clone()).unwrap()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
