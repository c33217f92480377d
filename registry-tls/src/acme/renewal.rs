//! Certificates of the hosts, and the times of their renewal.

use super::{
    Acme,
    backoff::{chance, pause, renew_at},
    cache::Cache,
    client::AcmeClient,
    failure::Failure,
    order::Orders,
};
use crate::{
    certificate::utc,
    challenges::Challenges,
    error::TlsError,
    pair::{File, Pair},
    status::Status,
    tls::{Tls, off_the_reactor},
};
use instant_acme::{Account, AccountCredentials, NewAccount};
use rustls::crypto::CryptoProvider;
use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Longest sleep: a machine that was suspended, or whose clock was set, notices within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(600);

/// The hosts and their certificates.
pub(crate) struct Renewal {
    settings: Acme,
    provider: Arc<CryptoProvider>,
    challenges: Arc<Challenges>,
    client: AcmeClient,
    cache: Cache,
    /// `None` until the authority has acknowledged the account.
    account: Option<Account>,
    hosts: Vec<Host>,
}

struct Host {
    name: String,
    pair: Option<Pair>,
    /// Time at which to order the next certificate.
    due: SystemTime,
    /// Number of failures since the last success.
    failures: u32,
    problem: Option<String>,
}

impl Renewal {
    /// Reads the cache. An unusable certificate in it only causes an order for another one.
    pub(crate) fn start(
        settings: Acme,
        provider: Arc<CryptoProvider>,
        challenges: Arc<Challenges>,
        now: SystemTime,
    ) -> Result<Self, TlsError> {
        settings.check()?;
        let client = AcmeClient::new(&provider, settings.ca.as_deref())?;
        let cache = Cache::open(&settings.cache, &settings.directory)?;
        let mut hosts = Vec::new();
        for name in &settings.hosts {
            let pair = cached(&cache, name, &provider)?;
            let due = match &pair {
                Some(pair) => {
                    tracing::info!(
                        "TLS: serves the certificate for {} from the cache, valid until {}",
                        name,
                        utc(pair.validity.until)
                    );
                    renew_at(pair.validity, chance())
                }
                None => now,
            };
            hosts.push(Host {
                name: name.to_ascii_lowercase(),
                pair,
                due,
                failures: 0,
                problem: None,
            });
        }
        Ok(Self {
            settings,
            provider,
            challenges,
            client,
            cache,
            account: None,
            hosts,
        })
    }

