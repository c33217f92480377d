//! [`Replay`]: content to push that can be read again, from any offset.

use async_trait::async_trait;
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use registry_core::BoxError;
use std::{convert::Infallible, pin::Pin};

/// Stream of content to push.
pub type ReplayBody = Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>;

/// Content to push that can be read again, so that a push continues after a failure.
///
/// Bytes in memory implement it:
///
/// ```
/// use http_body_util::BodyExt as _;
/// use registry_client::Replay;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
/// let content = bytes::Bytes::from("layer");
/// assert_eq!(content.open(2).await?.collect().await?.to_bytes(), "yer");
/// # Ok(())
/// # }
/// ```
///
/// # Cancel safety
///
/// A future is dropped with its push. An implementation leaves nothing half done.
#[async_trait]
pub trait Replay: Send + Sync {
    /// Opens the content from `offset` on.
    ///
    /// # Errors
    ///
    /// Any error ends the push, as [`Error::Content`](crate::Error::Content).
    async fn open(&self, offset: u64) -> Result<ReplayBody, BoxError>;
}

#[async_trait]
impl Replay for Bytes {
    async fn open(&self, offset: u64) -> Result<ReplayBody, BoxError> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        let never = |never: Infallible| match never {};
        Ok(Box::pin(Full::new(self.slice(offset..)).map_err(never)))
    }
}
