//! [`FileSender`]: the offer of a listener to send files by itself.

use crate::storage::{ContentStream, FileRange};
use std::{fmt, sync::Arc};

/// Conversion of a file into the frames that a listener recognizes.
type Frames = Arc<dyn Fn(&FileRange) -> Option<ContentStream> + Send + Sync>;

/// Offer of a listener to send files by itself, such as by `sendfile(2)`, as an extension of a request.
///
/// [`RegistryService`](super::RegistryService) takes it out of a request. If the response is a file, the body of the
/// response consists of the frames that the listener returns for that file. The frames pass all layers around the
/// registry, and the listener recognizes them when they arrive.
///
/// ```
/// use registry_core::{service::FileSender, storage::FileRange};
///
/// # use http_body_util::{BodyExt as _, Empty};
/// # fn frames(_: FileRange) -> registry_core::storage::ContentStream {
/// #     Box::pin(Empty::new().map_err(|never| match never {}))
/// # }
/// let least = 64 << 10;
/// let sender = FileSender::new(move |file: &FileRange| {
///     (file.range.end - file.range.start >= least).then(|| frames(file.clone()))
/// });
/// let request = http::Request::get("/v2/a/blobs/sha256:…").extension(sender).body(());
/// ```
#[derive(Clone)]
pub struct FileSender(Frames);

impl FileSender {
    /// Creates an offer. `frames` returns the body that replaces a file. It has as many bytes as the range of the
    /// file. `None` lets the registry stream the file as usual.
    pub fn new(frames: impl Fn(&FileRange) -> Option<ContentStream> + Send + Sync + 'static) -> Self {
        Self(Arc::new(frames))
    }

    /// Returns the frames for a file, if the listener sends it.
    #[must_use]
    pub fn frames(&self, file: &FileRange) -> Option<ContentStream> {
        (self.0)(file)
    }
}

impl fmt::Debug for FileSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileSender").finish_non_exhaustive()
    }
}
