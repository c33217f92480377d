//! [`Acceptor`]: a listening port, with a thread.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A listening port. Dropping it frees the port.
pub(super) struct Acceptor {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Passes each connection to `connect`.
    pub(super) fn start(
        listener: TcpListener,
        connect: impl Fn(TcpStream) + Send + 'static,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let ended = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&ended);
        let accept = move || {
            for client in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                if let Ok(client) = client {
                    connect(client);
                }
            }
        };
        let thread = thread::Builder::new().name("tap".into()).spawn(accept)?;
        Ok(Self {
            address,
            ended,
            thread: Some(thread),
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        // The thread checks `ended` after each new connection.
        let woken = TcpStream::connect(address);
        if let (Ok(_), Some(thread)) = (woken, self.thread.take()) {
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}
