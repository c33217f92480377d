//! [`Operation`]: a command of an operator.

use super::{holding::Holding, line::Line, time::rfc3339};
use crate::{access_log::AccessLog, clock::TrustedClock, retention::Immutable};
use axum::http::{Method, StatusCode};
use registry_core::{
    Error as RegistryError, Identity, Registry, service::RegistryView, storage::QuarantineId,
};
use serde::{Serialize, de::DeserializeOwned};
use std::{error::Error, future::Future, time::Duration};
use tokio::sync::mpsc::Sender;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A command with its arguments, which a server or the process of the command runs.
pub(crate) trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Name in the path of the request.
    const NAME: &'static str;

    /// A result, of which there may be many.
    type Item: Serialize + DeserializeOwned + Send + 'static;

    /// Returns what it needs of a directory that no server owns.
    fn access(&self) -> Access;

    /// Runs it. The future ends early if nobody receives the items any more.
    fn run(
        self,
        operator: Operator,
        items: Items<Self::Item>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Access of an operation to a directory that no server owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It reads beside any other process.
    Read,
    /// It changes nothing, but only the owner of the directory knows what it needs, so that there must be none.
    Preview,
    /// It changes the directory.
    Own,
}

/// Registry on which operations run, and the operator who runs them.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) registry: Registry,
    identity: Identity,
    /// Access log of the server, if it has one.
    access_log: Option<AccessLog>,
    /// Hold of the server; `None` in the process of a command.
    holding: Option<Holding>,
    immutable: Immutable,
    /// Configured grace period, which counts where others may have clients.
    grace: Duration,
    clock: TrustedClock,
}

impl Operator {
    /// Describes an operator by the id of the system's user. No user of the registry has such a name: their names contain
    /// no colon.
    pub(super) fn new(registry: Registry, user: u32, clock: TrustedClock) -> Self {
        Self {
            registry,
            clock,
            identity: Identity::new(format!("operator:{user}")),
            access_log: None,
            holding: None,
            immutable: Immutable::Unknown,
            grace: Duration::ZERO,
        }
    }

    /// Sets the grace period for content of a storage that other processes may serve meanwhile. Without it, there is none.
    pub(super) fn with_grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Returns the time for which content stays that clients may need, or `None` if nobody pushes meanwhile.
    pub(super) fn grace(&self) -> Option<Duration> {
        match &self.holding {
            Some(holding) => Some(holding.grace()),
            None if self.registry.storage().abilities().exclusive => None,
            None => Some(self.grace),
        }
    }

    /// Sets the tags that nobody may overwrite. Without it, no tag may be.
    pub(super) fn with_immutable(self, immutable: Immutable) -> Self {
        Self { immutable, ..self }
    }

    /// Returns the tags that nobody may overwrite.
    pub(super) const fn immutable(&self) -> &Immutable {
        &self.immutable
    }

    /// Returns the clock that tells if ages count.
    pub(super) const fn clock(&self) -> &TrustedClock {
        &self.clock
    }

    /// Describes an operator of a server.
    pub(super) fn on_server(self, access_log: Option<AccessLog>, holding: Holding) -> Self {
        Self {
            access_log,
            holding: Some(holding),
            ..self
        }
    }

    /// Returns the hold of the server. `None` in the process of a command, which alone uses the storage.
    pub(super) const fn holding(&self) -> Option<&Holding> {
        self.holding.as_ref()
    }

    /// Fails while the server holds collections.
    pub(super) fn require_no_hold(&self) -> Result<(), BoxError> {
        match self.holding().and_then(Holding::until) {
            Some(until) => Err(format!(
                "collections are held until {}; `registry garbage-collect --hold 0` ends that",
                rfc3339(until)
            )
            .into()),
            None => Ok(()),
        }
    }

    /// Returns the registry with the authority of the host, on behalf of this operator.
    pub(super) fn view(&self) -> RegistryView {
        self.registry.on_behalf_of(self.identity.clone())
    }

    /// Logs a deletion, whether it succeeded or not, as that of a client.
    pub(super) fn log_deletion(&self, target: &str, outcome: &Result<bool, RegistryError>) {
        let status = match outcome {
            Ok(true) => StatusCode::ACCEPTED,
            Ok(false) => StatusCode::NOT_FOUND,
            Err(error) => error.wire().0,
        };
        match &self.access_log {
            Some(log) => log.operated(&self.identity, &Method::DELETE, target, status),
            None => {
                tracing::info!(user = %self.identity.subject, status = status.as_u16(), "deletion of {target}")
            }
        }
    }

    /// Logs the removal of an item from the quarantine. No request of a client does the same.
    pub(super) fn log_quarantine(&self, id: &QuarantineId) {
        tracing::info!(
            user = %self.identity.subject, digest = %id.digest, number = id.number,
            "damaged content was removed from quarantine"
        );
    }
}

/// Receiver of the items of an operation.
#[derive(Debug)]
pub(crate) struct Items<T>(pub(super) Sender<Line<T>>);

/// Nobody receives the items any more: the command was interrupted, or the server stops.
#[derive(Debug, thiserror::Error)]
#[error("the command was interrupted, or the server stops")]
pub(crate) struct Interrupted;

impl<T> Items<T> {
    /// Sends an item, and waits while the receiver is slow.
    pub(crate) async fn send(&self, item: T) -> Result<(), Interrupted> {
        self.0.send(Line::Item(item)).await.map_err(|_closed| Interrupted)
    }

    /// Waits until nobody receives the items any more.
    pub(super) async fn closed(&self) -> Interrupted {
        self.0.closed().await;
        Interrupted
    }
}

/// Runs an operation, and sends its items and then its outcome.
pub(super) async fn run<O: Operation>(operation: O, operator: Operator, lines: Sender<Line<O::Item>>) {
    let outcome = operation.run(operator, Items(lines.clone())).await;
    let last = match outcome {
        Ok(()) => Line::Done,
        Err(error) => Line::Failed(crate::causes::with_causes(&*error)),
    };
    // Nobody may listen any more.
    _ = lines.send(last).await;
}

/// Runs an operation, and returns its items.
#[cfg(test)]
pub(super) async fn collected<O: Operation>(
    operation: O,
    operator: &Operator,
) -> Result<Vec<O::Item>, String> {
    let (lines, mut waiting) = tokio::sync::mpsc::channel(super::line::WAITING);
    let received = async {
        let mut items = Vec::new();
        while let Some(line) = waiting.recv().await {
            match line {
                Line::Item(item) => items.push(item),
                Line::Failed(error) => return Err(error),
                Line::Done => break,
            }
        }
        Ok(items)
    };
    tokio::join!(run(operation, operator.clone(), lines), received).1
}
