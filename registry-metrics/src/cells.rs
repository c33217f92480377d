//! [`Cells`]: the instruments of a family, each found without a lock; and [`label!`], which defines their labels.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{TypedMetric, family::Family},
    registry::Registry,
};
use std::{
    fmt::Debug,
    hash::Hash,
    sync::{Arc, OnceLock},
};

/// Labels that take a known, small number of values.
pub(crate) trait Key: Copy + Debug + Eq + Hash + EncodeLabelSet + Send + Sync + 'static {
    /// Number of values.
    const COUNT: usize;

    /// Returns the index of this value, below [`COUNT`](Self::COUNT).
    fn index(self) -> usize;
}

/// A family whose instruments appear at their first use, and are found by an index from then on. A family's own look-up
/// takes a lock and hashes the labels, on every request.
#[derive(Debug)]
pub(crate) struct Cells<K, M> {
    family: Family<K, M, fn() -> M>,
    found: Arc<[OnceLock<M>]>,
}

impl<K: Key, M> Cells<K, M>
where
    M: prometheus_client::encoding::EncodeMetric + TypedMetric + Clone + Debug + Send + Sync + 'static,
{
    /// Registers the family; `new` makes each of its instruments.
    pub(crate) fn register(registry: &mut Registry, name: &str, help: &str, new: fn() -> M) -> Self {
        let family = Family::new_with_constructor(new);
        registry.register(name, help, family.clone());
        Self {
            family,
            found: (0..K::COUNT).map(|_| OnceLock::new()).collect(),
        }
    }

    /// Creates these instruments at once, so that the first event is already an increase.
    pub(crate) fn showing(self, keys: impl IntoIterator<Item = K>) -> Self {
        for key in keys {
            self.with(key, |_| ());
        }
        self
    }

    /// Calls `then` with one instrument.
    pub(crate) fn with(&self, key: K, then: impl FnOnce(&M)) {
        // Events of a key out of bounds are lost, so that the request does not fail.
        if let Some(cell) = self.found.get(key.index()) {
            then(cell.get_or_init(|| self.family.get_or_create_owned(&key)));
        }
    }
}

impl<K, M> Clone for Cells<K, M> {
    fn clone(&self) -> Self {
        Self {
            family: self.family.clone(),
            found: Arc::clone(&self.found),
        }
    }
}

/// Defines the values of a label, each with the text that it is shown as.
macro_rules! label {
    ($(#[$meta:meta])* $visibility:vis $name:ident { $($variant:ident: $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        $visibility enum $name { $($variant),+ }

        impl $name {
            $visibility const ALL: [Self; [$($text),+].len()] = [$(Self::$variant),+];

            /// Returns the text that it is shown as.
            $visibility const fn text(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl prometheus_client::encoding::EncodeLabelValue for $name {
            fn encode(
                &self,
                encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
            ) -> std::fmt::Result {
                std::fmt::Write::write_str(encoder, self.text())
            }
        }
    };
}
pub(crate) use label;
