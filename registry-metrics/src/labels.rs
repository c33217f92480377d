//! Labels of HTTP requests. A client can choose none of their values.

use crate::cells::{Key, label};
use http::StatusCode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use registry_core::protocol::Route;
use std::fmt;

label! {
    /// The endpoint, by its name in registry:2. Endpoints that registry:2 lacks have names of their own.
    pub(crate) Handler {
        Base: "base",
        Catalog: "catalog",
        Tags: "tags",
        Manifest: "manifest",
        Blob: "blob",
        BlobUpload: "blob_upload",
        BlobUploadChunk: "blob_upload_chunk",
        Referrers: "referrers",
        Other: "other",
    }
}

impl Handler {
    pub(crate) fn of(path: &str) -> Self {
        match Route::of(path) {
            Some(Route::Base) => Self::Base,
            Some(Route::Catalog) => Self::Catalog,
            Some(Route::Tags) => Self::Tags,
            Some(Route::Manifest) => Self::Manifest,
            Some(Route::Blob) => Self::Blob,
            Some(Route::Uploads) => Self::BlobUpload,
            Some(Route::Upload) => Self::BlobUploadChunk,
            Some(Route::Referrers) => Self::Referrers,
            // Endpoints that the core adds are counted here until they get a name.
            Some(_) | None => Self::Other,
        }
    }
}

label! {
    /// The method. All methods outside the protocol share one value.
    pub(crate) Method {
        Get: "get",
        Head: "head",
        Post: "post",
        Put: "put",
        Patch: "patch",
        Delete: "delete",
        Options: "options",
        Other: "other",
    }
}

impl Method {
    pub(crate) fn of(method: &http::Method) -> Self {
        match *method {
            http::Method::GET => Self::Get,
            http::Method::HEAD => Self::Head,
            http::Method::POST => Self::Post,
            http::Method::PUT => Self::Put,
            http::Method::PATCH => Self::Patch,
            http::Method::DELETE => Self::Delete,
            http::Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

label! {
    /// First digit of a status.
    pub(crate) Class {
        Informational: "1xx",
        Success: "2xx",
        Redirection: "3xx",
        ClientError: "4xx",
        ServerError: "5xx",
    }
}

impl Class {
    const fn of(code: u16) -> Self {
        match code {
            0..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }
}

/// A status, or 499 if the client left before there was one, as in nginx.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Code(u16);

impl Code {
    pub(crate) const CLIENT_LEFT: Self = Self(499);
}

impl From<StatusCode> for Code {
    fn from(status: StatusCode) -> Self {
        Self(status.as_u16())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByHandler {
    pub(crate) handler: Handler,
}

impl Key for ByHandler {
    const COUNT: usize = Handler::ALL.len();

    fn index(self) -> usize {
        self.handler as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByClass {
    handler: Handler,
    method: Method,
    class: Class,
}

impl ByClass {
    pub(crate) const fn of(handler: Handler, method: Method, code: Code) -> Self {
        Self {
            handler,
            method,
            class: Class::of(code.0),
        }
    }
}

impl Key for ByClass {
    const COUNT: usize = Handler::ALL.len() * Method::ALL.len() * Class::ALL.len();

    fn index(self) -> usize {
        (self.handler as usize * Method::ALL.len() + self.method as usize) * Class::ALL.len()
            + self.class as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByCode {
    pub(crate) handler: Handler,
    pub(crate) method: Method,
    pub(crate) code: Code,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        EncodeLabelValue::encode(&self.0, encoder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_combination_has_a_place_of_its_own() {
        let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "BREW"];
        let mut places = HashSet::new();
        for handler in Handler::ALL {
            for method in methods {
                for code in [100, 200, 301, 404, 500] {
                    let method = Method::of(&method.parse().unwrap());
                    places.insert(ByClass::of(handler, method, Code(code)).index());
                }
            }
        }
        assert_eq!(places.len(), ByClass::COUNT);
        assert!(places.iter().all(|place| *place < ByClass::COUNT));
    }
}
