//! [`Marks`]: tells the answers of the store from those of a proxy in between.
//!
//! An ingress whose backend is gone answers 404, as a store does that lacks an object. Taken for the store's answer, it would
//! make content absent for as long. Stores mark their answers with an id of the request, and proxies do not.

use http::{HeaderMap, Method, StatusCode};
use object_store::client::HttpResponse;
use std::sync::atomic::{AtomicBool, Ordering};

/// Headers with the id of a request, of S3, Azure and GCS.
const IDS: [&str; 3] = ["x-amz-request-id", "x-ms-request-id", "x-guploader-uploadid"];

/// Describes an answer of somebody else.
#[derive(Debug, thiserror::Error)]
#[error(
    "a proxy in front of the object store answers 404: it has no id of a request, which the store's own answers have"
)]
pub(super) struct Foreign;

/// Kinds of requests at which the store has marked its 404. Some stores may mark others only.
#[derive(Debug, Default)]
pub(super) struct Marks {
    of_head: AtomicBool,
    of_get: AtomicBool,
    of_others: AtomicBool,
}

impl Marks {
    /// Returns true if a 404 has no mark although an earlier one had. Remembers marks.
    pub(super) fn is_foreign(&self, method: &Method, response: &HttpResponse) -> bool {
        if response.status() != StatusCode::NOT_FOUND {
            return false;
        }
        let marks = match *method {
            Method::HEAD => &self.of_head,
            Method::GET => &self.of_get,
            _ => &self.of_others,
        };
        if is_marked(response.headers()) {
            marks.store(true, Ordering::Release);
            return false;
        }
        marks.load(Ordering::Acquire)
    }
}

/// Returns true if an answer has a mark.
pub(super) fn is_marked(headers: &HeaderMap) -> bool {
    IDS.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(status: u16, id: Option<&str>) -> HttpResponse {
        let mut response = http::Response::builder().status(status);
        if let Some(id) = id {
            response = response.header(id, "7");
        }
        response.body(String::new().into()).unwrap()
    }

    #[test]
    fn an_answer_without_an_id_is_foreign_once_the_store_has_sent_one() {
        let (marks, proxied) = (Marks::default(), Marks::default());
        assert!(
            !marks.is_foreign(&Method::GET, &response(404, None)),
            "not known yet"
        );
        assert!(!marks.is_foreign(&Method::GET, &response(404, Some(IDS[0]))));
        assert!(marks.is_foreign(&Method::GET, &response(404, None)));
        assert!(!marks.is_foreign(&Method::GET, &response(200, None)));
        assert!(
            !marks.is_foreign(&Method::HEAD, &response(404, None)),
            "not known yet"
        );
        // Ids of answers that proxies do not imitate prove nothing about a 404.
        assert!(!proxied.is_foreign(&Method::GET, &response(200, Some(IDS[0]))));
        assert!(!proxied.is_foreign(&Method::GET, &response(404, None)));
    }
}
