//! [`Chunks`]: the upload sessions of a registry that requires chunks of a minimum size.

use crate::tap::lock;
use http::{HeaderMap, Method};
use registry_core::protocol::Answer;
use std::{collections::HashMap, sync::Mutex};

/// Upload sessions by path.
#[derive(Debug, Default)]
pub(super) struct Chunks(Mutex<HashMap<String, Session>>);

#[derive(Clone, Copy, Debug, Default)]
struct Session {
    /// Number of bytes received.
    size: u64,
    /// Size of a chunk that is too small, unless it is the last one.
    small: Option<u64>,
}

impl Chunks {
    /// Returns the size of the previous chunk of a session, if no more bytes may follow it.
    pub(super) fn small(&self, path: &str) -> Option<u64> {
        lock(&self.0).get(path)?.small
    }

    /// Notes the answer to a request with a body within a session.
    pub(super) fn note(&self, path: &str, method: &Method, headers: &HeaderMap, minimum: u64) {
        let answer = Answer::new(http::StatusCode::OK, headers);
        let mut sessions = lock(&self.0);
        if *method == Method::PATCH {
            let Some(last) = answer.last_byte() else {
                return;
            };
            let session = sessions.entry(path.to_owned()).or_default();
            let size = last.saturating_add(1);
            let chunk = size.saturating_sub(session.size);
            *session = Session {
                size,
                small: (chunk < minimum).then_some(chunk),
            };
        } else {
            sessions.remove(path);
        }
    }
}
