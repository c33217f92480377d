//! Uploads to a real store, through a network that loses answers.
#![expect(clippy::unwrap_used, reason = "what fails here fails a test")]

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use libtest_mimic::{Arguments, Failed, Trial};
use object_stores::{
    HostileProxy, S3Server, SeaweedFs, Versitygw,
    proxy::{Fault, Kind, on_any},
};
use registry_conformance::tools;
use registry_core::{
    Algorithm, Digest, RepositoryName, Storage as _,
    hash::Hasher,
    storage::{
        BlobBody, NewUpload, ReadBlob, StorageError, StorageWrite as _, UploadBody, UploadState, Verified,
    },
};
use registry_storage_object::{Location, ObjectStorage, S3};
use std::{io, pin::pin, process::ExitCode};

const BUCKET: &str = "uploads";

/// Size of a part, the smallest that stores accept.
const PART: usize = 5 << 20;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let (weed, versitygw) = (
        (SeaweedFs::PROGRAM, SeaweedFs::start as Start),
        (Versitygw::PROGRAM, Versitygw::start as Start),
    );
    let trials = vec![
        trial("a_blob_arrives_whatever_answer_is_lost", versitygw, lost_answers),
        trial("a_large_blob_is_copied_in_parts", weed, large_blob),
        trial("a_large_blob_is_copied_in_parts", versitygw, large_blob),
        trial("a_replica_outlives_another_one_of_its_process", weed, one_dropped),
    ];
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// Starts a store.
type Start = fn() -> io::Result<S3Server>;

fn trial<F>(name: &'static str, (program, start): (&'static str, Start), test: fn(Setting) -> F) -> Trial
where
    F: Future<Output = ()> + 'static,
{
    tools::trial(format!("{program}::{name}"), &[program], move || {
        let server = start().map_err(Failed::from)?;
        let runtime = tokio::runtime::Runtime::new().map_err(Failed::from)?;
        runtime.block_on(async { test(Setting::of(server).await).await });
        Ok(())
    })
}

/// A storage behind a proxy, with its store.
struct Setting {
    proxy: HostileProxy,
    location: Location,
    storage: ObjectStorage,
    repository: RepositoryName,
    _server: S3Server,
}

impl Setting {
    async fn of(server: S3Server) -> Self {
        server.bucket(BUCKET).unwrap();
        let proxy = HostileProxy::start(server.address()).unwrap();
        let location = S3::new(BUCKET)
            .endpoint(proxy.endpoint())
            .region(server.region())
            .credentials(server.access_key(), server.secret())
            .largest_copy(PART as u64)
            .path_style();
        let location = Location::from(location);
        let options = ObjectStorage::options().part_size(PART as u64);
        Self {
            storage: options.open(location.clone()).await.unwrap(),
            location,
            proxy,
            repository: RepositoryName::parse("a").unwrap(),
            _server: server,
        }
    }

    async fn append(&self, state: UploadState, bytes: Bytes) -> Result<UploadState, StorageError> {
        let source = pin!(Full::new(bytes).map_err(|never| match never {}));
        let mut body = UploadBody::new(source, &state, None);
        self.storage.append(&self.repository, state, &mut body).await
    }

    async fn commit(&self, state: UploadState, hasher: Hasher) -> Result<(), StorageError> {
        let proof = Verified::from_hasher(state.id, hasher).unwrap();
        self.storage
            .commit(&self.repository, state, proof)
            .await
            .map(drop)
    }

    /// Pushes a blob as clients do that repeat what fails, at the offset at which the session stands.
    async fn push(&self, bytes: &Bytes) {
        let new = || NewUpload::hashed_by(Algorithm::Sha256);
        let mut opened = self.storage.open_upload(&self.repository, new()).await;
        while opened.is_err() {
            opened = self.storage.open_upload(&self.repository, new()).await;
        }
        let id = opened.unwrap().id;
        for _ in 0..100 {
            let Ok(found) = self.storage.upload(&self.repository, &id).await else {
                continue;
            };
            let Some(state) = found else {
                break;
            };
            let rest = bytes.slice(usize::try_from(state.offset).unwrap()..);
            if state.published.is_some() || rest.is_empty() {
                let hasher = Hasher::resume(state.checkpoint.as_ref().unwrap());
                let _ = self.commit(state, hasher).await;
            } else {
                let _ = self.append(state, rest).await;
            }
        }
    }

    async fn read(&self, digest: &Digest) -> Bytes {
        let how = ReadBlob::default();
        let opened = self.storage.open_blob(&self.repository, digest, how).await;
        let BlobBody::Content(content) = opened.unwrap().unwrap().body else {
            panic!("a redirect that was not allowed");
        };
        content.into_stream().collect().await.unwrap().to_bytes()
    }
}

fn content(size: usize) -> Bytes {
    (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn lost_answers(setting: Setting) {
    let faults = [
        Fault::CutAfterEffect,
        Fault::AnswerAfterEffect(StatusCode::SERVICE_UNAVAILABLE),
    ];
    for (kind, fault) in faults.into_iter().enumerate() {
        for skipped in 0..18 {
            let bytes = content(PART + 400_000 + 100 * skipped + kind);
            let digest = Digest::of(Algorithm::Sha256, &bytes);
            let rule = setting.proxy.fault(on_any().after(skipped), fault.clone());
            setting.push(&bytes).await;
            rule.remove();
            assert!(
                setting.read(&digest).await == bytes,
                "{fault:?} after {skipped} requests"
            );
        }
    }
}

/// Its digest is not known before its last byte, so it is written elsewhere first.
async fn large_blob(setting: Setting) {
    let bytes = content(2 * PART + 1);
    let digest = Digest::of(Algorithm::Sha256, &bytes);

    setting.push(&bytes).await;

    assert_eq!(setting.proxy.count(Kind::UploadPartCopy), 3);
    assert_eq!(setting.proxy.count(Kind::Copy), 0);
    assert!(setting.read(&digest).await == bytes);
}

async fn one_dropped(setting: Setting) {
    let options = ObjectStorage::options().part_size(PART as u64);
    let other = options.open(setting.location.clone()).await.unwrap();
    let bytes = content(PART + 1);
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let new = NewUpload::hashed_by(Algorithm::Sha256);
    let state = other.open_upload(&setting.repository, new).await.unwrap();
    let source = pin!(Full::new(bytes.slice(..PART)).map_err(|never| match never {}));
    let mut body = UploadBody::new(source, &state, None);
    let state = other.append(&setting.repository, state, &mut body).await.unwrap();
    drop(other);

    let state = setting.storage.upload(&setting.repository, &state.id).await;
    let state = setting
        .append(state.unwrap().unwrap(), bytes.slice(PART..))
        .await
        .unwrap();
    let hasher = Hasher::resume(state.checkpoint.as_ref().unwrap());
    setting.commit(state, hasher).await.unwrap();

    assert!(setting.read(&digest).await == bytes);
}
