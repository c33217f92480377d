//! Real programs that send 30 MB to a registry that has already answered: each of them sees the answer.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use async_trait::async_trait;
use http::{Method, Request, Response};
use libtest_mimic::{Arguments, Trial};
use registry_conformance::tools;
use registry_core::{
    Algorithm, Digest, Registry,
    auth::{Access, AuthError, AuthRequest, Authenticator, Challenge, Identity},
    service::{RegistryService, ResponseBody},
    storage::MemoryStorage,
};
use registry_listener::RequestBody;
use std::{
    fs,
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::LazyLock,
};
use support::app::Around;
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};
use tower_service::Service as _;

const SIZE: usize = 30_000_000;

fn main() -> std::process::ExitCode {
    let arguments = Arguments::from_args();
    let trials = vec![
        trial("curl_sends_a_length", &["curl"], || curl(&[])),
        trial("curl_sends_chunks", &["curl"], || {
            curl(&["-H", "Transfer-Encoding: chunked"])
        }),
        trial("curl_waits_for_100", &["curl"], || {
            curl(&["-H", "Expect: 100-continue"])
        }),
        trial("python_reads_after_it_has_sent", &["python3"], python),
        trial("nginx_hands_it_on", &["nginx", "curl"], nginx),
        trial("skopeo_tells_the_status", &["skopeo"], skopeo),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, programs: &[&str], test: impl FnOnce() + Send + 'static) -> Trial {
    tools::trial(name, programs, move || {
        test();
        Ok(())
    })
}

/// Requests whose bodies are answered before they are read, with the status.
const CASES: [(&str, &str, &str, u16); 4] = [
    (
        "user:wrong",
        "PATCH",
        "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000",
        401,
    ),
    (
        "user:right",
        "PATCH",
        "/v2/a/blobs/uploads/00000000-0000-4000-8000-000000000000",
        404,
    ),
    ("user:right", "PUT", "/v2/a/tags/list", 405),
    ("user:right", "PUT", "/v2/a/manifests/large", 413),
];

fn curl(arguments: &[&str]) {
    asks_with_curl(&World::new(None), arguments);
}

/// Without buffering, nginx also stops forwarding a body early.
fn nginx() {
    let world = World::new(None);
    let nginx = Nginx::before(&world);
    let socket = nginx.socket.to_str().unwrap();
    for framing in [&[][..], &["--header", "Transfer-Encoding: chunked"]] {
        asks_with_curl(&world, &[&["--unix-socket", socket][..], framing].concat());
    }
}

fn asks_with_curl(world: &World, arguments: &[&str]) {
    for (user, method, path, status) in CASES {
        let mut command = Command::new("curl");
        command
            .args([
                "--silent",
                "--show-error",
                "--max-time",
                "60",
                "--write-out",
                "\n%{http_code}",
            ])
            .args([
                "--header",
                "Content-Type: application/vnd.oci.image.manifest.v1+json",
            ])
            .args(["--request", method, "--user", user, "--data-binary"])
            .arg(format!("@{}", world.body().display()));
        if !arguments.contains(&"Expect: 100-continue") {
            command.args(["--header", "Expect:"]);
        }
        let printed = output(command.args(arguments).arg(world.url(path)));

        let (body, code) = printed.rsplit_once('\n').unwrap();
        assert_eq!(code, status.to_string(), "{method} {path}: {printed}");
        assert!(body.starts_with(r#"{"errors":"#), "{method} {path}: {printed}");
    }
}

/// http.client, and its dependents (requests, oras), send everything before they read anything. The next request uses
/// a new connection, as the answer demanded.
fn python() {
    const SCRIPT: &str = r#"
import base64, http.client, sys
host, path_of_body, method, path, user = sys.argv[1:]
connection = http.client.HTTPConnection(host, timeout=60)
login = "Basic " + base64.b64encode(user.encode()).decode()
headers = {"Authorization": login, "Content-Type": "application/vnd.oci.image.manifest.v1+json"}
body = open(path_of_body, "rb").read()
chunks = (body[i:i + 65536] for i in range(0, len(body), 65536))
for how in (body, chunks):
    connection.request(method, path, body=how, headers=headers, encode_chunked=how is not body)
    socket = connection.sock
    answer = connection.getresponse()
    print(answer.status, answer.read()[:10].decode())
connection.request("GET", "/v2/", headers={"Authorization": "Basic " + base64.b64encode(b"user:right").decode()})
print(connection.getresponse().status, connection.sock is socket)
"#;
    let world = World::new(None);
    for (user, method, path, status) in CASES {
        let printed = output(
            Command::new("python3")
                .args(["-c", SCRIPT, &world.address.to_string()])
                .arg(world.body())
                .args([method, path, user]),
        );
        let answer = format!("{status} {{\"errors\":");
        assert_eq!(
            printed,
            format!("{answer}\n{answer}\n200 False\n"),
            "{method} {path}"
        );
    }
}

/// skopeo sends layers in chunks, and only to sessions that it opened, so these are refused in the middle of a push.
fn skopeo() {
    for status in [401, 404, 405, 413] {
        let world = World::new(Some(status));
        let image = world.image();
        let mut command = Command::new("skopeo");
        command
            .args(["--insecure-policy", "copy", "--dest-tls-verify=false"])
            .args(["--dest-creds", "user:right"])
            .arg(format!("dir:{}", image.display()))
            .arg(format!("docker://{}/a:large", world.address))
            .env("HOME", world.directory.path());
        let output = command.output().unwrap();

        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains("refused early"), "{status}: {said}");
        for unwanted in ["broken pipe", "connection reset"] {
            assert!(!said.contains(unwanted), "{status}: {said}");
        }
    }
}

/// Answers a PATCH with this status, if any, without reading it.
async fn early(
    status: Option<u16>,
    mut service: RegistryService<RequestBody>,
    request: Request<RequestBody>,
) -> Response<ResponseBody> {
    match status {
        Some(status) if request.method() == Method::PATCH => {
            let body = r#"{"errors":[{"code":"DENIED","message":"refused early"}]}"#;
            let response = Response::builder()
                .status(status)
                .header("content-type", "application/json");
            response.body(ResponseBody::full(body.into())).unwrap()
        }
        _ => {
            let Ok(response) = service.call(request).await;
            response
        }
    }
}

/// Accepts the login `user:right`.
#[derive(Debug)]
struct OneUser;

#[async_trait]
impl Authenticator for OneUser {
    async fn authenticate(&self, request: AuthRequest<'_>) -> Result<Option<Identity>, AuthError> {
        match request.headers.get("authorization") {
            None => Ok(None),
            Some(login) if login == "Basic dXNlcjpyaWdodA==" => Ok(Some(Identity::new("user"))),
            Some(_) => Err(AuthError::Rejected),
        }
    }

    fn challenges(&self, _: Option<AuthRequest<'_>>, _: &[Access]) -> Vec<Challenge> {
        vec![Challenge::basic("test")]
    }
}

/// A registry with one user, and 30 MB to send to it.
struct World {
    directory: TempDir,
    address: SocketAddr,
    /// Serves until it is dropped.
    _runtime: Runtime,
}

impl World {
    /// Serves the registry. With `status`, a PATCH is answered with it.
    fn new(status: Option<u16>) -> Self {
        let runtime = Runtime::new().unwrap();
        let registry = Registry::builder(MemoryStorage::new())
            .authenticator(OneUser)
            .build();
        let service = registry.into_service(|task| {
            tokio::spawn(task);
        });
        let service = Around(service, move |service, request| early(status, service, request));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(registry_listener::serve(listener, service));
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("body"), noise()).unwrap();
        Self {
            directory,
            address,
            _runtime: runtime,
        }
    }

    fn body(&self) -> PathBuf {
        self.directory.path().join("body")
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// An image of one large layer, in a directory as skopeo keeps them.
    fn image(&self) -> PathBuf {
        let image = self.directory.path().join("image");
        fs::create_dir_all(&image).unwrap();
        let config = r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config = descriptor(&image, "config.v1+json", config.as_bytes());
        let layer = descriptor(&image, "layer.v1.tar", noise());
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{config},"layers":[{layer}]}}"#
        );
        fs::write(image.join("manifest.json"), manifest).unwrap();
        fs::write(image.join("version"), "Directory Transport Version: 1.1\n").unwrap();
        image
    }
}

