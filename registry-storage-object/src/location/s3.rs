//! [`S3`]: a bucket of Amazon S3, or of a store that speaks its protocol.

use crate::bucket::{Clients, Dialect, Observed, Observing, Signing};
use http::HeaderMap;
use object_store::{
    ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    client::HttpConnector as _,
};
use registry_core::storage::StorageError;
use std::{fmt, sync::Arc, time::Duration};

/// A bucket of Amazon S3, or of a store that speaks its protocol.
#[derive(Clone)]
pub struct S3 {
    bucket: String,
    region: Option<String>,
    endpoint: Option<String>,
    credentials: Option<(String, String)>,
    path_style: bool,
}

impl S3 {
    /// Names a bucket.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            credentials: None,
            path_style: false,
        }
    }

    /// Sets the region, such as `eu-central-1`.
    #[must_use]
    pub fn region(self, region: impl Into<String>) -> Self {
        Self {
            region: Some(region.into()),
            ..self
        }
    }

    /// Sets the URL of a store that is not Amazon's, such as `http://127.0.0.1:8333`.
    #[must_use]
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        Self {
            endpoint: Some(url.into()),
            ..self
        }
    }

    /// Sets an access key with its secret. Without one, the identity of the instance or of the workload is used.
    #[must_use]
    pub fn credentials(self, access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            credentials: Some((access_key.into(), secret.into())),
            ..self
        }
    }

    /// Puts the name of the bucket into the path of URLs instead of their host.
    #[must_use]
    pub fn path_style(self) -> Self {
        Self {
            path_style: true,
            ..self
        }
    }

    fn builder(&self) -> AmazonS3Builder {
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_virtual_hosted_style_request(!self.path_style)
            .with_client_options(Self::client());
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &self.endpoint {
            builder = builder
                .with_allow_http(endpoint.starts_with("http:"))
                .with_endpoint(endpoint);
        }
        if let Some((key, secret)) = &self.credentials {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        builder
    }

    fn client() -> ClientOptions {
        ClientOptions::new()
            .with_allow_http(true)
            .with_connect_timeout(Duration::from_secs(3))
            .with_timeout_disabled()
            .with_read_timeout(Duration::from_secs(20))
    }

    pub(crate) fn clients(&self) -> Result<Clients, StorageError> {
        let fail = |error| {
            StorageError::failed(
                format!("the settings of the bucket {} do not fit together", self.bucket),
                error,
            )
        };
        let observed = Arc::new(Observed::default());
        let connector = Observing(Arc::clone(&observed));
        let retries = RetryConfig {
            max_retries: 4,
            retry_timeout: Duration::from_secs(10),
            ..RetryConfig::default()
        };
        let s3: Arc<AmazonS3> = Arc::new(
            self.builder()
                .with_retry(retries)
                .with_http_connector(connector.clone())
                .build()
                .map_err(fail)?,
        );
        Ok(Clients {
            dialect: Dialect::S3,
            objects: Arc::clone(&s3) as _,
            parts: Arc::clone(&s3) as _,
            pages: Some(Arc::clone(&s3) as _),
            signer: Some(Signing {
                signer: s3,
                http: connector.connect(&Self::client()).map_err(fail)?,
                headers: HeaderMap::new(),
            }),
            observed,
            one: Arc::default(),
        })
    }
}

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3")
            .field("bucket", &self.bucket)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
