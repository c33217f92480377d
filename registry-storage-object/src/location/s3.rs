//! [`S3`]: a bucket of Amazon S3, or of a store that speaks its protocol.

use super::{
    classified::Classified,
    network::{Asking, Connections, Network, misfit},
};
use crate::bucket::{Clients, Dialect, LARGEST_COPY};
use http::{HeaderMap, HeaderName, HeaderValue};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use registry_core::storage::StorageError;
use std::{fmt, sync::Arc};

/// A bucket of Amazon S3, or of a store that speaks its protocol.
///
/// Reads no environment variable by itself: see [`variables`](Self::variables).
///
/// ```
/// use registry_storage_object::S3;
///
/// let bucket = S3::new("images")
///     .endpoint("http://127.0.0.1:9000")
///     .path_style()
///     .credentials("minio", "minio-secret");
/// assert!(!format!("{bucket:?}").contains("minio-secret"));
/// ```
#[derive(Clone)]
pub struct S3 {
    bucket: String,
    region: Option<String>,
    endpoint: Option<String>,
    key: Option<(String, String)>,
    session_token: Option<String>,
    variables: Vec<(AmazonS3ConfigKey, String)>,
    path_style: bool,
    hosts: Hosts,
    encryption: Option<S3Encryption>,
    storage_class: Option<String>,
    largest_copy: u64,
    network: Network,
}

/// Encryption that S3 does at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum S3Encryption {
    /// With keys that S3 manages (SSE-S3).
    Managed,
    /// With this key of the key management service (SSE-KMS).
    Kms(String),
}

/// Choice among Amazon's hosts.
#[derive(Clone, Copy, Debug, Default)]
struct Hosts {
    accelerate: bool,
    dual_stack: bool,
    fips: bool,
}

/// Variables of the AWS SDKs that say who asks, or where the answer to that is.
const VARIABLES: [(&str, AmazonS3ConfigKey); 12] = {
    use AmazonS3ConfigKey as K;
    [
        ("AWS_ACCESS_KEY_ID", K::AccessKeyId),
        ("AWS_SECRET_ACCESS_KEY", K::SecretAccessKey),
        ("AWS_SESSION_TOKEN", K::Token),
        ("AWS_ROLE_ARN", K::RoleArn),
        ("AWS_ROLE_SESSION_NAME", K::RoleSessionName),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", K::WebIdentityTokenFile),
        ("AWS_ENDPOINT_URL_STS", K::StsEndpoint),
        (
            "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            K::ContainerCredentialsRelativeUri,
        ),
        (
            "AWS_CONTAINER_CREDENTIALS_FULL_URI",
            K::ContainerCredentialsFullUri,
        ),
        (
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
            K::ContainerAuthorizationTokenFile,
        ),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", K::MetadataEndpoint),
        ("AWS_REGION", K::Region),
    ]
};

