//! [`AuthFile`]: the logins of docker and podman.
//!
//! Format: `config.json` of docker; containers-auth.json(5) of podman.

use super::{
    credential::{Credential, Credentials},
    helped::Helped,
    helper,
};
use crate::host::Host;
use async_trait::async_trait;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use registry_core::{BoxError, RepositoryName};
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

/// Maximum size of a file, in bytes.
const FILE: u64 = 4 << 20;
/// Name of Docker Hub in these files.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// Logins in a file of docker or podman, such as `~/.docker/config.json`. It is read for every login, so that later
/// changes count. A missing file has no logins.
///
/// A credential helper of the file comes first, by the longest name that fits: the registry, or as in podman the
/// repository and its parents. Then comes the credential store, and then the logins in the file itself, by the longest
/// name again. Helpers are programs that the file names: `docker-credential-NAME` on the search path. The answer of a
/// helper is used for a minute, unless it is refused.
#[derive(Clone, Debug)]
pub struct AuthFile {
    path: PathBuf,
    helped: Helped,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Contents {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<Zeroizing<String>>,
    username: Option<String>,
    password: Option<Zeroizing<String>>,
    identitytoken: Option<Zeroizing<String>>,
    registrytoken: Option<Zeroizing<String>>,
}

impl AuthFile {
    /// Names a file. It is not read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            helped: Helped::default(),
        }
    }
}

#[async_trait]
impl Credentials for AuthFile {
    async fn get(
        &self,
        host: &Host,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credential>, BoxError> {
        let path = self.path.clone();
        let contents = spawn_blocking(move || read(&path)).await??;
        let names = names(host, repository);
        let helper = names.iter().find_map(|name| {
            let helpers = contents.helpers.iter();
            let found = helpers.into_iter().find(|(key, _)| bare(key) == *name)?;
            Some((found.1.clone(), found.0.clone()))
        });
        let store = contents.store.clone().filter(|store| !store.is_empty());
        let server = if host.is_docker_hub() {
            DOCKER_HUB.to_owned()
        } else {
            host.to_string()
        };
        for (helper, server) in helper.into_iter().chain(store.map(|store| (store, server))) {
            let ask = helper::get(&helper, &server);
            if let Some(found) = self.helped.get(&helper, &server, ask).await? {
                return Ok(Some(found));
            }
        }
        for name in &names {
            let named = contents.auths.iter().filter(|(key, _)| bare(key) == *name);
            for (key, entry) in named {
                if let Some(found) = entry.credential(key)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    fn refused(&self, _: &Host, credential: &Credential) {
        self.helped.forget(credential);
    }
}

/// Returns the names under which a login may be found, the longest first.
fn names(host: &Host, repository: Option<&RepositoryName>) -> Vec<String> {
    let aliases = if host.is_docker_hub() {
        vec!["docker.io", "index.docker.io", "registry-1.docker.io"]
    } else {
        vec![host.as_str()]
    };
    let mut names = Vec::new();
    let mut path = repository.map(RepositoryName::as_str);
    while let Some(current) = path {
        names.extend(aliases.iter().map(|alias| format!("{alias}/{current}")));
        path = current.rsplit_once('/').map(|(parent, _)| parent);
    }
    names.extend(aliases.into_iter().map(str::to_owned));
    names
}

/// Removes what older versions of docker have written around a host.
fn bare(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key.split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => key.to_ascii_lowercase(),
    }
}

impl Entry {
    fn credential(&self, key: &str) -> Result<Option<Credential>, BoxError> {
        let given = |text: &Option<Zeroizing<String>>| {
            let text = text.as_ref().filter(|text| !text.is_empty());
            text.map(|text| text.as_str().to_owned())
        };
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::identity_token(token)));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Credential::registry_token(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let malformed = || format!("the field `auth` of {key} is not `user:password` in base64");
            let decoded = BASE64_STANDARD
                .decode(auth.trim())
                .map_err(|_base64| malformed())?;
            let decoded = Zeroizing::new(String::from_utf8(decoded).map_err(|_utf8| malformed())?);
            let (user, password) = decoded.split_once(':').ok_or_else(malformed)?;
            return Ok(Some(Credential::password(user, password.trim_end_matches('\0'))));
        }
        let user = self.username.as_ref().filter(|user| !user.is_empty());
        Ok(user
            .zip(given(&self.password))
            .map(|(user, password)| Credential::password(user, password)))
    }
}

/// Reads a file. A missing one is empty.
fn read(path: &Path) -> Result<Contents, BoxError> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contents::default()),
        Err(error) => return Err(failed(&error).into()),
    };
    let mut text = Zeroizing::new(Vec::new());
    file.take(FILE + 1)
        .read_to_end(&mut text)
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > FILE {
        return Err(failed(&"it has more than 4 MiB").into());
    }
    if text.is_empty() {
        return Ok(Contents::default());
    }
    serde_json::from_slice(&text).map_err(|error| failed(&error).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_all_versions_name_a_host() {
        for (key, expected) in [
            ("https://index.docker.io/v1/", "index.docker.io"),
            ("Registry.Example:5000", "registry.example:5000"),
            ("http://a/v2/", "a"),
            ("a/team/app", "a/team/app"),
        ] {
            assert_eq!(bare(key), expected);
        }
    }

    #[tokio::test]
    async fn the_answer_of_a_helper_is_used_for_further_requests() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, r#"{"credHelpers": {"a:5000": "does-not-exist"}}"#).unwrap();
        let file = AuthFile::new(path);
        let host = Host::parse("a:5000").unwrap();
        file.get(&host, None).await.unwrap_err();
        let login = Credential::password("ann", "pw");
        let answer = async { Ok(Some(login.clone())) };
        let answered = file.helped.get("does-not-exist", "a:5000", answer).await;
        assert!(answered.unwrap().is_some());

        let found = file.clone().get(&host, None).await.unwrap();

        assert_eq!(found.unwrap().fingerprint(), login.fingerprint());
    }

    #[test]
    fn longer_names_come_first() {
        let host = Host::parse("a:5000").unwrap();
        let repository = RepositoryName::parse("b/c").unwrap();
        assert_eq!(
            names(&host, Some(&repository)),
            ["a:5000/b/c", "a:5000/b", "a:5000"]
        );
        assert_eq!(
            names(&Host::parse("docker.io").unwrap(), None)[1],
            "index.docker.io"
        );
    }
}
