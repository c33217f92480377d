//! [`Operators`]: the registry and the running work of the operators of a server.

use super::{holding::Holding, operation::Operator};
use crate::{access_log::AccessLog, clock::TrustedClock, retention::Immutable};
use registry_core::{Registry, maintenance::Collections};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::JoinSet};

/// Future that ends when the server stops.
pub(super) type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Registry on which the operators of a server work.
#[derive(Clone, Debug)]
pub(crate) struct Operators {
    registry: Registry,
    access_log: Option<AccessLog>,
    /// Operations that run, and requests that may change something. Operations continue to their next item if their client
    /// disconnects, and requests to their end.
    running: Arc<Mutex<JoinSet<()>>>,
    /// True when the server stops.
    stopping: watch::Sender<bool>,
    holding: Holding,
    immutable: Immutable,
    clock: TrustedClock,
}

impl Operators {
    /// Serves commands. Their collections keep what was used within the grace period.
    pub(crate) fn of(
        registry: Registry,
        access_log: Option<AccessLog>,
        collections: Collections,
        grace: Duration,
        clock: TrustedClock,
    ) -> Self {
        Self {
            registry,
            clock,
            access_log,
            running: Arc::default(),
            stopping: watch::Sender::default(),
            holding: Holding::of(collections, grace),
            immutable: Immutable::Unknown,
        }
    }

    /// Sets the tags that nobody may overwrite. Without it, no tag may be.
    pub(crate) fn with_immutable(self, immutable: Immutable) -> Self {
        Self { immutable, ..self }
    }

    /// Returns the operator who has connected.
    pub(super) fn operator(&self, user: u32) -> Operator {
        Operator::new(self.registry.clone(), user, self.clock)
            .with_immutable(self.immutable.clone())
            .on_server(self.access_log.clone(), self.holding.clone())
    }

    /// Runs a task to its end, for which a shutdown waits.
    pub(super) fn run(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        while running.try_join_next().is_some() {}
        running.spawn(task);
    }

    /// Returns the access log of the server, if it has one.
    pub(super) fn access_log(&self) -> Option<AccessLog> {
        self.access_log.clone()
    }

    /// Returns a future that ends when the server stops.
    pub(super) fn stopping(&self) -> Stop {
        let mut stopping = self.stopping.subscribe();
        Box::pin(async move {
            // An error is the end of the sender.
            _ = stopping.wait_for(|stopping| *stopping).await;
        })
    }

    /// Ends the operations at their next item.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Waits for the operations and requests that still run.
    pub(super) async fn ended(&self) {
        let mut running = {
            let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *running)
        };
        while running.join_next().await.is_some() {}
        self.holding.end().await;
    }
}
