//! OCI distribution protocol without I/O. It parses a request into a typed [`Request`], converts a typed
//! [`Response`] into status and headers, and has the upload session as a state machine.
//!
//! It uses no clock, storage or sockets. It works in both directions: [`Request`] also builds requests, and
//! [`Answer`] reads responses. Test suites, mirrors and replication thus use the same types.
//!
//! ```
//! use registry_core::{
//!     Algorithm, Digest, RepositoryName,
//!     protocol::{Answer, Links, Request, Response},
//! };
//!
//! let repository = RepositoryName::parse("team/app")?;
//! let digest = Digest::of(Algorithm::Sha256, b"content");
//!
//! // A client builds a request.
//! let push = Request::PushBlob { repository: repository.clone(), digest };
//! let target = push.target();
//!
//! // The server parses it, and responds.
//! let (path, query) = target.split_once('?').unwrap();
//! let parsed = Request::parse(&push.method(), path, Some(query), &push.headers())?;
//! assert_eq!(parsed, push);
//! let (status, headers) = Response::BlobCreated { repository, digest }.head(&Links::default());
//!
//! // The client reads the response.
//! let answer = Answer::new(status, &headers);
//! assert_eq!(answer.status, http::StatusCode::CREATED);
//! assert_eq!(answer.location(), Some(&*format!("/v2/team/app/blobs/{digest}")));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod condition;
mod error;
mod headers;
mod page;
mod parts;
mod query;
mod range;
mod request;
mod response;
mod route;
mod upload;

pub(crate) use self::headers::Headers;
pub use self::{
    answer::Answer,
    condition::{EntityTags, Precondition},
    error::InvalidRequest,
    page::PageQuery,
    parts::{Parts, Selection},
    range::{ContentRange, parse_ranges},
    request::Request,
    response::Response,
    route::{Endpoint, InvalidBase, Links, Route, normalized},
    upload::{ChunkRefused, Upload},
};
