//! [`Setting`]: choices of the host that refuse requests, and what it tells clients to do about each.

use crate::error::Error;
use std::{borrow::Cow, collections::BTreeMap};

/// Choice of the host by which requests are refused.
///
/// The core does not know by what name a host lets its operator choose.
/// [`Builder::remedy`](super::Builder::remedy) tells it, and clients read it behind the message of the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Setting {
    /// Who may do what: [`Error::Denied`], [`Error::Overwrite`].
    Access,
    /// Nothing may be changed: [`Error::ReadOnly`].
    ReadOnly,
    /// Nothing may be deleted: [`Error::DeletionOff`].
    Deletion,
    /// Largest blob: [`Error::BlobTooLarge`].
    BlobBytes,
    /// Size of a page of the catalog: [`Error::CatalogPage`].
    CatalogPage,
    /// Descriptors have the sizes of what they name: [`Error::DescriptorSize`].
    DescriptorSizes,
    /// Components in the name of a new repository: [`Error::NameTooDeep`].
    NameComponents,
    /// Addresses where layers may lie: [`Error::LayerUrl`].
    LayerUrls,
    /// Entries of an index that are not here: [`Error::MissingEntries`].
    SparseIndexes,
    /// Memory for manifests and lists: [`Error::TooManyDocuments`].
    Documents,
    /// Space that uploads leave free: [`Error::Full`].
    Space,
    /// Number of open upload sessions: [`Error::TooManyUploads`].
    Uploads,
}

impl Setting {
    /// The one that decided a refusal.
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
            Error::Full(_) => Some(Self::Space),
            Error::TooManyUploads { .. } => Some(Self::Uploads),
            _ => None,
        }
    }
}

/// What the host says about each.
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
