//! Remedies in errors for clients: the key of the configuration that decides about a refusal.

use super::settings::{Settings, StorageKind};
use registry_core::service::Setting;

/// Remedies that apply with any configuration.
const ALWAYS: [(Setting, &str); 10] = [
    (
        Setting::Deletion,
        "`storage.delete.enabled: true` in the registry's configuration turns it on",
    ),
    (
        Setting::ReadOnly,
        "`storage.maintenance.readonly.enabled: false` in the registry's configuration makes the registry writable",
    ),
    (
        Setting::BlobBytes,
        "`http.maxblobsize` in the registry's configuration sets this limit",
    ),
    (
        Setting::CatalogPage,
        "`catalog.maxentries` in the registry's configuration sets this limit",
    ),
    (
        Setting::SparseIndexes,
        "`validation.manifests.indexes.platforms: none` in the registry's configuration accepts such an index",
    ),
    (
        Setting::NameComponents,
        "`limits.namecomponents` in the registry's configuration sets this limit",
    ),
    (
        Setting::Documents,
        "`limits.documents` in the registry's configuration sets this limit",
    ),
    (
        Setting::DescriptorSizes,
        "`validation.manifests.sizes: any` in the registry's configuration accepts such a manifest",
    ),
    (
        Setting::LayerUrls,
        "`validation.manifests.urls.allow` and `validation.manifests.urls.deny` in the registry's configuration decide \
         which URLs are allowed",
    ),
    (
        Setting::Uploads,
        "`limits.uploads`, `limits.repositoryuploads` and `limits.useruploads` in the registry's configuration set these limits",
    ),
];

const RULES: (Setting, &str) = (
    Setting::Access,
    "the file `access.rules` in the registry's configuration decides who may do what",
);

const MIN_FREE: (Setting, &str) = (
    Setting::Space,
    "`storage.filesystem.minfree` in the registry's configuration sets how much of the disk stays free",
);

/// Returns the remedies that apply with these settings.
pub(crate) fn remedies(settings: &Settings) -> impl Iterator<Item = (Setting, &'static str)> {
    let keeps_free = matches!(settings.storage.kind, StorageKind::Directory { min_free, .. } if min_free > 0);
    let rules = settings.access.is_some().then_some(RULES);
    let min_free = keeps_free.then_some(MIN_FREE);
    ALWAYS.into_iter().chain(rules).chain(min_free)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::keys;

    #[test]
    fn every_key_that_is_named_is_one() {
        for (setting, text) in ALWAYS.into_iter().chain([RULES, MIN_FREE]) {
            // The texts between the first two backticks, the third and the fourth, and so on.
            let named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
            assert!(!named.is_empty(), "{setting:?}");
            for name in named {
                let key = name.split(':').next().unwrap();
                assert!(keys::key(key).is_some(), "{setting:?}: {key}");
            }
        }
    }
}
