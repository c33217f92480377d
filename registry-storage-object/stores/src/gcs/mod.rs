//! [`GcsFake`]: the part of the XML API of Google Cloud Storage that `object_store` uses, in memory.
//!
//! <https://cloud.google.com/storage/docs/xml-api/overview>

mod account;
mod answer;
mod bucket;
mod listing;
mod multipart;
mod object;
mod parts;
mod signature;

use self::{
    account::Account,
    answer::Refusal,
    bucket::{Buckets, Write},
};
use crate::{
    call::{Call, Kind, Query},
    http1::HttpServer,
};
use bytes::Bytes;
use http::{Request, Response};
use object_store::gcp::GoogleCloudStorageBuilder;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

/// Google Cloud Storage, in memory and on a loopback address. It ends when it is dropped.
///
/// Conditions are on generations, which differ after each write, also of equal content. Listings are in the order of
/// bytes. A request needs a bearer token, which may be any, or a signed URL, whose signature and expiry are checked. A
/// multipart upload completes once; a repeated request is told that there is no such upload.
#[derive(Debug)]
pub struct GcsFake {
    server: HttpServer,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    account: Account,
    buckets: Mutex<Buckets>,
}

impl GcsFake {
    /// Starts a store without buckets.
    ///
    /// # Errors
    ///
    /// An error of making a key, of starting a thread, or of binding a socket.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared {
            account: Account::new()?,
            buckets: Mutex::default(),
        });
        let answering = Arc::clone(&shared);
        let server = HttpServer::start(Arc::new(move |request| {
            let answering = Arc::clone(&answering);
            Box::pin(async move {
                let (parts, body) = request.into_parts();
                let request = Request::from_parts(parts, body.await.ok()?);
                Some(answering.answer(&request))
            })
        }))?;
        Ok(Self { server, shared })
    }

    /// Returns the address of the store.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns the URL of the store.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Makes a bucket, unless it exists, and returns the settings of a client.
    #[must_use]
    pub fn bucket(&self, name: &str) -> GoogleCloudStorageBuilder {
        self.shared.buckets().make(name);
        self.client(name)
    }

    /// Returns the settings of a client for a bucket.
    #[must_use]
    pub fn client(&self, bucket: &str) -> GoogleCloudStorageBuilder {
        GoogleCloudStorageBuilder::new()
            .with_service_account_key(self.service_account())
            .with_client_options(object_store::ClientOptions::new().with_allow_http(true))
            .with_bucket_name(bucket)
    }

    /// Returns the content of a key file (JSON), with the URL of this store in it.
    #[must_use]
    pub fn service_account(&self) -> String {
        self.shared.account.key_file(&self.endpoint())
    }

    /// Returns the keys in a bucket, in the order of bytes.
    #[must_use]
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.shared.buckets().keys(bucket)
    }

    /// Returns the number of multipart uploads that were neither completed nor aborted.
    #[must_use]
    pub fn open_multiparts(&self, bucket: &str) -> usize {
        self.shared.buckets().open_multiparts(bucket)
    }

    /// Lets the multipart uploads that are open have been begun earlier, by this time.
    pub fn age_multiparts(&self, bucket: &str, by: Duration) {
        self.shared.buckets().age_multiparts(bucket, by);
    }
}

impl Shared {
    fn answer(&self, request: &Request<Bytes>) -> Response<Bytes> {
        let call = Call::of(request);
        let allowed = signature::check(request, &self.account, SystemTime::now());
        allowed
            .and_then(|()| self.act(&call, request))
            .unwrap_or_else(|refusal| refusal.response())
    }

    fn act(&self, call: &Call, request: &Request<Bytes>) -> Result<Response<Bytes>, Refusal> {
        let mut buckets = self.buckets();
        let query = Query(request.uri().query().unwrap_or_default());
        let generation = buckets.next_generation();
        if call.kind == Kind::Copy {
            return buckets.copy(call, request.headers(), generation);
        }
        let bucket = buckets.get_mut(&call.bucket)?;
        let write = Write {
            key: &call.key,
            headers: request.headers(),
            generation,
        };
        match call.kind {
            Kind::Get | Kind::Head => bucket.read(&call.key, request),
            Kind::List => bucket.list(&query),
            Kind::ListMultiparts => Ok(bucket.list_multiparts(&query)),
            Kind::Put | Kind::ConditionalPut => {
                let stored = bucket.put(&write, request.body().clone())?;
                Ok(stored.stored())
            }
            Kind::Delete | Kind::ConditionalDelete => bucket.delete(&call.key, request.headers()),
            Kind::CreateMultipart => Ok(bucket.create_multipart(call, request, generation)),
            Kind::UploadPart => bucket.put_part(&call.key, &query, request.body().clone()),
            Kind::CompleteMultipart => bucket.complete_multipart(&write, &query, request.body()),
            Kind::AbortMultipart => bucket.abort_multipart(&call.key, &query),
            Kind::Copy | Kind::UploadPartCopy | Kind::DeleteMany | Kind::ListParts | Kind::Other => {
                Err(Refusal::NOT_IMPLEMENTED)
            }
        }
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
