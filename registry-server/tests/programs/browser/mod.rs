//! Web user interfaces: a page sends the requests of Joxit's docker-registry-ui, in a real browser, from the registry's
//! own origin and from others. The test checks what the browser lets the page read, not the bytes on the wire.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::{
    content::Content,
    image::{Layer, digest_of, references},
    program::{argument, output_of},
    proxies::{Proxy, Site},
    server::Server,
};

use self::chromium::Chromium;

mod chromium;

pub(crate) fn trials() -> Vec<Trial> {
    trials!(["chromium", "nginx", "openssl", "htpasswd", "skopeo"];
        a_page_beside_the_registry_lists_shows_and_deletes,
        a_page_of_another_origin_lists_shows_and_deletes,
        a_page_of_a_foreign_origin_reads_and_deletes_nothing,
        without_the_headers_no_other_origin_reads_anything,
        what_a_page_deletes_is_freed_beside_the_server,
    )
}

/// Configuration as in the guides, with a name and a password for everything.
const FOR_A_USER_INTERFACE: &str = "
version: 0.1
storage:
  delete:
    enabled: true
http:
  headers:
    Access-Control-Allow-Origin: ['https://ui.company.example']
    Access-Control-Allow-Methods: ['HEAD', 'GET', 'OPTIONS', 'DELETE']
    Access-Control-Allow-Headers: ['Authorization', 'Accept', 'Cache-Control']
    Access-Control-Max-Age: [1728000]
    Access-Control-Allow-Credentials: [true]
    Access-Control-Expose-Headers: ['Docker-Content-Digest']
";

/// Output of `htpasswd -b users ann secret`: apr1, as in most guides.
const USERS: &str = "ann:$apr1$QkJ4b3Jn$x6JbkG./Q0GN4D16Oxahf.\n";
const LOGIN: (&str, &str) = ("ann", "secret");

const GENERATIONS: [u8; 2] = [1, 2];

fn a_page_beside_the_registry_lists_shows_and_deletes() {
    let mut scene = Scene::new("version: 0.1\nstorage: {delete: {enabled: true}}\n");
    for generation in GENERATIONS {
        scene.publish();

        let visit = scene.visit(
            "https://ui.company.example",
            "https://ui.company.example",
            generation,
            false,
        );

        scene.assert_shown_and_removed(&visit, generation);
    }
}

fn a_page_of_another_origin_lists_shows_and_deletes() {
    let mut scene = Scene::new(FOR_A_USER_INTERFACE);
    for generation in GENERATIONS {
        scene.publish();

        let visit = scene.visit(
            "https://ui.company.example",
            "https://registry.company.example",
            generation,
            false,
        );

        scene.assert_shown_and_removed(&visit, generation);
        let deleted = format!(
            "OPTIONS /v2/team/app/manifests/{}",
            scene.site.layout.digest("two")
        );
        scene.site.server.says(&deleted);
    }
    // The second asks before it reads, too.
    scene.site.server.says("OPTIONS /v2/team/app/manifests/list");
}

/// Holds even if the visitor is logged in at the registry.
fn a_page_of_a_foreign_origin_reads_and_deletes_nothing() {
    let mut scene = Scene::new(FOR_A_USER_INTERFACE);
    scene.publish();
    for (generation, secured) in [(1, false), (1, true), (2, false), (2, true)] {
        let visit = scene.visit(
            "https://evil.company.example",
            "https://registry.company.example",
            generation,
            secured,
        );

        assert_refused(&visit);
    }
    let listed = scene.visit(
        "https://ui.company.example",
        "https://registry.company.example",
        2,
        true,
    );
    scene.assert_shown_and_removed(&listed, 2);
}

fn without_the_headers_no_other_origin_reads_anything() {
    let mut scene = Scene::new("version: 0.1\nstorage: {delete: {enabled: true}}\n");
    scene.publish();
    for generation in GENERATIONS {
        let visit = scene.visit(
            "https://ui.company.example",
            "https://registry.company.example",
            generation,
            false,
        );

        assert_refused(&visit);
    }
}

