//! [`Acceptor`]: a listening port, with a thread.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Pause after a connection that could not be accepted, or made.
const PAUSE: Duration = Duration::from_millis(10);
/// Maximum time in which a port is freed if the process has no free descriptors.
const PATIENCE: Duration = Duration::from_secs(10);

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
                match client {
                    Ok(client) => connect(client),
                    // The process has no free descriptors, say: connections that end free some.
                    Err(_) => thread::sleep(PAUSE),
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
        let Some(thread) = self.thread.take() else {
            return;
        };
        let begun = Instant::now();
        // The thread checks `ended` after each new connection.
        while TcpStream::connect_timeout(&address, PATIENCE).is_err() && !thread.is_finished() {
            if begun.elapsed() > PATIENCE {
                return;
            }
            thread::sleep(PAUSE);
        }
        // A thread that panicked has ended, too.
        let _ = thread.join();
    }
}
