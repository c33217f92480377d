//! [`Doctor`]: the examination of one registry.

use super::{
    approach, base, certificate,
    client::{Client, Trust, time_for},
    content, cors,
    credentials::{Credentials, User},
    error::InvalidOption,
    finding::{Check, Finding},
    login::{Login, Standing},
    origin::{Origin, Scheme},
    report::Report,
    strangers,
    target::Target,
    trial,
};
use http::HeaderValue;
use std::{path::Path, sync::Arc, time::Duration};

/// Maximum duration of all checks together, without the time for the body that is sent.
const TIME: Duration = Duration::from_secs(60);

/// Examination of one registry.
///
/// By default nobody is logged in, and no certificate is trusted: see [`trust_system`](Self::trust_system).
#[derive(Debug)]
pub struct Doctor {
    target: Target,
    trust: Trust,
    credentials: Option<Credentials>,
    repository: String,
    origin: Option<HeaderValue>,
    also: Vec<u16>,
    send: u64,
    insecure: bool,
}

impl Doctor {
    /// Prepares the examination of the registry at a URL, or at `HOST:PORT` as in the name of an image.
    ///
    /// # Errors
    ///
    /// [`InvalidOption`] if it has another form.
    pub fn new(url: &str) -> Result<Self, InvalidOption> {
        Ok(Self {
            target: Target::parse(url)?,
            trust: Trust::none(),
            credentials: None,
            repository: "registry-doctor/probe".to_owned(),
            origin: None,
            also: Vec::new(),
            send: 2 * 1024 * 1024,
            insecure: false,
        })
    }

    /// Tries an upload in this repository, and looks for an image in it. The default is
    /// `registry-doctor/probe`.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::Repository`] if no repository can have that name.
    pub fn repository(mut self, name: &str) -> Result<Self, InvalidOption> {
        if !name.split('/').all(is_component) {
            return Err(InvalidOption::Repository);
        }
        name.clone_into(&mut self.repository);
        Ok(self)
    }

    /// Logs in as a user.
    ///
    /// The password is sent only to a server whose certificate is trusted, or over plain HTTP to this machine itself.
    #[must_use]
    pub fn login(mut self, user: User, password: impl Into<Vec<u8>>) -> Self {
        self.credentials = Some(Credentials::new(user, password.into()));
        self
    }

    /// Sends the password to any server.
    #[must_use]
    pub const fn insecure(mut self) -> Self {
        self.insecure = true;
        self
    }

    /// Trusts the authorities that this machine trusts.
    ///
    /// They are read at once: from the files that `SSL_CERT_FILE` and `SSL_CERT_DIR` name, or those of the system. A
    /// machine without any is no error.
    #[must_use]
    pub fn trust_system(mut self) -> Self {
        self.trust.add_system();
        self
    }

    /// Trusts the certificates of a file in PEM as well.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::Certificates`] if the file cannot be read, is not a regular file, has more than 16 MiB, or
    /// contains no certificate.
    pub fn trust_file(mut self, path: &Path) -> Result<Self, InvalidOption> {
        self.trust.add_file(path)?;
        Ok(self)
    }

    /// Checks the permissions of a web interface at this address: its scheme, host and port, as a browser sends them.
    ///
    /// # Errors
    ///
    /// [`InvalidOption::Origin`] if it has another form.
    pub fn origin(mut self, origin: &str) -> Result<Self, InvalidOption> {
        let is_shaped = origin.contains("://") && !origin.ends_with('/');
        let value = HeaderValue::try_from(origin).ok().filter(|_| is_shaped);
        self.origin = Some(value.ok_or(InvalidOption::Origin)?);
        Ok(self)
    }

    /// Looks for the registry at this port of the same host, too. Port 5000 is always tried.
    #[must_use]
    pub fn also(mut self, port: u16) -> Self {
        self.also.push(port);
        self
    }

    /// Uploads a body of this size. The default is 2 MiB. Larger sizes are only announced.
    #[must_use]
    pub const fn send(mut self, bytes: u64) -> Self {
        self.send = bytes;
        self
    }

    /// Runs the checks, on the tokio runtime of the caller. It ends within a minute, and the time to send the body.
    ///
    /// # Cancel safety
    ///
    /// A dropped call may leave an upload session, which the registry keeps until it expires.
    pub async fn check(&self) -> Report {
        self.check_within(TIME + time_for(self.send)).await
    }

