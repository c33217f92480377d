//! `kill -9` during a write, and the state that the next process finds.
//!
//! This binary is its own victim: started with [`ROOT`] set, it writes into that directory and reports acknowledged
//! operations on standard output until it is killed. The parent kills it after a given report, so nothing here depends
//! on time.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and the victim talks to its parent"
)]

mod support;

use bytes::Bytes;
use http_body::{Body, Frame};
use libtest_mimic::{Arguments, Trial};
use registry_core::{
    Algorithm, Digest, Storage, UploadId,
    storage::{BoxError, UploadBody},
};
use registry_storage_fs::{Durability, FsStorage};
use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    pin::{Pin, pin},
    process::{Child, ChildStdout, Command, ExitCode, Stdio},
    task::{Context, Poll},
};
use support::*;

/// Directory in which the victim works.
const ROOT: &str = "REGISTRY_CRASH_ROOT";
/// Work of the victim.
const VICTIM: &str = "REGISTRY_CRASH_VICTIM";

const CHUNK: usize = 64 << 10;
const MIB: usize = 1 << 20;

fn main() -> ExitCode {
    if let (Ok(victim), Some(root)) = (env::var(VICTIM), env::var_os(ROOT)) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(perish(&victim, Path::new(&root)));
        return ExitCode::FAILURE;
    }
    let tests = [
        Trial::test("between_two_patches_everything_is_kept", || {
            run(between_two_patches_everything_is_kept())
        }),
        Trial::test("within_a_patch_all_but_the_last_16_mib_are_kept", || {
            run(within_a_patch_all_but_the_last_16_mib_are_kept())
        }),
        Trial::test("what_was_acknowledged_is_served", || {
            run(what_was_acknowledged_is_served())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests.into()).exit_code()
}

#[expect(clippy::unnecessary_wraps, reason = "what a trial wants")]
fn run(test: impl Future<Output = ()>) -> Result<(), libtest_mimic::Failed> {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
    Ok(())
}

async fn between_two_patches_everything_is_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut victim = Victim::start("patch", root.path());
    let id = UploadId::parse(&victim.line()).unwrap();
    victim.kill();

    let storage = FsStorage::open(root.path()).unwrap();
    let bytes = content(500_000);
    let state = standing(&storage, &name("a"), &id).await;
    assert_eq!(state.offset, 300_001);
    assert!(state.checkpoint.is_some(), "the close reads nothing back");
    let state = append(&storage, &name("a"), state, &bytes.slice(300_001..))
        .await
        .unwrap();
    assert!(state.checkpoint.is_some());
    let blob = close(&storage, &name("a"), state).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
    assert_eq!(read(&storage, &name("a"), &blob.digest).await, Some(bytes));
}

async fn within_a_patch_all_but_the_last_16_mib_are_kept() {
    let root = tempfile::tempdir().unwrap();
    let mut victim = Victim::start("stream", root.path());
    let id = UploadId::parse(&victim.line()).unwrap();
    let mut sent = 0;
    while sent < 40 * MIB {
        sent = victim.line().parse().unwrap();
    }
    victim.kill();

    let storage = FsStorage::open(root.path()).unwrap();
    let state = standing(&storage, &name("a"), &id).await;
    // What was sent and not yet written is a piece that is received and one that is written, at most.
    let kept = usize::try_from(state.offset).unwrap();
    assert!(kept >= sent - 17 * MIB, "{kept} of {sent}");
    assert!(state.checkpoint.is_some());
    let bytes = content(kept + 1000);
    let state = append(&storage, &name("a"), state, &bytes.slice(kept..))
        .await
        .unwrap();
    let blob = close(&storage, &name("a"), state).await.unwrap();
    assert_eq!(blob.digest, Digest::of(Algorithm::Sha256, &bytes));
    assert_eq!(read(&storage, &name("a"), &blob.digest).await, Some(bytes));
}

