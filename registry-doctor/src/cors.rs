//! Checks of CORS: the permissions of a web interface at another address, and of any web page.

use super::{
    client::{Answer, Client, Door, Question, shown},
    finding::{Check, Finding, Verdict},
};
use http::{HeaderValue, Method, StatusCode, header};

/// Origin of no real page, to test the permissions of any web page.
const STRANGER: HeaderValue = HeaderValue::from_static("https://registry-doctor.invalid");

/// Examines the permissions of any web page, and of a page of `origin`.
pub(super) async fn examine(
    client: &Client,
    door: &Door,
    authorization: Option<&HeaderValue>,
    origin: Option<&HeaderValue>,
    found: &mut Vec<Finding>,
) {
    let first = found.len();
    let base = async |origin: &HeaderValue, authorization| {
        let question = Question::get(door.path("/v2/"))
            .header(header::ORIGIN, origin.clone())
            .login(authorization);
        client.ask(door, question).await.ok()
    };
    let Some(answer) = base(&STRANGER, None).await else {
        return;
    };
    found.extend(permission(&answer, &STRANGER));
    let allowed = answer.values(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let allowed: Vec<_> = allowed.iter().map(|value| shown(value)).collect();
    if let Some(origin) = origin {
        // What a browser gets that is not logged in yet, and what it gets then.
        for authorization in [None, authorization] {
            if let Some(answer) = base(origin, authorization).await {
                found.extend(for_interface(&answer, origin));
            }
        }
        for method in [Method::GET, Method::DELETE] {
            found.extend(preflight(client, door, origin, &method).await);
        }
        // The same is seen several times.
        let mut seen = Vec::new();
        let after = found.split_off(first);
        found.extend(after.into_iter().filter(|finding| {
            let new = !seen.contains(&finding.seen);
            seen.push(finding.seen.clone());
            new
        }));
    }
    if !found
        .iter()
        .skip(first)
        .any(|finding| finding.verdict == Verdict::Fault)
    {
        found.push(Finding::ok(
            Check::Cors,
            match origin {
                Some(origin) => format!("pages of {} may read, list and delete", text(origin)),
                None if allowed.is_empty() => "pages of other origins may not read answers".to_owned(),
                None => format!(
                    "`Access-Control-Allow-Origin: {}`; use --origin URL to check a web interface",
                    allowed.join(", ")
                ),
            },
        ));
    }
}

/// Reports permissions that are wrong for every origin.
fn permission(answer: &Answer, asker: &HeaderValue) -> Vec<Finding> {
    let origins = answer.values(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let credentials = answer.values(header::ACCESS_CONTROL_ALLOW_CREDENTIALS);
    let credentials = credentials.iter().any(|value| value == "true");
    let mut found = Vec::new();
    if origins.len() > 1 || origins.iter().any(|value| value.contains(',')) {
        found.push(
            Finding::fault(
                Check::Cors,
                format!(
                    "`Access-Control-Allow-Origin` occurs {} times (`{}`): browsers refuse more than one",
                    origins.len(),
                    shown(&origins.join(", "))
                ),
            )
            .server(
                "let either the proxy (`add_header`) or the registry (`http.headers`) add it, not both, with one origin",
            ),
        );
    }
    if credentials && origins.iter().any(|value| value == "*") {
        found.push(
            Finding::fault(
                Check::Cors,
                "`Access-Control-Allow-Origin: *` together with `Access-Control-Allow-Credentials: true`: browsers hide all answers from pages that send a login",
            )
            .server(
                "name the web interface: `Access-Control-Allow-Origin: ['https://ui.example.com']` in `http.headers`. At the registry's own address, it needs none of these headers",
            ),
        );
    }
    if credentials
        && asker == STRANGER
        && origins
            .iter()
            .any(|value| value.as_bytes() == STRANGER.as_bytes())
    {
        found.push(
            Finding::fault(
                Check::Cors,
                "every `Origin` is allowed, with credentials: any web page can act as the user who is logged in",
            )
            .server(
                "allow the web interface's origin only; nginx: no \
                 `add_header Access-Control-Allow-Origin $http_origin;`",
            ),
        );
    }
    found
}

/// Reports an answer that a page of this origin may not read completely.
fn for_interface(answer: &Answer, origin: &HeaderValue) -> Vec<Finding> {
    let mut found = permission(answer, origin);
    let origins = answer.values(header::ACCESS_CONTROL_ALLOW_ORIGIN);
    let origin = text(origin);
    if found.is_empty() && !origins.iter().any(|value| value == "*" || *value == origin) {
        let allowed = if origins.is_empty() {
            "no origin".to_owned()
        } else {
            format!("`{}`", shown(&origins.join(", ")))
        };
        found.push(
            Finding::fault(
                Check::Cors,
                format!("pages of {origin} may not read {}: allowed is {allowed}", answer.status),
            )
            .server(format!(
                "`Access-Control-Allow-Origin: ['{origin}']` in `http.headers`; in nginx, `add_header` needs `always` for answers such as 401"
            )),
        );
    }
    let exposed = answer.values(header::ACCESS_CONTROL_EXPOSE_HEADERS).join(",");
    if found.is_empty() && !lists(&exposed, "docker-content-digest") {
        found.push(
            Finding::warning(
                Check::Cors,
                format!("pages of {origin} may not see `Docker-Content-Digest`, which they need to delete"),
            )
            .server("`Access-Control-Expose-Headers: ['Docker-Content-Digest']`"),
        );
    }
    found
}

/// Sends the preflight of a request with a login, as a browser does: without the login.
async fn preflight(client: &Client, door: &Door, origin: &HeaderValue, method: &Method) -> Option<Finding> {
    let wanted = HeaderValue::try_from(method.as_str()).ok()?;
    let question = Question::new(
        Method::OPTIONS,
        door.path("/v2/registry-doctor/probe/manifests/latest"),
    )
    .header(header::ORIGIN, origin.clone())
    .header(header::ACCESS_CONTROL_REQUEST_METHOD, wanted)
    .header(
        header::ACCESS_CONTROL_REQUEST_HEADERS,
        HeaderValue::from_static("accept,authorization"),
    );
    let answer = client.ask(door, question).await.ok()?;
    refused_preflight(&answer, origin)
        .or_else(|| lacking(&answer, origin, method))
        .or_else(|| for_preflight(&answer, origin))
}

/// Reports a preflight that is refused, with the server that refuses it.
fn refused_preflight(answer: &Answer, origin: &HeaderValue) -> Option<Finding> {
    if answer.status == StatusCode::UNAUTHORIZED {
        let seen = format!(
            "the preflight `OPTIONS` of a browser is answered with {}: it never has a login, so web interfaces can neither read nor delete manifests",
            answer.summary()
        );
        return Some(Finding::fault(Check::Cors, seen).server(
            "answer `OPTIONS` without a login, as this registry does (registry:2 does not). nginx: `limit_except OPTIONS { auth_basic …; }`",
        ));
    }
    if answer.is_of_registry() && names_no_interface(answer) {
        let seen = format!(
            "the preflight `OPTIONS` of a browser is answered with {}: no web interface is configured",
            answer.summary()
        );
        return Some(Finding::fault(Check::Cors, seen).server(format!(
            "in its configuration: `http: {{headers: {{Access-Control-Allow-Origin: ['{}'], \
             Access-Control-Allow-Methods: [HEAD, GET, OPTIONS, DELETE], \
             Access-Control-Allow-Headers: [Authorization, Accept, Cache-Control], \
             Access-Control-Expose-Headers: [Docker-Content-Digest], \
             Access-Control-Allow-Credentials: ['true']}}}}`",
            text(origin)
        )));
    }
    if !answer.status.is_success() {
        let seen = format!(
            "the preflight `OPTIONS` of a browser is answered with {}",
            answer.summary()
        );
        return Some(Finding::fault(Check::Cors, seen).server("forward `OPTIONS` to the registry"));
    }
    None
}

/// Reports the permissions that a page needs for this method and a login, and does not get.
fn lacking(answer: &Answer, origin: &HeaderValue, method: &Method) -> Option<Finding> {
    let list = |name| answer.values(name).join(",");
    let methods = list(header::ACCESS_CONTROL_ALLOW_METHODS);
    let headers = list(header::ACCESS_CONTROL_ALLOW_HEADERS);
    let missing: Vec<String> = [
        // GET needs no permission.
        (*method != Method::GET && !lists(&methods, method.as_str())).then(|| format!("the method {method}")),
        (!lists(&headers, "authorization")).then(|| "the header `Authorization`".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect();
    if missing.is_empty() {
        return None;
    }
    let seen = format!(
        "pages of {} are not allowed {}",
        text(origin),
        missing.join(" and ")
    );
    Some(Finding::fault(Check::Cors, seen).server(
        "`Access-Control-Allow-Methods: ['HEAD', 'GET', 'OPTIONS', 'DELETE']` and \
         `Access-Control-Allow-Headers: ['Authorization', 'Accept', 'Cache-Control']`",
    ))
}

/// Returns true if an answer permits no web interface: it only lists methods, or refuses `OPTIONS`.
fn names_no_interface(answer: &Answer) -> bool {
    let permits = [
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        header::ACCESS_CONTROL_ALLOW_METHODS,
        header::ACCESS_CONTROL_ALLOW_HEADERS,
    ]
    .into_iter()
    .any(|name| !answer.values(name).is_empty());
    answer.status == StatusCode::METHOD_NOT_ALLOWED || (answer.status.is_success() && !permits)
}

fn for_preflight(answer: &Answer, origin: &HeaderValue) -> Option<Finding> {
    let mut found = for_interface(answer, origin);
    found.retain(|finding| finding.verdict == Verdict::Fault);
    found.into_iter().next()
}

/// Returns true if a list of names contains this name or `*`.
fn lists(list: &str, name: &str) -> bool {
    list.split(',')
        .map(str::trim)
        .any(|item| item.eq_ignore_ascii_case(name) || item == "*")
}

fn text(value: &HeaderValue) -> String {
    shown(&String::from_utf8_lossy(value.as_bytes()))
}
