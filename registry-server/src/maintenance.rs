//! [`Maintenance`]: rules of retention, and the watch over the free space.

use crate::{
    backend::Backend,
    clock::ServerClock,
    config::Settings,
    retention::{self, Immutable, RetentionFile},
    tasks::Tasks,
};
use registry_core::{
    Registry,
    maintenance::{MemoryNotes, Notes, SpaceWatch},
};
use std::{error::Error, sync::Arc};

/// Recurring work beside the upkeep: rules of retention, and a warning before the disk is full.
pub(crate) struct Maintenance {
    rules: Option<RetentionFile>,
    immutable: Immutable,
    notes: Arc<dyn Notes>,
    /// Number of bytes that uploads leave free.
    reserve: Option<u64>,
}

impl Maintenance {
    /// Opens the file of rules of retention, if there is one. A read-only server drops nothing.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let path = settings.storage.retention.rules.as_deref();
        let rules = match path.filter(|_| !settings.storage.read_only) {
            Some(path) => {
                let file = RetentionFile::open(path)?;
                let rules = file.rules().rules().len();
                tracing::info!(file = %path.display(), rules, "the rules of retention are in effect");
                Some(file)
            }
            None => None,
        };
        Ok(Self {
            rules,
            immutable: Immutable::Unknown,
            notes: Arc::new(MemoryNotes::default()),
            reserve: None,
        })
    }

    /// Uses this storage, with these immutable tags. Returns the storage, too.
    pub(crate) fn of(self, backend: Backend, immutable: Immutable, settings: &Settings) -> (Backend, Self) {
        let maintenance = Self {
            rules: self.rules,
            immutable,
            notes: backend.notes(),
            reserve: backend.reserve(settings),
        };
        (backend, maintenance)
    }

    /// Begins the work, which ends with the tasks. Returns the place for the notes of other maintenance.
    pub(crate) fn start(self, registry: &Registry, settings: &Settings, tasks: &mut Tasks) -> Arc<dyn Notes> {
        if let Some(reserve) = self.reserve {
            let watched = registry.clone();
            tasks.repeat("free space", move || {
                let registry = watched.clone();
                async move {
                    let watch = SpaceWatch::of_reserve(reserve);
                    watch.run(&**registry.storage(), &ServerClock::start()).await
                }
            });
        }
        if let Some(rules) = self.rules {
            let every = settings.storage.retention.interval;
            let notes = Arc::clone(&self.notes);
            let grace = settings.storage.collect.grace;
            retention::follow(
                rules,
                (every, grace),
                registry.clone(),
                self.immutable,
                notes,
                tasks,
            );
        }
        self.notes
    }
}