/// A proxy on a Unix socket that forwards received bytes at once.
struct Nginx {
    process: Child,
    socket: PathBuf,
    _directory: TempDir,
}

impl Nginx {
    fn before(world: &World) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().display();
        let configuration = format!(
            "daemon off; master_process off; user root; pid {path}/pid; error_log {path}/log; events {{}}\n\
             http {{\n\
                 access_log off; client_body_temp_path {path}/body; proxy_temp_path {path}/proxy;\n\
                 fastcgi_temp_path {path}/fastcgi; uwsgi_temp_path {path}/uwsgi; scgi_temp_path {path}/scgi;\n\
                 server {{\n\
                     listen unix:{path}/socket; client_max_body_size 0;\n\
                     location / {{ proxy_pass http://{}; proxy_http_version 1.1; proxy_request_buffering off; }}\n\
                 }}\n\
             }}\n",
            world.address
        );
        let file = directory.path().join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new("nginx").arg("-c").arg(&file).spawn().unwrap();
        let mut nginx = Self {
            process,
            socket: directory.path().join("socket"),
            _directory: directory,
        };
        while UnixStream::connect(&nginx.socket).is_err() {
            assert_eq!(nginx.process.try_wait().unwrap(), None, "nginx has ended");
            std::thread::yield_now();
        }
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

fn descriptor(image: &Path, kind: &str, content: &[u8]) -> String {
    let digest = Digest::of(Algorithm::Sha256, content).to_string();
    fs::write(image.join(&digest["sha256:".len()..]), content).unwrap();
    format!(
        r#"{{"mediaType":"application/vnd.oci.image.{kind}","digest":"{digest}","size":{}}}"#,
        content.len()
    )
}

/// Returns incompressible bytes: Marsaglia's xorshift.
fn noise() -> &'static [u8] {
    static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut state = 88_172_645_463_325_252_u64;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        words.take(SIZE / 8).flatten().collect()
    });
    &NOISE
}

fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}
