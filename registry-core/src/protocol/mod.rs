//! The OCI distribution protocol without I/O: a request in, a typed [`Request`] out; a typed [`Response`] in,
//! status and headers out; and the upload session as a state machine.
//!
//! No clock, no storage, no sockets. It works both ways: [`Request`] also builds requests and [`Answer`] reads
//! responses, so that test suites, mirrors and replication speak the same vocabulary.

mod condition;
mod page;
mod parts;
mod query;
mod range;
mod request;
mod response;
mod route;
mod upload;

pub use self::{
    condition::{EntityTags, Precondition},
    page::PageQuery,
    parts::{Parts, Selection},
    range::{ContentRange, parse_ranges},
    request::Request,
    response::{Answer, Response},
    route::{Endpoint, InvalidBase, Links, Route, normalized},
    upload::{ChunkRefused, Upload},
};
