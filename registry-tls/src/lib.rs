//! TLS for a server whose certificates change at run time.
//!
//! ```no_run
//! use registry_tls::{Files, Options, Tls};
//!
//! # async fn serve() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options::new().minimum_version("tls1.2")?;
//! let (tls, upkeep) = Tls::from_files(Files::new("/certs/tls.crt", "/certs/tls.key"), options)?;
//! tokio::spawn(upkeep.run());
//!
//! let listener = tokio::net::TcpListener::bind("[::]:443").await?;
//! loop {
//!     let (connection, client) = listener.accept().await?;
//!     let tls = tls.clone();
//!     tokio::spawn(async move {
//!         match tls.accept(connection).await {
//!             Ok(stream) => println!("{client}: HTTP/2: {}", stream.is_http2()),
//!             Err(error) => eprintln!("{client}: {error}"),
//!         }
//!     });
//! }
//! # }
//! ```
//!
//! # Map
//!
//! - [`Tls`] performs handshakes, and [`TlsStream`] is a connection after one. [`HandshakeError`] says why one failed.
//! - [`Files`] names a certificate and its key, and [`Options`] has the settings of handshakes.
//! - [`Upkeep`] is a future that the host drives. It keeps the certificates up to date.
//! - [`Status`] is the state of the certificates, for a health check.
//! - [`Redirect`] answers requests to port 80.
//! - `Acme` orders certificates from an authority (feature `acme`).
//! - [`TlsError`] names the file or setting that cannot be used, and the remedy.
//!
//! # Files
//!
//! PEM in all common forms is accepted: keys in PKCS#1, PKCS#8 and SEC1; RSA, ECDSA and Ed25519; chains in any order and
//! joined by `cat` without line ends; LF and CRLF; key and certificate in one file; certificates of version 1, which older
//! instructions for self-signed ones create. Nothing in a file is dropped silently. Unusable content is an error that
//! names the file, its content, and the remedy.
//!
//! # Handshakes
//!
//! TLS 1.2 and 1.3 are supported, with HTTP/2 and HTTP/1.1 by ALPN, with or without a server name. A client that speaks
//! plain HTTP gets a 400 with an explanation. If authorities for clients are set, a client must present a certificate that
//! one of them signed.
//!
//! # Reloading
//!
//! [`Upkeep`] reads the files every two seconds. A valid pair replaces the old one, for new connections only. If the new
//! pair is invalid, the old one stays in service, and the fault is reported once.
//!
//! # Certificates from an authority
//!
//! With the feature `acme`, `Tls::from_acme` gets them from Let's Encrypt or another authority, for the configured
//! hosts only. [`Upkeep`] orders each new one after two thirds of its predecessor's lifetime. Failures are logged with
//! their remedy, and are part of the status.
//!
//! # Cryptography
//!
//! The feature `aws-lc-rs` (on by default) provides it, or the `CryptoProvider` that the host installed for the
//! process. This crate installs none.

#[cfg(feature = "acme")]
mod acme;
mod cert_reloader;
mod cert_resolver;
mod certificate;
mod chain;
mod challenges;
mod client_cas;
mod error;
mod exposed;
mod handshake;
mod options;
mod pair;
mod pem;
mod provider;
mod redirect;
mod status;
mod stream;
#[cfg(test)]
mod test_certificates;
mod tls;
mod upkeep;

#[cfg(feature = "acme")]
pub use self::acme::{Acme, ChallengeKind};
pub use self::{
    cert_reloader::Files,
    error::{FileProblem, TlsError},
    handshake::HandshakeError,
    options::{ClientAuth, Options},
    redirect::Redirect,
    status::Status,
    stream::{ClientCertificate, TlsStream},
    tls::Tls,
    upkeep::Upkeep,
};
