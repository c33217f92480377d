//! The environment by which other programs find a test registry, and log in to it.

use super::{TestRegistry, files::Files};
use serde_json::json;
use std::{env, ffi::OsString, io, path::Path};

/// Names of the files; the first one is docker's.
const CONFIG: &str = "config.json";
const REGISTRIES: &str = "registries.conf";
const CA: &str = "ca.pem";
/// Names of the certificate that a client presents, and of its key. podman finds both by its option `--cert-dir`.
#[cfg(feature = "tls")]
const IDENTITY: [&str; 2] = ["client.cert", "client.key"];

impl TestRegistry {
    /// Returns a directory with the configuration of clients: docker's `config.json`, with the login of this registry. If the
    /// registry requires the certificate of a client, it has `client.cert` and `client.key`, too. It exists until the registry is
    /// dropped, and only its owner may read it.
    ///
    /// # Panics
    ///
    /// If the temporary directory of the system cannot be written.
    #[must_use]
    #[track_caller]
    pub fn docker_config_dir(&self) -> &Path {
        match self.files() {
            Ok(files) => files.path(),
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns environment variables with which programs use this registry, and no configuration of the user who runs the
    /// test. They are for a [`Command`](std::process::Command); the environment of this process is never changed.
    ///
    /// | variable | read by | content |
    /// |---|---|---|
    /// | `DOCKER_CONFIG` | docker, crane, oras, helm, regctl | directory with the login |
    /// | `REGISTRY_AUTH_FILE` | skopeo, podman, buildah | file with the login |
    /// | `CONTAINERS_REGISTRIES_CONF` | podman, buildah | file that allows plain HTTP for this registry |
    /// | `SSL_CERT_FILE` | programs with OpenSSL, and on Linux in Go and in Rust | authority that signed the certificate, with TLS only |
    ///
    /// On macOS and Windows, programs in Go trust the authorities of the system alone, and most in Rust do, too.
    ///
    /// skopeo has no variable for plain HTTP; it needs `--tls-verify=false`.
    ///
    /// ```no_run
    /// use registry_test::TestRegistry;
    /// use std::process::Command;
    ///
    /// let registry = TestRegistry::builder().basic("ann", "secret").start();
    /// let inspect = Command::new("skopeo")
    ///     .args(["inspect", "--tls-verify=false", &registry.transport("team/app:v1")])
    ///     .envs(registry.envs())
    ///     .status();
    /// assert!(inspect.unwrap().success());
    /// ```
    ///
    /// # Panics
    ///
    /// If the temporary directory of the system cannot be written.
    #[must_use]
    #[track_caller]
    pub fn envs(&self) -> Vec<(&'static str, OsString)> {
        match self.try_envs() {
            Ok(variables) => variables,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the environment variables of [`envs`](Self::envs).
    ///
    /// # Errors
    ///
    /// An error of writing the files below the temporary directory of the system.
    pub fn try_envs(&self) -> io::Result<Vec<(&'static str, OsString)>> {
        let directory = self.files()?.path();
        let mut variables = vec![
            ("DOCKER_CONFIG", directory.into()),
            ("REGISTRY_AUTH_FILE", directory.join(CONFIG).into()),
            ("CONTAINERS_REGISTRIES_CONF", directory.join(REGISTRIES).into()),
        ];
        if self.ca_pem().is_some() {
            variables.push(("SSL_CERT_FILE", directory.join(CA).into()));
        }
        Ok(variables)
    }

    fn files(&self) -> io::Result<&Files> {
        if let Some(files) = self.files.get() {
            return Ok(files);
        }
        let written = self.write_files().map_err(|error| {
            let reason = format!(
                "cannot write the configuration of clients below {}: {error}; set TMPDIR to a directory that this \
                 process may write",
                env::temp_dir().display()
            );
            io::Error::new(error.kind(), reason)
        })?;
        // If another thread was faster, its files count, and these are removed.
        Ok(self.files.get_or_init(|| written))
    }

    fn write_files(&self) -> io::Result<Files> {
        let files = Files::create()?;
        let auths = match &self.users.user {
            Some(user) => json!({ self.host(): { "auth": user.encoded() } }),
            None => json!({}),
        };
        files.write(CONFIG, json!({ "auths": auths }).to_string().as_bytes())?;
        if let Some(ca) = self.ca_pem() {
            files.write(CA, ca.as_bytes())?;
        }
        #[cfg(feature = "tls")]
        if let Some(client) = self.client_certificate() {
            for (name, pem) in IDENTITY.iter().zip([&client.certificate_pem, &client.key_pem]) {
                files.write(name, pem.as_bytes())?;
            }
        }
        let insecure = self.ca_pem().is_none();
        let registries = format!(
            "[[registry]]\nlocation = \"{}\"\ninsecure = {insecure}\n",
            self.host()
        );
        files.write(REGISTRIES, registries.as_bytes())?;
        Ok(files)
    }
}
