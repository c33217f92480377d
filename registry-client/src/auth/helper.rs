//! Credential helpers: programs that keep logins, such as `docker-credential-pass`.
//!
//! Protocol: `get` as the only argument, the registry on the standard input, JSON on the standard output.

use super::credential::Credential;
use registry_core::BoxError;
use serde::Deserialize;
use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::timeout};
use zeroize::Zeroizing;

/// Maximum size of the output, in bytes.
const OUTPUT: u64 = 256 * 1024;
/// Time within which a helper answers. It may ask the user for a password.
const LIMIT: Duration = Duration::from_secs(60);
/// User name that marks an identity token.
const TOKEN: &str = "<token>";
/// Output of every helper that does not have the login.
const NOT_FOUND: &str = "credentials not found";

#[derive(Deserialize)]
struct Answer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: Zeroizing<String>,
}

/// Asks the helper `name` for the login at `server`. Returns `None` if it has none.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, BoxError> {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(format!("{name:?} is no name of a credential helper").into());
    }
    let program = format!("docker-credential-{name}");
    ask(&program, Command::new(&program), server, LIMIT).await
}

async fn ask(
    program: &str,
    mut command: Command,
    server: &str,
    limit: Duration,
) -> Result<Option<Credential>, BoxError> {
    let spawned = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = spawned.map_err(|error| format!("cannot run {program}: {error}"))?;
    let (input, output) = (child.stdin.take(), child.stdout.take());
    let running = Running(Arc::new(Mutex::new(child)));
    let (server, waited) = (server.to_owned(), Arc::clone(&running.0));
    let exchange = spawn_blocking(move || {
        if let Some(mut input) = input {
            // A helper may end before it reads.
            let _ = writeln!(input, "{server}");
        }
        let mut text = Zeroizing::new(Vec::new());
        if let Some(output) = output {
            output.take(OUTPUT).read_to_end(&mut text)?;
        }
        let mut child = waited.lock().unwrap_or_else(PoisonError::into_inner);
        Ok::<_, std::io::Error>((child.wait()?, text))
    });
    let exchange = timeout(limit, exchange).await;
    let exchange = exchange.map_err(|_elapsed| format!("{program} did not answer within {limit:?}"))?;
    let (status, text) = exchange?.map_err(|error| format!("cannot read from {program}: {error}"))?;
    if !status.success() {
        if String::from_utf8_lossy(&text).contains(NOT_FOUND) {
            return Ok(None);
        }
        // The output may be a secret.
        return Err(format!("{program} failed ({status})").into());
    }
    let answer: Answer =
        serde_json::from_slice(&text).map_err(|_secret| format!("{program} wrote no login in JSON"))?;
    let secret = answer.secret.as_str();
    Ok(Some(if answer.user == TOKEN {
        Credential::identity_token(secret)
    } else {
        Credential::password(answer.user, secret)
    }))
}

/// A helper that is ended when it is dropped, which also ends the wait for its output.
struct Running(Arc<Mutex<Child>>);

impl Drop for Running {
    fn drop(&mut self) {
        // While the other thread waits for the process, it holds the lock, and the process has closed its output.
        if let Ok(mut child) = self.0.try_lock() {
            // An error means that it has ended.
            let _ = child.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    async fn run(script: &str, limit: Duration) -> Result<Option<Credential>, BoxError> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(script);
        ask("the script", command, "a:5000", limit).await
    }

    #[tokio::test]
    async fn a_helper_is_asked_for_the_server_on_its_input() {
        let script =
            r#"read server; echo "{\"ServerURL\":\"$server\",\"Username\":\"$0\",\"Secret\":\"$server\"}""#;
        let got = run(script, LONG).await.unwrap().unwrap();
        assert_eq!(
            got.fingerprint(),
            Credential::password("get", "a:5000").fingerprint()
        );
        let token = run(r#"echo '{"Username":"<token>","Secret":"t"}'"#, LONG).await;
        let expected = Credential::identity_token("t").fingerprint();
        assert_eq!(token.unwrap().unwrap().fingerprint(), expected);
    }

    #[tokio::test]
    async fn a_missing_login_is_none_and_other_failures_are_errors() {
        let missing = "echo credentials not found in native keychain; exit 1";
        assert!(run(missing, LONG).await.unwrap().is_none());
        for failing in ["echo secret; exit 2", "echo secret"] {
            let error = run(failing, LONG).await.unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
        assert!(get("../x", "a").await.is_err());
        assert!(get("does-not-exist-here", "a").await.is_err());
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_ended() {
        let error = run("exec sleep 600", Duration::from_millis(10))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("did not answer"), "{error}");
    }
}
