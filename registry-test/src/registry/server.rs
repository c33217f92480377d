//! [`Server`]: the thread that serves a registry on a loopback port.

use super::front::Front;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use std::{
    future::Future,
    io, iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    pin::Pin,
    sync::mpsc::{SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    runtime::Runtime,
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        watch,
    },
};

/// Time that the end waits for blocking calls of a storage, such as the write of a file.
const GRACE: Duration = Duration::from_secs(10);

/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Message to the thread. It ends when no other can come.
enum Message {
    /// Run this future.
    Run(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// End all connections and operations, and begin again.
    Restart(SyncSender<io::Result<()>>),
}

/// A thread with a runtime of its own. Dropping it ends the runtime, with all connections and tasks, and the thread.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// Always there until the drop, which ends the thread by it.
    messages: Option<UnboundedSender<Message>>,
    /// True while requests wait.
    paused: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a registry on a free loopback port.
    pub(super) fn start(front: Front) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (messages, received) = unbounded_channel();
        let (started, is_started) = sync_channel(1);
        let (paused, is_paused) = watch::channel(false);
        let thread = thread::Builder::new()
            .name("test registry".into())
            .spawn(move || run(&listener, &(front, is_paused), received, started))?;
        is_started.recv().map_err(|_ended| io::ErrorKind::Other)??;
        Ok(Self {
            address,
            messages: Some(messages),
            paused,
            thread: Some(thread),
        })
    }

    /// Returns the address on which it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs a future on the thread, and blocks until it has ended. It is not run in a runtime of the caller, which may
    /// have none, and must not block in one.
    pub(super) fn run<T: Send + 'static>(&self, future: impl Future<Output = T> + Send + 'static) -> T {
        let (send, result) = sync_channel(1);
        self.send(Message::Run(Box::pin(async move { _ = send.send(future.await) })));
        // A future that panics is dropped, with its sender.
        result
            .recv()
            .expect("the storage of the test registry panicked, see above, or the registry was restarted")
    }

    /// Ends all connections and operations at once, as the death of the process would. Later connections are served
    /// again, on the same port and storage.
    pub(super) fn restart(&self) -> io::Result<()> {
        let (send, restarted) = sync_channel(1);
        self.send(Message::Restart(send));
        restarted.recv().map_err(|_ended| io::ErrorKind::Other)?
    }

    /// Lets requests wait, or go on.
    pub(super) fn pause(&self, paused: bool) {
        self.paused.send_replace(paused);
    }

    fn send(&self, message: Message) {
        let messages = self.messages.as_ref().expect("the messages end with the server");
        // If the thread has ended, the message is dropped, and so is the sender of its result.
        let _ = messages.send(message);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.messages = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Serves until no message can come any more. Each start is reported to `started`.
fn run(
    listener: &TcpListener,
    served: &(Front, watch::Receiver<bool>),
    mut messages: UnboundedReceiver<Message>,
    mut started: SyncSender<io::Result<()>>,
) {
    loop {
        let (runtime, accepting) = match open(listener) {
            Ok(opened) => opened,
            Err(error) => {
                // The caller waits for it.
                let _ = started.send(Err(error));
                return;
            }
        };
        let _ = started.send(Ok(()));
        let restart = runtime.block_on(async {
            tokio::spawn(accept(accepting, served.clone()));
            loop {
                match messages.recv().await {
                    Some(Message::Run(future)) => _ = tokio::spawn(future),
                    Some(Message::Restart(restarted)) => return Some(restarted),
                    None => return None,
                }
            }
        });
        // The connections that wait to be accepted end with the others, before any client can have come back.
        let waiting: Vec<_> = iter::from_fn(|| listener.accept().ok()).collect();
        runtime.shutdown_timeout(GRACE);
        drop(waiting);
        match restart {
            Some(restarted) => started = restarted,
            None => return,
        }
    }
}

/// Creates a runtime, and the listener in it.
fn open(listener: &TcpListener) -> io::Result<(Runtime, tokio::net::TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let accepting = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
    drop(entered);
    Ok((runtime, accepting))
}

async fn accept(listener: tokio::net::TcpListener, (front, paused): (Front, watch::Receiver<bool>)) {
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // The process has no free descriptors; the connections that end give some back.
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (front, paused) = (front.clone(), paused.clone());
        let service = service_fn(move |request| {
            let (front, mut paused) = (front.clone(), paused.clone());
            async move {
                // An error means that the registry is being dropped.
                let _ = paused.wait_for(|paused| !paused).await;
                front.answer(request).await
            }
        });
        let mut server = http1::Builder::new();
        // A client that has sent its request may close its side before it reads the answer.
        server.half_close(true);
        tokio::spawn(server.serve_connection(TokioIo::new(connection), service));
    }
}