/// The bytes go with the last of both deletions, by an old and a new generation of the page.
fn what_a_page_deletes_is_freed_beside_the_server() {
    const ORIGIN: &str = "https://ui.company.example";
    let mut scene = Scene::new("version: 0.1\nstorage: {delete: {enabled: true}}\n");
    let old = scene.site.layout.image("amd64", &[&Layer::new(41, 50_000)]);
    scene.site.layout.tag("old", &old);
    scene.publish();
    for image in ["team/app:old", "team/gone:old"] {
        scene.push("old", image, &[]);
    }
    let before = scene.content();

    for (generation, repository) in [(0, "team/gone"), (2, "team/app")] {
        let visit = scene.visit_to_remove(ORIGIN, ORIGIN, generation, false, (repository, "old"));
        assert_eq!(visit["digest"], digest_of(&old).to_string(), "{visit:#}");
        let deleted = format!("DELETE /v2/{repository}/manifests/{}: 202", digest_of(&old));
        let report = visit["report"].as_array().unwrap();
        assert!(
            report
                .iter()
                .any(|line| line.as_str().unwrap().starts_with(&deleted)),
            "{visit:#}"
        );
    }
    scene.collect();

    let reader = scene.reader();
    let manifests = ["team/app", "team/gone"].map(|name| format!("/v2/{name}/manifests/old"));
    let manifests = manifests.iter().map(String::as_str).collect();
    assert_eq!(before.lost_in(&reader), &manifests | &before.named_by(&manifests));
    let mut freed = vec![digest_of(&old)];
    freed.extend(
        references(&scene.site.layout.blob(&digest_of(&old)))
            .1
            .iter()
            .map(digest_of),
    );
    for digest in freed {
        let directory = format!(
            "docker/registry/v2/blobs/sha256/{}/{}",
            &digest.hex()[..2],
            digest.hex()
        );
        assert!(!scene.root().join(directory).join("data").exists(), "{digest}");
    }
    let catalog: Value = serde_json::from_slice(&reader.get("/v2/_catalog").body).unwrap();
    assert_eq!(catalog, json!({ "repositories": ["team/app"] }));
}

/// A registry with a password behind nginx, and a browser. The page is beside the registry at `ui.company.example`, and
/// alone at `evil.company.example`; `registry.company.example` is the registry without it. All belong to one site: to
/// another site a browser sends no credentials, and there would be nothing to refuse.
struct Scene {
    browser: Chromium,
    _nginx: Proxy,
    site: Site,
}

