//! [`Shared`]: the state that all connections of a server share.

use super::{
    admission::Admission,
    refused::Observer,
    settings::{ConnectionLimits, Timeouts},
    tls_hint::TlsHint,
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// State that all connections of a server share.
#[derive(Debug)]
pub(super) struct Shared<H> {
    pub(super) handshake: H,
    pub(super) timeouts: Timeouts,
    pub(super) limits: ConnectionLimits,
    /// Observer of requests that are refused here.
    pub(super) observer: Observer,
    /// True if files are sent by the system where possible.
    pub(super) sendfile: bool,
    /// Bound on requests over HTTP/2.
    pub(super) admission: Arc<Admission>,
    /// Cancelled when the server is to end: running requests finish, and no new one begins.
    pub(super) stop: CancellationToken,
    pub(super) tls_hint: TlsHint,
}
