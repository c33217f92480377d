//! Calls to a registry as a whole.

use crate::{
    call::Call,
    client::Client,
    error::{Error, Result},
    host::Host,
    pages::Pages,
    transport::Answered,
};
use http::StatusCode;
use registry_core::{
    RepositoryName,
    protocol::{PageQuery, Request},
};
use serde::Deserialize;

/// Maximum size of the answer to a ping, in bytes.
const PONG: usize = 64 * 1024;

impl Client {
    /// Checks that `host` is a registry that accepts the credential, if there is one.
    ///
    /// # Cancel safety
    ///
    /// Safe: nothing is changed.
    ///
    /// # Errors
    ///
    /// [`Error::Unauthorized`](crate::Error::Unauthorized) if it requires another login,
    /// [`Error::NotFound`](crate::Error::NotFound) if it is no registry, and the failures of connections.
    pub async fn ping(&self, host: &Host) -> Result<()> {
        let call = Call::new(host, Request::Ping);
        self.fetch(&call, &[StatusCode::OK], PONG).await?;
        Ok(())
    }

    /// Lists the repositories of a registry. Many registries do not, or only to some users.
    #[must_use]
    pub fn catalog(&self, host: &Host) -> Pages<RepositoryName> {
        let page = PageQuery::default();
        let call = Call::new(host, Request::Catalog { page });
        Pages::new(self.clone(), call, parse)
    }
}

#[derive(Deserialize)]
struct Body {
    repositories: Option<Vec<String>>,
}

fn parse(answered: &Answered, body: &[u8]) -> Result<Vec<RepositoryName>> {
    let malformed = |problem: String| {
        Error::protocol(
            &*answered.named,
            format!("the list of repositories is malformed: {problem}"),
        )
    };
    let body: Body = serde_json::from_slice(body).map_err(|error| malformed(error.to_string()))?;
    let names = body.repositories.unwrap_or_default();
    names
        .iter()
        .map(|name| RepositoryName::parse(name).map_err(|error| malformed(error.to_string())))
        .collect()
}
