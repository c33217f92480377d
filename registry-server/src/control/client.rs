//! [`Connection`]: a connection to the control socket of a running server.

use super::{
    line::{Line, PATH},
    operation::{BoxError, Operation},
    socket::{ShortPath, is_admitted},
};
use axum::{
    body::{Body, Bytes},
    http::{Request, StatusCode, header},
};
use http_body::Body as _;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use registry_storage_fs::OwnerRecord;
use serde::de::DeserializeOwned;
use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    pin::{Pin, pin},
    time::Duration,
};
use tokio::{net::UnixStream, time::timeout};

/// Time after which a server that does not answer is reported.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Message about a server that is older than the command.
pub(super) const MISSING: &str =
    "the running server does not have this command; restart it with the version of this program";

/// Maximum number of bytes of a message that replaces the lines.
const MESSAGE: usize = 64 << 10;

/// Connection to a server that owns a storage.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    /// Identifier of the process of the server, if the lock file names it.
    process: Option<u32>,
}

impl Connection {
    /// Connects to the owner of a storage. Returns `None` if no process listens on the socket that the lock file names.
    pub(super) async fn to(owner: &OwnerRecord) -> Result<Option<Self>, String> {
        let Some(socket) = &owner.socket else {
            return Ok(None);
        };
        let connected = async {
            let reached = ShortPath::to(socket)?;
            let stream = UnixStream::connect(reached.as_path()).await?;
            let peer = stream.peer_cred()?.uid();
            io::Result::Ok((stream, peer))
        };
        match connected.await {
            Ok((stream, peer)) if is_trusted(peer, owner.user) => {
                let user = rustix::process::geteuid().as_raw();
                // It would end the connection without an answer.
                if !is_admitted(user, peer) {
                    return Err(format!(
                        "the server on {} takes no commands of user id {user}; run this command as user id {peer} or as root",
                        socket.display()
                    ));
                }
                Ok(Some(Self {
                    stream,
                    process: owner.process,
                }))
            }
            Ok((_, peer)) => Err(format!(
                "user id {peer} listens on {}, but the storage belongs to user id {}; nothing was sent",
                socket.display(),
                owner.user
            )),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(format!(
                "cannot connect to {}: permission denied; run this command as user id {} or as root",
                socket.display(),
                owner.user
            )),
            Err(error) => Err(format!("cannot connect to {}: {error}", socket.display())),
        }
    }

    /// Returns the stream, for another protocol.
    pub(super) fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// Runs an operation on the server, and passes each item on. Calls `told` if the server does not answer for some
    /// seconds.
    pub(super) async fn run<O: Operation>(
        self,
        operation: O,
        told: impl FnOnce(String) + Send,
        mut each: impl FnMut(O::Item) -> Result<(), BoxError> + Send,
    ) -> Result<(), BoxError> {
        let body = serde_json::to_vec(&operation)?;
        drop(operation);
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.stream)).await?;
        let request = Request::post(format!("{PATH}{}", O::NAME))
            .header(header::HOST, "registry")
            .body(Body::from(body))?;
        let answered = async {
            let mut response = pin!(sender.send_request(request));
            let response = match timeout(PATIENCE, &mut response).await {
                Ok(response) => response?,
                Err(_) => {
                    told(silent(self.process));
                    response.await?
                }
            };
            let status = response.status();
            let mut lines = Lines::of(response.into_body());
            match status {
                StatusCode::OK => lines.read(&mut each).await,
                StatusCode::NOT_FOUND => Err(MISSING.into()),
                status => {
                    Err(format!("the server refused the command: {status} {}", lines.text().await).into())
                }
            }
        };
        // The connection works only while it is polled. At its end, lines may be left.
        let mut answered = pin!(answered);
        tokio::select! {
            outcome = &mut answered => outcome,
            _ = connection => answered.await,
        }
    }
}

/// Describes the wait for a server that does not answer.
pub(super) fn silent(process: Option<u32>) -> String {
    match process {
        Some(process) => format!("waiting for process {process}, which does not answer"),
        None => "waiting for the server, which does not answer".to_owned(),
    }
}

/// Returns true if a server of this user may be the one of a storage that belongs to `owner`.
const fn is_trusted(server: u32, owner: u32) -> bool {
    server == owner || server == 0
}

/// Lines of a response.
struct Lines {
    body: Incoming,
    received: Vec<u8>,
}

impl Lines {
    const fn of(body: Incoming) -> Self {
        Self {
            body,
            received: Vec::new(),
        }
    }

    /// Passes each item on, until the last line.
    async fn read<T: DeserializeOwned>(
        &mut self,
        each: &mut impl FnMut(T) -> Result<(), BoxError>,
    ) -> Result<(), BoxError> {
        // An error is the end, as of a server that was killed.
        while let Ok(Some(data)) = self.next().await {
            self.received.extend_from_slice(&data);
            let Some(end) = self.received.iter().rposition(|byte| *byte == b'\n') else {
                continue;
            };
            let rest = self.received.split_off(end + 1);
            let whole = std::mem::replace(&mut self.received, rest);
            for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line)? {
                    Line::Item(item) => each(item)?,
                    Line::Failed(message) => return Err(message.into()),
                    Line::Done => return Ok(()),
                }
            }
        }
        Err("the server ended before the command; it may have done a part of it".into())
    }

    /// Returns the next bytes.
    async fn next(&mut self) -> hyper::Result<Option<Bytes>> {
        loop {
            let frame = poll_fn(|context| Pin::new(&mut self.body).poll_frame(context)).await;
            let Some(frame) = frame else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Returns a message in place of lines.
    async fn text(&mut self) -> String {
        let mut text = Vec::new();
        while let Ok(Some(data)) = self.next().await
            && text.len() < MESSAGE
        {
            text.extend_from_slice(&data);
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_of_another_user_is_not_trusted() {
        for (server, owner, trusted) in [
            (1000, 1000, true),
            (0, 1000, true),
            (1001, 1000, false),
            (1000, 0, false),
        ] {
            assert_eq!(is_trusted(server, owner), trusted, "{server} {owner}");
        }
    }

    #[tokio::test]
    async fn a_socket_that_leads_nowhere_is_no_server() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        let storage = registry_storage_fs::FsStorage::open(root).unwrap();
        storage.name_socket(storage.control_socket().as_deref()).unwrap();

        let owner = OwnerRecord::read(root).unwrap().unwrap();

        assert!(Connection::to(&owner).await.unwrap().is_none());
    }
}