    async fn check_within(&self, time: Duration) -> Report {
        let client = Client::new(Arc::new(self.trust.clone()), time);
        let mut found = Vec::new();
        let door = self.examine(&client, &mut found).await;
        // Where nobody was found, what was looked for.
        let origin = door.unwrap_or_else(|| self.target.origin.clone());
        let url = format!("{origin}{}", self.target.prefix);
        if !client.has_time() {
            found.push(Finding::skipped(
                Check::Base,
                format!(
                    "the time of {} s is over, because answers take too long; further checks were skipped",
                    TIME.as_secs()
                ),
            ));
        }
        Report::new(url, found)
    }

    /// Runs the checks. Returns the origin of the registry, or `None` if nothing answers.
    async fn examine(&self, client: &Client, found: &mut Vec<Finding>) -> Option<Origin> {
        let mut door = approach::find(client, &self.target, found).await?;
        if door.origin.scheme == Scheme::Https {
            door.peers = certificate::examine(client, &door, found).await;
        }
        let port_80 = approach::port_80(client, &door, found).await;
        let Some(base) = base::examine(client, &door, found).await else {
            return Some(door.origin);
        };
        let standing = match &self.credentials {
            None => Standing::Stranger,
            Some(credentials) => {
                let login = Login {
                    client,
                    credentials,
                    repository: &self.repository,
                    insecure: self.insecure,
                };
                login.at(&door, &base, found).await
            }
        };
        let authorization = standing.authorization();
        strangers::examine(client, &door, &self.repository, base.open, found).await;
        strangers::other_doors(client, &door, &self.also, &self.repository, base.open, found).await;
        let trial = trial::Trial {
            client,
            door: &door,
            standing: &standing,
            repository: &self.repository,
            size: self.send,
            port_80,
        };
        trial.run(found).await;
        content::examine(client, &door, authorization, &self.repository, found).await;
        cors::examine(client, &door, authorization, self.origin.as_ref(), found).await;
        Some(door.origin)
    }
}

/// Returns true for a part of a repository's name, as far as it matters for a path.
fn is_component(part: &str) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: &u8| is_letter(byte) || b"._-".contains(byte);
    let bytes = part.as_bytes();
    bytes.iter().all(is_inner) && bytes.first().is_some_and(is_letter) && bytes.last().is_some_and(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Verdict;
    use std::net::TcpListener;
    use tokio::time::Instant;

    fn doctor(url: &str) -> Doctor {
        Doctor::new(url).unwrap().send(1)
    }

    /// Starts a server that accepts connections in the kernel and never answers.
    fn silent_server() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = listener.local_addr().unwrap().to_string();
        (listener, url)
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_says_nothing_is_at_fault_within_the_time() {
        let (_listener, url) = silent_server();
        let start = Instant::now();

        let report = doctor(&url).check_within(TIME).await;

        assert!(start.elapsed() <= TIME);
        assert_eq!(report.faults(), 1, "{}", report.json());
    }

    #[tokio::test(start_paused = true)]
    async fn what_there_was_no_time_for_is_no_fault() {
        let (_listener, url) = silent_server();

        let report = doctor(&url).check_within(Duration::from_secs(1)).await;

        assert_eq!(report.faults(), 0, "{}", report.json());
        let skipped = |finding: &Finding| finding.verdict == Verdict::Skipped;
        assert!(report.findings().iter().any(skipped), "{}", report.json());
    }

    #[test]
    fn a_repository_is_part_of_a_path() {
        let named = |name| doctor("r.example").repository(name).map(drop);

        assert_eq!(named("team/app__x-1.y"), Ok(()));
        for name in ["", "/", "a//b", "../a", "A", "a?b", "a/"] {
            assert_eq!(named(name), Err(InvalidOption::Repository), "{name}");
        }
    }

    #[test]
    fn an_origin_has_a_scheme_and_no_path() {
        let origin = |origin| doctor("r.example").origin(origin).map(drop);

        assert_eq!(origin("https://ui.example.com"), Ok(()));
        for text in ["ui.example.com", "https://ui.example.com/", "https://a\nb"] {
            assert_eq!(origin(text), Err(InvalidOption::Origin), "{text}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let user = User::parse("ann").unwrap();
        let doctor = doctor("r.example").login(user, "opensesame");

        assert!(!format!("{doctor:?}").contains("opensesame"));
        assert_eq!(User::parse("a:b"), Err(InvalidOption::User));
    }
}
