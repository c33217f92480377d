//! [`Setting`]: settings of the host that cause refusals, each with a remedy for the client.

use crate::{error::Error, storage::Resource};
use std::{borrow::Cow, collections::BTreeMap};

/// Setting of the host that causes refusals.
///
/// The core does not know the name of the setting in the host's configuration.
/// [`Builder::remedy`](super::Builder::remedy) sets a text with that name, which follows the message of the
/// refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Setting {
    /// Permissions: [`Error::Denied`], [`Error::Overwrite`].
    Access,
    /// Refusal of every change: [`Error::ReadOnly`].
    ReadOnly,
    /// Refusal of every deletion: [`Error::DeletionOff`].
    Deletion,
    /// Maximum size of a blob: [`Error::BlobTooLarge`].
    BlobBytes,
    /// Maximum size of a page of the catalog: [`Error::CatalogPage`].
    CatalogPage,
    /// Check of the sizes in descriptors: [`Error::DescriptorSize`].
    DescriptorSizes,
    /// Maximum number of components in the name of a new repository: [`Error::NameTooDeep`].
    NameComponents,
    /// Allowed URLs of layers: [`Error::LayerUrl`].
    LayerUrls,
    /// Check that the entries of an index exist: [`Error::MissingEntries`].
    SparseIndexes,
    /// Memory budget for manifests and lists: [`Error::TooManyDocuments`].
    Documents,
    /// Disk space that uploads leave free: [`Error::Full`].
    Space,
    /// Maximum number of open upload sessions: [`Error::TooManyUploads`].
    Uploads,
}

impl Setting {
    /// Returns the setting that caused a refusal.
    const fn behind(error: &Error) -> Option<Self> {
        match error {
            Error::Denied | Error::Overwrite { .. } => Some(Self::Access),
            Error::ReadOnly => Some(Self::ReadOnly),
            Error::DeletionOff => Some(Self::Deletion),
            Error::BlobTooLarge { .. } => Some(Self::BlobBytes),
            Error::CatalogPage { .. } => Some(Self::CatalogPage),
            Error::DescriptorSize { .. } => Some(Self::DescriptorSizes),
            Error::NameTooDeep { .. } => Some(Self::NameComponents),
            Error::LayerUrl { .. } => Some(Self::LayerUrls),
            Error::MissingEntries(_) => Some(Self::SparseIndexes),
            Error::TooManyDocuments { .. } => Some(Self::Documents),
            Error::Full {
                what: Resource::Bytes | Resource::Quota,
                ..
            } => Some(Self::Space),
            Error::TooManyUploads { .. } => Some(Self::Uploads),
            _ => None,
        }
    }
}

/// Remedy for each setting.
#[derive(Debug, Default)]
pub(super) struct Remedies(BTreeMap<Setting, Cow<'static, str>>);

impl Remedies {
    pub(super) fn set(&mut self, setting: Setting, remedy: Cow<'static, str>) {
        self.0.insert(setting, remedy);
    }

    pub(super) fn of(&self, error: &Error) -> Option<&str> {
        let remedy = self.0.get(&Setting::behind(error)?)?;
        Some(remedy)
    }
}
