//! The token endpoint: `GET` with Basic credentials, and `POST` as OAuth2 defines it.
//!
//! Documentation of Docker's registry: "Token Authentication Specification", "OAuth2 Token Authentication".

use super::{form::Form, tokens::Tokens};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Body, Bytes, Incoming};
use registry_core::{ResponseBody, auth::Scope};
use serde_json::{Value, json};
use std::{future::poll_fn, pin::Pin};

/// Maximum size of a form in bytes, far beyond what clients send.
const FORM: usize = 64 << 10;

/// Reason for which no token is issued: status, code and message.
struct Refused(StatusCode, &'static str, String);

/// Answers a request for a token.
pub(crate) async fn answer(tokens: &Tokens, request: Request<Incoming>) -> Response<ResponseBody> {
    let (parts, body) = request.into_parts();
    let issued = match parts.method {
        Method::GET => for_login(
            tokens,
            &Form::parse(parts.uri.query().unwrap_or_default()),
            &parts.headers,
        ),
        Method::POST => match form(body).await {
            Some(form) => for_grant(tokens, &form),
            None => Err(bad("the form is larger than 64 KiB, or broke off".to_owned())),
        },
        _ => Err(Refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "UNSUPPORTED",
            "tokens are requested with GET or POST".to_owned(),
        )),
    };
    let (status, body) = match issued {
        Ok(issued) => (StatusCode::OK, issued),
        Err(Refused(status, code, message)) => {
            (status, json!({"errors": [{"code": code, "message": message}]}))
        }
    };
    let mut response = Response::new(ResponseBody::full(body.to_string().into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"test registry\"");
        headers.insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

/// Issues a token for the Basic credentials of a `GET`, or for an anonymous client.
fn for_login(tokens: &Tokens, form: &Form, headers: &HeaderMap) -> Result<Value, Refused> {
    let is_user = match tokens.user.sent(headers) {
        Some(true) => true,
        None if tokens.anonymous_pull => false,
        Some(false) => return Err(wrong("the user name or the password is wrong")),
        None => return Err(wrong("log in with a user name and a password")),
    };
    let token = tokens.issue(is_user, &scopes(tokens, form)?);
    let issued = json!({"token": token, "access_token": token, "expires_in": tokens.lifetime.as_secs()});
    let is_offline = is_user && form.get("offline_token") == Some("true");
    Ok(with_refresh(issued, is_offline.then(|| tokens.issue_refresh())))
}

/// Issues a token for the password or the refresh token of a `POST`.
fn for_grant(tokens: &Tokens, form: &Form) -> Result<Value, Refused> {
    match form.get("grant_type") {
        Some("password") => {
            let given = form.get("username").zip(form.get("password"));
            if !given.is_some_and(|(name, password)| tokens.user.is(name, password.as_bytes())) {
                return Err(wrong("the user name or the password is wrong"));
            }
        }
        Some("refresh_token") => {
            if !form
                .get("refresh_token")
                .is_some_and(|token| tokens.is_refresh(token))
            {
                return Err(wrong("the refresh token was not issued here"));
            }
        }
        other => {
            let given = other.unwrap_or("nothing");
            return Err(bad(format!(
                "grant_type is password or refresh_token, and not {given:?}"
            )));
        }
    }
    let scopes = scopes(tokens, form)?;
    let granted: Vec<String> = scopes.iter().map(ToString::to_string).collect();
    let issued = json!({
        "access_token": tokens.issue(true, &scopes),
        "expires_in": tokens.lifetime.as_secs(),
        "scope": granted.join(" "),
        "token_type": "Bearer",
    });
    let refresh = match form.get("refresh_token") {
        Some(used) => Some(used.to_owned()),
        None => (form.get("access_type") == Some("offline")).then(|| tokens.issue_refresh()),
    };
    Ok(with_refresh(issued, refresh))
}

fn with_refresh(mut issued: Value, refresh: Option<String>) -> Value {
    if let (Some(fields), Some(refresh)) = (issued.as_object_mut(), refresh) {
        fields.insert("refresh_token".to_owned(), refresh.into());
    }
    issued
}

/// Returns the scopes of a request, which may be repeated, and separated by blanks.
fn scopes(tokens: &Tokens, form: &Form) -> Result<Vec<Scope>, Refused> {
    if let Some(service) = form.get("service").filter(|service| *service != tokens.service) {
        let expected = &tokens.service;
        return Err(bad(format!(
            "this endpoint has tokens for the service {expected:?} of the challenge, and not for {service:?}"
        )));
    }
    form.all("scope")
        .flat_map(str::split_whitespace)
        .map(|scope| scope.parse().map_err(|error| bad(format!("{error}"))))
        .collect()
}

fn wrong(message: &str) -> Refused {
    Refused(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message.to_owned())
}

fn bad(message: String) -> Refused {
    Refused(StatusCode::BAD_REQUEST, "UNSUPPORTED", message)
}

/// Reads a form. Returns `None` if it is too large, or breaks off.
async fn form(mut body: Incoming) -> Option<Form> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let data: Bytes = frame.ok()?.into_data().unwrap_or_default();
        bytes.extend_from_slice(&data);
        if bytes.len() > FORM {
            return None;
        }
    }
    Some(Form::parse(&String::from_utf8_lossy(&bytes)))
}