async fn what_was_acknowledged_is_served() {
    let root = tempfile::tempdir().unwrap();
    for acknowledged in [1, 2, 5, 9, 17, 30] {
        let mut victim = Victim::start("push", root.path());
        let mut pushed = String::new();
        for _ in 0..acknowledged {
            pushed = victim.line();
        }
        victim.kill();

        let storage = FsStorage::open(root.path()).unwrap();
        let repository = name("a");
        let last: usize = pushed.parse().unwrap();
        for n in 0..=last {
            let bytes = Bytes::from(format!("blob {n}"));
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            assert_eq!(
                read(&storage, &repository, &digest).await,
                Some(bytes),
                "blob {n}"
            );
            let image = manifest(&n.to_string());
            let by_tag = storage.manifest(&repository, &tag(&format!("v{n}")).into()).await;
            assert_eq!(by_tag.unwrap().unwrap().bytes, image.bytes(), "tag v{n}");
        }
        // The next push may have got as far as to its tag, or not; a tag points at something at all times.
        for listed in storage.tags(&repository, all()).await.unwrap().unwrap().items {
            let found = storage
                .manifest(&repository, &listed.clone().into())
                .await
                .unwrap();
            assert!(found.is_some(), "{listed}");
        }
        let latest = storage
            .manifest(&repository, &tag("latest").into())
            .await
            .unwrap()
            .unwrap();
        let newest = [last, last + 1].map(|n| *manifest(&n.to_string()).digest());
        assert!(
            newest.contains(&latest.digest),
            "latest is neither {last} nor the next"
        );
        let staged = std::fs::read_dir(top(root.path()).join("_staging")).unwrap();
        assert_eq!(staged.count(), 0);
    }
}

/// A process that will be killed.
struct Victim {
    process: Child,
    says: BufReader<ChildStdout>,
}

impl Victim {
    fn start(does: &str, root: &Path) -> Self {
        let mut process = Command::new(env::current_exe().unwrap())
            .env(VICTIM, does)
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(process.stdout.take().unwrap());
        Self { process, says }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.says.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the victim died by itself: {line:?}");
        line.trim().to_owned()
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        // After a failed assertion; a second kill does no harm.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn say(what: impl std::fmt::Display) {
    println!("{what}");
    std::io::stdout().flush().unwrap();
}

async fn perish(victim: &str, root: &Path) {
    let storage = FsStorage::options()
        .durability(Durability::Relaxed)
        .open(root)
        .unwrap();
    let repository = name("a");
    match victim {
        "patch" => {
            let state = open_upload(&storage, &repository).await;
            let id = state.id;
            append(&storage, &repository, state, &content(300_001))
                .await
                .unwrap();
            say(id);
        }
        "stream" => {
            let state = open_upload(&storage, &repository).await;
            say(state.id);
            let body = pin!(Sending {
                content: content(64 * MIB),
                sent: 0
            });
            let mut body = UploadBody::new(body, &state, None);
            writer(&storage)
                .append(&repository, state, &mut body)
                .await
                .unwrap();
        }
        "push" => {
            let latest = storage.tags(&repository, all()).await.unwrap();
            let from = latest.map_or(0, |tags| tags.items.len().saturating_sub(1));
            for n in from.. {
                push(&storage, &repository, &format!("blob {n}").into()).await;
                let image = manifest(&n.to_string());
                put(&storage, &repository, image, &["latest", &format!("v{n}")]).await;
                say(n);
            }
        }
        other => panic!("{other} is nothing to do"),
    }
    // The parent never writes: this ends when it is killed, or when the parent is gone.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A client that says how much it has sent.
struct Sending {
    content: Bytes,
    sent: usize,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.sent == self.content.len() {
            return Poll::Ready(None);
        }
        let chunk = self.content.slice(self.sent..self.sent + CHUNK);
        self.sent += CHUNK;
        say(self.sent);
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}
