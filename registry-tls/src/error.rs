//! What is wrong with a certificate, a key or a setting, and what to do about it.

use std::{
    io,
    path::{Path, PathBuf},
};

/// Why TLS cannot be set up as it was asked for. Each message names the file, what is in it, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read. A file that does not exist is waited for instead, where that makes sense.
    #[error("cannot read {}{}", path.display(), permission_hint(source))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file or directory cannot be written.
    #[error("cannot write {}{}", path.display(), permission_hint(source))]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A file holds something else than it should.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// Key and certificate are both readable, and not made for each other.
    #[error(
        "the private key in {} does not belong to a certificate in {} (whose first is for {subject}): was one of the \
         two renewed without the other?",
        key.display(),
        certificate.display()
    )]
    Mismatch {
        /// The file with the certificates.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
        /// Whom the first certificate is for.
        subject: String,
    },
    /// A value that is not one of those that can be set.
    #[error("{setting} cannot be {value:?}: {hint}")]
    Setting {
        /// What was set.
        setting: &'static str,
        /// What it was set to.
        value: String,
        /// What it can be.
        hint: String,
    },
    /// No cryptography: the crate was built without its `aws-lc-rs` feature, and the host installed no provider.
    #[error(
        "there is no cryptography: enable the feature aws-lc-rs, or install a rustls CryptoProvider first"
    )]
    NoProvider,
    /// The combination of settings was refused; the source says why.
    #[error("TLS cannot be set up")]
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

    /// The whole story on one line, for a log.
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

/// What is wrong with the content of a file. Lines count from 1.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// There is no PEM in it.
    #[error("holds no PEM (\"-----BEGIN …\"){looks_like}")]
    NotPem {
        /// What it looks like instead, with the way out; or nothing.
        looks_like: &'static str,
    },
    /// There is PEM in it, and no certificate.
    #[error("holds {found}, no certificate")]
    NoCertificate {
        /// What it holds instead, such as `a private key`.
        found: String,
    },
    /// There is PEM in it, and no private key.
    #[error("holds {found}, no private key")]
    NoKey {
        /// What it holds instead, such as `2 certificates`.
        found: String,
    },
    /// The key has a password, and there is nobody to type it.
    #[error(
        "line {line}: the private key is encrypted: decrypt it, with `openssl pkey -in FILE -out PLAIN` (or \
         `openssl rsa …`), and let only the server read the result"
    )]
    EncryptedKey {
        /// Where the key begins.
        line: usize,
    },
    /// A key in a form that TLS has no use for.
    #[error(
        "line {line}: {what}: a key is RSA (2048 to 8192 bits), ECDSA (P-256, P-384 or P-521) or Ed25519"
    )]
    UnusableKey {
        /// Where the key begins.
        line: usize,
        /// What it is.
        what: String,
    },
    /// OpenSSL's own form of certificate, with data behind it.
    #[error(
        "line {line}: a TRUSTED CERTIFICATE is OpenSSL's own form: `openssl x509 -in FILE` makes a plain one"
    )]
    TrustedCertificate {
        /// Where it begins.
        line: usize,
    },
    /// PEM or the content of it is damaged.
    #[error("line {line}: {what}")]
    Damaged {
        /// Where the damaged part begins.
        line: usize,
        /// What is wrong.
        what: String,
    },
}

fn permission_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            " (let the user that runs the server read it, and enter its directories)"
        }
        _ => "",
    }
}