impl Scene {
    fn new(config: &str) -> Self {
        let site = Site::around(|root| serve(config, root));
        let pages = site.bench.path("pages");
        fs::create_dir(&pages).expect("the test's directory is writable");
        fs::write(pages.join("index.html"), include_str!("page.html"))
            .expect("the test's directory is writable");
        let servers = r"
            types { text/html html; }
            ssl_certificate {certificate};
            ssl_certificate_key {key};
            server {
                listen {host}:443 ssl;
                server_name ui.company.example;
                root {pages};
                location /v2/ { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
            }
            server {
                listen {host}:443 ssl;
                server_name evil.company.example;
                root {pages};
            }
            server {
                listen {host}:443 ssl;
                server_name registry.company.example;
                location / { proxy_pass http://{registry}; proxy_set_header Host $http_host; }
            }
        ";
        let nginx = site.nginx(443, &servers.replace("{pages}", argument(&pages)));
        let hosts: [(&str, Ipv4Addr); 3] = [
            "ui.company.example",
            "evil.company.example",
            "registry.company.example",
        ]
        .map(|name| (name, site.host));
        Self {
            browser: Chromium::start(&site.bench, &hosts, LOGIN),
            _nginx: nginx,
            site,
        }
    }

    /// Pushes three tags of `team/app`: two images, and both as a Docker list.
    fn publish(&self) {
        self.push("one", "team/app:one", &[]);
        self.push("two", "team/app:two", &[]);
        self.push("multi", "team/app:list", &["--format", "v2s2"]);
    }

    fn push(&self, from: &str, image: &str, options: &[&str]) {
        let (user, password) = LOGIN;
        let login = format!("{user}:{password}");
        let from = self.site.layout.oci(from);
        let to = format!("docker://{}", self.site.server.repository(image));
        let copy = ["copy", "--all", "--dest-tls-verify=false", "--dest-creds", &login];
        self.site.bench.skopeo(&[&copy, options, &[&from, &to]].concat());
    }

    fn root(&self) -> PathBuf {
        self.site.bench.path("registry")
    }

    /// Starts a server beside that of the scene, which only reads, without a password.
    fn reader(&self) -> Server {
        let mut command = Server::ours_command(&self.root());
        command.env("REGISTRY_STORAGE_MAINTENANCE_READONLY_ENABLED", "true");
        Server::start(command, "http://")
    }

    fn content(&self) -> Content {
        Content::of(&self.reader(), &[])
    }

    /// Collects beside the server, by its configuration.
    fn collect(&self) {
        output_of(configured(&["garbage-collect"], &self.root())).unwrap();
    }

    /// Lets the page at `origin` read everything that the registry at `url` has, and remove the tag `two`.
    fn visit(&mut self, origin: &str, url: &str, generation: u8, secured: bool) -> Value {
        self.visit_to_remove(origin, url, generation, secured, ("team/app", "two"))
    }

    fn visit_to_remove(
        &mut self,
        origin: &str,
        url: &str,
        generation: u8,
        secured: bool,
        (repository, tag): (&str, &str),
    ) -> Value {
        let to = json!({
            "url": url, "generation": generation, "secured": secured, "repository": repository, "remove": tag,
        });
        self.browser
            .evaluate(&format!("{origin}/index.html"), &format!("visit({to})"))
    }

    #[track_caller]
    fn assert_shown_and_removed(&self, visit: &Value, generation: u8) {
        let layout = &self.site.layout;
        let size = |tag| {
            let manifest: Value = serde_json::from_slice(&layout.blob(&layout.digest(tag))).unwrap();
            let layers = manifest["layers"].as_array().unwrap();
            layers
                .iter()
                .map(|layer| layer["size"].as_u64().unwrap())
                .sum::<u64>()
        };
        let row = |tag, architecture| json!({ "size": size(tag), "architecture": architecture, "layers": 2 });
        let shown = json!({
            "repositories": ["team/app"],
            // The list shows the first of its images.
            "rows": { "list": row("one", "amd64"), "one": row("one", "amd64"), "two": row("two", "arm64") },
            "digest": layout.digest("two").to_string(),
            "left": ["list", "one"],
        });
        for (what, expected) in shown.as_object().unwrap() {
            assert_eq!(visit[what], *expected, "{generation}: {visit:#}");
        }
        let failed: Vec<&Value> = visit["report"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|line| !line.as_str().unwrap().contains(": 20"))
            .collect();
        assert!(failed.is_empty(), "{generation}: {failed:#?}");
    }
}

/// Asserts that the page has read nothing, and that its requests changed nothing.
#[track_caller]
fn assert_refused(visit: &Value) {
    let report = visit["report"].as_array().unwrap();
    for line in report {
        assert!(
            line.as_str().unwrap().ends_with(": refused by the browser"),
            "{visit:#}"
        );
    }
    assert!(report.len() >= 5, "{visit:#}");
    for read in ["repositories", "digest", "left"] {
        assert_eq!(visit[read], Value::Null, "{visit:#}");
    }
}

fn serve(config: &str, root: &Path) -> Server {
    fs::write(root.with_extension("yml"), config).expect("the test's directory is writable");
    fs::write(root.with_extension("users"), USERS).expect("the test's directory is writable");
    Server::start(configured(&["serve"], root), "http://")
}

/// Returns a command of the binary with the configuration of the scene.
fn configured(arguments: &[&str], root: &Path) -> Command {
    let (file, users) = (root.with_extension("yml"), root.with_extension("users"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_registry"));
    command
        .args(arguments)
        .arg(file)
        .env("REGISTRY_HTTP_ADDR", "127.0.0.1:0")
        .env("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", root)
        .env("REGISTRY_AUTH_HTPASSWD_PATH", users);
    command
}
