//! [`Referring`]: the condition for manifests in a listing of referrers.

use crate::digest::Digest;

/// Manifests that refer to a subject, possibly only those of one artifact type.
///
/// ```
/// use registry_core::{
///     Algorithm, Digest, RepositoryName,
///     storage::{MemoryStorage, Page, Referring, Storage},
/// };
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let storage = MemoryStorage::new();
/// let repository = RepositoryName::parse("team/app")?;
/// let subject = Digest::of(Algorithm::Sha256, b"an image manifest");
///
/// let signatures = Referring::new(&subject).of_type(Some("application/vnd.example.signature"));
/// let found = storage.referrers(&repository, signatures, Page::first(100)).await?;
/// assert!(found.items.is_empty() && !found.more);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Referring<'a> {
    /// Digest of the subject.
    pub subject: &'a Digest,
    /// Artifact type of the manifests, which need not be a media type. `None` for any type.
    pub artifact_type: Option<&'a str>,
}

impl<'a> Referring<'a> {
    /// Describes all manifests that refer to `subject`.
    #[must_use]
    pub const fn new(subject: &'a Digest) -> Self {
        Self {
            subject,
            artifact_type: None,
        }
    }

    /// Limits them to exactly one artifact type, unless it is `None`.
    #[must_use]
    pub const fn of_type(self, artifact_type: Option<&'a str>) -> Self {
        Self {
            artifact_type,
            ..self
        }
    }
}
