//! Clients of the registries that images are copied from and to.

use super::{
    failure::Failure,
    options::{Access, SourceAccess, TargetAccess},
};
use crate::command_line::prompt;
use registry_client::{
    AuthFile, Client, ClientBuilder, Credential, Error as ClientError, Host, HostOptions, Retry,
};
use registry_core::RepositoryName;
use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, IsTerminal as _},
    path::Path,
    sync::Arc,
};
use tokio_rustls::rustls::crypto::aws_lc_rs;

/// Settings for one of the two sides.
pub(super) struct Side {
    access: Access,
    credential: Option<Credential>,
    /// True if the files of logins count, too.
    reads_files: bool,
    tls: Option<bool>,
}

/// Login as `USER:PASSWORD` or `USER`, with the places of its password.
struct Login<'a> {
    text: &'a str,
    option: &'static str,
    variable: &'static str,
    /// True if standard input has an archive.
    without_input: bool,
}

impl Side {
    /// Reads the settings for the side that is read. Asks for the password if it is not given.
    pub(super) fn source(
        access: &Access,
        source: &SourceAccess,
        without_input: bool,
    ) -> Result<Self, Failure> {
        let login = source.src_creds.as_deref().map(|text| Login {
            text,
            option: "--src-creds",
            variable: "REGISTRY_SRC_PASSWORD",
            without_input,
        });
        Self::of(access, login, source.src_tls_verify)
    }

    /// Reads the settings for the side that is written. Asks for the password if it is not given.
    pub(super) fn target(
        access: &Access,
        target: &TargetAccess,
        without_input: bool,
    ) -> Result<Self, Failure> {
        let login = target.dest_creds.as_deref().map(|text| Login {
            text,
            option: "--dest-creds",
            variable: "REGISTRY_DEST_PASSWORD",
            without_input,
        });
        Self::of(access, login, target.dest_tls_verify)
    }

    fn of(access: &Access, login: Option<Login<'_>>, tls: Option<bool>) -> Result<Self, Failure> {
        // A file of the defaults may be absent. One that is named should not be.
        if let Some(file) = &access.authfile {
            fs::File::open(file)
                .map_err(|error| format!("--authfile: cannot read {}: {error}", file.display()))?;
        }
        Ok(Self {
            access: access.clone(),
            reads_files: login.is_none(),
            credential: login.map(|login| login.credential()).transpose()?,
            tls,
        })
    }

    /// Sets up a client that has its login already: the user whom root becomes may not read the files of logins.
    pub(super) async fn client_with_login(
        &self,
        host: &Host,
        repository: Option<&RepositoryName>,
    ) -> Result<Client, Failure> {
        let client = self.client(host).await?;
        let known = Self {
            access: self.access.clone(),
            credential: client.credential(host, repository).await?,
            reads_files: false,
            tls: self.tls,
        };
        known.client(host).await
    }

    /// Sets up a client for a registry. Without verification, asks the registry for its protocol.
    pub(super) async fn client(&self, host: &Host) -> Result<Client, Failure> {
        let retry = Retry::new(self.access.retry.saturating_add(1));
        if self.tls != Some(false) {
            let options = HostOptions::new();
            let options = match self.tls {
                Some(_) => options.plain_http(false),
                None => options,
            };
            return self.with(host, options, retry);
        }
        let unverified = || HostOptions::new().accept_any_certificate();
        let plain = || HostOptions::new().plain_http(true);
        let asked = self.with(host, unverified(), Retry::new(1))?.ping(host).await;
        let is_plain = matches!(
            asked,
            Err(ClientError::Transport { .. } | ClientError::Tls { .. } | ClientError::TimedOut { .. })
        );
        self.with(host, if is_plain { plain() } else { unverified() }, retry)
    }

    fn with(&self, host: &Host, mut options: HostOptions, retry: Retry) -> Result<Client, Failure> {
        let mut builder = ClientBuilder::from_env()?
            .crypto(Arc::new(aws_lc_rs::default_provider()))
            .retry(retry)
            .user_agent(concat!("registry/", env!("CARGO_PKG_VERSION")));
        if let Some(file) = &self.access.authfile {
            builder = builder.without_credentials().credentials(AuthFile::new(file));
        }
        if !self.reads_files {
            builder = builder.without_credentials();
        }
        if let Some(credential) = &self.credential {
            builder = builder.credentials(BTreeMap::from([(host.clone(), credential.clone())]));
        }
        if let Some(directory) = &self.access.cert_dir {
            options = certificates(options, directory)?;
        }
        Ok(builder.host(host.clone(), options).build()?)
    }
}

impl Login<'_> {
    fn credential(&self) -> Result<Credential, String> {
        let (user, password) = match self.text.split_once(':') {
            Some((user, password)) => (user, password.to_owned()),
            None => (self.text, self.password()?),
        };
        if user.is_empty() || password.is_empty() {
            return Err(format!(
                "{}: write USER or USER:PASSWORD, neither of them empty",
                self.option
            ));
        }
        Ok(Credential::password(user, password))
    }

    /// Reads the password from the environment, a terminal, or a line of standard input.
    fn password(&self) -> Result<String, String> {
        let Self {
            text: user,
            option,
            variable,
            ..
        } = self;
        let failed = |error: io::Error| format!("{option}: cannot read the password of {user}: {error}");
        let missing = || {
            format!(
                "{option}: there is no password for {user}: set {variable}, or write it to standard input"
            )
        };
        let password = match env::var_os(variable) {
            Some(password) => password.into_encoded_bytes(),
            None if self.without_input => {
                return Err(format!(
                    "{option}: set {variable} to the password of {user}; standard input has the archive"
                ));
            }
            None if io::stdin().is_terminal() => prompt::ask(&format!("Password of {user}: "))
                .and_then(|typed| typed.ok_or_else(|| io::ErrorKind::Interrupted.into()))
                .map_err(failed)?,
            None => prompt::line_of(&mut io::stdin().lock()).map_err(failed)?,
        };
        let password = String::from_utf8(password).ok();
        password
            .filter(|password| !password.is_empty())
            .ok_or_else(missing)
    }
}

/// Reads the certificates of a directory, as skopeo does: `*.crt`, and `NAME.cert` with `NAME.key`.
fn certificates(mut options: HostOptions, directory: &Path) -> Result<HostOptions, Failure> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| format!("--cert-dir: cannot read {}: {error}", path.display()))
    };
    let listed = fs::read_dir(directory).and_then(|entries| {
        entries
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()
    });
    let mut paths =
        listed.map_err(|error| format!("--cert-dir: cannot read {}: {error}", directory.display()))?;
    paths.sort();
    let named =
        |path: &Path, error: registry_client::ConfigError| format!("--cert-dir: {}: {error}", path.display());
    for path in paths {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => {
                options = options
                    .trust_pem(&read(&path)?)
                    .map_err(|error| named(&path, error))?;
            }
            Some("cert") => {
                options = options
                    .identity_pem(&read(&path)?, &read(&path.with_extension("key"))?)
                    .map_err(|error| named(&path, error))?;
            }
            _ => {}
        }
    }
    Ok(options)
}
