//! Logins of a client: the answer to a challenge, from the credentials and tokens that it has.

use crate::{
    auth::{self, Bearer, Challenge, Credential, Key, Kind, Login, Token, basic, merged, scopes, secret},
    call::Call,
    client::Client,
    error::{Error, Result},
    host::Host,
    refusal::{is_transient, refusal},
    transport::{Answered, Outgoing},
    url,
};
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use registry_core::RepositoryName;
use std::sync::PoisonError;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// Maximum size of the answer of a token service, in bytes.
const TOKEN: usize = 256 * 1024;

impl Client {
    /// Returns the login for a call to a registry whose challenge is known.
    pub(crate) async fn login(&self, call: &Call) -> Result<Option<Login>> {
        match self.challenge(call) {
            Some(challenge) => self.answer(call, &challenge, None).await,
            None => Ok(None),
        }
    }

    /// Returns the login that answers the challenge of a registry, which has refused the login `tried`. `None` if there is
    /// none.
    pub(crate) async fn meet(
        &self,
        call: &Call,
        answered: &Answered,
        tried: Option<&Login>,
    ) -> Result<Option<Login>> {
        let Some(challenge) = Challenge::select(&answered.headers) else {
            return Ok(None);
        };
        self.learn(call, &challenge);
        let login = self.answer(call, &challenge, tried).await?;
        // The same again would be refused again.
        Ok(login.filter(|login| tried.is_none_or(|tried| tried.header != login.header)))
    }

    /// Returns the challenge that the registry has sent before.
    fn challenge(&self, call: &Call) -> Option<Challenge> {
        let challenges = self
            .inner()
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.get(&call.host).cloned()
    }

    /// Keeps a challenge for later calls, without the scope, which is of this call.
    fn learn(&self, call: &Call, challenge: &Challenge) {
        let mut kept = challenge.clone();
        if let Challenge::Bearer(bearer) = &mut kept {
            bearer.scope = None;
        }
        let mut challenges = self
            .inner()
            .challenges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        challenges.insert(call.host.clone(), kept);
    }

    /// Answers a challenge with a credential. If that is refused, the sources are asked once more, which may have kept an old one.
    async fn answer(
        &self,
        call: &Call,
        challenge: &Challenge,
        tried: Option<&Login>,
    ) -> Result<Option<Login>> {
        let repository = auth::repository(&call.request);
        let credential = self.credential(&call.host, repository.as_ref()).await?;
        let answered = self
            .answer_with(credential.as_ref(), call, challenge, tried)
            .await;
        let is_refused = match &answered {
            Ok(Some(login)) => tried.is_some_and(|tried| tried.header == login.header),
            answered => matches!(answered, Err(Error::Unauthorized { .. })),
        };
        let Some(refused) = credential.filter(|_| is_refused) else {
            return answered;
        };
        for credentials in &self.inner().credentials {
            credentials.refused(&call.host, &refused);
        }
        let next = self.credential(&call.host, repository.as_ref()).await?;
        if next.as_ref().map(Credential::fingerprint) == Some(refused.fingerprint()) {
            return answered;
        }
        self.answer_with(next.as_ref(), call, challenge, tried).await
    }

    async fn answer_with(
        &self,
        credential: Option<&Credential>,
        call: &Call,
        challenge: &Challenge,
        tried: Option<&Login>,
    ) -> Result<Option<Login>> {
        match challenge {
            Challenge::Basic => {
                let Some(Credential(Kind::Password { user, password })) = credential else {
                    return Ok(None);
                };
                Ok(basic(user, password).map(with_credential))
            }
            Challenge::Bearer(bearer) => {
                if let Some(Credential(Kind::Registry(token))) = credential {
                    return Ok(
                        secret(&Zeroizing::new(format!("Bearer {}", token.as_str()))).map(with_credential)
                    );
                }
                let header = self.token(call, bearer, credential, tried).await?;
                Ok(Some(Login {
                    header,
                    with_credential: credential.is_some(),
                }))
            }
        }
    }

