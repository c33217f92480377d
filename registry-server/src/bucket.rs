//! Opens the bucket that the configuration names.

use crate::{
    causes::with_causes,
    config::{Azure, AzureLogin, Bucket, Encryption, Gcs, GcsKey, S3, Store},
};
use registry_core::{Storage, maintenance::Notes, storage::StorageError};
use registry_storage_object::{
    self as object, Location, ObjectOptions, ObjectStorage, Objects, S3Encryption,
};
use std::{fmt, sync::Arc, time::Duration};

/// Time for which the requests of commands are repeated while the store does not answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A bucket that is open.
#[derive(Clone)]
pub(crate) struct OpenBucket {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) notes: Arc<dyn Notes>,
    opened: ObjectStorage,
}

impl OpenBucket {
    /// Gives back what others would wait for: the bucket, if only one process may write to it, and a collection that was
    /// interrupted. A failure costs them that wait.
    pub(crate) async fn release(&self) {
        if let Err(error) = self.opened.release().await {
            tracing::debug!(error = with_causes(&error), "the bucket was not given back");
        }
    }
}

impl fmt::Debug for OpenBucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenBucket")
            .field("storage", &self.storage)
            .finish_non_exhaustive()
    }
}

/// Use of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// Nothing is changed.
    Read,
    Write,
}

/// Opens a bucket for a server.
///
/// # Errors
///
/// [`StorageError::Unavailable`] if a later attempt may succeed although nothing is changed.
pub(crate) async fn open(bucket: &Bucket, usage: Use) -> Result<OpenBucket, StorageError> {
    open_with(options(bucket), bucket, usage).await
}

/// Opens a bucket for a command, whose work is not lost if the store is away for less than a minute. Otherwise as
/// [`open`](self::open).
pub(crate) async fn open_for_command(bucket: &Bucket, usage: Use) -> Result<OpenBucket, StorageError> {
    open_with(options(bucket).patience(PATIENCE), bucket, usage).await
}

async fn open_with(options: ObjectOptions, bucket: &Bucket, usage: Use) -> Result<OpenBucket, StorageError> {
    let options = match usage {
        Use::Read => options.read_only(),
        Use::Write => options,
    };
    let storage = options.open(location(bucket)).await?;
    Ok(OpenBucket {
        notes: Arc::new(storage.clone()),
        storage: Arc::new(storage.clone()),
        opened: storage,
    })
}

/// Outcome of a probe.
#[derive(Clone, Debug)]
pub(crate) struct Probed {
    /// Table for operators.
    pub(crate) table: String,
    /// True if any number of servers can write to the bucket.
    pub(crate) supports_replicas: bool,
}

/// Finds out by trying what the store of a bucket can do.
pub(crate) async fn probe(bucket: &Bucket) -> Result<Probed, StorageError> {
    let probe = options(bucket).probe(&location(bucket)).await?;
    Ok(Probed {
        table: probe.to_string(),
        supports_replicas: probe.supports_replicas(),
    })
}

/// Returns the objects of a bucket by their keys, for a command.
pub(crate) async fn objects(bucket: &Bucket) -> Result<Objects, StorageError> {
    Objects::open(&options(bucket).patience(PATIENCE), &location(bucket)).await
}

/// Explains why a bucket cannot be opened, with the key that names it.
pub(crate) fn explained(bucket: &Bucket, error: &StorageError) -> String {
    format!("storage.{} ({bucket}): {}", bucket.driver(), with_causes(error))
}

/// Returns the options of a storage, as they are configured.
fn options(bucket: &Bucket) -> ObjectOptions {
    let options = ObjectStorage::options()
        .root(&bucket.root)
        .part_size(bucket.part)
        .part_memory(bucket.memory)
        .read_ahead(bucket.reading.ahead)
        .read_memory(bucket.reading.memory);
    let options = match bucket.collection_delay {
        Some(delay) => options.collection_delay(delay),
        None => options,
    };
    let options = match bucket.redirects {
        Some(validity) => options.redirects(validity),
        None => options,
    };
    if bucket.sole {
        options.sole_replica()
    } else {
        options
    }
}

/// Returns the place of a bucket, and who asks for it.
fn location(bucket: &Bucket) -> Location {
    let variables = bucket.identity.0.iter().cloned();
    match &bucket.store {
        Store::S3(s3) => of_s3(s3).variables(variables).into(),
        Store::Gcs(gcs) => of_gcs(gcs).variables(variables).into(),
        Store::Azure(azure) => of_azure(azure).variables(variables).into(),
    }
}

fn of_s3(s3: &S3) -> object::S3 {
    // Applies what is set.
    fn with<T: Clone, B>(builder: B, value: Option<&T>, apply: impl FnOnce(B, T) -> B) -> B {
        match value {
            Some(value) => apply(builder, value.clone()),
            None => builder,
        }
    }
    let found = object::S3::new(&s3.bucket);
    let found = with(found, s3.region.as_ref(), object::S3::region);
    let found = with(found, s3.endpoint.as_ref(), object::S3::endpoint);
    let found = with(found, s3.key.as_ref(), |found, (access, secret)| {
        found.credentials(access, secret.0)
    });
    let found = with(found, s3.session_token.as_ref(), |found, token| {
        found.session_token(token.0)
    });
    let found = with(found, s3.encryption.as_ref(), |found, encryption| {
        found.encryption(match encryption {
            Encryption::Managed => S3Encryption::Managed,
            Encryption::Key(key) => S3Encryption::Kms(key),
        })
    });
    let found = with(found, s3.storage_class.as_ref(), object::S3::storage_class);
    let found = with(found, s3.user_agent.as_ref(), object::S3::user_agent);
    let when = |found: object::S3, on: bool, apply: fn(object::S3) -> object::S3| {
        if on { apply(found) } else { found }
    };
    let found = when(found, s3.path_style, object::S3::path_style);
    let found = when(found, s3.accelerate, object::S3::accelerate);
    let found = when(found, s3.dual_stack, object::S3::dual_stack);
    let found = when(found, s3.fips, object::S3::fips);
    when(found, s3.skip_verify, object::S3::accept_invalid_certificates)
}

fn of_gcs(gcs: &Gcs) -> object::Gcs {
    let found = object::Gcs::new(&gcs.bucket);
    let found = match &gcs.key {
        Some(GcsKey::File(path)) => found.key_file(path.to_string_lossy()),
        Some(GcsKey::Inline(json)) => found.key(&json.0),
        None => found,
    };
    match &gcs.user_agent {
        Some(text) => found.user_agent(text),
        None => found,
    }
}

fn of_azure(azure: &Azure) -> object::Azure {
    let found = object::Azure::new(&azure.account, &azure.container).endpoint(&azure.service);
    let found = match &azure.login {
        AzureLogin::Default => found,
        AzureLogin::Key(key) => found.access_key(&key.0),
        AzureLogin::Client {
            tenant,
            client,
            secret,
        } => found.client_secret(tenant, client, &secret.0),
    };
    if azure.skip_verify {
        found.accept_invalid_certificates()
    } else {
        found
    }
}
