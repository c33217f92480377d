//! Errors of a certificate, a key or a setting, with their remedies.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Reason why TLS cannot be set up. Each message names the file, its content, and the remedy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read. Where possible, a missing file is waited for instead.
    #[error("cannot read {}{}", path.display(), permission_hint(source))]
    #[non_exhaustive]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}{}", path.display(), permission_hint(source))]
    #[non_exhaustive]
    Write {
        /// Path of the file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// The content of a file is not as expected.
    #[error("{}: {problem}", path.display())]
    #[non_exhaustive]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Fault of its content.
        problem: FileProblem,
    },
    /// Key and certificate are both readable, but do not belong together.
    #[error(
        "the private key in {} does not belong to a certificate in {} (whose first is for {subject}): was one of the \
         two renewed without the other?",
        key.display(),
        certificate.display()
    )]
    #[non_exhaustive]
    Mismatch {
        /// File with the certificates.
        certificate: PathBuf,
        /// File with the key.
        key: PathBuf,
        /// Holder of the first certificate.
        subject: String,
    },
    /// A setting has an invalid value.
    #[error("invalid {setting} {value:?}: {hint}")]
    #[non_exhaustive]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// The invalid value.
        value: String,
        /// Valid values.
        hint: String,
    },
    /// No cryptography is available: the crate was built without its `aws-lc-rs` feature, and the host installed no
    /// provider.
    #[error(
        "no cryptography provider: enable the feature aws-lc-rs, or install a rustls CryptoProvider first"
    )]
    NoProvider,
    /// The combination of settings was refused; the source has the reason.
    #[error("cannot set up TLS")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl TlsError {
    pub(crate) fn file(path: &Path, problem: FileProblem) -> Self {
        Self::File {
            path: path.to_owned(),
            problem,
        }
    }

    pub(crate) fn setup(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Setup(source.into())
    }

    /// Returns the error with all its sources on one line, for a log.
    pub(crate) fn story(&self) -> String {
        let mut story = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(cause) = source {
            story.push_str(&format!(": {cause}"));
            source = cause.source();
        }
        story
    }
}

/// Fault of a file's content. Lines count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// The file contains no PEM.
    #[error("contains no PEM (\"-----BEGIN …\"){looks_like}")]
    #[non_exhaustive]
    NotPem {
        /// Format that the file seems to have, with a remedy; empty if unknown.
        looks_like: &'static str,
    },
    /// The file contains PEM, but no certificate.
    #[error("contains {found}, but no certificate")]
    #[non_exhaustive]
    NoCertificate {
        /// Contents of the file, such as `a private key`.
        found: String,
    },
    /// The file contains PEM, but no private key.
    #[error("contains {found}, but no private key")]
    #[non_exhaustive]
    NoKey {
        /// Contents of the file, such as `2 certificates`.
        found: String,
    },
    /// The key is encrypted with a password, which nobody can type in.
    #[error(
        "line {line}: the private key is encrypted: decrypt it with `openssl pkey -in FILE -out PLAIN` (or `openssl \
         rsa …`), and let only the server read the result"
    )]
    #[non_exhaustive]
    EncryptedKey {
        /// Line where the key begins.
        line: usize,
    },
    /// The key has a form that TLS cannot use.
    #[error(
        "line {line}: {what}: a key must be RSA (2048 to 8192 bits), ECDSA (P-256, P-384 or P-521) or Ed25519"
    )]
    #[non_exhaustive]
    UnusableKey {
        /// Line where the key begins.
        line: usize,
        /// Form of the key.
        what: String,
    },
    /// A certificate in OpenSSL's own form, with data appended.
    #[error(
        "line {line}: a TRUSTED CERTIFICATE has a format of OpenSSL's own: convert it with `openssl x509 -in FILE`"
    )]
    #[non_exhaustive]
    TrustedCertificate {
        /// Line where the certificate begins.
        line: usize,
    },
    /// The PEM or its content is damaged.
    #[error("line {line}: {what}")]
    #[non_exhaustive]
    Damaged {
        /// Line where the damaged part begins.
        line: usize,
        /// The damage.
        what: String,
    },
}

fn permission_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (the user that runs the server must be able to read it, and to enter its directories)"
        }
        _ => "",
    }
}
