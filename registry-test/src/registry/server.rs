//! [`Server`]: the thread that serves a registry on a loopback port.

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use registry_core::{Registry, service::RegistryService};
use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::mpsc,
    thread::{self, JoinHandle},
    time::Duration,
};
use tokio::{
    net::TcpListener,
    runtime::Runtime,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

/// Time that the end waits for blocking calls of a storage, such as the write of a file.
const GRACE: Duration = Duration::from_secs(10);

/// Work for the thread.
type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A thread with a runtime of its own. Dropping it ends the runtime, with all connections and tasks, and the thread.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    /// Always there until the drop, which ends the thread by it.
    jobs: Option<UnboundedSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Serves a registry on a free loopback port.
    pub(super) fn start(registry: Registry) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (jobs, received) = unbounded_channel();
        let (started, is_started) = mpsc::sync_channel(1);
        let serve = move || match open(listener) {
            Ok((runtime, listener)) => {
                // `start` waits for this message.
                let _ = started.send(Ok(()));
                run(runtime, listener, registry, received);
            }
            Err(error) => _ = started.send(Err(error)),
        };
        let thread = thread::Builder::new().name("test registry".into()).spawn(serve)?;
        is_started
            .recv()
            .expect("the thread sends a message before it ends")?;
        Ok(Self {
            address,
            jobs: Some(jobs),
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
        let (send, result) = mpsc::sync_channel(1);
        let jobs = self.jobs.as_ref().expect("the jobs end with the server");
        // If the thread has ended, the job and its sender are dropped, and so is one that panics.
        let _ = jobs.send(Box::pin(async move { _ = send.send(future.await) }));
        result
            .recv()
            .expect("the storage of the test registry panicked; its message is above")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

/// Creates the runtime, and the listener in it.
fn open(listener: std::net::TcpListener) -> io::Result<(Runtime, TcpListener)> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let entered = runtime.enter();
    let listener = TcpListener::from_std(listener)?;
    drop(entered);
    Ok((runtime, listener))
}

/// Serves until the sender of jobs is dropped.
fn run(runtime: Runtime, listener: TcpListener, registry: Registry, mut jobs: UnboundedReceiver<Job>) {
    // Operations of a client that has gone are finished, unless the test ends before.
    let service = registry.into_service(|task| _ = tokio::spawn(task));
    runtime.block_on(async {
        tokio::spawn(accept(listener, service));
        while let Some(job) = jobs.recv().await {
            tokio::spawn(job);
        }
    });
    runtime.shutdown_timeout(GRACE);
}

async fn accept(listener: TcpListener, service: RegistryService<Incoming>) {
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            // The process has no free descriptors; the connections that end give some back.
            tokio::task::yield_now().await;
            continue;
        };
        let service = TowerToHyperService::new(service.clone());
        let mut server = http1::Builder::new();
        // A client that has sent its request may close its side before it reads the answer.
        server.half_close(true);
        tokio::spawn(server.serve_connection(TokioIo::new(connection), service));
    }
}
