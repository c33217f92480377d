//! Assertions about what clients have pushed: whole images, and no upload that was left open.

use super::{TestRegistry, image_name::ImageName};
use registry_core::{
    Digest, Error, Repository,
    manifest::{Child, Manifest},
    storage::StoredManifest,
};
use std::{collections::HashSet, fmt};

/// Maximum number of requests that a message lists.
const LISTED: usize = 40;

/// Reason for which an image is not in the registry as a whole.
///
/// Its message names what is missing, and lists the requests that came.
#[derive(Clone, Debug)]
pub struct NotPushed(String);

impl fmt::Display for NotPushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotPushed {}

impl TestRegistry {
    /// Asserts that an image was pushed as a whole: its manifest, the manifests of an index, and all blobs, each with the
    /// digest and the size that its descriptor gives. Layers that are not distributable need not be there, nor need content
    /// whose digest has an algorithm that the registry cannot compute.
    ///
    /// ```should_panic
    /// use registry_test::TestRegistry;
    ///
    /// let registry = TestRegistry::start();
    /// registry.assert_pushed("team/app:v1");
    /// ```
    ///
    /// # Panics
    ///
    /// If anything is missing, or the name is malformed. The message lists the requests of the clients.
    #[track_caller]
    pub fn assert_pushed(&self, name: &str) {
        if let Err(missing) = self.check_pushed(name) {
            panic!("{missing}");
        }
    }

    /// Compares an image with what was pushed, like [`assert_pushed`](Self::assert_pushed), and returns its digest.
    ///
    /// # Errors
    ///
    /// [`NotPushed`] if anything is missing, the name is malformed, or the storage fails.
    pub fn check_pushed(&self, name: &str) -> Result<Digest, NotPushed> {
        let image = ImageName::parse(name).map_err(NotPushed)?;
        let repository = self.within(&image.repository);
        let reference = image.reference.clone();
        let found = self.server.run(async move {
            match repository.manifest(reference).await? {
                Some(manifest) => {
                    Ok::<_, Error>(Some((manifest.digest, missing(&repository, manifest).await?)))
                }
                None => Ok(None),
            }
        });
        let problem = match found {
            Ok(Some((digest, missing))) if missing.is_empty() => return Ok(digest),
            Ok(Some((digest, missing))) => {
                format!(
                    "{name} ({digest}) was not pushed as a whole:\n  {}",
                    missing.join("\n  ")
                )
            }
            Ok(None) => match self.tags(image.repository.as_str()) {
                none if none.is_empty() => format!("{name} was not pushed; {} has no tags", image.repository),
                tags => format!(
                    "{name} was not pushed; {} has the tags {}",
                    image.repository,
                    tags.join(", ")
                ),
            },
            Err(error) => format!("cannot read {name}: {error}"),
        };
        Err(NotPushed(format!("{problem}\n{}", self.last_requests())))
    }

    /// Asserts that clients have closed or cancelled every upload session that they have opened.
    ///
    /// # Panics
    ///
    /// If a session is open, or the storage fails. The message lists the sessions and the requests of the clients.
    #[track_caller]
    pub fn assert_no_open_uploads(&self) {
        let open = self.uploads_left_open();
        if open.is_empty() {
            return;
        }
        let lines: Vec<String> = open.iter().map(ToString::to_string).collect();
        panic!(
            "{} upload sessions were left open; a client closes or cancels each session that it opens:\n  {}\n{}",
            open.len(),
            lines.join("\n  "),
            self.last_requests(),
        );
    }

    /// Lists the last requests for a message.
    fn last_requests(&self) -> String {
        let requests = self.requests();
        let before = requests.count().saturating_sub(LISTED);
        let mut text = match requests.count() {
            0 => return "no client has sent a request; it may use another address".to_owned(),
            _ if before > 0 => format!("the requests were, after {before} others:"),
            _ => "the requests were:".to_owned(),
        };
        for exchange in requests.iter().skip(before) {
            text.push_str("\n  ");
            text.push_str(&exchange.line());
        }
        text
    }
}

/// Returns a line for all content that a manifest refers to, directly or by others, and that is not there.
async fn missing(repository: &Repository, top: StoredManifest) -> Result<Vec<String>, Error> {
    let (mut lines, mut seen) = (Vec::new(), HashSet::from([top.digest]));
    let mut waiting = vec![top];
    while let Some(stored) = waiting.pop() {
        let of = stored.digest;
        let manifest = match Manifest::parse_stored(&stored.bytes, &stored.media_type) {
            Ok(manifest) => manifest,
            Err(error) => {
                lines.push(format!("manifest {of} cannot be parsed: {error}"));
                continue;
            }
        };
        for child in manifest.manifests().iter().chain(manifest.blobs()) {
            // Content with a digest of another algorithm cannot be stored here.
            let Some(digest) = child.digest.known() else {
                continue;
            };
            if !seen.insert(*digest) {
                continue;
            }
            let size = if child.is_manifest() {
                let stored = repository.manifest(*digest).await?;
                let size = stored.as_ref().map(|stored| stored.bytes.len() as u64);
                waiting.extend(stored);
                size
            } else {
                repository.blob(digest).await?.map(|blob| blob.size)
            };
            lines.extend(problem(child, digest, size).map(|problem| format!("{problem}, of manifest {of}")));
        }
    }
    Ok(lines)
}

fn problem(child: &Child, digest: &Digest, stored: Option<u64>) -> Option<String> {
    let kind = if child.is_manifest() { "manifest" } else { "blob" };
    match stored {
        Some(size) if size == child.size => None,
        Some(size) => Some(format!(
            "{kind} {digest} has {size} bytes, and its descriptor gives {}",
            child.size
        )),
        None if child.is_nondistributable() || !child.urls.is_empty() => None,
        None => Some(format!("{kind} {digest} of {} bytes is missing", child.size)),
    }
}
