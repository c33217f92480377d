//! Checks of the headers of a manifest and of a blob in it.

use super::{
    approach::Port80,
    client::{Answer, Client, Door, Question},
    finding::{Check, Finding},
    location::Judged,
};
use http::{HeaderName, HeaderValue, Method, header};
use serde_json::Value;

const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

const MANIFESTS: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.docker.distribution.manifest.v2+json",
);

/// Examines an image, if there is one: in `repository`, or in the first repository of the catalog.
pub(super) async fn examine(
    client: &Client,
    door: &Door,
    authorization: Option<&HeaderValue>,
    repository: &str,
    found: &mut Vec<Finding>,
) {
    let get = async |path: &str| {
        let question = Question::get(door.path(path)).login(authorization);
        let answer = client.ask(door, question).await.ok()?;
        answer.status.is_success().then_some(answer)
    };
    let mut named = vec![repository.to_owned()];
    if let Some(answer) = get("/v2/_catalog?n=1").await {
        found.extend(link(&answer, door));
        named.extend(first_of(&answer, "repositories"));
    }
    for name in named {
        let Some(tags) = get(&format!("/v2/{name}/tags/list?n=1")).await else {
            continue;
        };
        let Some(tag) = first_of(&tags, "tags") else {
            continue;
        };
        let path = door.path(&format!("/v2/{name}/manifests/{tag}"));
        let asked = |method| {
            Question::new(method, &path)
                .header(header::ACCEPT, MANIFESTS)
                .login(authorization)
        };
        if let Ok(head) = client.ask(door, asked(Method::HEAD)).await
            && head.status.is_success()
        {
            found.push(judged(&head, &format!("{name}:{tag}")));
            return;
        }
    }
    found.push(Finding::skipped(
        Check::ContentHeaders,
        "no image was found; set --repository NAME to a repository with an image",
    ));
}

/// Returns the first item of a list in a listing.
fn first_of(answer: &Answer, list: &str) -> Option<String> {
    let listing: Value = answer.json()?;
    let first = listing.get(list)?.get(0)?.as_str()?;
    // It becomes part of a path.
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    first.chars().all(plain).then(|| first.to_owned())
}

/// Reports a `Link` to the next page of a listing that clients cannot follow.
fn link(answer: &Answer, door: &Door) -> Option<Finding> {
    let link = answer.header_whole(header::LINK)?;
    let target = link.strip_prefix('<')?.split('>').next()?;
    let flaw = Judged::of(target, door).flaws.into_iter().next()?;
    Some(
        Finding::fault(
            Check::ContentHeaders,
            format!(
                "`Link` of a listing: {}",
                flaw.consequence(target, door, Port80::Other)
            ),
        )
        .server(flaw.fix(door)),
    )
}

fn judged(head: &Answer, image: &str) -> Finding {
    let missing: Vec<&str> = [
        (
            DIGEST,
            "`Docker-Content-Digest` (`docker push` and containerd fail: `invalid checksum digest format`, \
             `not found`)",
        ),
        (
            header::CONTENT_TYPE,
            "`Content-Type` (every pull fails: `missing or empty Content-Type`)",
        ),
        (
            header::CONTENT_LENGTH,
            "`Content-Length` (docker and helm fail: `missing content-length`)",
        ),
    ]
    .into_iter()
    .filter(|(name, _)| !head.headers.contains_key(name))
    .map(|(_, consequence)| consequence)
    .collect();
    if missing.is_empty() {
        return Finding::ok(Check::ContentHeaders, format!("{image} has all of them"));
    }
    Finding::fault(
        Check::ContentHeaders,
        format!("missing in {image}: {}", missing.join(", ")),
    )
    .server(
        "forward the registry's headers unchanged, without `proxy_hide_header` or `Header unset`. Do not change bodies, for example by compression, for `HEAD`",
    )
}
