//! [`Azure`]: a container of Azure Blob Storage.

use super::network::{Asking, Connections, Network, misfit};
use crate::bucket::{Clients, Dialect};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use registry_core::storage::StorageError;
use std::{fmt, sync::Arc};

/// A container of Azure Blob Storage.
///
/// ```
/// use registry_storage_object::Azure;
///
/// let container = Azure::new("account", "images").client_secret("tenant", "client", "secret");
/// assert!(!format!("{container:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct Azure {
    account: String,
    container: String,
    identity: Identity,
    endpoint: Option<String>,
    network: Network,
}

#[derive(Clone)]
enum Identity {
    /// Taken from the variables, or from the instance.
    Ambient(Vec<(AzureConfigKey, String)>),
    AccessKey(String),
    ClientSecret {
        tenant: String,
        client: String,
        secret: String,
    },
}

/// Variables of the Azure SDKs that say who asks.
const VARIABLES: [(&str, AzureConfigKey); 6] = [
    ("AZURE_TENANT_ID", AzureConfigKey::AuthorityId),
    ("AZURE_CLIENT_ID", AzureConfigKey::ClientId),
    ("AZURE_CLIENT_SECRET", AzureConfigKey::ClientSecret),
    ("AZURE_FEDERATED_TOKEN_FILE", AzureConfigKey::FederatedTokenFile),
    ("AZURE_AUTHORITY_HOST", AzureConfigKey::AuthorityHost),
    ("IDENTITY_ENDPOINT", AzureConfigKey::MsiEndpoint),
];

impl Azure {
    /// Names a container of an account.
    #[must_use]
    pub fn new(account: impl Into<String>, container: impl Into<String>) -> Self {
        Self {
            account: account.into(),
            container: container.into(),
            identity: Identity::Ambient(Vec::new()),
            endpoint: None,
            network: Network::default(),
        }
    }

    /// Sets the key of the account.
    #[must_use]
    pub fn access_key(self, key: impl Into<String>) -> Self {
        Self {
            identity: Identity::AccessKey(key.into()),
            ..self
        }
    }

    /// Sets the secret of a client of a tenant (a service principal).
    #[must_use]
    pub fn client_secret(
        self,
        tenant: impl Into<String>,
        client: impl Into<String>,
        secret: impl Into<String>,
    ) -> Self {
        Self {
            identity: Identity::ClientSecret {
                tenant: tenant.into(),
                client: client.into(),
                secret: secret.into(),
            },
            ..self
        }
    }

    /// Takes the identity from environment variables of the Azure SDKs, unless it is set. Ignores other variables.
    ///
    /// In this order: a federated token (workload identity), a client's secret, the managed identity of the instance.
    #[must_use]
    pub fn variables(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        if let Identity::Ambient(known) = &mut self.identity {
            known.extend(variables.into_iter().filter_map(|(name, value)| {
                let (_, key) = VARIABLES.iter().find(|(known, _)| *known == name)?;
                (!value.is_empty()).then_some((*key, value))
            }));
        }
        self
    }

    /// Sets the URL of the service. The default is `https://ACCOUNT.blob.core.windows.net`.
    #[must_use]
    pub fn endpoint(self, url: impl Into<String>) -> Self {
        Self {
            endpoint: Some(url.into()),
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

    fn address(&self) -> String {
        match &self.endpoint {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("https://{}.blob.core.windows.net", self.account),
        }
    }

    fn builder(&self) -> MicrosoftAzureBuilder {
        let builder = MicrosoftAzureBuilder::new()
            .with_account(&self.account)
            .with_container_name(&self.container)
            .with_endpoint(self.address());
        match &self.identity {
            Identity::Ambient(variables) => variables
                .iter()
                .fold(builder, |builder, (key, value)| builder.with_config(*key, value)),
            Identity::AccessKey(key) => builder.with_access_key(key),
            Identity::ClientSecret {
                tenant,
                client,
                secret,
            } => builder.with_client_secret_authorization(client, secret, tenant),
        }
    }

    pub(crate) fn clients(&self, asking: &Asking) -> Result<Clients, StorageError> {
        let fail = |error| misfit(&format!("the container {}", self.container), error);
        let connections = Connections::to(&self.address(), &self.network, asking)?;
        let azure = self
            .builder()
            .with_retry(asking.retries())
            .with_client_options(connections.options.clone())
            .with_http_connector(connections.connector.clone())
            .build()
            .map_err(fail)?;
        connections
            .clients(Dialect::Azure, &self.container, &Arc::new(azure))
            .map_err(fail)
    }
}

impl fmt::Debug for Azure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Azure")
            .field("account", &self.account)
            .field("container", &self.container)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_say_who_asks_unless_a_key_is_set() {
        let variables = || [("AZURE_CLIENT_ID".to_owned(), "c".to_owned())];
        let client = |azure: &Azure| azure.builder().get_config_value(&AzureConfigKey::ClientId);
        let ambient = Azure::new("account", "images").variables(variables());
        assert_eq!(client(&ambient).as_deref(), Some("c"));
        let keyed = Azure::new("account", "images")
            .access_key("a2V5")
            .variables(variables());
        assert_eq!(client(&keyed), None);
    }

    #[test]
    fn a_key_that_is_none_is_refused_with_the_container() {
        let refused = Azure::new("account", "images")
            .access_key("?")
            .clients(&Asking::default());
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("images"), "{refused}");
    }
}
