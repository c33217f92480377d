//! [`Call`]: a request in the terms of object stores, and its [`Kind`].

use http::{HeaderMap, Method, Request};
use percent_encoding::percent_decode_str;

/// Headers that make a request conditional.
pub(crate) const CONDITIONS: [&str; 3] = ["if-match", "if-none-match", "x-goog-if-generation-match"];

/// Names for what a request asks of an object store, after the operations of S3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Reads an object, or a part of it.
    Get,
    /// Reads the metadata of an object.
    Head,
    /// Writes an object, whatever is there.
    Put,
    /// Writes an object under a condition.
    ConditionalPut,
    /// Copies an object.
    Copy,
    /// Removes an object.
    Delete,
    /// Removes an object under a condition.
    ConditionalDelete,
    /// Removes several objects.
    DeleteMany,
    /// Lists objects.
    List,
    /// Begins a multipart upload.
    CreateMultipart,
    /// Writes a part of a multipart upload.
    UploadPart,
    /// Copies an object, or a range of it, to a part of a multipart upload.
    UploadPartCopy,
    /// Makes an object of the parts of a multipart upload.
    CompleteMultipart,
    /// Ends a multipart upload without an object.
    AbortMultipart,
    /// Lists the parts of a multipart upload.
    ListParts,
    /// Lists multipart uploads.
    ListMultiparts,
    /// Anything else, such as making a bucket.
    Other,
}

/// A request in the terms of object stores.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) kind: Kind,
    pub(crate) bucket: String,
    /// Key of the object, or the prefix of a listing.
    pub(crate) key: String,
}

impl Call {
    pub(crate) fn of<B>(request: &Request<B>) -> Self {
        let uri = request.uri();
        let path = decoded(uri.path());
        let path = path.trim_start_matches('/');
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let query = Query(uri.query().unwrap_or_default());
        let kind = kind(request.method(), key, &query, request.headers());
        let key = match kind {
            Kind::List | Kind::ListMultiparts => query.get("prefix").unwrap_or_default(),
            _ => key.to_owned(),
        };
        Self {
            kind,
            bucket: bucket.to_owned(),
            key,
        }
    }
}

fn kind(method: &Method, key: &str, query: &Query<'_>, headers: &HeaderMap) -> Kind {
    let conditional = CONDITIONS.iter().any(|name| headers.contains_key(*name));
    let copies = headers.contains_key("x-amz-copy-source") || headers.contains_key("x-goog-copy-source");
    let part = query.has("uploadId");
    match *method {
        Method::PUT if part && copies => Kind::UploadPartCopy,
        Method::PUT if part => Kind::UploadPart,
        Method::PUT if key.is_empty() => Kind::Other,
        Method::PUT if copies => Kind::Copy,
        Method::PUT if conditional => Kind::ConditionalPut,
        Method::PUT => Kind::Put,
        Method::POST if query.has("uploads") => Kind::CreateMultipart,
        Method::POST if part => Kind::CompleteMultipart,
        Method::POST if query.has("delete") => Kind::DeleteMany,
        Method::DELETE if part => Kind::AbortMultipart,
        Method::DELETE if key.is_empty() => Kind::Other,
        Method::DELETE if conditional => Kind::ConditionalDelete,
        Method::DELETE => Kind::Delete,
        Method::GET if part => Kind::ListParts,
        Method::GET if query.has("uploads") => Kind::ListMultiparts,
        Method::GET if key.is_empty() => Kind::List,
        Method::GET => Kind::Get,
        Method::HEAD => Kind::Head,
        _ => Kind::Other,
    }
}

/// The query of a URL.
pub(crate) struct Query<'a>(pub(crate) &'a str);

impl Query<'_> {
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (String, String)> {
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(&value.replace('+', " ")))
        })
    }

    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.pairs()
            .find(|(found, _)| found == name)
            .map(|(_, value)| value)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn call(method: &str, target: &str, header: Option<&str>) -> (Kind, String) {
        let mut request = Request::builder().method(method).uri(target);
        if let Some(name) = header {
            request = request.header(name, "*");
        }
        let call = Call::of(&request.body(Bytes::new()).unwrap());
        (call.kind, call.key)
    }

    #[test]
    fn requests_are_told_apart_by_method_query_and_headers() {
        for (method, target, header, kind, key) in [
            ("GET", "/b/a/k", None, Kind::Get, "a/k"),
            ("HEAD", "/b/a/k", None, Kind::Head, "a/k"),
            ("PUT", "/b/a%2Fk", None, Kind::Put, "a/k"),
            ("PUT", "/b/k", Some("if-none-match"), Kind::ConditionalPut, "k"),
            (
                "PUT",
                "/b/k",
                Some("x-goog-if-generation-match"),
                Kind::ConditionalPut,
                "k",
            ),
            ("PUT", "/b/k", Some("x-amz-copy-source"), Kind::Copy, "k"),
            ("PUT", "/b", None, Kind::Other, ""),
            ("DELETE", "/b/k", None, Kind::Delete, "k"),
            ("DELETE", "/b/k", Some("if-match"), Kind::ConditionalDelete, "k"),
            ("POST", "/b?delete", None, Kind::DeleteMany, ""),
            ("GET", "/b?list-type=2&prefix=a%2F", None, Kind::List, "a/"),
            ("GET", "/b/?list-type=2", None, Kind::List, ""),
            ("POST", "/b/k?uploads", None, Kind::CreateMultipart, "k"),
            ("PUT", "/b/k?partNumber=1&uploadId=u", None, Kind::UploadPart, "k"),
            (
                "PUT",
                "/b/k?partNumber=1&uploadId=u",
                Some("x-amz-copy-source"),
                Kind::UploadPartCopy,
                "k",
            ),
            ("POST", "/b/k?uploadId=u", None, Kind::CompleteMultipart, "k"),
            ("DELETE", "/b/k?uploadId=u", None, Kind::AbortMultipart, "k"),
            ("GET", "/b/k?uploadId=u", None, Kind::ListParts, "k"),
            ("GET", "/b?uploads&prefix=p", None, Kind::ListMultiparts, "p"),
        ] {
            assert_eq!(
                call(method, target, header),
                (kind, key.to_owned()),
                "{method} {target} {header:?}"
            );
        }
    }
}
