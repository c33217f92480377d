//! A host that uses the crate: one port with TLS, one without.

use crate::authority::Authority;
use libtest_mimic::Failed;
use registry_tls::{Acme, Options, Redirect, Tls, Upkeep};
use std::{
    fs, io,
    net::TcpListener as StdListener,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

/// Body of every answer.
pub(crate) const HELLO: &str = "hello\n";

/// A host with open ports on which nothing is served yet: an authority must know where to validate.
pub(crate) struct Host {
    cache: tempfile::TempDir,
    https: StdListener,
    http: StdListener,
}

/// A host that serves, until it is dropped.
pub(crate) struct Serving {
    pub(crate) tls: Tls,
    tasks: JoinSet<()>,
}

impl Host {
    pub(crate) fn new() -> Result<Self, Failed> {
        Ok(Self {
            cache: tempfile::tempdir()?,
            https: listen(0)?,
            http: listen(0)?,
        })
    }

    /// Returns settings for certificates of `authority`.
    pub(crate) fn acme<const N: usize>(&self, authority: &Authority, hosts: [&str; N]) -> Acme {
        Acme::new(self.cache.path().join("acme"), hosts)
            .directory_url(authority.url())
            .directory_ca(authority.ca())
            .email("admin@a.test")
    }

    /// Serves on both ports. Certificates come when the upkeep is [kept](Serving::keep).
    pub(crate) fn serve(&self, acme: Acme) -> Result<(Serving, Upkeep), Failed> {
        let (tls, upkeep) = Tls::from_acme(acme, Options::new())?;
        let mut tasks = JoinSet::new();
        let https = TcpListener::from_std(self.https.try_clone()?)?;
        let secured = tls.clone();
        tasks.spawn(async move {
            while let Ok((connection, _)) = https.accept().await {
                let tls = secured.clone();
                tokio::spawn(async move {
                    if let Ok(mut stream) = tls.accept(connection).await
                        && request(&mut stream).await.is_ok()
                    {
                        let _ = respond(&mut stream, "200 OK", None, HELLO).await;
                    }
                });
            }
        });
        let mut serving = Serving { tls, tasks };
        serving.redirect_on(self.http.try_clone()?, self.https_port())?;
        Ok((serving, upkeep))
    }

    pub(crate) fn https_port(&self) -> u16 {
        port(&self.https)
    }

    pub(crate) fn http_port(&self) -> u16 {
        port(&self.http)
    }

    /// Fetches as a client that asks for `name` and trusts `root`, or everybody. Returns the body, or curl's error.
    pub(crate) fn fetch(&self, name: &str, root: Option<&Path>) -> Result<String, Failed> {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "--http1.1", "--noproxy", "*", "--max-time", "60"]);
        curl.args(["--resolve", &format!("{name}:{}:127.0.0.1", self.https_port())]);
        match root {
            Some(root) => curl.arg("--cacert").arg(root),
            None => curl.arg("--insecure"),
        };
        let output = curl
            .arg(format!("https://{name}:{}/", self.https_port()))
            .output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    /// Returns status and `Location` of the plain port's answer.
    pub(crate) fn redirect(&self, path: &str) -> Result<String, Failed> {
        let output = Command::new("curl")
            .args(["-sS", "--noproxy", "*", "--max-time", "60", "-o", "/dev/null"])
            .args(["-w", "%{http_code} %{redirect_url}", "-H", "Host: a.test"])
            .arg(format!("http://127.0.0.1:{}{path}", self.http_port()))
            .output()?;
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    }

    /// Returns the files of the cache, with permissions.
    pub(crate) fn cached(&self) -> Result<Vec<(PathBuf, u32)>, Failed> {
        let mut found = Vec::new();
        let mut directories = vec![self.cache.path().join("acme")];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(&directory)? {
                let entry = entry?;
                found.push((entry.path(), entry.metadata()?.permissions().mode()));
                if entry.file_type()?.is_dir() {
                    directories.push(entry.path());
                }
            }
        }
        Ok(found)
    }
}

impl Serving {
    /// Drives the upkeep, which orders and renews certificates.
    pub(crate) fn keep(&mut self, upkeep: Upkeep) {
        self.tasks.spawn(async {
            upkeep.run().await;
        });
    }

    /// Answers plain HTTP on a listener.
    pub(crate) fn redirect_on(&mut self, listener: StdListener, https: u16) -> Result<(), Failed> {
        let listener = TcpListener::from_std(listener)?;
        let redirect = self.tls.redirect(https);
        self.tasks.spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let redirect = redirect.clone();
                tokio::spawn(async move { answer_plain(&redirect, &mut connection).await });
            }
        });
        Ok(())
    }
}

/// Makes a listener on the loopback interface, for tokio.
pub(crate) fn listen(port: u16) -> io::Result<StdListener> {
    let listener = StdListener::bind(("127.0.0.1", port))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

fn port(listener: &StdListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

async fn answer_plain(
    redirect: &Redirect,
    connection: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    let head = request(connection).await?;
    let field = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| line.strip_prefix(name).map(str::trim).map(str::to_owned))
    };
    let path = head.split(' ').nth(1).unwrap_or("/");
    let request = http::Request::get(path)
        .header("host", field("Host:").unwrap_or_default())
        .body(())
        .map_err(io::Error::other)?;
    let answer = redirect.answer(&request);
    let location = answer
        .headers()
        .get("location")
        .and_then(|value| value.to_str().ok());
    respond(connection, &answer.status().to_string(), location, answer.body()).await
}

/// Reads the head of a request. Bodies are ignored.
async fn request(connection: &mut (impl AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn respond(
    connection: &mut (impl AsyncWrite + Unpin),
    status: &str,
    location: Option<&str>,
    body: &str,
) -> io::Result<()> {
    let location = location.map_or_else(String::new, |location| format!("Location: {location}\r\n"));
    let answer = format!(
        "HTTP/1.1 {status}\r\n{location}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(answer.as_bytes()).await?;
    connection.shutdown().await
}
