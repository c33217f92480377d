//! [`Port`]: the port of a tap, where connections are accepted or refused.

use super::{acceptor::Acceptor, patience::lock};
use socket2::{Domain, Socket, Type};
use std::{
    io, mem,
    net::{SocketAddr, TcpListener},
    sync::Mutex,
};

/// Number of connections that may wait to be accepted, as of a listener of the standard library.
const BACKLOG: i32 = 128;

/// The port of a tap. Dropping it frees the port.
pub(super) struct Port {
    address: SocketAddr,
    state: Mutex<State>,
}

enum State {
    Accepting {
        _acceptor: Acceptor,
    },
    /// The socket has the port and does not listen, so the system refuses connections.
    Refusing(Socket),
    Ended,
}

impl Port {
    pub(super) fn new(address: SocketAddr, acceptor: Acceptor) -> Self {
        Self {
            address,
            state: Mutex::new(State::Accepting { _acceptor: acceptor }),
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Refuses connections from now on. No other program gets the port.
    pub(super) fn refuse(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !matches!(*state, State::Refusing(_)) {
            // A port is bound again only after its listener is closed.
            drop(mem::replace(&mut *state, State::Ended));
            *state = State::Refusing(bind(self.address)?);
        }
        Ok(())
    }

    /// Accepts connections again, if they are refused.
    pub(super) fn accept(&self, start: impl FnOnce(TcpListener) -> io::Result<Acceptor>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if let State::Refusing(socket) = &*state {
            let listener = socket.try_clone()?;
            listener.listen(BACKLOG)?;
            *state = State::Accepting {
                _acceptor: start(listener.into())?,
            };
        }
        Ok(())
    }

    /// Frees the port.
    pub(super) fn end(&self) {
        let ended = mem::replace(&mut *lock(&self.state), State::Ended);
        drop(ended);
    }
}

/// Binds an address that had connections a moment ago.
fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // On Windows, the option would let other programs take the port.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}
