//! Answers on port 80: proofs for validating authorities, and redirects to https.

use crate::tls::Tls;
use http::{HeaderValue, Method, Request, Response, StatusCode, header, uri::Authority};

/// Path where an authority reads the proof of HTTP-01 (RFC 8555, section 8.3).
const CHALLENGES: &str = "/.well-known/acme-challenge/";

/// Default port of https.
const HTTPS: u16 = 443;

/// Answers plain HTTP: HTTP-01 for a validating authority, `308 Permanent Redirect` to https for all other requests.
///
/// 308 keeps the method. A 301 turns a PATCH into a GET, and a push would fail with a confusing error.
///
/// ```
/// # fn example(tls: &registry_tls::Tls) {
/// let redirect = tls.redirect(443);
/// let request = http::Request::get("/v2/?n=1").header("host", "registry.example.com").body(()).unwrap();
///
/// let answer = redirect.answer(&request);
///
/// assert_eq!(answer.status(), 308);
/// assert_eq!(answer.headers()["location"], "https://registry.example.com/v2/?n=1");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Redirect {
    tls: Tls,
    port: u16,
}

impl Tls {
    /// Makes the answers of a plain port; `port` is where clients reach https.
    #[must_use]
    pub fn redirect(&self, port: u16) -> Redirect {
        Redirect {
            tls: self.clone(),
            port,
        }
    }
}

impl Redirect {
    /// Returns the answer to a request, whose body is ignored.
    #[must_use]
    pub fn answer<B>(&self, request: &Request<B>) -> Response<String> {
        if let Some(token) = request.uri().path().strip_prefix(CHALLENGES) {
            return match self.tls.key_authorization(token) {
                Some(proof) if matches!(*request.method(), Method::GET | Method::HEAD) => {
                    answer(StatusCode::OK, proof)
                }
                _ => answer(StatusCode::NOT_FOUND, "no such challenge\n".to_owned()),
            };
        }
        match self.location(request) {
            Some(location) => {
                let mut moved = answer(StatusCode::PERMANENT_REDIRECT, "use https://\n".to_owned());
                moved.headers_mut().insert(header::LOCATION, location);
                moved
            }
            None => answer(StatusCode::BAD_REQUEST, "the request names no host\n".to_owned()),
        }
    }

    fn location<B>(&self, request: &Request<B>) -> Option<HeaderValue> {
        let host = match request.uri().authority() {
            Some(authority) => authority.clone(),
            None => Authority::try_from(request.headers().get(header::HOST)?.as_bytes()).ok()?,
        };
        // The port of this listener and user names do not apply to https.
        let host = host.host();
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let location = match self.port {
            HTTPS => format!("https://{host}{path}"),
            port => format!("https://{host}:{port}{path}"),
        };
        HeaderValue::try_from(location).ok()
    }
}

fn answer(status: StatusCode, body: String) -> Response<String> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Files, Options};

    fn redirect(port: u16) -> Redirect {
        let nowhere = Files::new("/no/such.crt", "/no/such.key");
        Tls::from_files(nowhere, Options::new()).unwrap().0.redirect(port)
    }

    fn location(port: u16, host: &str, path: &str) -> String {
        let request = Request::patch(path).header("host", host).body(()).unwrap();
        let answer = redirect(port).answer(&request);
        assert_eq!(answer.status(), 308);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }

    #[test]
    fn everything_goes_to_the_same_place_on_https() {
        assert_eq!(
            location(443, "a.example:80", "/v2/_catalog?n=1&last=x%2Fy"),
            "https://a.example/v2/_catalog?n=1&last=x%2Fy"
        );
        assert_eq!(location(8443, "a.example", "/"), "https://a.example:8443/");
        assert_eq!(location(5443, "[::1]:8080", "/v2/"), "https://[::1]:5443/v2/");
    }

    #[test]
    fn without_a_usable_host_there_is_nowhere_to_go() {
        for request in [
            Request::get("/").body(()).unwrap(),
            Request::get("/").header("host", "a b").body(()).unwrap(),
        ] {
            assert_eq!(redirect(443).answer(&request).status(), 400);
        }
    }

    #[test]
    fn an_unknown_challenge_is_not_found_and_not_redirected() {
        let request = Request::get("/.well-known/acme-challenge/x")
            .header("host", "a.example")
            .body(())
            .unwrap();

        assert_eq!(redirect(443).answer(&request).status(), 404);
    }
}
