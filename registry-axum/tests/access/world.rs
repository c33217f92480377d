//! A registry with some content, rules and users; and a client that reads whole answers.

use async_trait::async_trait;
use axum::Router;
use bytes::Bytes;
use http::header;
use registry_auth_rules::Rules;
use registry_core::{
    Algorithm, Authenticator, Digest, Identity, MediaType, Registry, Tag,
    auth::{Access, AuthError, AuthRequest, Challenge},
    protocol::PageQuery,
    service::ManifestPush,
    storage::{MemoryStorage, Page, Seen},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Users: `anonymous` is not logged in; `stranger` is logged in and named by no rule.
pub(crate) const USERS: [&str; 5] = ["anonymous", "stranger", "puller", "pusher", "owner"];

pub(crate) const RULES: &str = "
rules:
  - {repository: '**', who: owner, allow: all}
  - {repository: secret/**, who: everyone, hide: all}
  - {repository: team/**, who: pusher, allow: [pull, push]}
  - {repository: team/**, who: puller, allow: pull}
  - {repository: public/**, who: everyone, allow: pull}
";

/// Content of every repository; `secret/app` also has [`secret_blob`].
pub(crate) const BLOB: &str = "{}";

pub(crate) fn blob() -> Digest {
    Digest::of(Algorithm::Sha256, BLOB.as_bytes())
}

pub(crate) fn secret_blob() -> Digest {
    Digest::of(Algorithm::Sha256, b"secret")
}

pub(crate) fn manifest(comment: &str) -> String {
    json!({
        "schemaVersion": 2,
        "mediaType": MediaType::OCI_MANIFEST,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": blob().to_string(), "size": 2},
        "layers": [],
        "comment": comment,
    })
    .to_string()
}

pub(crate) fn manifest_digest(comment: &str) -> Digest {
    Digest::of(Algorithm::Sha256, manifest(comment).as_bytes())
}

/// Trusts the name in `Authorization`.
#[derive(Debug)]
pub(crate) struct ByName;

#[async_trait]
impl Authenticator for ByName {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        let name = request.headers.get(header::AUTHORIZATION);
        Ok(name.map(|name| Identity::new(name.to_str().unwrap())))
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic("test")]
    }
}

/// A registry that listens, and the host's own view of it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    address: String,
    /// An open upload session in each repository, by name.
    sessions: Vec<(String, String)>,
}

impl World {
    /// Returns a registry with a tag `v1`, a blob and an open session in each of `public/app`, `team/app` and
    /// `secret/app`.
    pub(crate) async fn filled() -> Self {
        let rules = Rules::parse(RULES, "rules.yml").unwrap();
        let builder = Registry::builder(MemoryStorage::new()).authenticator(ByName);
        let mut world = Self::serving(builder.authorizer(rules).build()).await;
        for name in ["public/app", "team/app", "secret/app"] {
            let repository = world.registry.repository(name).unwrap();
            repository.push_blob(BLOB.to_owned(), None).await.unwrap();
            let push = ManifestPush::new(Tag::parse("v1").unwrap(), manifest("first"));
            repository.put_manifest(push).await.unwrap();
            let session = repository.open_upload(Algorithm::Sha256).await.unwrap();
            world.sessions.push((name.to_owned(), session.id.to_string()));
        }
        let secret = world.registry.repository("secret/app").unwrap();
        secret.push_blob("secret", None).await.unwrap();
        world
    }

    /// Returns a registry without content, with any rules.
    pub(crate) async fn serving(registry: Registry) -> Self {
        let address = serve(registry_axum::router(registry.clone())).await;
        Self {
            registry,
            address,
            sessions: Vec::new(),
        }
    }

    /// Returns the open session of `repository`, or the id of an unknown one if there is none.
    pub(crate) fn session(&self, repository: &str) -> String {
        let session = self.sessions.iter().find(|(name, _)| name == repository);
        session.map_or_else(
            || "00000000-0000-4000-8000-000000000000".into(),
            |(_, id)| id.clone(),
        )
    }

    /// Sends `METHOD TARGET` as one of [`USERS`].
    pub(crate) async fn send(&self, user: &str, line: &str, body: &str) -> Answer {
        let headers = match user {
            "anonymous" => String::new(),
            user => format!("Authorization: {user}\r\n"),
        };
        send(&self.address, line, &headers, body).await
    }

    /// Returns everything that a request could have changed.
    pub(crate) async fn content(&self) -> String {
        let all = Page::first(1000);
        let mut content = String::new();
        let repositories = self.registry.repositories(&PageQuery::default()).await.unwrap();
        for name in repositories.items {
            let repository = self.registry.repository(&name).unwrap();
            let tags = repository.tags(&PageQuery::default()).await.unwrap().unwrap();
            for tag in tags.items {
                let digest = repository.manifest(&tag).await.unwrap().unwrap().digest;
                content.push_str(&format!("{name}:{tag} {digest}\n"));
            }
            let inspect = self.registry.storage().inspect().unwrap();
            let held = inspect.held_blobs(&name, Page::first(1000)).await.unwrap();
            let manifests = inspect.manifests(&name, Page::first(1000)).await.unwrap();
            let uploads = inspect.uploads(&name, Page::first(1000)).await.unwrap();
            content.push_str(&format!("{name} {:?} {:?}\n", held.items, manifests.items));
            let uploads = uploads.items.into_iter().filter_map(Seen::whole);
            let uploads = uploads.map(|upload| (upload.id, upload.offset));
            content.push_str(&format!("{name} {:?}\n", uploads.collect::<Vec<_>>()));
        }
        let blobs = self
            .registry
            .storage()
            .inspect()
            .unwrap()
            .blobs(all)
            .await
            .unwrap();
        content.push_str(&format!("{:?}", blobs.items));
        content
    }
}

pub(crate) async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
    address
}

/// An answer: everything that a client sees, except for the time of day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| &**value)
    }

    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    /// Replaces `from` by `to`, as if the request had been about another repository or session.
    pub(crate) fn renamed(mut self, from: &str, to: &str) -> Self {
        for (_, value) in &mut self.headers {
            *value = value.replace(from, to);
        }
        self.body = self.text().replace(from, to).into();
        self
    }
}

pub(crate) async fn send(address: &str, line: &str, headers: &str, body: &str) -> Answer {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let kind = if body.starts_with("{\"") {
        MediaType::OCI_MANIFEST
    } else {
        "application/octet-stream"
    };
    let request = format!(
        "{line} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Type: {kind}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();

    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = str::from_utf8(&answer[..end]).unwrap();
    let (status, fields) = head.split_once("\r\n").unwrap();
    let fields = fields.lines().map(|line| line.split_once(": ").unwrap());
    Answer {
        status: status.split(' ').nth(1).unwrap().parse().unwrap(),
        headers: fields
            .filter(|(name, _)| *name != "date")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        body: Bytes::copy_from_slice(&answer[end + 4..]),
    }
}

/// Returns every request that concerns a repository, as `METHOD TARGET` and a body. `SESSION` stands for a session.
pub(crate) fn every_request(repository: &str) -> Vec<(String, String)> {
    let (blob, secret, first) = (blob(), secret_blob(), manifest_digest("first"));
    let second = manifest_digest("second");
    let tiny = Digest::of(Algorithm::Sha256, b"tiny");
    let bare = |line: &str| (line.to_owned(), "");
    let requests = [
        bare("GET tags/list"),
        bare("HEAD tags/list"),
        bare("GET tags/list?n=1&last=v0"),
        bare(&format!("GET referrers/{first}")),
        bare(&format!("GET blobs/{blob}")),
        bare(&format!("HEAD blobs/{blob}")),
        bare("GET manifests/v1"),
        bare("HEAD manifests/v1"),
        bare(&format!("GET manifests/{first}")),
        bare(&format!("HEAD manifests/{first}")),
        bare("POST blobs/uploads/"),
        (format!("POST blobs/uploads/?digest={tiny}"), "tiny"),
        bare(&format!("POST blobs/uploads/?mount={blob}&from=public/app")),
        bare(&format!("POST blobs/uploads/?mount={secret}&from=secret/app")),
        bare(&format!("POST blobs/uploads/?mount={secret}")),
        bare("GET blobs/uploads/SESSION"),
        ("PATCH blobs/uploads/SESSION".to_owned(), "tiny"),
        (format!("PUT blobs/uploads/SESSION?digest={tiny}"), "tiny"),
        bare("DELETE blobs/uploads/SESSION"),
        ("PUT manifests/v1".to_owned(), "first"),
        ("PUT manifests/v2".to_owned(), "second"),
        ("PUT manifests/v1".to_owned(), "second"),
        (format!("PUT manifests/{second}"), "second"),
        (format!("PUT manifests/{second}?tag=v1"), "second"),
        bare("DELETE manifests/v1"),
        bare(&format!("DELETE manifests/{first}")),
        bare(&format!("DELETE blobs/{blob}")),
    ];
    let whole = |(line, body): (String, &str)| {
        let (method, rest) = line.split_once(' ').unwrap();
        let body = if rest.contains("manifests/") && !body.is_empty() {
            manifest(body)
        } else {
            body.to_owned()
        };
        (format!("{method} /v2/{repository}/{rest}"), body)
    };
    requests.into_iter().map(whole).collect()
}
