//! `registry health`: its exit code, and the line that a container engine keeps.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
};

use libtest_mimic::Trial;
use registry_tls::{Files, Options, Tls};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    runtime::Runtime,
};

use crate::{program::Workbench, server::Server};

pub(crate) fn trials() -> Vec<Trial> {
    trials!([];
        a_server_that_answers_is_healthy,
        without_a_url_the_configuration_says_where_it_is,
        nobody_is_not_healthy,
        what_is_wrong_is_said_in_the_servers_words,
        a_server_that_asks_for_a_login_is_healthy,
        a_server_that_lets_in_only_others_is_healthy,
        a_certificate_of_its_own_making_will_do,
        a_server_that_wants_a_certificate_is_healthy,
        a_server_that_waits_for_its_certificate_is_not,
        what_is_no_url_is_refused,
    )
}

const REGISTRY: &str = env!("CARGO_BIN_EXE_registry");

/// Runs a check of `url`; returns true if it is healthy, and the message.
fn health(url: &str) -> (bool, String) {
    run(Command::new(REGISTRY).args(["health", url]))
}

fn run(command: &mut Command) -> (bool, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().expect("the binary runs");
    let healthy = match status.code() {
        Some(0) => true,
        Some(1) => false,
        code => panic!("an engine knows 0 and 1, this is {code:?}"),
    };
    let said = if healthy { stdout } else { stderr };
    (healthy, String::from_utf8(said).unwrap())
}

fn a_server_that_answers_is_healthy() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));

    let (healthy, said) = health(&format!("http://{}", server.address()));

    assert!(healthy, "{said}");
    assert!(said.contains("200 OK"), "{said}");
}

fn without_a_url_the_configuration_says_where_it_is() {
    let bench = Workbench::new();
    let server = Server::ours(&bench.path("data"));
    let config = bench.path("config.yml");
    let address = format!("0.0.0.0:{}", server.address().port());
    fs::write(
        &config,
        format!("version: 0.1\nstorage: inmemory\nhttp: {{ addr: \"{address}\" }}\n"),
    )
    .unwrap();

    let (healthy, said) = run(Command::new(REGISTRY).args(["health", "--config"]).arg(&config));
    assert!(healthy, "{said}");
    assert!(
        said.contains(&format!("http://{}/v2/", server.address())),
        "{said}"
    );

    let (healthy, said) = run(Command::new(REGISTRY)
        .arg("health")
        .env("REGISTRY_HTTP_ADDR", address));
    assert!(healthy, "{said}");
}

fn nobody_is_not_healthy() {
    // A free port could be taken by another test; this one is nobody's.
    let (healthy, said) = health("http://127.0.0.1:1");

    assert!(!healthy, "{said}");
    assert!(said.contains("cannot connect"), "{said}");
}

fn what_is_wrong_is_said_in_the_servers_words() {
    let server = Scripted::plain("503 Service Unavailable", r#"{"certificate":"waiting"}"#);

    let (healthy, said) = health(&format!("http://{}/debug/health", server.address));

    assert!(!healthy, "{said}");
    assert!(
        said.contains(r#"503 Service Unavailable {"certificate":"waiting"}"#),
        "{said}"
    );
}

fn a_server_that_asks_for_a_login_is_healthy() {
    let server = Scripted::plain("401 Unauthorized", "{}");

    let (healthy, said) = health(&format!("http://{}", server.address));

    assert!(healthy, "{said}");
}

/// A container's check comes from loopback, which is not the address of the proxy.
fn a_server_that_lets_in_only_others_is_healthy() {
    let server = Scripted::plain("403 Forbidden", "{}");
    let ask = |allow: &str| {
        run(Command::new(REGISTRY)
            .arg("health")
            .env("REGISTRY_HTTP_ADDR", server.address.to_string())
            .env("REGISTRY_HTTP_ALLOW", allow))
    };

    let (healthy, said) = ask("[10.0.0.4]");
    assert!(healthy, "{said}");
    assert!(said.contains("http.allow"), "{said}");

    // Without that, nobody is to be refused there.
    let (healthy, said) = health(&format!("http://{}", server.address));
    assert!(!healthy, "{said}");
    assert!(said.contains("403 Forbidden"), "{said}");
}

fn a_certificate_of_its_own_making_will_do() {
    let bench = Workbench::new();
    let files = certificate(&bench.path("server"));
    let server = Scripted::tls(files, Options::new());

    // Its certificate is for another name, too.
    let (healthy, said) = health(&format!("https://{}", server.address));

    assert!(healthy, "{said}");
}

fn a_server_that_wants_a_certificate_is_healthy() {
    let bench = Workbench::new();
    certificate(&bench.path("authority"));
    let authority = bench.path("authority").join("certificate.pem");
    let files = certificate(&bench.path("server"));
    let server = Scripted::tls(files, Options::new().client_cas([authority]));

    let (healthy, said) = health(&format!("https://{}", server.address));

    assert!(healthy, "{said}");
    assert!(said.contains("client certificate"), "{said}");
}

fn a_server_that_waits_for_its_certificate_is_not() {
    let bench = Workbench::new();
    let missing = Files::new(bench.path("certificate.pem"), bench.path("key.pem"));
    let server = Scripted::tls(missing, Options::new());

    let (healthy, said) = health(&format!("https://{}", server.address));

    assert!(!healthy, "{said}");
    assert!(said.contains("no TLS"), "{said}");
}

fn what_is_no_url_is_refused() {
    let (healthy, said) = health("ftp://127.0.0.1:5000");

    assert!(!healthy, "{said}");
    assert!(
        said.contains("is not a URL such as http://127.0.0.1:5000"),
        "{said}"
    );
}

/// Makes a self-signed certificate, for another name than the requested one.
fn certificate(directory: &Path) -> Files {
    let made = rcgen::generate_simple_self_signed(["registry.example".to_owned()]).unwrap();
    fs::create_dir(directory).unwrap();
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&certificate, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    Files::new(certificate, key)
}

/// A server that gives the same answer to every request.
struct Scripted {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Scripted {
    fn plain(status: &str, body: &str) -> Self {
        Self::start(None, status, body)
    }

    fn tls(files: Files, options: Options) -> Self {
        Self::start(Some((files, options)), "200 OK", "{}")
    }

    fn start(tls: Option<(Files, Options)>, status: &str, body: &str) -> Self {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move {
            // Read once: what is missing then is missing as long as the test lasts.
            let tls = tls.map(|(files, options)| Tls::from_files(files, options).unwrap().0);
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                let (tls, answer) = (tls.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut request = [0; 1024];
                    // A handshake that fails is the client's to tell.
                    match tls {
                        None => {
                            let mut connection = connection;
                            _ = connection.read(&mut request).await;
                            _ = connection.write_all(answer.as_bytes()).await;
                        }
                        Some(tls) => {
                            if let Ok(mut connection) = tls.accept(connection).await {
                                _ = connection.read(&mut request).await;
                                _ = connection.write_all(answer.as_bytes()).await;
                                _ = connection.shutdown().await;
                            }
                        }
                    }
                });
            }
        });
        Self {
            address,
            _runtime: runtime,
        }
    }
}
