//! [`Gcs`]: a bucket of Google Cloud Storage.

use super::network::{Asking, Connections, Network, misfit};
use crate::bucket::{Clients, Dialect};
use object_store::{
    StaticCredentialProvider,
    gcp::{GcpCredential, GcpSigningCredential, GoogleCloudStorageBuilder, ServiceAccountKey},
};
use registry_core::storage::StorageError;
use std::{fmt, sync::Arc};

/// Address of Google Cloud Storage.
const GOOGLE: &str = "https://storage.googleapis.com";

/// A bucket of Google Cloud Storage.
///
/// ```
/// use registry_storage_object::Gcs;
///
/// let bucket = Gcs::new("images").key_file("/etc/registry/key.json");
/// # let _ = bucket;
/// ```
#[derive(Clone)]
pub struct Gcs {
    bucket: String,
    identity: Identity,
    endpoint: Option<String>,
    network: Network,
}

#[derive(Clone)]
enum Identity {
    /// The application default credentials, of the workload, or of the instance.
    Ambient {
        /// File of the application default credentials.
        file: Option<String>,
    },
    KeyFile(String),
    Key(String),
    /// A store of the tests.
    Signing {
        email: String,
        pem: String,
    },
}

impl Identity {
    /// Returns the URL of the store that the key of a service account names: that of an emulator.
    fn store(&self) -> Option<String> {
        let json = match self {
            Self::Key(json) => json.clone(),
            Self::KeyFile(path) => std::fs::read_to_string(path).ok()?,
            Self::Ambient { .. } | Self::Signing { .. } => return None,
        };
        let key: serde_json::Value = serde_json::from_str(&json).ok()?;
        Some(key.get("gcs_base_url")?.as_str()?.to_owned())
    }
}

impl Gcs {
    /// Names a bucket.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            identity: Identity::Ambient { file: None },
            endpoint: None,
            network: Network::default(),
        }
    }

    /// Sets a file with the key of a service account, in JSON.
    #[must_use]
    pub fn key_file(self, path: impl Into<String>) -> Self {
        Self {
            identity: Identity::KeyFile(path.into()),
            ..self
        }
    }

    /// Sets the key of a service account, in JSON.
    #[must_use]
    pub fn key(self, json: impl Into<String>) -> Self {
        Self {
            identity: Identity::Key(json.into()),
            ..self
        }
    }

    /// Takes the application default credentials from environment variables, unless there is a key: the file that
    /// `GOOGLE_APPLICATION_CREDENTIALS` names. Ignores other variables.
    ///
    /// Without it, the file of `gcloud` in the home directory counts, then the identity of the workload or instance.
    #[must_use]
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        if let Identity::Ambient { file } = &mut self.identity {
            let found = variables
                .into_iter()
                .find(|(name, value)| name == "GOOGLE_APPLICATION_CREDENTIALS" && !value.is_empty());
            *file = found.map(|(_, value)| value).or_else(|| file.take());
        }
        self
    }

    /// Sets the URL of a store that is not Google's, and what signs requests to it: the name of an account, and a private
    /// RSA key as PEM. Requests that are not signed carry no identity.
    #[must_use]
    pub fn endpoint(
        self,
        url: impl Into<String>,
        account: impl Into<String>,
        key_pem: impl Into<String>,
    ) -> Self {
        Self {
            endpoint: Some(url.into()),
            identity: Identity::Signing {
                email: account.into(),
                pem: key_pem.into(),
            },
            ..self
        }
    }

    /// Adds a text to the `User-Agent` of requests.
    #[must_use]
    pub fn user_agent(mut self, text: impl Into<String>) -> Self {
        self.network.user_agent = Some(text.into());
        self
    }

    fn builder(&self) -> object_store::Result<GoogleCloudStorageBuilder> {
        let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(&self.bucket);
        if let Some(url) = &self.endpoint {
            builder = builder.with_base_url(url.trim_end_matches('/'));
        }
        Ok(match &self.identity {
            Identity::Ambient { file: None } => builder,
            Identity::Ambient { file: Some(file) } => builder.with_application_credentials(file),
            Identity::KeyFile(path) => builder.with_service_account_path(path),
            Identity::Key(json) => builder.with_service_account_key(json),
            Identity::Signing { email, pem } => builder
                .with_credentials(Arc::new(StaticCredentialProvider::new(GcpCredential {
                    bearer: String::new(),
                })))
                .with_signing_credentials(Arc::new(StaticCredentialProvider::new(GcpSigningCredential {
                    email: email.clone(),
                    private_key: Some(ServiceAccountKey::from_pem(pem.as_bytes())?),
                }))),
        })
    }

    pub(crate) fn clients(&self, asking: &Asking) -> Result<Clients, StorageError> {
        let fail = |error| misfit(&format!("the bucket {}", self.bucket), error);
        let address = self.endpoint.clone().or_else(|| self.identity.store());
        let connections = Connections::to(address.as_deref().unwrap_or(GOOGLE), &self.network, asking)?;
        let gcs = self
            .builder()
            .map_err(fail)?
            .with_retry(asking.retries())
            .with_client_options(connections.options.clone())
            .with_http_connector(connections.connector.clone())
            .build()
            .map_err(fail)?;
        connections
            .clients(Dialect::Gcs, &self.bucket, &Arc::new(gcs))
            .map_err(fail)
    }
}

impl fmt::Debug for Gcs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gcs")
            .field("bucket", &self.bucket)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_none_is_refused_with_the_bucket() {
        let refused = Gcs::new("images")
            .key("{}")
            .clients(&Asking::default())
            .err()
            .unwrap();
        assert!(refused.to_string().contains("images"), "{refused}");
    }

    #[test]
    fn variables_name_a_file_unless_there_is_a_key() {
        let variables = || [("GOOGLE_APPLICATION_CREDENTIALS".to_owned(), "/f".to_owned())];
        let ambient = Gcs::new("images").variables(variables());
        assert!(matches!(ambient.identity, Identity::Ambient { file: Some(file) } if file == "/f"));
        let keyed = Gcs::new("images").key("{}").variables(variables());
        assert!(matches!(keyed.identity, Identity::Key(_)));
    }
}
