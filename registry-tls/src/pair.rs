//! A certificate chain and its private key, from two files (or a single file with both).

use crate::{
    certificate::{Certificate, Validity, utc},
    chain::{self, Chain},
    error::{FileProblem, TlsError},
    pem::{self, Kind, Section},
};
use rustls::{
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::{CertifiedKey, SigningKey},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Lifetime beyond which a certificate should be renewed before its last [`SOON`].
const LONG_LIVED: Duration = Duration::from_secs(30 * 24 * 3600);

/// Time before its end at which a long-lived certificate causes a warning.
const SOON: Duration = Duration::from_secs(7 * 24 * 3600);

/// A pair that can be served.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certified: Arc<CertifiedKey>,
    pub(crate) validity: Validity,
    /// Holder of the certificate, for messages.
    pub(crate) holder: String,
    /// Warnings about problems that clients may have with it.
    pub(crate) warnings: Vec<String>,
}

/// Path and content of a file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File<'a> {
    pub(crate) path: &'a Path,
    pub(crate) content: &'a [u8],
}

impl File<'_> {
    fn sections(&self) -> Result<Vec<Section>, TlsError> {
        pem::sections(self.content).map_err(|problem| self.problem(problem))
    }

    fn problem(&self, problem: FileProblem) -> TlsError {
        TlsError::file(self.path, problem)
    }
}

impl Pair {
    /// Parses both files. The key determines the server's own certificate.
    pub(crate) fn parse(
        certificate: File<'_>,
        key: File<'_>,
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let certificates = certificates(certificate)?;
        let keys = private_keys(key, provider)?;
        for key in keys {
            let Some(public_key) = key.public_key() else {
                continue;
            };
            if let Some(chain) = chain::arrange(certificates.clone(), &public_key) {
                return Ok(Self::new(chain, key));
            }
        }
        Err(TlsError::Mismatch {
            certificate: certificate.path.to_owned(),
            key: key.path.to_owned(),
            subject: certificates.first().map(Certificate::holder).unwrap_or_default(),
        })
    }

    fn new(chain: Chain, key: Arc<dyn SigningKey>) -> Self {
        let Chain {
            own,
            above,
            mut warnings,
        } = chain;
        let holder = own.holder();
        if own.names.is_empty() {
            warnings.push(format!(
                "the certificate for {holder} has no subject alternative name: docker, podman and other programs in \
                 Go reject it (create one with `-addext subjectAltName=DNS:HOST`)",
            ));
        }
        // The operator renews the server's own certificate only, so its validity counts.
        let validity = own.validity;
        let chain: Vec<CertificateDer<'static>> = [own].into_iter().chain(above).map(|one| one.der).collect();
        Self {
            // The constructors with checks refuse certificates of version 1, which clients accept.
            certified: Arc::new(CertifiedKey::new(chain, key)),
            validity,
            holder,
            warnings,
        }
    }

    /// Describes why the certificate is not valid at `now`; `None` if it is valid.
    pub(crate) fn out_of_date(&self, now: SystemTime) -> Option<String> {
        let Validity { from, until } = self.validity;
        if now > until {
            Some(format!(
                "the certificate for {} expired at {}: renew it",
                self.holder,
                utc(until)
            ))
        } else if now < from {
            Some(format!(
                "the certificate for {} is not valid before {}: is the clock right?",
                self.holder,
                utc(from)
            ))
        } else {
            None
        }
    }

    /// Returns true if a long-lived certificate is about to end.
    pub(crate) fn ends_soon(&self, now: SystemTime) -> bool {
        let Validity { from, until } = self.validity;
        let lifetime = until.duration_since(from).unwrap_or_default();
        let left = until.duration_since(now).unwrap_or_default();
        lifetime > LONG_LIVED && left < SOON
    }
}

/// Returns every certificate of a file, at least one.
pub(crate) fn certificates(file: File<'_>) -> Result<Vec<Certificate>, TlsError> {
    let sections = file.sections()?;
    let found = pem::contents(&sections);
    let mut certificates = Vec::new();
    for section in sections {
        match section.kind {
            Kind::Certificate => {
                certificates.push(Certificate::parse(section).map_err(|problem| file.problem(problem))?);
            }
            Kind::TrustedCertificate => {
                return Err(file.problem(FileProblem::TrustedCertificate { line: section.line }));
            }
            // A file may also contain the key, or parameters.
            _ => {}
        }
    }
    if certificates.is_empty() {
        return Err(file.problem(FileProblem::NoCertificate { found }));
    }
    Ok(certificates)
}

/// Returns every usable private key of a file, at least one.
fn private_keys(file: File<'_>, provider: &CryptoProvider) -> Result<Vec<Arc<dyn SigningKey>>, TlsError> {
    let sections = file.sections()?;
    let found = pem::contents(&sections);
    let mut keys = Vec::new();
    for section in sections {
        if section.kind.is_key() {
            keys.push(private_key(section, provider).map_err(|problem| file.problem(problem))?);
        }
    }
    if keys.is_empty() {
        return Err(file.problem(FileProblem::NoKey { found }));
    }
    Ok(keys)
}

