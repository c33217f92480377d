//! OCI distribution protocol without I/O. It parses a request into a typed [`Request`], converts a typed
//! [`Response`] into status and headers, and has the upload session as a state machine.
//!
//! It uses no clock, storage or sockets. It works in both directions: [`Request`] also builds requests, and
//! [`Answer`] reads responses. Test suites, mirrors and replication thus use the same types.

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
