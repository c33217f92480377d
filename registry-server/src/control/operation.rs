//! [`Operation`]: a command of an operator.

use super::line::Line;
use registry_core::Registry;
use serde::{Serialize, de::DeserializeOwned};
use std::{error::Error, future::Future};
use tokio::sync::mpsc::Sender;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A command with its arguments, which a server or the process of the command runs.
pub(crate) trait Operation: Serialize + DeserializeOwned + Send + 'static {
    /// Name in the path of the request.
    const NAME: &'static str;

    /// A result, of which there may be many.
    type Item: Serialize + DeserializeOwned + Send + 'static;

    /// Returns true if it changes the storage, so that a reader of the directory cannot run it.
    fn changes(&self) -> bool;

    /// Runs it. The future ends early if nobody receives the items any more.
    fn run(
        self,
        operator: Operator,
        items: Items<Self::Item>,
    ) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Registry on which operations run.
#[derive(Clone, Debug)]
pub(crate) struct Operator {
    pub(crate) registry: Registry,
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
