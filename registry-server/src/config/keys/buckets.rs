//! Keys of the buckets: `storage.s3`, `storage.gcs` and `storage.azure`.

use super::key::{Form, Key, accepted, honoured, refused};

/// Texts for keys that several stores have.
const BUCKET: &str = "name of the bucket, in which the images are in the layout of registry:2";
const ROOT: &str =
    "directory of the bucket that has the images, such as `team/registry`; by default the whole bucket";
const CHUNK: &str = "size of the parts of an upload, from `5m` to `5g`; registry:2's default is `10m`";
const MEMORY: &str = "extension: maximum memory for the parts of all uploads; a further upload waits. At least twice `chunksize`";
const AHEAD: &str = "extension: number of ranges of 16 MiB that are read ahead of a fast client that pulls a large blob from a slow store; \
     `0` reads each blob by one request";
const READING: &str = "extension: maximum memory for what is read ahead of all clients; without memory, a pull goes on as one request";
const REPLICAS: &str = "extension: `1` says that one server at a time writes to the bucket. It has an effect only on a store that ignores \
     preconditions: such a store is refused without it, and with it the server refuses to be a second one as far as it can tell. On \
     any other store, any number of servers write";
const AGENT: &str = "text after the server's name in the `User-Agent` of requests to the store";
const SKIP_VERIFY: &str =
    "trusts any certificate of the store. Whoever is on the way can then read and change the images";
const COPIES: &str = "the server copies blobs rarely, and decides by itself in which parts";