impl S3 {
    /// Names a bucket.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            region: None,
            endpoint: None,
            key: None,
            session_token: None,
            variables: Vec::new(),
            path_style: false,
            hosts: Hosts::default(),
            encryption: None,
            storage_class: None,
            largest_copy: LARGEST_COPY,
            network: Network::default(),
        }
    }

    /// Sets the region, such as `eu-central-1`. The default is `us-east-1`.
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

    /// Sets an access key with its secret. Without one, the identity of [`variables`](Self::variables) or of the instance
    /// is used.
    #[must_use]
    pub fn credentials(self, access_key: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            key: Some((access_key.into(), secret.into())),
            ..self
        }
    }

    /// Sets the token that belongs to temporary credentials.
    #[must_use]
    pub fn session_token(self, token: impl Into<String>) -> Self {
        Self {
            session_token: Some(token.into()),
            ..self
        }
    }

    /// Takes the identity from environment variables of the AWS SDKs, unless there are [`credentials`](Self::credentials).
    /// Ignores other variables.
    ///
    /// In this order: an access key, a web identity with a role (IRSA), a container's credentials (ECS, EKS Pod
    /// Identity), the metadata service of the instance. `AWS_REGION` counts unless there is a [`region`](Self::region).
    #[must_use]
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        self.variables
            .extend(variables.into_iter().filter_map(|(name, value)| {
                let (_, key) = VARIABLES.iter().find(|(known, _)| *known == name)?;
                (!value.is_empty()).then_some((*key, value))
            }));
        self
    }

    /// Puts the name of the bucket into the path of URLs instead of their host.
    #[must_use]
    pub fn path_style(self) -> Self {
        Self {
            path_style: true,
            ..self
        }
    }

    /// Uses Amazon's edge locations ("S3 Transfer Acceleration").
    #[must_use]
    pub fn accelerate(mut self) -> Self {
        self.hosts.accelerate = true;
        self
    }

    /// Uses Amazon's hosts that also have IPv6 addresses.
    #[must_use]
    pub fn dual_stack(mut self) -> Self {
        self.hosts.dual_stack = true;
        self
    }

    /// Uses Amazon's hosts with cryptography validated by FIPS 140.
    #[must_use]
    pub fn fips(mut self) -> Self {
        self.hosts.fips = true;
        self
    }

    /// Sets the size of the largest object that the store copies with one request, in bytes. A larger one is copied in parts
    /// of this size, and of 1 GiB at most. The default is 5 GiB, as with Amazon; stores require at least 5 MiB.
    #[must_use]
    pub fn largest_copy(self, bytes: u64) -> Self {
        Self {
            largest_copy: bytes,
            ..self
        }
    }

    /// Lets S3 encrypt what is written. The default is the bucket's own setting.
    #[must_use]
    pub fn encryption(self, encryption: S3Encryption) -> Self {
        Self {
            encryption: Some(encryption),
            ..self
        }
    }

    /// Writes objects in a storage class, such as `STANDARD_IA`. The default is the bucket's own setting.
    ///
    /// A class from which objects have to be restored before they can be read does not suit a registry.
    #[must_use]
    pub fn storage_class(self, class: impl Into<String>) -> Self {
        Self {
            storage_class: Some(class.into()),
            ..self
        }
    }

    /// Adds a text to the `User-Agent` of requests.
    #[must_use]
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.network.user_agent = Some(text.into());
        self
    }

    /// Trusts any certificate of the store. Anybody on the way can then read and change what is transferred.
    #[must_use]
    pub fn accept_invalid_certificates(mut self) -> Self {
        self.network.accept_invalid_certificates = true;
        self
    }

    /// Returns the scheme, host and port of requests, with the bucket in the host if it belongs there.
    fn address(&self, region: &str, path_style: bool) -> String {
        let bucket = &self.bucket;
        if let Some(endpoint) = self.endpoint.as_deref().map(|url| url.trim_end_matches('/')) {
            return match endpoint.split_once("://") {
                Some((scheme, rest)) if !path_style => format!("{scheme}://{bucket}.{rest}"),
                _ => endpoint.to_owned(),
            };
        }
        let Hosts {
            accelerate,
            dual_stack,
            fips,
        } = self.hosts;
        let top = if region.starts_with("cn-") {
            "com.cn"
        } else {
            "com"
        };
        let stack = if dual_stack { ".dualstack" } else { "" };
        let host = match (accelerate, fips) {
            (true, _) => format!("s3-accelerate{stack}"),
            (false, true) => format!("s3-fips{stack}.{region}"),
            (false, false) => format!("s3{stack}.{region}"),
        };
        if path_style {
            format!("https://{host}.amazonaws.{top}")
        } else {
            format!("https://{bucket}.{host}.amazonaws.{top}")
        }
    }

    fn builder(&self) -> (AmazonS3Builder, String) {
        let variable = |wanted| {
            let mut found = self.variables.iter().filter(|(key, _)| *key == wanted);
            found.next().map(|(_, value)| value.as_str())
        };
        let region = self
            .region
            .as_deref()
            .or_else(|| variable(AmazonS3ConfigKey::Region))
            .unwrap_or("us-east-1");
        // A certificate for all hosts of a domain has no bucket with a dot in it.
        let path_style = self.path_style || self.bucket.contains('.');
        let address = self.address(region, path_style);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&self.bucket)
            .with_region(region)
            .with_virtual_hosted_style_request(!path_style)
            .with_endpoint(&address)
            // TLS protects the bytes on their way, and digests what is stored.
            .with_unsigned_payload(address.starts_with("https:"));
        if let Some((key, secret)) = &self.key {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        } else {
            let identity = self.variables.iter();
            for (key, value) in identity.filter(|(key, _)| *key != AmazonS3ConfigKey::Region) {
                builder = builder.with_config(*key, value);
            }
        }
        if let Some(token) = &self.session_token {
            builder = builder.with_token(token);
        }
        builder = match &self.encryption {
            None => builder,
            Some(S3Encryption::Managed) => builder.with_config(
                "aws_server_side_encryption".parse().expect("a known key"),
                "AES256",
            ),
            Some(S3Encryption::Kms(key)) => builder.with_sse_kms_encryption(key),
        };
        (builder, address)
    }

    /// Returns the headers of a request that creates an object: those of the encryption, and the storage class.
    fn headers(&self) -> Result<(HeaderMap, HeaderMap), StorageError> {
        let value = |text: &str| {
            HeaderValue::from_str(text).map_err(|error| {
                StorageError::failed("a setting of the bucket cannot be sent in a header", error)
            })
        };
        let mut encryption = HeaderMap::new();
        let kind = HeaderName::from_static("x-amz-server-side-encryption");
        match &self.encryption {
            None => {}
            Some(S3Encryption::Managed) => {
                encryption.insert(kind, HeaderValue::from_static("AES256"));
            }
            Some(S3Encryption::Kms(key)) => {
                encryption.insert(kind, HeaderValue::from_static("aws:kms"));
                let name = HeaderName::from_static("x-amz-server-side-encryption-aws-kms-key-id");
                encryption.insert(name, value(key)?);
            }
        }
        let mut class = HeaderMap::new();
        if let Some(text) = &self.storage_class {
            class.insert(HeaderName::from_static("x-amz-storage-class"), value(text)?);
        }
        Ok((encryption, class))
    }

    pub(crate) fn clients(&self, asking: &Asking) -> Result<Clients, StorageError> {
        let fail = |error| misfit(&format!("the bucket {}", self.bucket), error);
        let (builder, address) = self.builder();
        let connections = Connections::to(&address, &self.network, asking)?;
        let options = connections.options.clone();
        let builder = builder
            .with_retry(asking.retries())
            .with_http_connector(connections.connector.clone());
        let plain = builder.clone().with_client_options(options.clone()).build();
        let plain = Arc::new(plain.map_err(fail)?);
        let mut clients = connections
            .clients(Dialect::S3, &self.bucket, &plain)
            .map_err(fail)?;
        let (mut headers, class) = self.headers()?;
        if !class.is_empty() {
            let options = options.with_default_headers(class.clone());
            let both = Arc::new(Classified {
                plain,
                creating: builder.with_client_options(options).build().map_err(fail)?,
            });
            clients.objects = Arc::clone(&both) as _;
            clients.parts = both;
        }
        headers.extend(class);
        clients.largest_copy = self.largest_copy;
        if let Some(signing) = &mut clients.signer {
            signing.headers = headers;
        }
        Ok(clients)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn address(s3: &S3, region: &str) -> String {
        s3.address(region, s3.path_style)
    }

    #[test]
    fn the_address_is_amazons_or_the_endpoint_with_the_bucket_where_it_belongs() {
        let s3 = S3::new("images");
        for (s3, wanted) in [
            (s3.clone(), "https://images.s3.eu-central-1.amazonaws.com"),
            (s3.clone().path_style(), "https://s3.eu-central-1.amazonaws.com"),
            (
                s3.clone().dual_stack().fips(),
                "https://images.s3-fips.dualstack.eu-central-1.amazonaws.com",
            ),
            (
                s3.clone().accelerate(),
                "https://images.s3-accelerate.amazonaws.com",
            ),
            (
                s3.clone().endpoint("https://s3.example/"),
                "https://images.s3.example",
            ),
            (
                s3.clone().endpoint("http://127.0.0.1:9000/").path_style(),
                "http://127.0.0.1:9000",
            ),
        ] {
            assert_eq!(address(&s3, "eu-central-1"), wanted);
        }
        assert_eq!(
            address(&s3, "cn-north-1"),
            "https://images.s3.cn-north-1.amazonaws.com.cn"
        );
    }

    #[test]
    fn variables_say_who_asks_unless_a_key_is_set() {
        let variables = || {
            [
                ("AWS_ACCESS_KEY_ID", "of-the-variable"),
                ("AWS_SECRET_ACCESS_KEY", "s"),
                ("AWS_REGION", "eu-west-1"),
                ("HOME", "/root"),
                ("AWS_SESSION_TOKEN", ""),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
        };
        let key = |s3: &S3| {
            let (builder, address) = s3.builder();
            let key = builder.get_config_value(&AmazonS3ConfigKey::AccessKeyId);
            let token = builder.get_config_value(&AmazonS3ConfigKey::Token);
            (key, token, address)
        };
        let by_variables = S3::new("images").variables(variables());
        let (found, token, address) = key(&by_variables);
        assert_eq!((found.as_deref(), token), (Some("of-the-variable"), None));
        assert_eq!(address, "https://images.s3.eu-west-1.amazonaws.com");
        let (found, ..) = key(&by_variables.credentials("set", "s"));
        assert_eq!(found.as_deref(), Some("set"));
    }

    #[test]
    fn what_creates_an_object_carries_its_encryption_and_class() {
        let s3 = S3::new("images")
            .credentials("a", "b")
            .encryption(S3Encryption::Kms("arn:key".into()))
            .storage_class("STANDARD_IA");

        let signing = s3.clients(&Asking::default()).unwrap().signer.unwrap();

        let shown = |name: &str| signing.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!(shown("x-amz-server-side-encryption"), Some("aws:kms"));
        assert_eq!(
            shown("x-amz-server-side-encryption-aws-kms-key-id"),
            Some("arn:key")
        );
        assert_eq!(shown("x-amz-storage-class"), Some("STANDARD_IA"));
    }

    #[test]
    fn a_text_that_no_header_carries_is_refused() {
        let s3 = S3::new("images").credentials("a", "b").storage_class("no\nclass");
        assert!(s3.clients(&Asking::default()).is_err());
    }
}
