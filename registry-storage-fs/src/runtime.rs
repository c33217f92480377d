//! The runtime that the operations of a storage run on.
//!
//! Work and its result are boxed here. Otherwise each operation would have a task type of its own, and tokio's code for
//! tasks would be compiled for each of them.

use registry_core::storage::{Result, StorageError};
use std::{
    any::Any,
    future::Future,
    io,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::{
    runtime::Handle,
    task::{JoinError, JoinHandle},
};

const UNFINISHED: &str = "a storage operation did not run to its end";

/// Result of work, of any type.
pub(crate) type AnyResult = Box<dyn Any + Send>;

/// Work on the blocking pool that returns a `T`. It runs to its end even if this is dropped.
pub(crate) struct Begun<T> {
    task: JoinHandle<AnyResult>,
    result: PhantomData<fn() -> T>,
}

impl<T: 'static> Begun<T> {
    /// Returns the work of a task whose result is a boxed `T`.
    pub(crate) const fn of(task: JoinHandle<AnyResult>) -> Self {
        Self {
            task,
            result: PhantomData,
        }
    }
}

impl<T: 'static> Future for Begun<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let ended: Result<AnyResult, JoinError> = ready!(Pin::new(&mut self.task).poll(context));
        let Ok(result) = ended.map_err(io::Error::other)?.downcast::<T>() else {
            return Poll::Ready(Err(io::Error::other(UNFINISHED)));
        };
        Poll::Ready(Ok(*result))
    }
}

/// Begins work on the blocking pool.
pub(crate) fn begin<T: Send + 'static>(
    runtime: &Handle,
    work: impl FnOnce() -> T + Send + 'static,
) -> Begun<T> {
    let work: Box<dyn FnOnce() -> AnyResult + Send> = Box::new(|| Box::new(work()));
    Begun::of(runtime.spawn_blocking(work))
}

/// Boxes a future for a task of its own.
pub(crate) fn boxed(
    work: impl Future<Output = ()> + Send + 'static,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(work)
}

/// Waits for an operation and returns its result.
pub(crate) async fn joined<T: 'static>(begun: Result<Begun<Result<T>>>) -> Result<T> {
    begun?
        .await
        .map_err(|source| StorageError::failed(UNFINISHED, source))?
}

/// Returns the runtime that an operation is called in.
pub(crate) fn runtime() -> Result<Handle> {
    Handle::try_current()
        .map_err(|source| StorageError::failed("the storage is used outside of a tokio runtime", source))
}
