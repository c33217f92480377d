//! [`Incoming`]: a scripted request body.

use bytes::Bytes;
use http_body::{Body, Frame};
use registry_core::storage::{BoxError, Result};
use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::sync::oneshot;

/// A scripted request body.
#[derive(Default)]
pub(crate) struct Incoming(VecDeque<Step>);

enum Step {
    Chunk(Bytes),
    Break,
    Wait(Option<oneshot::Sender<()>>, oneshot::Receiver<()>),
}

/// The other end of a body that waits.
pub(crate) struct Waiting {
    reached: oneshot::Receiver<()>,
    resume: oneshot::Sender<()>,
}

impl Incoming {
    /// Returns a body of chunks of at most `len` bytes.
    pub(crate) fn in_chunks(bytes: &Bytes, len: usize) -> Self {
        let mut rest = bytes.clone();
        let mut steps = VecDeque::new();
        while !rest.is_empty() {
            steps.push_back(Step::Chunk(rest.split_to(rest.len().min(len))));
        }
        Self(steps)
    }

    pub(crate) fn whole(bytes: &Bytes) -> Self {
        Self::in_chunks(bytes, usize::MAX)
    }

    /// Adds a break of the connection.
    pub(crate) fn then_breaks(mut self) -> Self {
        self.0.push_back(Step::Break);
        self
    }

    /// Adds a wait, during which nothing arrives.
    pub(crate) fn then_waits(mut self) -> (Self, Waiting) {
        let (tell, reached) = oneshot::channel();
        let (resume, go) = oneshot::channel();
        self.0.push_back(Step::Wait(Some(tell), go));
        (self, Waiting { reached, resume })
    }

    pub(crate) fn then(mut self, bytes: &Bytes) -> Self {
        self.0.push_back(Step::Chunk(bytes.clone()));
        self
    }
}

impl Waiting {
    /// Waits until the backend has taken everything before the wait and asks for more.
    pub(crate) async fn reached(&mut self) {
        (&mut self.reached)
            .await
            .expect("the body was read to where it waits");
    }

    /// Lets the rest arrive.
    pub(crate) fn resume(self) {
        let _ = self.resume.send(());
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(Step::Wait(tell, go)) = self.0.front_mut() {
            if let Some(tell) = tell.take() {
                let _ = tell.send(());
            }
            let _ = ready!(Pin::new(go).poll(context));
            self.0.pop_front();
        }
        Poll::Ready(match self.0.pop_front() {
            None => None,
            Some(Step::Chunk(bytes)) => Some(Ok(Frame::data(bytes))),
            Some(Step::Break) => Some(Err("the client has gone".into())),
            Some(Step::Wait(..)) => unreachable!("a script waits once at a time"),
        })
    }
}