/// Keys of the buckets.
pub(super) const KEYS: &[Key] = &[
    text("storage.s3.bucket", BUCKET),
    root("storage.s3.rootdirectory"),
    text(
        "storage.s3.region",
        "region of Amazon S3, such as `eu-central-1`. By default that of `AWS_REGION`, or else `us-east-1`",
    ),
    text(
        "storage.s3.regionendpoint",
        "URL of a store that is not Amazon's, such as `https://minio.example.com:9000`",
    ),
    honoured(
        "storage.s3.forcepathstyle",
        Form::Switch,
        "",
        "puts the bucket into the path of URLs, not into their host. The default is `true` with `regionendpoint`, as in registry:2 (in registry:3 it is `false`), and `false` without",
    ),
    text(
        "storage.s3.accesskey",
        "access key. Without it the server is identified as the SDKs of Amazon do it: by `AWS_ACCESS_KEY_ID`, a web identity (IRSA), the role of the container or of the instance",
    ),
    secret("storage.s3.secretkey", "secret of the access key"),
    secret("storage.s3.sessiontoken", "token of temporary credentials"),
    honoured(
        "storage.s3.encrypt",
        Form::Switch,
        "false",
        "lets S3 encrypt what is written, with keys that it manages or with that of `keyid`; by default as the bucket is set",
    ),
    text(
        "storage.s3.keyid",
        "key of the key management service to encrypt with; requires `encrypt: true`",
    ),
    honoured(
        "storage.s3.secure",
        Form::Switch,
        "true",
        "uses HTTPS if `regionendpoint` does not say `http://`",
    ),
    skip_verify("storage.s3.skipverify"),
    honoured(
        "storage.s3.v4auth",
        Form::Switch,
        "true",
        "signs requests with version 4 of the signature; `false` is refused, because no store still needs version 2",
    ),
    chunk_size("storage.s3.chunksize"),
    upload_memory("storage.s3.uploadmemory"),
    read_ahead("storage.s3.readahead"),
    read_memory("storage.s3.readmemory"),
    replicas("storage.s3.replicas"),
    text(
        "storage.s3.storageclass",
        "storage class in which objects are written, such as `STANDARD_IA` or `INTELLIGENT_TIERING`; by default, and with `NONE`, as the bucket is set. Classes whose objects have to be restored are refused",
    ),
    user_agent("storage.s3.useragent"),
    text(
        "storage.s3.objectacl",
        "only `private` is accepted: who may read the bucket is said by its policy",
    ),
    honoured(
        "storage.s3.accelerate",
        Form::Switch,
        "false",
        "uses Amazon's edge locations (S3 Transfer Acceleration)",
    ),
    honoured(
        "storage.s3.usedualstack",
        Form::Switch,
        "false",
        "uses Amazon's hosts that have IPv6 addresses, too",
    ),
    honoured(
        "storage.s3.usefipsendpoint",
        Form::Switch,
        "false",
        "uses Amazon's hosts with cryptography validated by FIPS 140",
    ),
    accepted("storage.s3.multipartcopychunksize", Form::Size, COPIES),
    accepted("storage.s3.multipartcopymaxconcurrency", Form::Count, COPIES),
    accepted("storage.s3.multipartcopythresholdsize", Form::Size, COPIES),
    accepted(
        "storage.s3.loglevel",
        Form::Text,
        "requests to the store are logged with `log.level: trace`",
    ),
    refused(
        "storage.s3.redirectendpoint",
        "clients are sent to the store's own address; set `storage.redirect.disable: true` if they cannot reach it",
    ),
    refused("storage.s3aws", "use `storage.s3`, with the same keys"),
    text("storage.gcs.bucket", BUCKET),
    root("storage.gcs.rootdirectory"),
    text(
        "storage.gcs.keyfile",
        "file with the key of a service account, in JSON. Without it and `credentials`, the application default credentials count: `GOOGLE_APPLICATION_CREDENTIALS`, or the identity of the workload or instance",
    ),
    secret(
        "storage.gcs.credentials.*",
        "key of a service account, with the fields of its JSON file",
    ),
    chunk_size("storage.gcs.chunksize"),
    upload_memory("storage.gcs.uploadmemory"),
    read_ahead("storage.gcs.readahead"),
    read_memory("storage.gcs.readmemory"),
    replicas("storage.gcs.replicas"),
    user_agent("storage.gcs.useragent"),
    accepted(
        "storage.gcs.maxconcurrency",
        Form::Count,
        "what limits concurrent requests to the store is `uploadmemory`, and the number of requests of clients",
    ),
    text("storage.azure.accountname", "name of the storage account"),
    text(
        "storage.azure.container",
        "name of the container, in which the images are in the layout of registry:2",
    ),
    root("storage.azure.rootdirectory"),
    secret("storage.azure.accountkey", "key of the account"),
    text(
        "storage.azure.credentials.type",
        "`shared_key`, `client_secret` or `default_credentials`: as `AZURE_*` variables say, with a workload or managed identity. The default is `shared_key` if there is an `accountkey`, and `default_credentials` if not",
    ),
    text(
        "storage.azure.credentials.clientid",
        "client (application) to log in as, for `client_secret`",
    ),
    text("storage.azure.credentials.tenantid", "tenant of the client"),
    secret("storage.azure.credentials.secret", "secret of the client"),
    honoured(
        "storage.azure.realm",
        Form::Text,
        "core.windows.net",
        "domain of the service, after `ACCOUNT.blob.`",
    ),
    text(
        "storage.azure.serviceurl",
        "URL of the service, in place of the one that `accountname` and `realm` make",
    ),
    skip_verify("storage.azure.skipverify"),
    chunk_size("storage.azure.chunksize"),
    upload_memory("storage.azure.uploadmemory"),
    read_ahead("storage.azure.readahead"),
    read_memory("storage.azure.readmemory"),
    replicas("storage.azure.replicas"),
    accepted(
        "storage.azure.max_retries",
        Form::Count,
        "the server repeats what may be repeated for 10 s",
    ),
    accepted(
        "storage.azure.retry_delay",
        Form::Text,
        "the server repeats what may be repeated for 10 s",
    ),
    refused(
        "storage.azure.connectionstring",
        "registry:3 reads it without effect; set `accountname` and `accountkey`",
    ),
];

const fn text(path: &'static str, about: &'static str) -> Key {
    honoured(path, Form::Text, "", about)
}

const fn secret(path: &'static str, about: &'static str) -> Key {
    honoured(path, Form::Secret, "", about)
}

const fn root(path: &'static str) -> Key {
    text(path, ROOT)
}

const fn chunk_size(path: &'static str) -> Key {
    honoured(path, Form::Size, "16m", CHUNK)
}

const fn upload_memory(path: &'static str) -> Key {
    honoured(path, Form::Size, "192m", MEMORY)
}

const fn read_ahead(path: &'static str) -> Key {
    honoured(path, Form::Count, "3", AHEAD)
}

const fn read_memory(path: &'static str) -> Key {
    honoured(path, Form::Size, "128m", READING)
}

const fn replicas(path: &'static str) -> Key {
    honoured(path, Form::Count, "", REPLICAS)
}

const fn user_agent(path: &'static str) -> Key {
    text(path, AGENT)
}

const fn skip_verify(path: &'static str) -> Key {
    honoured(path, Form::Switch, "false", SKIP_VERIFY)
}