    /// Asks the sources of credentials for a repository of `host`, or for the host itself. `None` stands for an anonymous
    /// user.
    ///
    /// # Cancel safety
    ///
    /// Asking changes nothing: the future can be dropped at any point.
    ///
    /// # Errors
    ///
    /// [`Error::Credentials`] if a source fails, such as a file that cannot be read.
    pub async fn credential(
        &self,
        host: &Host,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credential>> {
        for credentials in &self.inner().credentials {
            let found = credentials.get(host, repository).await;
            let found = found.map_err(|source| Error::Credentials {
                host: host.to_string(),
                source,
            })?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns a token for the call: a kept one, unless it is the refused one or ends soon.
    async fn token(
        &self,
        call: &Call,
        bearer: &Bearer,
        credential: Option<&Credential>,
        tried: Option<&Login>,
    ) -> Result<HeaderValue> {
        let own = scopes(&call.request);
        // A registry may name its rights differently.
        let named = bearer.scope.iter().flat_map(|scope| scope.split_whitespace());
        let wanted = own.iter().map(String::as_str).chain(named);
        let key = Key {
            realm: bearer.realm.clone(),
            service: bearer.service.clone(),
            scopes: merged(wanted),
            credential: credential.map(Credential::fingerprint),
        };
        let slot = self.inner().tokens.slot(&key);
        let mut kept = slot.lock().await;
        let with_body = call.payload.length() > 0;
        if let Some(token) = kept.as_ref()
            && token.lasts(with_body, Instant::now())
            && tried.is_none_or(|tried| tried.header != token.header)
        {
            return Ok(token.header.clone());
        }
        // Once: the call that needs the token has attempts.
        let token = self.fetch_token(call, &key, credential).await?;
        Ok(kept.insert(token).header.clone())
    }

    async fn fetch_token(&self, call: &Call, key: &Key, credential: Option<&Credential>) -> Result<Token> {
        let realm = self.realm(call, &key.realm)?;
        let mut parameters: Vec<(&str, &str)> = Vec::new();
        parameters.extend(key.service.as_deref().map(|service| ("service", service)));
        let joined = key.scopes.join(" ");
        let request = match credential.map(|credential| &credential.0) {
            Some(Kind::Identity(token)) => {
                parameters.extend([
                    ("grant_type", "refresh_token"),
                    ("client_id", "registry-client"),
                    ("scope", &*joined),
                    ("refresh_token", token.as_str()),
                ]);
                let form = Zeroizing::new(encode(&parameters));
                let mut request = Request::new(Outgoing::bytes(form.as_bytes().to_vec().into()));
                *request.method_mut() = Method::POST;
                *request.uri_mut() = realm;
                let form = HeaderValue::from_static("application/x-www-form-urlencoded");
                request.headers_mut().insert(header::CONTENT_TYPE, form);
                request
            }
            other => {
                parameters.extend(key.scopes.iter().map(|scope| ("scope", &**scope)));
                let mut request = Request::new(Outgoing::empty());
                let mut login = None;
                if let Some(Kind::Password { user, password }) = other {
                    parameters.push(("account", user));
                    login = basic(user, password);
                }
                let mark = if realm.query().is_some() { '&' } else { '?' };
                let target = format!("{realm}{mark}{}", encode(&parameters));
                *request.uri_mut() = target.parse().map_err(|_long| {
                    Error::protocol(url::shown(&realm), "the realm of the challenge is no URL")
                })?;
                if let Some(login) = login {
                    request.headers_mut().insert(header::AUTHORIZATION, login);
                }
                request
            }
        };
        self.issue(request, credential.is_some()).await
    }

    async fn issue(&self, mut request: Request<Outgoing>, with_credential: bool) -> Result<Token> {
        let agent = self.inner().user_agent.clone();
        request.headers_mut().insert(header::USER_AGENT, agent);
        let began = Instant::now();
        let mut answered = self.inner().transport.send(request, false).await?;
        if answered.status != StatusCode::OK {
            return Err(no_token(answered, with_credential).await);
        }
        let body = Zeroizing::new(Vec::from(answered.read(TOKEN).await?));
        Token::parse(&body, began)
            .ok_or_else(|| Error::protocol(&*answered.named, "the token service sent no usable token"))
    }

    /// Checks the URL of a token service. After `https`, it has to be `https` too.
    fn realm(&self, call: &Call, realm: &str) -> Result<Uri> {
        let own = self.origin(&call.host);
        let refused = |problem: &str| Error::protocol(url::shown(&own), problem);
        let realm =
            url::resolve(&own, realm).ok_or_else(|| refused("the realm of the challenge is no URL"))?;
        let authority = realm.authority().map_or("", |authority| authority.as_str());
        if url::is_https(&realm) || (!url::is_https(&own) && self.is_plain(authority)) {
            return Ok(realm);
        }
        Err(refused(
            "the registry names a token service without TLS, which is not allowed for this host",
        ))
    }
}

/// Reads the error of a token service. A `404` of the service is no word of the registry about its content.
async fn no_token(answered: Answered, with_credential: bool) -> Error {
    let (named, status) = (answered.named.clone(), answered.status);
    let refused = refusal(answered, with_credential).await;
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) || is_transient(status) {
        return refused;
    }
    let problem = format!(
        "the token service sent status {status} and no token{}",
        refused.said()
    );
    Error::protocol(named, problem)
}

const fn with_credential(header: HeaderValue) -> Login {
    Login {
        header,
        with_credential: true,
    }
}

fn encode(parameters: &[(&str, &str)]) -> String {
    let encoded = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    encoded.collect::<Vec<_>>().join("&")
}