fn private_key(section: Section, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, FileProblem> {
    let Section { line, kind, der } = section;
    let der = match kind {
        Kind::Pkcs1 => PrivateKeyDer::Pkcs1(der.into()),
        Kind::Pkcs8 => PrivateKeyDer::Pkcs8(der.into()),
        Kind::Sec1 => PrivateKeyDer::Sec1(der.into()),
        Kind::EncryptedKey => return Err(FileProblem::EncryptedKey { line }),
        _ => {
            return Err(FileProblem::UnusableKey {
                line,
                what: "a private key in a format that TLS does not use (DSA, or OpenSSH's own)".to_owned(),
            });
        }
    };
    provider
        .key_provider
        .load_private_key(der)
        .map_err(|error| FileProblem::UnusableKey {
            line,
            what: format!("the private key cannot be used ({error})"),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{provider::provider, test_certificates::Authority};

    fn parse(certificate: &str, key: &str) -> Result<Pair, TlsError> {
        Pair::parse(
            File {
                path: Path::new("tls.crt"),
                content: certificate.as_bytes(),
            },
            File {
                path: Path::new("tls.key"),
                content: key.as_bytes(),
            },
            &provider().unwrap(),
        )
    }

    fn refused(certificate: &str, key: &str) -> String {
        parse(certificate, key).unwrap_err().to_string()
    }

    #[test]
    fn a_chain_joined_without_line_ends_is_served_whole() {
        let root = Authority::new("root");
        let leaf = root.issue(&["a.example", "127.0.0.1"]);
        let joined = format!("{}{}", leaf.pem().trim_end(), root.pem().trim_end());

        let pair = parse(&joined, &leaf.key_pem()).unwrap();

        assert_eq!(pair.certified.cert.len(), 2);
        assert_eq!(pair.holder, "a.example, 127.0.0.1");
        assert!(pair.warnings.is_empty(), "{:?}", pair.warnings);
    }

    #[test]
    fn one_file_may_hold_both() {
        let leaf = Authority::new("root").issue(&["a.example"]);
        let both = format!("{}{}", leaf.key_pem(), leaf.pem());

        assert_eq!(parse(&both, &both).unwrap().certified.cert.len(), 1);
    }

    #[test]
    fn a_key_of_another_certificate_is_refused_and_named() {
        let root = Authority::new("root");
        let [one, other] = [root.issue(&["one.example"]), root.issue(&["other.example"])];

        assert_eq!(
            refused(&one.pem(), &other.key_pem()),
            "the private key in tls.key does not belong to a certificate in tls.crt (whose first is for one.example): \
             was one of the two renewed without the other?"
        );
    }

    #[test]
    fn swapped_files_say_what_they_hold() {
        let leaf = Authority::new("root").issue(&["a.example"]);

        assert_eq!(
            refused(&leaf.key_pem(), &leaf.pem()),
            "tls.crt: contains a private key, but no certificate"
        );
        assert_eq!(
            refused(&leaf.pem(), &leaf.pem()),
            "tls.key: contains a certificate, but no private key"
        );
    }

    #[test]
    fn an_encrypted_key_says_how_to_decrypt_it() {
        let leaf = Authority::new("root").issue(&["a.example"]);
        let key = leaf.key_pem().replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");

        let message = refused(&leaf.pem(), &key);

        assert!(
            message.starts_with("tls.key: line 1: the private key is encrypted"),
            "{message}"
        );
        assert!(message.contains("openssl"), "{message}");
    }

    #[test]
    fn keys_in_forms_that_tls_does_not_use_are_refused() {
        let leaf = Authority::new("root").issue(&["a.example"]);
        let openssh = leaf.key_pem().replace("PRIVATE KEY", "OPENSSH PRIVATE KEY");
        let broken = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";

        assert!(refused(&leaf.pem(), &openssh).contains("OpenSSH's own"));
        assert!(refused(&leaf.pem(), broken).contains("tls.key: line 1: the private key cannot be used"));
    }

    #[test]
    fn a_certificate_without_names_is_served_with_a_warning() {
        let leaf = Authority::new("root").issue(&[]);

        let pair = parse(&leaf.pem(), &leaf.key_pem()).unwrap();

        assert!(
            pair.warnings[0].contains("no subject alternative name"),
            "{:?}",
            pair.warnings
        );
    }

    #[test]
    fn validity_is_judged_by_the_clock_that_is_given() {
        let leaf = Authority::new("root").issue(&["a.example"]);
        let pair = parse(&leaf.pem(), &leaf.key_pem()).unwrap();
        let Validity { from, until } = pair.validity;
        let second = Duration::from_secs(1);

        assert_eq!(pair.out_of_date(from), None);
        assert_eq!(pair.out_of_date(until), None);
        assert!(pair.out_of_date(until + second).unwrap().contains("expired at"));
        assert!(
            pair.out_of_date(from - second)
                .unwrap()
                .contains("not valid before")
        );
        assert!(pair.ends_soon(until - SOON + second));
        assert!(!pair.ends_soon(until - SOON - second));
    }
}
