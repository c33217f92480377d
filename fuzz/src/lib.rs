//! Properties that must hold for any bytes: one function per parser, for libFuzzer and for `cargo test`.
//!
//! Each function takes bytes that a stranger may send, and panics if a property breaks. Parsed values print as text
//! that parses to the same value, a naive model gives the same result, and bounds hold. Not panicking is the least of
//! them.
//!
//! - `fuzz_targets/` passes libFuzzer's bytes to these functions: `cargo fuzz run route` (see CONTRIBUTING.md).
//! - `corpus/<target>/` has inputs that reach different code. `cargo test -p registry-fuzz` replays them all.
//! - `corpus/request/` has heads of HTTP requests as text, one per file: the first line is the method and the target
//!   with one blank between them, each further line a header as `name: value`. Others may read them too.

#![expect(clippy::indexing_slicing, reason = "a property fails by panicking")]

mod answer;
mod archive;
mod blob_list;
mod checkpoint;
mod headers;
mod manifest;
mod names;
mod referrers;
mod request;
mod route;

pub use self::{
    answer::answer,
    archive::{archive, layout},
    blob_list::blob_list,
    checkpoint::checkpoint,
    headers::{content_range, range},
    manifest::manifest,
    names::{digest, reference},
    referrers::referrers,
    request::{Head, request},
    route::route,
};

/// A property, which panics if the bytes break it.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 13] = [
    ("route", route),
    ("digest", digest),
    ("reference", reference),
    ("range", range),
    ("content_range", content_range),
    ("manifest", manifest),
    ("referrers", referrers),
    ("checkpoint", checkpoint),
    ("request", request),
    ("archive", archive),
    ("layout", layout),
    ("blob_list", blob_list),
    ("answer", answer),
];
