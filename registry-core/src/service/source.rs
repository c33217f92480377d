//! [`BlobSource`]: bytes that a host pushes in process.

use super::{ResponseBody, body::Erased};
use crate::storage::{BoxError, IncomingBody};
use bytes::Bytes;
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// Bytes to push: in memory, a stream, or a body.
///
/// Bytes and texts convert into a source, so that calls take them as they are.
///
/// ```
/// use registry_core::{Registry, service::BlobSource, storage::MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// # let registry = Registry::builder(MemoryStorage::new()).build();
/// let repository = registry.repository("team/app")?;
///
/// let text = repository.push_blob("content", None).await?;
/// let body = http_body_util::Full::new(bytes::Bytes::from_static(b"content"));
/// let same = repository.push_blob(BlobSource::body(body), Some(text.digest)).await?;
///
/// assert_eq!(text, same);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
pub struct BlobSource(Pin<Box<dyn Body<Data = Bytes, Error = BoxError> + Send>>);

impl BlobSource {
    /// Takes the data of a body. Its size is known in advance if the body has an exact size hint.
    pub fn body<B>(body: B) -> Self
    where
        B: Body + Send + 'static,
        B::Data: Send,
        B::Error: Into<BoxError>,
    {
        Self(Box::pin(Erased(Box::pin(body))))
    }

    /// Takes the items of a stream. Its size is not known in advance.
    ///
    /// ```
    /// use http_body_util::BodyExt as _;
    /// use registry_core::{Registry, service::BlobSource, storage::MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let registry = Registry::builder(MemoryStorage::new()).build();
    /// # let response = http::Response::new(String::from("content of another server"));
    /// let stream = response.into_body().into_data_stream();
    /// let blob = registry.repository("mirror/app")?.push_blob(BlobSource::stream(stream), None).await?;
    /// assert_eq!(blob.size, 25);
    /// # Ok(())
    /// # }
    /// ```
    pub fn stream<S, T, E>(stream: S) -> Self
    where
        S: Stream<Item = Result<T, E>> + Send + 'static,
        T: Into<Bytes>,
        E: Into<BoxError>,
    {
        Self(Box::pin(Items(Box::pin(stream))))
    }

    pub(super) fn as_body(&mut self) -> IncomingBody<'_> {
        self.0.as_mut()
    }
}

impl From<Bytes> for BlobSource {
    fn from(bytes: Bytes) -> Self {
        Self::body(ResponseBody::full(bytes))
    }
}

impl From<Vec<u8>> for BlobSource {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<&'static [u8]> for BlobSource {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

impl From<String> for BlobSource {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for BlobSource {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl fmt::Debug for BlobSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobSource")
            .field("size", &self.0.size_hint())
            .finish_non_exhaustive()
    }
}

/// Body of the items of a stream.
struct Items<S>(Pin<Box<S>>);

impl<S, T, E> Body for Items<S>
where
    S: Stream<Item = Result<T, E>>,
    T: Into<Bytes>,
    E: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let item = self.0.as_mut().poll_next(context);
        item.map(|item| item.map(|item| item.map(|data| Frame::data(data.into())).map_err(Into::into)))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
