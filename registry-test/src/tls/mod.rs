//! TLS on the client's side: throw-away certificates, and the blocking connection.

mod certificates;
mod pem;
mod session;
mod settings;

pub use self::certificates::ClientCertificate;

pub(crate) use self::{certificates::Certificates, settings::TlsSettings};
