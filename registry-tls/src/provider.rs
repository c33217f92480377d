//! Provider of cryptography.

use crate::error::TlsError;
use rustls::crypto::CryptoProvider;
use std::sync::Arc;

/// Returns the provider that the host installed for the process, else that of the feature `aws-lc-rs`.
pub(crate) fn provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(installed) = CryptoProvider::get_default() {
        return Ok(Arc::clone(installed));
    }
    #[cfg(feature = "aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(not(feature = "aws-lc-rs"))]
    Err(TlsError::NoProvider)
}
