//! [`Exchange`]: a request and its answer, as passed on.

use super::{message::Head, side::Side};
use http::{HeaderMap, Method, StatusCode};
use registry_core::{RepositoryName, protocol::Request};

/// A request, and its result.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Exchange {
    /// Number of the tap's connection that carried it, counted from 0.
    pub connection: usize,
    /// The client has connected to the second host, to which faults lead: another port, as `localhost`.
    pub other_host: bool,
    /// Its method.
    pub method: Method,
    /// Its target, as the client wrote it: path and query, or a whole URL.
    pub target: String,
    /// Its headers; several lines of one name are several values.
    pub headers: HeaderMap,
    /// Operation that it requests of a registry, if it is well-formed.
    pub operation: Option<Request>,
    /// Number of bytes of its body that have been passed on, or read if the tap has answered itself, without the
    /// framing of chunks.
    pub sent: u64,
    /// Its answer, once the head of the answer has arrived.
    pub reply: Option<Reply>,
    /// The half that the tap has cut.
    pub cut: Option<Side>,
}

/// An answer, as it was passed on: after the rules have changed its headers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reply {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Number of bytes of its body that have been passed on, without the framing of chunks.
    pub received: u64,
}

impl Exchange {
    pub(super) fn new(connection: usize, other_host: bool, head: &Head) -> Option<Self> {
        let (method, target) = head.request()?;
        let headers = head.headers();
        Some(Self {
            connection,
            other_host,
            operation: operation(&method, target, &headers),
            method,
            target: target.to_owned(),
            headers,
            sent: 0,
            reply: None,
            cut: None,
        })
    }

    /// Returns the status of its answer, if there is one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.reply.as_ref().map(|reply| reply.status.as_u16())
    }

    /// Returns the repository that it concerns, if it concerns one.
    #[must_use]
    pub fn repository(&self) -> Option<RepositoryName> {
        self.operation.as_ref()?.endpoint().repository().cloned()
    }

    /// Describes it on one line: method, target, status, and the half that was cut.
    pub(crate) fn line(&self) -> String {
        let status = self
            .status()
            .map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        let cut = match self.cut {
            Some(Side::Request) => ", request cut",
            Some(Side::Response) => ", answer cut",
            None => "",
        };
        format!("{} {} → {status}{cut}", self.method, self.target)
    }

    /// Returns true if it carried bytes of a blob, which a repeated push must not do.
    #[must_use]
    pub fn uploads(&self) -> bool {
        let takes_a_body = matches!(
            self.operation,
            Some(Request::Append { .. } | Request::Close { .. } | Request::PushBlob { .. })
        );
        takes_a_body && self.sent > 0
    }

    /// Returns true if it requested a mount and got one.
    #[must_use]
    pub fn mounted(&self) -> bool {
        matches!(self.operation, Some(Request::Mount { .. })) && self.status() == Some(201)
    }
}

fn operation(method: &Method, target: &str, headers: &HeaderMap) -> Option<Request> {
    let origin = match target.split_once("://") {
        Some((_, rest)) => rest.get(rest.find('/')?..)?,
        None => target,
    };
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    Request::parse(method, path, query, headers).ok()
}
