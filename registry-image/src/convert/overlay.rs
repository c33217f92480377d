//! [`Converted`]: a source whose images are converted.

use super::{document::Object, media::Compression};
use crate::{
    copy::Options,
    error::Error,
    layout::{OpenFile, verified},
    manifests::{check_depth, parsed, refused},
    part::{Part, Shared},
    source::{Blob, LeftOut, Origin, Page, Source},
};
use async_trait::async_trait;
use futures_util::{FutureExt as _, future::BoxFuture};
use registry_core::{Descriptor, Digest, Reference, Tag, manifest::Manifest, storage::StoredManifest};
use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    sync::{Mutex, PoisonError},
};

/// Maximum number of bytes in all manifests of an item, which are in memory.
const MANIFESTS: usize = 256 << 20;

/// Source whose images are converted. Other content passes through.
pub(crate) struct Converted<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) options: Options,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Results of the present item, by the digests of the originals.
    done: BTreeMap<Digest, StoredManifest>,
    /// Manifests that were made for the present item.
    made: BTreeMap<Digest, StoredManifest>,
    /// Number of bytes of the results.
    bytes: usize,
    /// Layers that were made for any item, by the originals.
    pub(super) layers: BTreeMap<(Digest, Compression), Layer>,
    /// Places of these layers in the file.
    pub(super) places: BTreeMap<Digest, Place>,
    pub(super) file: Option<LayerFile>,
}

/// Unnamed file with the layers that were made. There is one for all, because a process may open only some hundreds.
pub(super) struct LayerFile {
    pub(super) writer: File,
    pub(super) reader: Shared,
    pub(super) len: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// A layer that was made.
#[derive(Clone, Copy)]
pub(super) struct Layer {
    /// Digest of the bytes without compression.
    pub(super) diff_id: Digest,
    pub(super) digest: Digest,
    pub(super) size: u64,
}

impl<'a> Converted<'a> {
    pub(crate) fn new(source: &'a dyn Source, options: &Options) -> Self {
        Self {
            source,
            options: options.clone(),
            state: Mutex::default(),
        }
    }

    /// Begins an item. The layers of those before are kept, because items share layers.
    pub(crate) fn begin(&self) {
        self.update(|state| {
            *state = State {
                layers: std::mem::take(&mut state.layers),
                places: std::mem::take(&mut state.places),
                file: state.file.take(),
                ..State::default()
            }
        });
    }

    /// Returns the manifests of the present item in whose place are others.
    pub(crate) fn replaced(&self) -> Vec<Digest> {
        self.update(|state| {
            let changed = state
                .done
                .iter()
                .filter(|(original, made)| **original != made.digest);
            changed.map(|(original, _)| *original).collect()
        })
    }

    /// Returns the manifest in place of this one, after everything that it refers to was converted.
    pub(crate) async fn convert(&self, original: StoredManifest) -> Result<StoredManifest, Error> {
        if self.options.compress.is_none() && self.options.format.is_none() {
            return Ok(original);
        }
        self.tree(original, 0).await
    }

    pub(super) fn tree(
        &self,
        original: StoredManifest,
        depth: usize,
    ) -> BoxFuture<'_, Result<StoredManifest, Error>> {
        async move {
            check_depth(self.source, &original, depth)?;
            if let Some(done) = self.update(|state| state.done.get(&original.digest).cloned()) {
                return Ok(done);
            }
            let parsed = parsed(&self.source.describe(), &original)?;
            let made = if original.media_type.is_index() {
                self.index(&original, &parsed, depth).await?
            } else {
                self.image(&original, &parsed).await?
            };
            let bytes = self.update(|state| {
                state.bytes += made.bytes.len();
                state.done.insert(original.digest, made.clone());
                state.made.insert(made.digest, made.clone());
                state.bytes
            });
            if bytes > MANIFESTS {
                let reason =
                    format!("its manifests have more than {MANIFESTS} bytes; copy fewer of its images");
                return Err(self.refused(&original, reason));
            }
            Ok(made)
        }
        .boxed()
    }

    /// Reads the entries of a list that is rewritten. The manifest itself gives `number` of them.
    ///
    /// A document that clients read differently is refused: with a repeated key, the entries would be others than those that
    /// were converted.
    pub(super) fn entries(
        &self,
        original: &StoredManifest,
        document: &Object,
        field: &str,
        number: usize,
    ) -> Result<Vec<Object>, Error> {
        if let Err(error) = Manifest::parse(&original.bytes, Some(&original.media_type)) {
            let reason =
                format!("it cannot be rewritten, because it is malformed: {error}; copy it as it is");
            return Err(self.refused(original, reason));
        }
        let entries: Vec<Object> = self.object(original, document.get(field))?;
        if entries.len() == number {
            return Ok(entries);
        }
        let reason =
            format!("it cannot be rewritten, because it has entries outside `{field}`; copy it as it is");
        Err(self.refused(original, reason))
    }

    pub(super) fn object<T>(
        &self,
        manifest: &StoredManifest,
        read: serde_json::Result<T>,
    ) -> Result<T, Error> {
        read.map_err(|error| self.refused(manifest, format!("it is malformed: {error}")))
    }

    pub(super) fn refused(&self, manifest: &StoredManifest, reason: impl Into<String>) -> Error {
        refused(self.source, &manifest.digest, reason)
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Source for Converted<'_> {
    fn describe(&self) -> String {
        self.source.describe()
    }

    fn origin(&self) -> Option<Origin> {
        self.source.origin()
    }

    fn left_out(&self) -> Option<&LeftOut> {
        self.source.left_out()
    }

    async fn resolve(&self, reference: &Reference) -> Result<Option<Descriptor>, Error> {
        self.source.resolve(reference).await
    }

    async fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, Error> {
        match self.update(|state| state.made.get(digest).cloned()) {
            Some(made) => Ok(Some(made)),
            None => self.source.manifest(digest).await,
        }
    }

    async fn blob(&self, digest: &Digest, from: u64) -> Result<Option<Blob>, Error> {
        let made = self.update(|state| {
            let place = *state.places.get(digest)?;
            let part = Part::new(&state.file.as_ref()?.reader, place.offset, place.size);
            Some((place.size, part))
        });
        let Some((size, part)) = made else {
            return self.source.blob(digest, from).await;
        };
        let reader = Box::new(part);
        let stream = verified("a temporary file", digest, from, OpenFile { size, reader });
        Ok(Some(Blob::new(size, stream)))
    }

    async fn tags(&self, after: Option<&Tag>) -> Result<Page<Tag, Tag>, Error> {
        self.source.tags(after).await
    }

    async fn referrers(
        &self,
        subject: &Digest,
        after: Option<&Digest>,
    ) -> Result<Page<Descriptor, Digest>, Error> {
        self.source.referrers(subject, after).await
    }
}

impl fmt::Debug for Converted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converted")
            .field("source", &self.source)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}