    /// Returns the certificates that exist.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &Pair)> {
        self.hosts
            .iter()
            .filter_map(|host| Some((host.name.as_str(), host.pair.as_ref()?)))
    }

    /// Returns the combined state of all hosts, which is serving only if each of them has a certificate.
    pub(crate) fn status(&self) -> Status {
        let without: Vec<&Host> = self.hosts.iter().filter(|host| host.pair.is_none()).collect();
        let problem = self.hosts.iter().find_map(|host| {
            let problem = host.problem.as_ref()?;
            Some(format!("no new certificate for {}: {problem}", host.name))
        });
        let until = self.pairs().map(|(_, pair)| pair.validity.until).min();
        match (until, without.is_empty(), problem) {
            (Some(until), true, problem) => Status::Serving { until, problem },
            (_, _, Some(because)) => Status::Failing { because },
            (_, _, None) => {
                let names: Vec<&str> = without.iter().map(|host| host.name.as_str()).collect();
                Status::Waiting {
                    what_for: format!("the first certificate for {}", names.join(", ")),
                }
            }
        }
    }

    /// Orders certificates when they are due, one at a time, while it is driven. It never ends.
    pub(crate) async fn run(&mut self, tls: &Tls) -> Infallible {
        loop {
            tls.report(self.status());
            let next = self.hosts.iter().enumerate().min_by_key(|(_, host)| host.due);
            // Settings without hosts are refused, so this is not reached.
            let Some((index, host)) = next else {
                std::future::pending().await
            };
            match host.due.duration_since(SystemTime::now()) {
                Ok(left) if !left.is_zero() => tokio::time::sleep(left.min(LONGEST_SLEEP)).await,
                _ => self.renew(index, tls).await,
            }
        }
    }

    async fn renew(&mut self, index: usize, tls: &Tls) {
        let Some(host) = self.hosts.get_mut(index) else {
            return;
        };
        // After a panic, the authority is not asked again at once.
        host.due = SystemTime::now() + self.settings.first_retry;
        let name = host.name.clone();
        tracing::info!(
            "TLS: orders from {} a certificate for {name}",
            self.settings.directory
        );
        let outcome = self.order(&name).await;
        if let Err(failure) = &outcome
            && failure.account_unknown
        {
            self.forget_account().await;
        }
        let not_before = self.client.take_not_before();
        let first_retry = self.settings.first_retry;
        let Some(host) = self.hosts.get_mut(index) else {
            return;
        };
        match outcome {
            Ok(pair) => {
                tls.serve(&name, &pair.certified);
                tracing::info!(
                    "TLS: serves a new certificate for {name}, valid until {}",
                    utc(pair.validity.until)
                );
                *host = Host {
                    name,
                    due: renew_at(pair.validity, chance()),
                    pair: Some(pair),
                    failures: 0,
                    problem: None,
                };
            }
            Err(failure) => host.failed(failure, first_retry, not_before, SystemTime::now()),
        }
    }

    /// Orders a certificate from the authority, and stores it in the cache.
    async fn order(&mut self, name: &str) -> Result<Pair, Failure> {
        let account = self.account().await?;
        let orders = Orders {
            account: &account,
            kind: self.settings.challenge,
            challenges: &self.challenges,
            provider: &self.provider,
        };
        let pem = orders.certificate(name).await?;
        let path = self.cache.certificate_path(name);
        let file = File {
            path: &path,
            content: pem.as_bytes(),
        };
        let pair = Pair::parse(file, file, &self.provider)?;
        let (cache, host) = (self.cache.clone(), name.to_owned());
        let stored = off_the_reactor(move || cache.store_certificate(&host, &pem)).await;
        if let Some(Err(error)) = stored {
            tracing::error!(
                "TLS: {}: the certificate is served, but not stored; a restart orders another one",
                error.story()
            );
        }
        Ok(pair)
    }

    async fn account(&mut self) -> Result<Account, Failure> {
        if let Some(account) = &self.account {
            return Ok(account.clone());
        }
        let failure = |error: instant_acme::Error| Failure::from_error(&error, self.settings.challenge);
        let builder = Account::builder_with_http(Box::new(self.client.clone()));
        let account = match self.kept_account().await? {
            Some(credentials) => builder.from_credentials(credentials).await.map_err(failure)?,
            None => {
                let contact = self
                    .settings
                    .email
                    .as_ref()
                    .map(|address| format!("mailto:{address}"));
                let contact: Vec<&str> = contact.iter().map(String::as_str).collect();
                let new = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let created = builder.create(&new, self.settings.directory.clone(), None).await;
                let (account, credentials) = created.map_err(failure)?;
                self.keep_account(&credentials).await?;
                account
            }
        };
        self.account = Some(account.clone());
        Ok(account)
    }

    async fn kept_account(&self) -> Result<Option<AccountCredentials>, Failure> {
        let cache = self.cache.clone();
        let read = off_the_reactor(move || cache.account()).await;
        let Some(json) = read.transpose()?.flatten() else {
            return Ok(None);
        };
        match serde_json::from_slice(&json) {
            Ok(credentials) => Ok(Some(credentials)),
            Err(error) => {
                tracing::warn!(
                    "TLS: the ACME account in the cache cannot be read ({error}): a new one is created"
                );
                Ok(None)
            }
        }
    }

    async fn keep_account(&self, credentials: &AccountCredentials) -> Result<(), Failure> {
        let json = serde_json::to_vec(credentials)
            .map_err(|error| Failure::lasting(format!("cannot store the account: {error}")))?;
        let cache = self.cache.clone();
        let stored = off_the_reactor(move || cache.store_account(&json)).await;
        Ok(stored.transpose().map(|_| ())?)
    }

    async fn forget_account(&mut self) {
        self.account = None;
        let cache = self.cache.clone();
        if let Some(Err(error)) = off_the_reactor(move || cache.forget_account()).await {
            tracing::error!("TLS: {}", error.story());
        }
    }
}

impl Host {
    fn failed(&mut self, failure: Failure, first: Duration, not_before: Option<SystemTime>, now: SystemTime) {
        self.failures = self.failures.saturating_add(1);
        let again = now + pause(self.failures, failure.transient, first, chance());
        self.due = not_before.map_or(again, |not_before| again.max(not_before));
        let Failure { story, .. } = failure;
        let next = utc(self.due);
        match failure.transient {
            true => tracing::warn!(
                "TLS: no certificate for {} yet: {story}; next try at {next}",
                self.name
            ),
            false => tracing::error!(
                "TLS: no certificate for {}: {story}; next try at {next}",
                self.name
            ),
        }
        self.problem = Some(story);
    }
}

/// Returns the certificate of the cache, if it is usable.
fn cached(cache: &Cache, name: &str, provider: &CryptoProvider) -> Result<Option<Pair>, TlsError> {
    let Some(content) = cache.certificate(name)? else {
        return Ok(None);
    };
    let path = cache.certificate_path(name);
    let file = File {
        path: &path,
        content: &content,
    };
    match Pair::parse(file, file, provider) {
        Ok(pair) => Ok(Some(pair)),
        Err(error) => {
            tracing::warn!("TLS: {}; orders another certificate", error.story());
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Host {
        Host {
            name: "a.example".to_owned(),
            pair: None,
            due: SystemTime::UNIX_EPOCH,
            failures: 0,
            problem: None,
        }
    }

    #[test]
    fn the_authority_says_when_it_wants_to_be_asked_again() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let late = now + Duration::from_secs(100_000);
        let first = Duration::from_secs(120);
        let mut host = host();

        host.failed(Failure::lasting("rate limited"), first, Some(late), now);
        assert_eq!(host.due, late);

        host.failed(Failure::lasting("rate limited"), first, None, now);
        let pause = host.due.duration_since(now).unwrap();
        assert!((240..265).contains(&pause.as_secs()), "{pause:?}");
    }
}
