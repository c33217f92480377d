//! [`Keys`]: the credentials of a server, and signatures by them.

use bytes::Bytes;
use http::Request;
use object_store::{
    aws::{AwsAuthorizer, AwsCredential},
    client::HttpRequestBody,
};
use std::io;

/// Region that every server has, since each signature names one.
pub(crate) const REGION: &str = "us-east-1";

/// Access key and secret of a server.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) access_key: &'static str,
    pub(crate) secret: &'static str,
}

/// The credentials of every server: they protect nothing.
pub(crate) const KEYS: Keys = Keys {
    access_key: "AKIDTESTS",
    secret: "secret-of-the-tests",
};

impl Keys {
    /// Signs a request whose target is a whole URL, with all its headers. The body remains unsigned.
    pub(crate) fn sign(&self, request: &Request<Bytes>) -> io::Result<Request<Bytes>> {
        let credential = AwsCredential {
            key_id: self.access_key.to_owned(),
            secret_key: self.secret.to_owned(),
            token: None,
        };
        let (parts, body) = request.clone().into_parts();
        let mut signed = Request::from_parts(parts, HttpRequestBody::empty());
        AwsAuthorizer::new(&credential, "s3", REGION)
            .with_sign_payload(false)
            .try_authorize(&mut signed, None)
            .map_err(io::Error::other)?;
        Ok(signed.map(|_| body))
    }
}
